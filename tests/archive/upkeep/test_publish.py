import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import duckdb
import pytest

from archive.errors import ArchiveBusy, ArchiveNotFound, NoSpace, PathscopeError
from archive.layout import Layout
from archive.store import Archive, open_archive
from archive.upkeep import publish as module
from archive.upkeep.publish import publish
from archive.upkeep.verify import verify
from tests.archive.upkeep import sample
from tests.archive.upkeep.conftest import Make
from tests.archive.upkeep.crash import killed_at, open_elsewhere


def snapshots(layout: Layout) -> set[str]:
    return {p.name for p in layout.snapshots.iterdir()}


def test_the_copy_shows_what_the_archive_shows(full: Layout) -> None:
    made = publish(full)

    assert made.snapshot.read_bytes() == full.database.read_bytes()
    assert (made.n_bytes, made.previous) == (full.database.stat().st_size, None)
    assert snapshots(full) == {"current.duckdb"}
    copy = open_archive(full.database, snapshot=True)
    assert copy.value("SELECT count(*) FROM v_run") == 4
    assert made.snapshot.stat().st_mode == full.database.stat().st_mode


def test_one_generation_before_is_kept(make: Make) -> None:
    layout = make("x", sample.little())
    publish(layout)
    make("x", sample.little("toy/b"))
    publish(layout)
    make("x", sample.little("toy/c"))
    made = publish(layout)

    assert snapshots(layout) == {"current.duckdb", "previous.duckdb"}
    counts = {
        path.name: duckdb.connect(str(path), read_only=True).execute("SELECT count(*) FROM run").fetchall()
        for path in layout.snapshots.iterdir()
    }
    assert counts == {"current.duckdb": [(3,)], "previous.duckdb": [(2,)]}
    assert made.previous == layout.snapshots / "previous.duckdb"


def test_readers_of_the_old_copy_and_of_the_live_file_keep_reading(make: Make) -> None:
    layout = make("x", sample.little())
    publish(layout)
    with (
        open_elsewhere(layout.current_snapshot, read_only=True) as (_, ask_old),
        open_elsewhere(layout.database, read_only=True) as (_, ask_live),
    ):
        publish(layout)
        assert ask_old("SELECT count(*) FROM v_run") == [(1,)]
        assert ask_live("SELECT count(*) FROM v_run") == [(1,)]


def test_publishing_does_not_drop_the_lock_of_an_open_reader(full: Layout) -> None:
    """POSIX record locks vanish when the process closes any descriptor of the file."""
    write = f"import duckdb; duckdb.connect({str(full.database)!r}).close()"
    with Archive(full.database).session():
        publish(full)
        refused = subprocess.run([sys.executable, "-c", write], capture_output=True, text=True, check=False)
    assert "Could not set lock" in refused.stderr
    assert subprocess.run([sys.executable, "-c", write], check=False).returncode == 0


def test_a_write_ahead_log_left_by_a_killed_writer_is_part_of_the_copy(full: Layout) -> None:
    program = (
        f"import duckdb, os; c = duckdb.connect({str(full.database)!r}); c.execute('SET wal_autocheckpoint = \"1GB\"');"
        "c.execute(\"INSERT INTO run_tag VALUES (1, 'late')\"); os._exit(0)"
    )
    subprocess.run([sys.executable, "-c", program], check=True)
    assert full.database.with_name("x.duckdb.wal").exists()
    publish(full)

    copy = open_archive(full.database, snapshot=True)
    assert copy.value("SELECT count(*) FROM run_tag WHERE tag = 'late'") == 1
    assert not full.database.with_name("x.duckdb.wal").exists()


@pytest.mark.slow
@pytest.mark.parametrize("step", ["copied", "previous kept"])
def test_a_kill_leaves_the_old_copy_and_the_next_call_tidies_up(full: Layout, step: str) -> None:
    publish(full)
    before = full.current_snapshot.stat().st_ino
    killed_at(
        step,
        "archive.upkeep.publish",
        f"from archive.layout import Layout; module.publish(Layout.of({str(full.database)!r}))",
    )

    assert full.current_snapshot.stat().st_ino == before
    assert open_archive(full.database, snapshot=True).value("SELECT count(*) FROM v_run") == 4
    publish(full)
    assert snapshots(full) == {"current.duckdb", "previous.duckdb"}
    assert verify(full).ok


def test_a_copy_that_fails_leaves_the_old_one(full: Layout, monkeypatch: pytest.MonkeyPatch) -> None:
    publish(full)
    before = full.current_snapshot.stat().st_ino

    def fail(source: Path, target: Path) -> None:
        target.write_bytes(b"half")
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(module, "copy_file", fail)
    with pytest.raises(NoSpace, match="readers keep the copy"):
        publish(full)
    monkeypatch.setattr(
        module, "copy_file", lambda source, target: (_ for _ in ()).throw(OSError(5, "broken disk"))
    )
    with pytest.raises(PathscopeError, match="broken disk"):
        publish(full)

    assert snapshots(full) == {"current.duckdb"}
    assert full.current_snapshot.stat().st_ino == before


def test_without_room_nothing_is_begun(full: Layout, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module.shutil, "disk_usage", lambda path: SimpleNamespace(free=1000))
    with pytest.raises(NoSpace, match="pathscope publish"):
        publish(full)

    assert snapshots(full) == set()


def test_a_writer_is_waited_for_and_named(full: Layout) -> None:
    with (
        open_elsewhere(full.database, read_only=False) as (pid, _),
        pytest.raises(ArchiveBusy, match=str(pid)),
    ):
        publish(full, patience=0.05)


def test_no_archive_leaves_no_trace(tmp_path: Path) -> None:
    with pytest.raises(ArchiveNotFound):
        publish(Layout.of(tmp_path / "none.duckdb"))

    assert list(tmp_path.iterdir()) == []
