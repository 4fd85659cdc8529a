"""Opening an archive: who waits for whom, and what is said about a file that cannot be read."""

import os
import threading
import time
from pathlib import Path

import duckdb
import pyarrow as pa
import pytest

from archive.committer import commit_inbox, pending_shards
from archive.create import ensure_archive
from archive.errors import (
    ArchiveBusy,
    UsageError,
)
from archive.layout import FOLDERS, Layout
from archive.lock import give_way, writer_lock
from archive.store import Archive, open_archive
from tests.archive.holding import HOLD, HOLD_WRITER_LOCK, another_process
from tests.archive.making import ROWS, commit, head_shard, put

LEAVE_WAL = """
import os, sys, duckdb
connection = duckdb.connect(sys.argv[1])
connection.execute("INSERT INTO part VALUES (77, 'split', 'train')")
print("holding", flush=True)
os.kill(os.getpid(), 9)
"""

# --- asking ---------------------------------------------------------------------------------------------


def test_a_question_has_an_arrow_answer(archive: Archive) -> None:
    table = archive.query("SELECT $a::INTEGER AS a, $b AS b", {"a": 1, "b": ["x", "y"]})
    assert isinstance(table, pa.Table)
    assert table.to_pylist() == archive.rows("SELECT 1::INTEGER AS a, ['x', 'y'] AS b")
    assert archive.value("SELECT count(*) FROM v_run") == 0


def test_an_archive_holds_nothing_open(archive: Archive, layout: Layout) -> None:
    archive.query("SELECT 1")
    with another_process(HOLD, str(layout.database), "rw"):
        pass


def test_nobody_can_write_through_an_archive(archive: Archive) -> None:
    with pytest.raises(duckdb.InvalidInputException, match="read-only"):
        archive.query("DELETE FROM run")


def test_questions_of_one_session_see_one_state(archive: Archive) -> None:
    with archive.session() as outer:
        with archive.session() as inner:
            assert inner is outer
        assert outer.execute("SELECT 1").fetchall() == [(1,)]
        assert archive.value("SELECT 2") == 2
    with archive.session() as later:
        assert later is not outer


def test_every_thread_has_a_session_of_its_own(archive: Archive) -> None:
    found: list[object] = []

    def ask() -> None:
        with archive.session() as connection:
            found.append(connection)

    with archive.session() as mine:
        thread = threading.Thread(target=ask)
        thread.start()
        thread.join()
        assert found[0] is not mine


def test_a_session_that_fails_is_closed(archive: Archive, layout: Layout) -> None:
    with pytest.raises(duckdb.ParserException), archive.session():
        archive.query("SELEKT")
    commit(layout, head_shard([0]))


def test_the_version_changes_with_the_file(archive: Archive, layout: Layout) -> None:
    before = archive.version
    archive.query("SELECT * FROM v_run")
    assert archive.version == before
    commit(layout, head_shard([0]))
    assert archive.version != before


def test_a_committed_wal_is_read(archive: Archive, layout: Layout) -> None:
    """A committer that is killed after COMMIT leaves its rows in the write-ahead log."""
    with another_process(LEAVE_WAL, str(layout.database)):
        pass
    assert layout.database.with_suffix(".duckdb.wal").exists()
    assert archive.value("SELECT name FROM part WHERE id = 77") == "train"


# --- locks ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("mode", ["rw", "ro"])
def test_a_reader_beside_another_process(mode: str, layout: Layout) -> None:
    with another_process(HOLD, str(layout.database), mode) as holder:
        archive = Archive(layout.database, patience=0.1)
        if mode == "ro":
            assert archive.value("SELECT 1") == 1
            return
        with pytest.raises(ArchiveBusy) as busy:
            archive.query("SELECT 1")
    said = str(busy.value)
    assert f"{layout.database} is held by process {holder.pid} (" in said
    assert "waited 0 s" in said
    assert "`pathscope publish`" in said
    assert busy.value.exit_code == 75


@pytest.mark.parametrize("mode", ["rw", "ro"])
def test_the_committer_waits_for_whoever_holds_the_file(mode: str, layout: Layout, archive: Archive) -> None:
    put(layout, head_shard([0]))
    with another_process(HOLD, str(layout.database), mode) as holder:
        with pytest.raises(ArchiveBusy, match=rf"x\.duckdb is held by process {holder.pid} ") as busy:
            commit_inbox(layout, patience=0.1)
        assert busy.value.exit_code == 75
        assert len(pending_shards(layout)) == 1
        released = threading.Timer(0.0, lambda: holder.communicate("\n"))
        released.start()
        assert commit_inbox(layout, patience=60).n_rows == ROWS
        released.join()
    assert archive.value("SELECT count(*) FROM fact_head") == ROWS


def test_a_session_of_this_process_keeps_the_committer_out_too(layout: Layout, archive: Archive) -> None:
    put(layout, head_shard([0]))
    with (
        archive.session(),
        pytest.raises(ArchiveBusy, match=rf"another part of this process \({os.getpid()}\)"),
    ):
        commit_inbox(layout, patience=0.1)
    assert commit_inbox(layout).n_rows == ROWS


def test_one_writer_at_a_time_and_the_other_is_told_whom_it_waits_for(layout: Layout) -> None:
    put(layout, head_shard([0]))
    with another_process(HOLD_WRITER_LOCK, str(layout.database), "optimize") as holder:
        with pytest.raises(ArchiveBusy) as busy:
            commit_inbox(layout, patience=0.1)
        said = str(busy.value)
        assert f"{layout.database} is being written by process {holder.pid} (optimize) since 2" in said
        assert "Run the same command again" in said
        assert str(layout.writer_lock) in said
    assert commit_inbox(layout).n_rows == ROWS


def test_the_lock_of_a_killed_writer_is_free(layout: Layout) -> None:
    with another_process(HOLD_WRITER_LOCK, str(layout.database), "commit") as holder:
        holder.kill()
        holder.wait(30)
        with writer_lock(layout, "next", patience=30):
            assert f"process {os.getpid()} (next)" in layout.writer_lock.read_text()
    assert layout.writer_lock.read_text() == ""


HOLD_WAITING = """
import sys
from archive.layout import Layout
from archive.lock import waiting_to_write
with waiting_to_write(Layout.of(sys.argv[1])):
    print("holding", flush=True)
    sys.stdin.readline()
"""


def test_readers_give_way_to_a_writer_that_waits(layout: Layout, monkeypatch: pytest.MonkeyPatch) -> None:
    """Else a few busy readers would keep every writer out: DuckDB lets readers in as long as there is one."""
    naps: list[float] = []
    monkeypatch.setattr(time, "sleep", naps.append)
    give_way(layout, 0.05)
    assert naps == []
    with another_process(HOLD_WAITING, str(layout.database)) as writer:
        give_way(layout, 0.05)
        assert naps != []
        assert Archive(layout.database, patience=0.05).value("SELECT 1") == 1  # but not for ever
        writer.kill()
        writer.wait(30)
        naps.clear()
        give_way(layout, 0.05)
    assert naps == []


# --- creating -------------------------------------------------------------------------------------------


def test_creating_makes_the_file_and_its_folders(tmp_path: Path) -> None:
    layout = ensure_archive(tmp_path / "new" / "y.duckdb")
    assert {p.name for p in layout.folder.iterdir() if p.is_dir()} == {f.name for f in FOLDERS}
    archive = Archive(layout.database)
    assert archive.value("SELECT count(*) FROM alembic_version") == 1
    info = {r["key"]: r["value"] for r in archive.rows("SELECT * FROM archive_info")}
    assert set(info) == {"uuid", "format", "created_at", "views"}
    assert [p.name for p in layout.folder.glob(".new*")] == []


def test_creating_twice_changes_nothing(layout: Layout) -> None:
    before = layout.database.stat()
    ensure_archive(layout.database)
    assert layout.database.stat() == before


def test_a_creation_that_fails_leaves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import archive.migrate

    def fail(_: object) -> None:
        raise RuntimeError("no")

    monkeypatch.setattr(archive.migrate, "migrate", fail)
    with pytest.raises(RuntimeError, match="no"):
        ensure_archive(tmp_path / "y.duckdb")
    assert not (tmp_path / "y.duckdb").exists()
    assert list((tmp_path / "y.d").glob(".new*")) == []


def test_a_name_that_duckdb_would_misread_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"what\?\.duckdb has a question mark"):
        ensure_archive(tmp_path / "what?.duckdb")
    assert list(tmp_path.iterdir()) == []


def test_relative_paths_are_resolved_at_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, empty_archive: Path
) -> None:
    monkeypatch.chdir(empty_archive.parent)
    archive = open_archive("x.duckdb")
    monkeypatch.chdir(tmp_path)
    assert archive.value("SELECT 1") == 1
