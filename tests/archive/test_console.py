"""The SQL console: right answers, clear refusals, and nothing that a statement can do to anything else."""

import os
import re
import shutil
import subprocess
from pathlib import Path

import duckdb
import pytest

from archive import console
from archive.committer import commit_inbox
from archive.console import Limits, SqlResult, run_sql
from archive.errors import (
    ArchiveBusy,
    ArchiveDamaged,
    ArchiveNotFound,
    ArchiveTooOld,
    PathscopeError,
    SqlRefused,
    SqlStopped,
)
from archive.layout import Layout
from archive.migrate import upgrade_archive
from archive.store import Archive
from tests.archive.holding import HOLD, another_process
from tests.archive.making import ROWS, head_shard
from tests.data.make_archive import populate

SMALL = Limits(seconds=20, memory_mb=256, rows=1000)


@pytest.fixture(scope="module")
def populated(empty_archive: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    layout = Layout.of(tmp_path_factory.mktemp("console") / "x.duckdb")
    layout.make_folders()
    shutil.copy(empty_archive, layout.database)
    populate(layout)
    return layout.database


def ask(path: Path, sql: str, limits: Limits = SMALL) -> SqlResult:
    return run_sql(path, sql, limits)


def refused(path: Path, sql: str) -> SqlRefused:
    with pytest.raises(SqlRefused) as error:
        ask(path, sql)
    assert error.value.exit_code == 2
    return error.value


# --- answers --------------------------------------------------------------------------------------------


def test_rows_come_back_as_arrow(populated: Path) -> None:
    result = ask(populated, "SELECT run, step, layer, value FROM v_head_score WHERE step = 10 ORDER BY ALL")
    assert result.table.to_pylist() == Archive(populated).rows(
        "SELECT run, step, layer, value FROM v_head_score WHERE step = 10 ORDER BY ALL"
    )
    assert (result.table.num_rows, result.truncated, result.from_snapshot) == (4, False, False)
    assert result.seconds >= 0


@pytest.mark.usefixtures("quick_console")
@pytest.mark.parametrize(
    "sql",
    [
        "FROM v_run",
        "-- a comment\n/* and another */ (SELECT 1)",
        "WITH a AS (SELECT 1) SELECT * FROM a;",
        "VALUES (1), (2)",
        "SHOW TABLES",
        "DESCRIBE v_run",
        "SUMMARIZE v_run",
        "EXPLAIN SELECT * FROM v_run",
        "EXPLAIN ANALYZE SELECT * FROM v_run",
        "PIVOT (SELECT run, init_seed FROM v_run) ON run IN ('toy-0') USING max(init_seed)",
        "SELECT 'a; b', \"values\" FROM v_head_pair",
    ],
)
def test_statements_that_read_are_run(sql: str, populated: Path) -> None:
    assert ask(populated, sql).table.num_rows > 0


@pytest.mark.usefixtures("quick_console")
def test_every_type_of_value_comes_back(populated: Path) -> None:
    row = ask(
        populated,
        """SELECT 1::HUGEINT, 'nan'::DOUBLE, 'inf'::DOUBLE, [1, NULL], {'x': 1}, MAP {'a': 1}, '1.5'::DECIMAL(5, 2), NULL,
                  'ü🦆', 'x'::BLOB, DATE '2024-02-29', INTERVAL 3 MONTH, '{"a": 1}'::JSON, 'b'::ENUM('a', 'b')""",
    ).table.to_pylist()[0]
    values = [str(v) for v in row.values()]
    assert values[:6] == ["1", "nan", "inf", "[1, None]", "{'x': 1}", "[('a', 1)]"]
    assert values[6:11] == ["1.50", "None", "ü🦆", "b'x'", "2024-02-29"]
    assert values[12:] == ['{"a": 1}', "b"]


@pytest.mark.usefixtures("quick_console")
def test_two_columns_of_one_name_are_both_there(populated: Path) -> None:
    assert ask(populated, "SELECT 1 AS a, 2 AS a").table.schema.names == ["a", "a"]


@pytest.mark.usefixtures("quick_console")
def test_no_rows_keep_their_columns(populated: Path) -> None:
    table = ask(populated, "SELECT run, step FROM v_checkpoint WHERE step < 0").table
    assert (table.num_rows, table.schema.names) == (0, ["run", "step"])


@pytest.mark.usefixtures("quick_console")
@pytest.mark.parametrize(("rows", "truncated"), [(999, False), (1000, False), (1001, True), (10**12, True)])
def test_rows_beyond_the_limit_are_cut_and_that_is_said(rows: int, truncated: bool, populated: Path) -> None:
    result = ask(populated, f"SELECT * FROM range({rows})")
    assert (result.table.num_rows, result.truncated) == (min(rows, 1000), truncated)


def test_a_result_that_is_too_wide_is_cut_too(populated: Path) -> None:
    result = ask(populated, "SELECT repeat('x', 10_000) FROM range(100_000)", Limits(20, 256, 10**6))
    assert result.truncated
    assert 0 < result.table.nbytes < 150_000_000


# --- mistakes -------------------------------------------------------------------------------------------


@pytest.mark.usefixtures("quick_console")
@pytest.mark.parametrize(
    ("sql", "said", "place"),
    [
        ("SELEKT 1", 'syntax error at or near "SELEKT"', (1, 1)),
        ("SELECT 1\nFROM FROM x", 'syntax error at or near "FROM"', (2, 6)),
        ("-- öü\nSELECT 'ü',\n  stp FROM v_checkpoint", 'column "stp" not found', (3, 3)),
        ("SELECT * FROM v_hed_score", 'Did you mean "v_head_score"', (1, 15)),
        ("SELECT 'ü' || nosuch('ü')", "nosuch does not exist", (1, 15)),
        (f"SELECT {'1 + ' * 100} oops FROM v_run", 'column "oops" not found', (1, 409)),
    ],
)
def test_a_mistake_is_shown_where_it_is(sql: str, said: str, place: tuple[int, int], populated: Path) -> None:
    error = refused(populated, sql)
    text = str(error)
    assert said in text
    assert (error.line, error.column) == place
    shown, mark = text.splitlines()[-2:]
    word = re.search(r"SELEKT|FROM x|stp|v_hed|nosuch|oops", shown)
    assert word is not None
    assert mark.index("^") == word.start()
    assert len(shown) <= 82


@pytest.mark.usefixtures("quick_console")
@pytest.mark.parametrize("sql", ["SELECT $x", "SELECT 'a'::INTEGER", "SELECT error('boom')"])
def test_a_mistake_without_a_place_is_a_sentence(sql: str, populated: Path) -> None:
    assert re.search("not provided|Could not convert|boom", str(refused(populated, sql)))


@pytest.mark.usefixtures("quick_console")
@pytest.mark.parametrize(
    ("sql", "said"),
    [
        ("", "there is no statement"),
        (" ;; -- nothing", "there is no statement"),
        ("SELECT 1; SELECT 2", "these are 2 statements, and one is run at a time"),
        ("SELECT 1; DROP TABLE run", "these are 2 statements"),
        ("PIVOT v_run ON run", "PIVOT needs the values it makes columns of here"),
    ],
)
def test_exactly_one_statement(sql: str, said: str, populated: Path) -> None:
    assert said in str(refused(populated, sql))


# --- what it must not do --------------------------------------------------------------------------------

WRITES = [
    "INSERT INTO run VALUES (1)", "DELETE FROM run", "UPDATE run SET name = 'x'", "DROP TABLE run", "TRUNCATE run",
    "CREATE TABLE x (a INTEGER)", "CREATE TEMP TABLE x AS SELECT 1", "CREATE VIEW x AS SELECT 1", "ALTER TABLE run ADD x INT",
    "MERGE INTO run USING run r ON true WHEN MATCHED THEN DELETE", "CHECKPOINT", "VACUUM", "BEGIN", "CREATE MACRO f() AS 1",
    "EXPLAIN ANALYZE INSERT INTO audit SELECT * FROM audit", "SELECT * FROM query('DROP TABLE run')",
]  # fmt: skip
SETTINGS = [
    "SET threads = 64", "SET enable_external_access = true", "RESET memory_limit", "PRAGMA memory_limit = '64GB'",
    "PRAGMA enable_profiling = 'json'", "PRAGMA database_list", "CALL enable_logging()", "USE memory", "SET VARIABLE a = 1",
    "INSTALL httpfs", "LOAD httpfs", "LOAD '/tmp/x.duckdb_extension'", "CREATE SECRET (TYPE s3)", "PREPARE p AS SELECT 1",
]  # fmt: skip


@pytest.mark.usefixtures("quick_console")
@pytest.mark.parametrize("sql", [*WRITES, *SETTINGS])
def test_nothing_is_written_or_set(sql: str, populated: Path) -> None:
    before = populated.read_bytes()
    said = str(refused(populated, sql))
    assert re.search(r"is not run here|only reads the archive|single SELECT", said)
    assert populated.read_bytes() == before


OUTSIDE = [
    "SELECT * FROM read_csv('{secret}')", "SELECT * FROM read_text('{secret}')", "SELECT * FROM read_blob('{secret}')",
    "SELECT * FROM '{secret}.csv'", "SELECT * FROM '{secret}.parquet'", "SELECT * FROM glob('{folder}/*')",
    "SELECT * FROM sniff_csv('{secret}')", "SELECT * FROM parquet_metadata('{secret}')", "SELECT * FROM read_json('{secret}')",
    "SELECT * FROM 'https://example.com/x.parquet'", "SELECT * FROM read_duckdb('{secret}')", "SELECT getenv('HOME')",
    "SELECT * FROM duckdb_secrets()", "SELECT * FROM request", "SELECT * FROM os",
]  # fmt: skip


@pytest.mark.usefixtures("quick_console")
@pytest.mark.parametrize("sql", OUTSIDE)
def test_nothing_outside_is_read(sql: str, populated: Path, tmp_path: Path) -> None:
    secret = tmp_path / "secret"
    for name in ("secret", "secret.csv", "secret.parquet"):
        (tmp_path / name).write_text("classified\n")
    said = str(refused(populated, sql.format(secret=secret, folder=tmp_path)))
    assert "classified" not in said
    assert re.search("only reads the archive|does not exist", said)


@pytest.mark.usefixtures("quick_console")
@pytest.mark.parametrize(
    "sql",
    [
        "COPY run TO '{folder}/out.csv'",
        "COPY (SELECT 1) TO '{folder}/out.parquet' (FORMAT parquet)",
        "EXPORT DATABASE '{folder}/out'",
        "ATTACH '{folder}/out.duckdb'",
        "ATTACH ':memory:' AS m",
        "SELECT * FROM enable_logging(storage = 'file', storage_config = {{'path': '{folder}/out'}})",
        "SELECT count(DISTINCT a), count(DISTINCT -a) FROM range(100_000_000) t(a)",
    ],
)
def test_no_file_is_made(sql: str, populated: Path, tmp_path: Path) -> None:
    beside = set(populated.parent.rglob("*"))
    try:
        ask(populated, sql.format(folder=tmp_path), Limits(seconds=20, memory_mb=64, rows=1000))
    except PathscopeError as error:
        assert isinstance(error, SqlRefused | SqlStopped)  # noqa: PT017  # running it is right too, if nothing is made
    assert list(tmp_path.iterdir()) == []
    assert set(populated.parent.rglob("*")) == beside


ENDLESS = [
    "SELECT count(*) FROM range(1_000_000) a(x), range(1_000_000) b(y) WHERE x * y % 7 = 3",
    "WITH RECURSIVE t(a) AS (SELECT 1 UNION ALL SELECT a + 1 FROM t) SELECT max(a) FROM t",
    "SELECT max(list_sum(list_transform(range(10_000), lambda x: x % (a + 1)))) FROM range(100_000_000) t(a)",
]


@pytest.mark.parametrize("sql", ENDLESS)
def test_what_does_not_end_is_ended(sql: str, populated: Path) -> None:
    with pytest.raises(SqlStopped) as stopped:
        ask(populated, sql, Limits(seconds=0.5, memory_mb=512))
    assert "stopped after 0.5 s" in str(stopped.value)
    assert "--limit-seconds" in str(stopped.value)
    assert stopped.value.exit_code == 1


HUGE = [
    "SELECT length(repeat('x', 2_000_000_000))",
    "SELECT range(2_000_000_000)",
    "SELECT list(a) FROM range(100_000_000_000) t(a)",
    "SELECT string_agg(a::VARCHAR) FROM range(10_000_000_000) t(a)",
    "SELECT [repeat('x', 1_000_000) FOR i IN range(100_000)]",
]


@pytest.mark.parametrize("sql", HUGE)
def test_what_does_not_fit_is_refused_by_the_memory_limit(sql: str, populated: Path) -> None:
    with pytest.raises(SqlStopped) as stopped:
        ask(populated, sql)
    assert "needs more than the 256 MB it may use" in str(stopped.value)
    assert "PATHSCOPE_SQL_MEMORY_MB" in str(stopped.value)


@pytest.mark.usefixtures("quick_console")
def test_the_settings_are_locked(populated: Path) -> None:
    rows = ask(
        populated,
        "SELECT name, value FROM duckdb_settings() WHERE name IN ('lock_configuration', 'enable_external_access')",
    ).table.to_pylist()
    assert {r["name"]: r["value"] for r in rows} == {
        "lock_configuration": "true",
        "enable_external_access": "false",
    }


def test_no_process_is_left_behind(populated: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Also where the wait is interrupted, as Ctrl-C does."""
    started: list[subprocess.Popen[bytes]] = []

    class Interrupted(subprocess.Popen):  # type: ignore[type-arg]  # as subprocess uses it
        def communicate(self, *_: object, **__: object) -> tuple[bytes, bytes]:  # type: ignore[override]  # same shape
            started.append(self)
            raise KeyboardInterrupt

    monkeypatch.setattr(subprocess, "Popen", Interrupted)
    with pytest.raises(KeyboardInterrupt):
        ask(populated, "SELECT 1")
    assert started[0].returncode is not None


def test_a_child_that_does_not_start_says_why(
    populated: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    broken = tmp_path / "child.py"
    broken.write_text("import no_such_module_anywhere")
    monkeypatch.setattr(console, "CHILD", broken)
    with pytest.raises(PathscopeError, match=r"ended with status 1: .*no_such_module_anywhere"):
        ask(populated, "SELECT 1")


# --- which file answers ---------------------------------------------------------------------------------


def test_the_published_copy_answers_while_the_archive_is_written(layout: Layout) -> None:
    shutil.copy(layout.database, layout.current_snapshot)
    head_shard([0]).write(layout.inbox)
    commit_inbox(layout)
    count = "SELECT count(*) AS n FROM fact_head"
    with another_process(HOLD, str(layout.database), "rw"):
        busy = run_sql(layout.database, count, SMALL)
    free = run_sql(layout.database, count, SMALL)
    asked = run_sql(layout.database, count, SMALL, snapshot=True)
    assert [(r.table.to_pylist()[0]["n"], r.from_snapshot) for r in (busy, free, asked)] == [
        (0, True), (ROWS, False), (0, True)
    ]  # fmt: skip


def test_a_busy_archive_without_a_copy_names_the_holder(layout: Layout) -> None:
    with another_process(HOLD, str(layout.database), "rw") as holder, pytest.raises(ArchiveBusy) as busy:
        run_sql(layout.database, "SELECT 1", SMALL, patience=0.1)
    assert f"{layout.database} is held by process {holder.pid} (" in str(busy.value)
    assert "`pathscope publish --archive" in str(busy.value)


def test_a_running_statement_keeps_no_other_reader_out(layout: Layout) -> None:
    with another_process(HOLD, str(layout.database), "ro"):
        assert run_sql(layout.database, "SELECT 1", SMALL).table.num_rows == 1


def test_a_missing_archive(tmp_path: Path) -> None:
    with pytest.raises(ArchiveNotFound, match="no archive at"):
        run_sql(tmp_path / "no.duckdb", "SELECT 1")


def test_an_archive_older_than_a_macro_or_view_says_what_adds_it(layout: Layout) -> None:
    with duckdb.connect(layout.database) as connection:
        connection.execute("DROP MACRO TABLE m_spread")
        connection.execute("DROP VIEW v_event")

    for statement, name in (("FROM m_spread('loss')", "m_spread"), ("FROM V_Event", "v_event")):
        words = f"older than {name}: `pathscope upgrade --archive {layout.database}` adds it."
        assert words in str(refused(layout.database, statement))
        with pytest.raises(ArchiveTooOld, match=re.escape(words)):
            Archive(layout.database).query(statement)
    assert "upgrade" not in str(refused(layout.database, "FROM m_spred('loss')"))
    with pytest.raises(duckdb.CatalogException):
        Archive(layout.database).query("FROM m_spred('loss')")
    upgrade_archive(layout.database)
    assert Archive(layout.database).query("FROM v_event").num_rows == 0


def test_a_damaged_archive_is_named(populated: Path, tmp_path: Path) -> None:
    path = tmp_path / "damaged.duckdb"
    content = populated.read_bytes()
    path.write_bytes(content[:4100] + bytes([content[4100] ^ 1]) + content[4101:])
    with pytest.raises(
        ArchiveDamaged, match=r"damaged\.duckdb cannot be read: Corrupt database file.*\n.*pathscope verify"
    ):
        run_sql(path, "SELECT 1", SMALL)


def test_this_machine_enforces_what_the_tests_above_rely_on() -> None:
    assert os.path.exists("/proc/self/statm"), "without it the address space of the child is not limited"
