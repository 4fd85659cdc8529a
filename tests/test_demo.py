"""`pathscope demo`: trains, answers, and says so when there is nothing left to do."""

import json
from collections.abc import Iterator
from pathlib import Path

import pytest
from click.testing import Result
from typer.testing import CliRunner

from archive.store import Archive
from pathscope.__main__ import app
from pathscope.commands import demo

TINY = """
name = "small"
[train]
steps = 150
task_params = { p = 5, frac_train = 0.8 }
model = { d_model = 16, n_heads = 2, d_mlp = 32 }
[seeds]
init = "0..1"
split = "0..1"
[measures]
names = ["accuracy"]
[executor]
kind = "inline"
"""


@pytest.fixture(scope="module")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A demo of a second or two; returns its folder, which is where the tests are."""
    folder = tmp_path_factory.mktemp("tiny")
    (folder / "tiny.toml").write_text(TINY)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(demo, "packaged_study", lambda name: folder / "tiny.toml")
        patch.chdir(folder)
        yield folder


@pytest.fixture(scope="module")
def done(tiny: Path) -> Result:
    """The demo, carried out: what it said."""
    return CliRunner().invoke(app, ["demo"], catch_exceptions=False)


def test_it_answers_in_a_table_and_in_words(tiny: Path, done: Result) -> None:
    assert done.exit_code == 0
    archive = tiny / "demo" / "demo.duckdb"
    rows = Archive(archive).rows(
        """SELECT run, min(step) AS reached FROM v_scalar
           WHERE measure = 'accuracy' AND part = 'train' AND value >= 0.99 GROUP BY run ORDER BY run"""
    )
    assert len(rows) == 2  # so that the table has something to say
    for row in rows:
        [line] = [line for line in done.stdout.splitlines() if row["run"] in line]
        assert f"– {row['reached']} " in line
    assert "Memorised: accuracy (train) ≥ 0.99: reached by 2 of 2 runs" in done.stdout
    assert "Generalised: accuracy (test) ≥ 0.99: reached by" in done.stdout
    assert f"pathscope ui --archive {archive}" in done.stdout


def test_a_second_call_has_nothing_to_do(done: Result) -> None:
    again = CliRunner().invoke(app, ["demo"], catch_exceptions=False)
    assert again.exit_code == 0
    assert "small: nothing to do" in again.stdout
    assert "Memorised" not in again.stdout
    assert CliRunner().invoke(app, ["demo", "--quiet"], catch_exceptions=False).output == ""


def test_json_is_one_document(tiny: Path) -> None:
    done = CliRunner().invoke(app, ["demo", "--json", "--archive", "other.duckdb"], catch_exceptions=False)
    document = json.loads(done.stdout)
    assert document["archive"] == str(tiny / "other.duckdb")
    assert document["ingest"]["state"] == "done"
    assert len(document["memorised"]["table"]) == 2
    assert document["next"]["look"] == f"pathscope ui --archive {tiny / 'other.duckdb'}"


@pytest.mark.parametrize(
    ("row", "said"),
    [
        ({"kind": "observed", "after": 76, "reached": 91, "last": 600}, "76 – 91"),
        ({"kind": "never", "after": 600, "reached": None, "last": 600}, "not by 600"),
        ({"kind": "before", "after": None, "reached": 0, "last": 600}, "by 0"),
    ],
)
def test_brackets_are_worded_by_what_was_seen(row: dict[str, object], said: str) -> None:
    assert demo.bracket(row) == said


def test_the_time_between_is_bracketed_by_both_ends() -> None:
    start = {"kind": "observed", "after": 76, "reached": 91}
    assert demo.gap(start, {"kind": "observed", "after": 475, "reached": 500}) == "384 – 424"
    assert demo.gap(start, {"kind": "observed", "after": 76, "reached": 91}) == "0 – 15"
    assert demo.gap(start, {"kind": "never", "last": 600}) == "> 509"
    assert demo.gap({"kind": "before"}, {"kind": "never", "last": 600}) == ""
