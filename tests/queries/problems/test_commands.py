"""`pathscope questions`, `pathscope ask` and `pathscope hypothesis`."""

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from archive.errors import PathscopeError, UnknownName, UsageError
from archive.store import Archive
from ingest.studies.files import load_study
from pathscope.__main__ import app
from queries.problems.catalogue import problems
from tests.queries.problems.conftest import digits
from tests.queries.simulated import Simulation


def invoke(*words: str, archive: Archive | None = None) -> Result:
    where = ["--archive", str(archive.layout.database)] if archive else []
    outcome = CliRunner(env={"COLUMNS": "200"}).invoke(app, [*words, *where])
    if isinstance(outcome.exception, PathscopeError):
        raise outcome.exception
    return outcome


def run(archive: Archive, *words: str, code: int = 0) -> str:
    outcome = invoke(*words, archive=archive)
    assert outcome.exit_code == code, outcome.output
    return outcome.stdout


def test_questions_lists_every_problem_with_its_state_and_command(addition: Archive) -> None:
    out = run(addition, "questions")

    for words in (
        "Algorithmic tasks",
        "Path dependence",
        "5.36a",
        "answered here",
        "needs intervention runs, later work",
    ):
        assert words in out
    assert "pathscope ask 5.1" in out
    document = json.loads(run(addition, "questions", "--json"))
    states = {row["number"]: row["state"] for row in document["problems"]}
    assert (states["5.1"], states["5.2"], states["5.6"]) == ("answered", "part", "interventions")
    assert sum(document["counts"].values()) == len(states) == len(problems())


def test_one_state_can_be_asked_for(addition: Archive) -> None:
    document = json.loads(run(addition, "questions", "--state", "interventions", "--json"))

    assert {row["state"] for row in document["problems"]} == {"interventions"}
    with pytest.raises(UnknownName, match="no state 'answerd'; did you mean 'answered'"):
        run(addition, "questions", "--state", "answerd")


def test_without_an_archive_the_list_says_what_there_is_to_do(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("PATHSCOPE_ARCHIVE", raising=False)
    document = json.loads(invoke("questions", "--json").stdout)

    assert document["archive"] is None
    assert document["counts"]["answered"] == 0
    with pytest.raises(UsageError, match="no archive at"):
        invoke("questions", "--archive", str(tmp_path / "named.duckdb"))


def test_ask_without_a_number_lists_the_same(addition: Archive) -> None:
    assert run(addition, "ask") == run(addition, "questions")
    assert json.loads(run(addition, "ask", "--json")) == json.loads(run(addition, "questions", "--json"))


def test_an_answer_has_words_table_limits_sources_and_how_to_repeat_it(addition: Archive) -> None:
    out = run(addition, "ask", "5.1", "--show-sql")

    for words in ("5.1 (a)", "5.1 (b)", "What this cannot tell", "from position_loss version 1", "exploratory: not registered",
                  "pathscope.transitions_per_position(", "SELECT", "Limit of the problem"):  # fmt: skip
        assert words in out, words


def test_json_is_one_document_with_parameters_of_every_part(addition: Archive) -> None:
    document = json.loads(run(addition, "ask", "5.1", "--level", "1.5", "--runs", "digits/*", "--json"))

    assert (document["number"], document["state"], document["answered"]) == ("5.1", "answered", True)
    first, second = (part["answer"] for part in document["parts"])
    assert (first["n_runs"], first["parameters"]["level"], "level" in second["parameters"]) == (3, 1.5, False)


def test_the_archive_may_be_named_before_the_number(addition: Archive) -> None:
    outcome = invoke("ask", "--archive", str(addition.layout.database), "--json", "5.1")

    assert json.loads(outcome.stdout)["answered"] is True


def test_a_summary_stands_for_the_rows_of_every_part_that_has_one(addition: Archive) -> None:
    brief = json.loads(run(addition, "ask", "5.1", "--runs", "digits/*", "--json", "--summary"))

    answers = [part["answer"] for part in brief["parts"]]
    assert [("table" in answer, "n_rows" in answer) for answer in answers] == [
        (not answer["summary"], bool(answer["summary"])) for answer in answers
    ]
    assert any(answer["summary"] for answer in answers)


def test_a_family_narrows_the_runs(simulation: Simulation) -> None:
    for family in ("one", "two"):
        for name in simulation.seeds(2, prefix=f"{family}/s", family=family, condition=family):
            digits(simulation, name)
    document = json.loads(run(simulation.commit(), "ask", "5.1", "--family", "two", "--json"))

    assert document["parts"][0]["answer"]["provenance"]["runs"] == ["two/s0", "two/s1"]


@pytest.mark.parametrize(
    ("number", "words"), [("5.21", "no run here has head.prefix_matching"), ("5.6", "later work")]
)
def test_what_cannot_be_answered_says_what_is_missing_and_fails(
    addition: Archive, number: str, words: str
) -> None:
    assert words in run(addition, "ask", number, code=2)
    document = json.loads(run(addition, "ask", number, "--json", code=2))

    assert document["answered"] is False
    assert any(words in text for text in document["missing"])


def test_a_refusal_beside_an_answer_is_some_work_that_failed(addition: Archive) -> None:
    out = run(addition, "ask", "5.1", "--most", "2", code=1)

    assert "No answer: UsageError" in out
    assert "5.1 (a)" in out


def test_looking_around_is_no_failure(addition: Archive) -> None:
    assert "Nothing here is tested" in run(addition, "ask", "5.19")


def test_files_are_written_by_their_ending(addition: Archive, tmp_path: Path) -> None:
    for ending in ("html", "json", "csv", "txt"):
        run(addition, "ask", "5.1", "--output", str(tmp_path / f"x.{ending}"))
    page = (tmp_path / "x.html").read_text()

    assert page.count('class="plotly-graph-div"') == 2
    assert page.count("<!DOCTYPE") == 1
    assert "<script src" not in page
    assert len(json.loads((tmp_path / "x.json").read_text())["parts"]) == 2
    assert (tmp_path / "x-a.csv").exists()
    assert (tmp_path / "x-b.csv").exists()
    assert "5.1 (b)" in (tmp_path / "x.txt").read_text()


@pytest.mark.parametrize("words", [["ask", "5.1"], ["query", "loss_curves"]])
def test_a_file_that_cannot_be_written_is_refused_before_anything_is_asked(
    addition: Archive, tmp_path: Path, words: list[str]
) -> None:
    for name, why in (("no/such/answer.json", "there is no folder"), (".", "that is a folder")):
        with pytest.raises(UsageError, match=why):
            run(addition, *words, "--output", str(tmp_path / name))


def test_a_study_is_written_once_and_can_be_planned(tmp_path: Path) -> None:
    path = tmp_path / "mine.toml"
    document = json.loads(invoke("ask", "5.1", "--write-study", str(path), "--json").stdout)
    study = load_study(path)

    assert (document["study"], study.name) == ("digit_addition_5", "digit_addition_5")
    assert document["next"][1] == f"pathscope ingest {path}"
    assert path.read_text().startswith("# Open problem 5.1: ")
    with pytest.raises(UsageError, match=r"mine.toml is there already; nothing is overwritten"):
        invoke("ask", "5.1", "--write-study", str(path))
    assert load_study(path).toml == study.toml


def test_a_study_of_a_family_is_written_for_it(tmp_path: Path) -> None:
    path = tmp_path / "theirs.toml"
    out = invoke("ask", "5.32", "--family", "stanford_gpt2", "--write-study", str(path)).stdout

    assert "the study 'tokens_stanford'" in out
    assert 'family = "stanford_gpt2"' in path.read_text()


@pytest.mark.parametrize(
    ("words", "error", "text"),
    [
        (["ask", "5.99"], UnknownName, "no open problem '5.99'"),
        (["ask", "--state", "cells", "5.1"], UsageError, "--state is for the list"),
        (["ask", "5.1", "--output", "x.png"], UsageError, "no command writes .png files"),
        (["ask", "5.1", "--hypothesis", "h"], UnknownName, "no hypothesis 'h'"),
        (["ask", "5.6", "--family", "toy"], UsageError, "no question yet that takes runs"),
        (["ask", "5.6", "--write-study", "x.toml"], UsageError, "comes without a study"),
    ],
)
def test_mistakes_are_named(addition: Archive, words: list[str], error: type[Exception], text: str) -> None:
    with pytest.raises(error, match=text):
        invoke(*words, archive=addition)


def test_help_of_a_problem_shows_its_questions_and_their_parameters() -> None:
    out = invoke("ask", "5.1", "--help").stdout

    for words in (
        "phase change",
        "transitions_per_position",
        "--level",
        "--draws",
        "--write-study",
        "--family",
    ):
        assert words in out


def test_a_hypothesis_is_added_listed_and_shown(own_addition: Archive) -> None:
    add = [
        "hypothesis",
        "add",
        "h",
        "--statement",
        "units first",
        "--primary-measure",
        "position_loss",
        "--runs",
        "digits/*",
    ]
    document = json.loads(run(own_addition, *add, "--alpha", "0.01", "--json"))
    assert (document["alpha"], document["runs"]) == (0.01, ["digits/*"])

    assert "units first" in run(own_addition, "hypothesis", "show", "h")
    assert "digits/*" in run(own_addition, "hypothesis", "list")
    assert [
        one["name"] for one in json.loads(run(own_addition, "hypothesis", "list", "--json"))["hypotheses"]
    ] == ["h"]
    with pytest.raises(UsageError, match="cannot be changed"):
        run(own_addition, *add)
    assert "only after the first results of these runs" in run(
        own_addition, "ask", "5.1", "--hypothesis", "h"
    )


def test_before_the_first_runs_the_archive_is_made(tmp_path: Path) -> None:
    new = tmp_path / "new.duckdb"
    add = ["hypothesis", "add", "h", "--archive", str(new), "--statement", "s", "--primary-measure"]
    for wrong, error in ((["no_such"], UnknownName), (["position_loss", "--alpha", "2"], UsageError)):
        with pytest.raises(error):
            invoke(*add, *wrong)
        assert not new.exists()

    assert f"made the archive {new}" in invoke(*add, "position_loss").stdout
    assert "made the archive" not in invoke(*add[:2], "g", *add[3:], "position_loss").stdout
    assert "h: s" in run(Archive(new), "hypothesis", "show", "h")


def test_a_measure_that_nobody_knows_is_no_primary_measure(own_addition: Archive) -> None:
    def add(name: str, measure: str) -> str:
        return run(
            own_addition,
            "hypothesis",
            "add",
            name,
            "--statement",
            "s",
            "--primary-measure",
            measure,
            "--quiet",
        )

    with pytest.raises(UnknownName, match="did you mean 'position_loss'"):
        add("a", "positon_loss")
    assert add("b", "log.anything") == add("c", "head.mask_z:word_start") == add("d", "accuracy") == ""
    assert "No hypothesis" not in run(own_addition, "hypothesis", "list")
