"""`pathscope query` and `pathscope queries`."""

import csv
import io
import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pyarrow.parquet as pq
import pytest
from typer.testing import CliRunner

from archive.errors import UnknownName, UsageError
from archive.store import Archive
from pathscope.__main__ import app
from tests.queries.simulated import ACCURACY_HERE, LOSS_HERE, Simulation, kept_open


def planted(simulation: Simulation) -> Archive:
    for k, run in enumerate(simulation.seeds(3, tags=("t",))):
        simulation.curve(run, LOSS_HERE, [0, 10, 20], [5.0, 3.0, 1.0 + k])
        simulation.curve(run, ACCURACY_HERE, [0, 10, 20], [0.0, 0.5, 1.0])
    simulation.curve(simulation.run("other", family="apart", condition="d"), LOSS_HERE, [0], [5.0])
    return simulation.commit()


@pytest.fixture(scope="module")
def archive(simulation_of_module: Simulation) -> Iterator[Archive]:
    with kept_open(planted(simulation_of_module)) as archive:
        yield archive


def run(archive: Archive, *words: str) -> str:
    outcome = CliRunner(env={"COLUMNS": "200"}).invoke(
        app, [*words, "--archive", str(archive.layout.database)]
    )
    if outcome.exception and not isinstance(outcome.exception, SystemExit):
        raise outcome.exception
    assert outcome.exit_code == 0, outcome.output
    return outcome.stdout


def test_the_answer_is_printed_for_people(archive: Archive) -> None:
    out = run(archive, "query", "loss_curves", "--family", "toy")

    assert "loss (test) of 3 runs" in out
    assert "What this cannot tell" in out
    assert "SELECT" not in out


def test_dashes_and_underscores_are_the_same(archive: Archive) -> None:
    assert run(archive, "query", "loss-curves", "--runs", "s0") == run(
        archive, "query", "loss_curves", "--runs", "s0"
    )


@pytest.mark.parametrize(
    ("words", "n_runs"),
    [
        (["--runs", "s0", "--runs", "s1"], 2),
        (["--runs", "s*"], 3),
        (["--family", "apart"], 1),
        (["--condition", "c", "--tag", "t"], 3),
        ([], 4),
    ],
)
def test_runs_are_chosen_by_options(archive: Archive, words: list[str], n_runs: int) -> None:
    document = json.loads(run(archive, "query", "loss_curves", "--json", *words))

    assert document["n_runs"] == n_runs


def test_json_is_one_document_with_the_parameters(archive: Archive) -> None:
    document = json.loads(
        run(archive, "query", "transition_times", "--level", "0.4", "--rule", "stays", "--json")
    )

    assert document["parameters"] == {"level": 0.4, "rule": "stays"}
    assert document["sql"].startswith("SELECT")
    assert [row["reached"] for row in document["table"]] == [10, 10, 10]


def test_csv_is_the_rows_and_the_summary_on_request(archive: Archive) -> None:
    rows = list(csv.DictReader(io.StringIO(run(archive, "query", "loss_curves", "--format", "csv"))))
    groups = list(
        csv.DictReader(io.StringIO(run(archive, "query", "loss_curves", "--format", "csv", "--summary")))
    )

    assert (len(rows), rows[0]["run"], float(rows[0]["value"])) == (10, "s0", 5.0)
    assert [g["group"] for g in groups] == ["c", "d"]


def test_json_has_how_many_rows_there_are_in_place_of_them_on_request(archive: Archive) -> None:
    whole = json.loads(run(archive, "query", "loss_curves", "--json"))
    brief = json.loads(run(archive, "query", "loss_curves", "--json", "--summary"))

    assert whole.keys() - brief.keys() == {"table", "tables"}
    assert brief.pop("n_rows") == len(whole["table"]) == 10
    assert brief.items() <= whole.items()


@pytest.mark.parametrize("ending", ["parquet", "csv", "json", "txt"])
def test_a_files_ending_chooses_its_format(archive: Archive, tmp_path: Path, ending: str) -> None:
    target = tmp_path / f"answer.{ending}"
    assert run(archive, "query", "loss_curves", "--output", str(target)) == ""

    if ending == "parquet":
        assert pq.read_table(target).num_rows == 10
    elif ending == "csv":
        assert len(target.read_text().splitlines()) == 11
    elif ending == "json":
        assert json.loads(target.read_text())["n_runs"] == 4
    else:
        assert "4 runs in 2 groups" in target.read_text()


@pytest.mark.parametrize("wanted", ["parquet", "html"])
def test_some_formats_need_a_file(archive: Archive, wanted: str) -> None:
    with pytest.raises(UsageError, match=f"--format {wanted} needs --output"):
        run(archive, "query", "loss_curves", "--format", wanted)


def test_a_page_has_the_figure_and_the_words_and_needs_no_network(archive: Archive, tmp_path: Path) -> None:
    target = tmp_path / "answer.html"
    run(archive, "query", "loss_curves", "--family", "toy", "--output", str(target))
    page = target.read_text()

    assert "What this cannot tell" in page
    assert "loss (test) of 3 runs" in page
    assert 'class="plotly-graph-div"' in page
    assert "Plotly.newPlot" in page
    assert "<script src" not in page


def test_pictures_are_refused_with_what_to_do(archive: Archive, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"no command writes .png files; `--output .*answer.html`"):
        run(archive, "query", "loss_curves", "--output", str(tmp_path / "answer.png"))

    assert not list(tmp_path.glob("answer*"))


def test_the_sql_is_shown_and_runs(archive: Archive) -> None:
    out = run(archive, "query", "loss_curves", "--show-sql")
    sql = out[: out.index("\n\n")]

    assert archive.query(sql).num_rows == 10


def test_nothing_is_what_none_means(archive: Archive) -> None:
    assert (
        "max_points"
        not in json.loads(run(archive, "query", "loss_curves", "--max-points", "none", "--json"))[
            "parameters"
        ]
    )


@pytest.mark.parametrize(
    ("words", "error", "text"),
    [
        (["query", "los_curves"], UnknownName, "did you mean 'loss_curves'"),
        (["query", "loss_curves", "--runs", "s9"], UnknownName, "no run 's9'"),
        (["query", "loss_curves", "--max-points", "few"], UsageError, "max_points='few'"),
        (["query", "transition_times", "--rule", "last"], UsageError, "rule='last'"),
    ],
)
def test_mistakes_are_named(archive: Archive, words: list[str], error: type[Exception], text: str) -> None:
    with pytest.raises(error, match=text):
        run(archive, *words)


def test_help_shows_the_parameters_with_choices_and_defaults() -> None:
    out = CliRunner(env={"COLUMNS": "160"}).invoke(app, ["query", "transition_times", "--help"]).stdout

    for words in ("--level", "[default: 0.95]", "first|stays", "--eval-set", "May be repeated"):
        assert words in out


def test_the_list_of_questions() -> None:
    plain = CliRunner(env={"COLUMNS": "160"}).invoke(app, ["queries"]).stdout
    document = json.loads(CliRunner().invoke(app, ["queries", "--json"]).stdout)

    assert "transition_times" in plain
    listed = {q["name"]: q for q in document["queries"]}
    assert "level" in listed["transition_times"]["parameters"]


def test_other_commands_do_not_load_questions() -> None:
    code = "import sys, pathscope.__main__; sys.exit(any(m.startswith(('queries', 'plotly', 'scipy')) for m in sys.modules))"
    assert subprocess.run([sys.executable, "-c", code]).returncode == 0


def test_an_ending_that_is_no_format_is_refused(archive: Archive, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"no format is known by the ending '.bad'; .json, .csv"):
        run(archive, "query", "loss_curves", "--output", str(tmp_path / "x.bad"))
    assert not list(tmp_path.glob("x*"))
    run(archive, "query", "loss_curves", "--output", str(tmp_path / "x.txt"))
    run(archive, "query", "loss_curves", "--format", "json", "--output", str(tmp_path / "x.dat"))
    assert "loss (test)" in (tmp_path / "x.txt").read_text()
    assert json.loads((tmp_path / "x.dat").read_text())
