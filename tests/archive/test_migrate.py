"""Migrations: up, down and up again with rows in every table, old archives that still answer, failures that undo."""

import gzip
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import alembic
import duckdb
import pytest

import archive.migrate
import archive.store
from archive.create import ensure_archive
from archive.errors import ArchiveBusy, ArchiveNotFound, ArchiveTooNew, ArchiveTooOld, NoSpace, NotAnArchive
from archive.layout import Layout
from archive.migrate import differences, migrate, migrations_folder, revisions, upgrade_archive
from archive.schema.base import arrow_type
from archive.schema.dimensions import SENTINELS
from archive.schema.facts import FactTable, all_fact_tables
from archive.store import SCHEMA_REVISION, Archive, connect
from tests.archive.holding import HOLD, another_process
from tests.data.make_archive import populate
from tests.torture.invariants import broken

ROOT = Path(__file__).resolve().parent.parent.parent
KEPT = sorted((ROOT / "tests" / "data").glob("archive_*.duckdb.gz"))

# --- the revisions themselves ---------------------------------------------------------------------------


def test_the_schema_this_version_needs_is_the_newest_revision() -> None:
    assert revisions()[-1] == SCHEMA_REVISION


def test_revisions_are_numbered_in_order_and_files_say_so() -> None:
    assert revisions() == [f"{i:04d}" for i in range(1, len(revisions()) + 1)]
    files = sorted((migrations_folder() / "versions").glob("*.py"))
    assert [f.name[:4] for f in files] == revisions()


def test_the_migrations_folder_does_not_hide_the_alembic_library() -> None:
    assert not (ROOT / "alembic" / "__init__.py").exists()
    assert "site-packages" in str(alembic.__file__)


@pytest.fixture
def populated(layout: Layout) -> Layout:
    populate(layout)
    return layout


def test_the_tables_are_those_declared(populated: Layout) -> None:
    with connect(populated.database, read_only=False, patience=1) as connection:
        assert differences(connection) == []


@pytest.mark.parametrize("spec", [*all_fact_tables()], ids=lambda spec: spec.name)
def test_columns_are_stored_in_the_types_that_shards_write(spec: FactTable, layout: Layout) -> None:
    """A FLOAT that silently became a DOUBLE would double the archive."""
    stored = Archive(layout.database).query(f"SELECT * FROM {spec.name}").schema
    assert [(f.name, str(f.type)) for f in stored] == [
        (c.name, str(arrow_type(c)).replace("item: ", "l: ")) for c in spec.table.columns
    ]


def test_up_down_and_up_again_with_rows_in_every_table(populated: Layout) -> None:
    with connect(populated.database, read_only=False, patience=1) as connection:
        for revision in [*reversed(revisions()[:-1]), "base", *revisions()]:
            migrate(connection, revision)
        assert differences(connection) == []
    assert Archive(populated.database).value("SELECT count(*) FROM v_head_score") == 0
    with connect(populated.database, read_only=False, patience=1) as connection:
        for table, row in SENTINELS.items():
            connection.execute(table.insert(), row)
        connection.commit()
    shutil.rmtree(populated.committed)
    populate(populated)
    assert Archive(populated.database).value("SELECT count(*) FROM v_head_score") == 12


# --- archives that users have ---------------------------------------------------------------------------


def test_an_archive_of_every_schema_is_kept() -> None:
    assert [p.name for p in KEPT] == [f"archive_{r}.duckdb.gz" for r in revisions()]
    assert all(p.stat().st_size < 300_000 for p in KEPT)


@pytest.mark.parametrize("kept", KEPT, ids=lambda p: p.name)
def test_an_old_archive_is_upgraded_and_answers(kept: Path, tmp_path: Path) -> None:
    path = tmp_path / "old.duckdb"
    with gzip.open(kept) as packed, path.open("wb") as target:
        shutil.copyfileobj(packed, target)
    revision = kept.name.removeprefix("archive_").removesuffix(".duckdb.gz")
    with duckdb.connect(path, read_only=True) as raw:
        assert raw.execute("SELECT version_num FROM alembic_version").fetchall() == [(revision,)]

    done = upgrade_archive(path)

    assert (done.before, done.after) == (revision, SCHEMA_REVISION)
    assert (done.copy is None) == (revision == SCHEMA_REVISION)
    with connect(path, read_only=False, patience=1) as connection:
        assert differences(connection) == []
    found = Archive(path)
    assert broken(found) == []
    heads = found.rows("SELECT run, step, sum(value) AS total FROM v_head_score GROUP BY ALL ORDER BY ALL")
    assert [tuple(r.values()) for r in heads] == [
        (run, step, 2 * step + 1) for run in ("toy-0", "toy-1") for step in (0, 10, 100)
    ]
    assert found.value("SELECT value FROM v_benchmark WHERE measure = 'benchmark.acc'") == 0.25
    assert found.value("SELECT exclusion_reason FROM v_run WHERE run = 'toy-1'") == "diverged"
    assert found.value("SELECT count(*) FROM v_eval_token") == 3


# --- a version from the future, to see an upgrade that has something to do ------------------------------

FUTURE = '''"""A column for the optimiser of a run."""

import os
import sqlalchemy as sa
from alembic import op

revision = "{new}"
down_revision = "{old}"


def upgrade() -> None:
    op.add_column("run", sa.Column("optimiser", sa.String(), nullable=True))
    {then}
    op.execute("UPDATE run SET optimiser = 'AdamW'")


def downgrade() -> None:
    op.drop_column("run", "optimiser")
'''
NEW = f"{int(SCHEMA_REVISION) + 1:04d}"


def future_folder(folder: Path, then: str = "pass") -> Path:
    """This version's migrations and one more that does something in the middle."""
    shutil.copytree(migrations_folder(), folder, ignore=shutil.ignore_patterns("__pycache__"))
    text = FUTURE.format(new=NEW, old=SCHEMA_REVISION, then=then)
    (folder / "versions" / f"{NEW}_optimiser.py").write_text(text)
    return folder


@pytest.fixture
def in_the_future(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """The migrations folder of a pathscope one revision ahead, in use."""
    folder = future_folder(tmp_path / "future")
    monkeypatch.setattr(archive.migrate, "migrations_folder", lambda: folder)
    for module in (archive.migrate, archive.store):
        monkeypatch.setattr(module, "SCHEMA_REVISION", NEW)
    yield folder
    monkeypatch.undo()


@pytest.fixture(scope="module")
def of_today(tmp_path_factory: pytest.TempPathFactory) -> Layout:
    """A new archive with rows, for nobody to write to."""
    layout = ensure_archive(tmp_path_factory.mktemp("today") / "today.duckdb")
    populate(layout)
    return layout


@pytest.fixture
def today(of_today: Layout, tmp_path: Path) -> Layout:
    """The test's own copy of it."""
    layout = Layout.of(tmp_path / "today.duckdb")
    shutil.copy(of_today.database, layout.database)
    shutil.copytree(of_today.folder, layout.folder)
    return layout


def coverage(path: Path) -> list[dict[str, object]]:
    return Archive(path).rows("SELECT * FROM v_coverage ORDER BY ALL")


def test_an_older_archive_is_refused_upgraded_and_read(today: Layout, in_the_future: Path) -> None:
    with pytest.raises(ArchiveTooOld) as refused:
        Archive(today.database).query("SELECT 1")
    assert f"{today.database} has schema {SCHEMA_REVISION}, this version needs {NEW}" in str(refused.value)
    assert f"`pathscope upgrade --archive {today.database}` (a copy is kept beside it)" in str(refused.value)

    done = upgrade_archive(today.database)

    assert (done.before, done.after) == (SCHEMA_REVISION, NEW)
    found = Archive(today.database)
    assert set(found.query("SELECT optimiser FROM run").column(0).to_pylist()) == {"AdamW"}
    assert found.value("SELECT count(*) FROM v_head_score") == 12
    assert done.copy == today.database.with_name(f"today.schema-{SCHEMA_REVISION}.duckdb")
    again = upgrade_archive(today.database)
    assert (again.before, again.copy) == (NEW, None)


def test_one_step_forth_and_back_keeps_the_rows(
    today: Layout, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = coverage(today.database)
    with monkeypatch.context() as future:
        folder = future_folder(tmp_path / "future")
        future.setattr(archive.migrate, "migrations_folder", lambda: folder)
        with connect(today.database, read_only=False, patience=1) as connection:
            migrate(connection)
            migrate(connection, SCHEMA_REVISION)
    assert coverage(today.database) == before
    with connect(today.database, read_only=False, patience=1) as connection:
        assert differences(connection) == []


def test_the_copy_is_the_archive_as_it_was(
    today: Layout, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = coverage(today.database)
    with monkeypatch.context() as future:
        folder = future_folder(tmp_path / "future")
        future.setattr(archive.migrate, "migrations_folder", lambda: folder)
        for module in (archive.migrate, archive.store):
            future.setattr(module, "SCHEMA_REVISION", NEW)
        copy = upgrade_archive(today.database).copy
    assert copy is not None
    assert coverage(copy) == before
    with pytest.raises(ArchiveTooNew, match=f"has schema {NEW}, this version knows up to {SCHEMA_REVISION}"):
        Archive(today.database).query("SELECT 1")
    assert [p.name for p in tmp_path.glob(".*.tmp")] == []


def test_rows_that_a_committer_left_in_its_wal_are_in_the_copy(today: Layout, in_the_future: Path) -> None:
    program = f"""
import os, duckdb
connection = duckdb.connect({str(today.database)!r})
connection.execute("INSERT INTO run_tag VALUES (1, 'late')")
print("holding", flush=True)
os.kill(os.getpid(), 9)
"""
    with another_process(program):
        pass
    assert today.database.with_suffix(".duckdb.wal").exists()
    copy = upgrade_archive(today.database).copy
    for path in (copy, today.database):
        with duckdb.connect(path, read_only=True) as raw:
            assert raw.execute("SELECT count(*) FROM run_tag WHERE tag = 'late'").fetchall() == [(1,)]


def test_a_revision_that_fails_leaves_the_archive_as_it_was(
    today: Layout, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = coverage(today.database)
    with monkeypatch.context() as future:
        folder = future_folder(tmp_path / "future", then="raise RuntimeError('half way')")
        future.setattr(archive.migrate, "migrations_folder", lambda: folder)
        for module in (archive.migrate, archive.store):
            future.setattr(module, "SCHEMA_REVISION", NEW)
        with pytest.raises(RuntimeError, match="half way"):
            upgrade_archive(today.database)
    assert coverage(today.database) == before
    with connect(today.database, read_only=False, patience=1) as connection:
        assert differences(connection) == []


def test_an_upgrade_that_is_killed_leaves_the_archive_as_it_was(today: Layout, tmp_path: Path) -> None:
    before = coverage(today.database)
    folder = future_folder(tmp_path / "future", then="os.kill(os.getpid(), 9)")
    program = f"""
import archive.migrate, archive.store
from pathlib import Path
archive.migrate.migrations_folder = lambda: Path({str(folder)!r})
archive.migrate.SCHEMA_REVISION = archive.store.SCHEMA_REVISION = {NEW!r}
archive.migrate.upgrade_archive(Path({str(today.database)!r}))
"""
    assert subprocess.run([sys.executable, "-c", program], cwd=ROOT).returncode == -9
    assert coverage(today.database) == before


def test_upgrading_the_newest_renews_its_views(layout: Layout) -> None:
    with connect(layout.database, read_only=False, patience=1) as connection:
        connection.exec_driver_sql("DROP VIEW v_loss")
        connection.commit()
    assert upgrade_archive(layout.database).copy is None
    assert Archive(layout.database).query("SELECT * FROM v_loss").num_rows == 0


# --- what is not upgraded -------------------------------------------------------------------------------


def test_a_stranger_is_not_turned_into_an_archive(tmp_path: Path) -> None:
    path = tmp_path / "other.duckdb"
    with duckdb.connect(path) as raw:
        raw.execute("CREATE TABLE theirs (a INTEGER)")
    with pytest.raises(NotAnArchive, match="not a pathscope archive"):
        upgrade_archive(path)
    with duckdb.connect(path) as raw:
        assert raw.execute("SELECT table_name FROM duckdb_tables()").fetchall() == [("theirs",)]


def test_a_newer_archive_is_left_alone(today: Layout) -> None:
    with connect(today.database, read_only=False, patience=1) as connection:
        connection.exec_driver_sql("UPDATE alembic_version SET version_num = '9999'")
        connection.commit()
    with pytest.raises(ArchiveTooNew, match="upgrade pathscope to read it"):
        upgrade_archive(today.database)
    with duckdb.connect(today.database) as raw:
        assert raw.execute("SELECT count(*) FROM v_head_score").fetchall() == [(12,)]
    assert list(today.database.parent.glob("*.schema-*")) == []


def test_nothing_to_upgrade(tmp_path: Path) -> None:
    with pytest.raises(ArchiveNotFound, match=re.escape(f"no archive at {tmp_path / 'no.duckdb'}")):
        upgrade_archive(tmp_path / "no.duckdb")


def test_an_archive_in_use_is_not_upgraded(layout: Layout) -> None:
    with (
        another_process(HOLD, str(layout.database), "ro") as holder,
        pytest.raises(ArchiveBusy, match=f"held by process {holder.pid} "),
    ):
        upgrade_archive(layout.database, patience=0.1)


def test_no_room_for_the_copy(today: Layout, in_the_future: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    usage = shutil.disk_usage(today.folder)
    monkeypatch.setattr(shutil, "disk_usage", lambda path: usage._replace(free=1_000_000))
    with pytest.raises(
        NoSpace, match=r"has 1 MB free; upgrading keeps a copy and may need \d+ MB. Nothing was changed"
    ):
        upgrade_archive(today.database)
    with duckdb.connect(today.database) as raw:
        assert raw.execute("SELECT version_num FROM alembic_version").fetchall() == [(SCHEMA_REVISION,)]
