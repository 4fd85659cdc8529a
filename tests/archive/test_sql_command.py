"""`pathscope sql`: every format, to the screen and to a file, and what is said on the side."""

import csv
import io
import json
import shutil
import subprocess
import sys
from pathlib import Path

import pyarrow.parquet as pq
import pytest
from typer.testing import CliRunner

from archive.errors import SqlRefused, UsageError
from archive.layout import Layout
from pathscope.__main__ import app
from tests.data.make_archive import populate

HEADS = "SELECT run, step, layer, value FROM v_head_score WHERE step = 10 ORDER BY ALL"
ROWS = [["toy-0", 10, 0, 10.0], ["toy-0", 10, 1, 11.0], ["toy-1", 10, 0, 10.0], ["toy-1", 10, 1, 11.0]]


@pytest.fixture(scope="module")
def populated(empty_archive: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    layout = Layout.of(tmp_path_factory.mktemp("sql") / "x.duckdb")
    layout.make_folders()
    shutil.copy(empty_archive, layout.database)
    populate(layout)
    return layout.database


@pytest.fixture
def sql(populated: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, quick_console: None):
    """Runs `pathscope sql` on the populated archive, in an empty folder."""
    monkeypatch.chdir(tmp_path)

    def run(*arguments: str, stdin: str = ""):
        return CliRunner().invoke(
            app, ["sql", *arguments, "--archive", str(populated)], input=stdin, catch_exceptions=False
        )

    return run


def test_a_table_for_people(sql) -> None:
    done = sql(HEADS)
    lines = done.stdout.splitlines()
    assert [word for word in lines[1].split() if word.isalpha()] == ["run", "step", "layer", "value"]
    assert [line.split("│")[1].strip() for line in lines[3:7]] == ["toy-0", "toy-0", "toy-1", "toy-1"]
    assert done.stderr == ""


def test_json_for_programs(sql) -> None:
    done = sql(HEADS, "--json")
    document = json.loads(done.stdout)
    assert document["rows"] == ROWS
    assert [c["name"] for c in document["columns"]] == ["run", "step", "layer", "value"]
    assert (document["truncated"], document["from_snapshot"]) == (False, False)


def test_two_columns_of_one_name_keep_their_values(sql) -> None:
    assert json.loads(sql("SELECT 1 AS a, 2 AS a", "--json").stdout)["rows"] == [[1, 2]]


def test_csv_with_lists_as_json(sql) -> None:
    done = sql(
        'SELECT run, "values" AS v, NULL AS nothing FROM v_head_pair ORDER BY ALL LIMIT 1', "--format", "csv"
    )
    assert list(csv.reader(io.StringIO(done.stdout))) == [
        ["run", "v", "nothing"],
        ["toy-0", "[0.0, 1.0]", ""],
    ]


@pytest.mark.parametrize("name", ["out.parquet", "out.csv", "out.json", "out.txt"])
def test_the_ending_of_the_file_chooses_the_format(name: str, sql, tmp_path: Path) -> None:
    done = sql(HEADS, "--output", name)
    assert (done.stdout, done.stderr) == ("", "")
    path = tmp_path / name
    if name.endswith("parquet"):
        assert [list(r.values()) for r in pq.read_table(path).to_pylist()] == ROWS
    elif name.endswith("csv"):
        assert list(csv.reader(path.open()))[1] == ["toy-0", "10", "0", "10"]
    elif name.endswith("json"):
        assert json.loads(path.read_text())["rows"] == ROWS
    else:
        assert "toy-1" in path.read_text()


def test_a_statement_from_stdin(sql) -> None:
    assert json.loads(sql("-", "--json", stdin="SELECT 7 AS a").stdout)["rows"] == [[7]]


def test_a_cut_is_said(sql, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATHSCOPE_SQL_ROWS", "3")
    done = sql("SELECT * FROM range(10)", "--format", "csv")
    assert done.stdout.split() == ['"range"', "0", "1", "2"]
    assert "cut after 3 rows; there are more (setting sql_rows, or aggregate)" in done.stderr


def test_a_long_table_says_how_to_see_all_of_it(sql) -> None:
    done = sql("SELECT * FROM range(500)")
    assert len(done.stdout.splitlines()) < 110
    assert "100 of 500 rows shown; --format csv or --output FILE has all of them" in done.stderr


def test_brackets_are_not_markup(sql) -> None:
    assert "[bold]x[/bold]" in sql("SELECT '[bold]x[/bold]' AS \"[red]\"").stdout


def test_parquet_needs_a_file(sql) -> None:
    with pytest.raises(UsageError, match="--format parquet needs --output FILE"):
        sql("SELECT 1", "--format", "parquet")


def test_a_mistake_is_raised_for_the_command_line_to_word(sql) -> None:
    with pytest.raises(SqlRefused, match="line 1, column 1"):
        sql("SELEKT")


def test_from_a_shell(populated: Path, tmp_path: Path) -> None:
    """The exit codes and streams of the real program."""

    def run(*arguments: str) -> tuple[int, str, str]:
        command = [sys.executable, "-m", "pathscope", "sql", *arguments, "--archive", str(populated)]
        root = Path(__file__).resolve().parent.parent.parent
        done = subprocess.run(
            command, capture_output=True, text=True, cwd=tmp_path, env={"PYTHONPATH": str(root)}
        )
        return done.returncode, done.stdout, done.stderr

    status, out, err = run("DROP TABLE run")
    assert (status, out) == (2, "")
    assert err.startswith("SqlRefused: refused: DROP is not run here")
    status, out, err = run(
        "WITH RECURSIVE t(a) AS (SELECT 1 UNION ALL SELECT a + 1 FROM t) FROM t", "--limit-seconds", "0.3"
    )
    assert (status, out) == (1, "")
    assert err.startswith("SqlStopped: stopped after 0.3 s")
    status, out, err = run("SELECT", "--json")
    assert (status, err) == (2, "")
    assert json.loads(out)["error"] == "SqlRefused"
