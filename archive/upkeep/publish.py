"""Publishing: an immutable copy beside the archive for long sessions, dashboards and recovery."""

import errno
import os
import shutil
import uuid
from dataclasses import dataclass
from pathlib import Path

from archive.errors import NoSpace, PathscopeError
from archive.layout import Layout
from archive.store import WRITE_PATIENCE, check_schema, connect, driver, explain_damage
from archive.upkeep.change import locked
from archive.upkeep.raw_file import copy_file

SPACE_MARGIN = 8 * 2**20
UNFINISHED = ".tmp-"


@dataclass(frozen=True)
class Published:
    """What publishing made: the copy, its size in bytes, and the generation before it if there was one."""

    snapshot: Path
    n_bytes: int
    previous: Path | None


def step(name: str) -> None:
    """Marks a point between two steps of publishing; crash tests stop here."""


def publish(layout: Layout, *, patience: float = WRITE_PATIENCE) -> Published:
    """Copy the archive to `snapshots/current.duckdb`, keeping the copy before as `previous.duckdb`.

    The file is copied while the writer's lock is held and nobody has it open for writing, under another name, and
    appears by one rename: readers of the old copy keep it. Readers of the live file may stay open.
    Raises NoSpace before the disk would fill.
    """
    with locked(layout, "publish", patience=patience):
        layout.snapshots.mkdir(parents=True, exist_ok=True)
        for left in layout.snapshots.glob(f"{UNFINISHED}*"):
            left.unlink()
        settle_wal(layout.database, patience)
        size, free = layout.database.stat().st_size, shutil.disk_usage(layout.snapshots).free
        if free < size + SPACE_MARGIN:
            raise _no_space(layout, size, free)
        fresh = layout.snapshots / f"{UNFINISHED}{uuid.uuid4().hex[:8]}.duckdb"
        try:
            copy_file(layout.database, fresh)
            step("copied")
            with connect(fresh, read_only=True, patience=patience) as connection, explain_damage(fresh):
                check_schema(driver(connection), fresh)
            previous = _keep_current(layout)
            step("previous kept")
            fresh.replace(layout.current_snapshot)
        except OSError as error:
            if error.errno == errno.ENOSPC:
                raise _no_space(layout, size, free) from error
            raise PathscopeError(
                f"cannot publish to {layout.snapshots}: {error.strerror}; readers keep the copy they had."
            ) from error
        finally:
            fresh.unlink(missing_ok=True)
        flush_folder(layout.snapshots)
    return Published(layout.current_snapshot, size, previous)


def settle_wal(database: Path, patience: float) -> None:
    """Fold a write-ahead log that a killed writer left into the file, so that the file alone is whole."""
    wal = database.with_name(f"{database.name}.wal")
    if wal.exists():
        with connect(database, read_only=False, patience=patience) as connection, explain_damage(database):
            driver(connection).execute("CHECKPOINT")
    with connect(database, read_only=True, patience=patience) as connection, explain_damage(database):
        check_schema(driver(connection), database)
    if wal.exists():
        raise PathscopeError(
            f"{wal} stays after a checkpoint: another program writes to {database}. Close it and try again."
        )


def flush_folder(folder: Path) -> None:
    """Make renames in a folder durable."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _keep_current(layout: Layout) -> Path | None:
    """Give the current copy a second name, so that there is a current one at every moment."""
    if not layout.current_snapshot.exists():
        return None
    previous = layout.snapshots / "previous.duckdb"
    second = layout.snapshots / f"{UNFINISHED}previous.duckdb"
    second.unlink(missing_ok=True)
    try:
        os.link(layout.current_snapshot, second)
    except OSError:  # a file system without hard links
        layout.current_snapshot.replace(previous)
        return previous
    second.replace(previous)
    second.unlink(missing_ok=True)  # renaming one name of a file to another name of it does nothing
    return previous


def _no_space(layout: Layout, size: int, free: int) -> NoSpace:
    return NoSpace(
        f"publishing {layout.database} needs {(size + SPACE_MARGIN) / 2**20:.0f} MB in {layout.snapshots}, "
        f"{free / 2**20:.0f} MB are free; readers keep the copy they had. Free space and run `pathscope publish`."
    )
