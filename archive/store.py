"""Opening an archive: short read-only sessions, patient about locks, exact about what is wrong.

Nobody but the committer ever holds the live file open. A reader opens it read-only, asks, and closes;
DuckDB lets many readers in at once but no reader beside a writer, so opening waits a little.
"""

import os
import random
import re
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeVar, cast

import duckdb
import pyarrow as pa
from sqlalchemy import URL, Connection, Engine, create_engine
from sqlalchemy.exc import DBAPIError
from sqlalchemy.pool import NullPool

from archive.errors import (
    ArchiveBusy,
    ArchiveDamaged,
    ArchiveNotFound,
    ArchiveTooNew,
    ArchiveTooOld,
    NoSpace,
    NotAnArchive,
)
from archive.layout import Layout
from archive.lock import give_way, waiting_to_write
from archive.views import older_than

SCHEMA_REVISION = "0001"
READ_PATIENCE = 20.0
WRITE_PATIENCE = 60.0
# how long a reader lets a waiting writer go first: longer than the readers that are already in take
COURTESY = 0.5

T = TypeVar("T")
Parameters = Mapping[str, object] | None


class Archive:
    """A results archive, opened for reading.

    Holding an Archive holds nothing open: every call opens the file read-only, asks and closes, so a
    notebook or the explorer never keeps the committer out. `snapshot=True` reads the published copy.
    """

    def __init__(self, path: str | Path, *, snapshot: bool = False, patience: float = READ_PATIENCE) -> None:
        """`path` is the .duckdb file; `patience` is how many seconds to wait while somebody writes."""
        self.layout = Layout.of(path)
        self.patience = patience
        self.snapshot = snapshot
        self._local = threading.local()
        if not self.file.exists():
            raise _not_found(self.layout, snapshot)
        self._checked: tuple[int, ...] = ()

    @property
    def file(self) -> Path:
        """The database file that is read: the live one or the current snapshot."""
        return self.layout.current_snapshot if self.snapshot else self.layout.database

    @property
    def version(self) -> tuple[int, ...]:
        """Changes whenever the file does; a key for caches. Looks only at the directory entry."""
        stat = os.stat(self.file)
        return (stat.st_ino, stat.st_mtime_ns, stat.st_size)

    @contextmanager
    def session(self) -> Iterator[duckdb.DuckDBPyConnection]:
        """A read-only connection for several questions to one state of the archive.

        Sessions of one thread nest: an inner one joins the outer, so all of them see the same state.
        """
        outer: duckdb.DuckDBPyConnection | None = getattr(self._local, "connection", None)
        if outer is not None:
            yield outer
            return
        with (
            connect(self.file, read_only=True, patience=self.patience) as connection,
            explain_damage(self.file),
        ):
            raw = driver(connection)
            if self._checked != self.version:
                check_schema(raw, self.layout.database)
                self._checked = self.version
            self._local.connection = raw
            try:
                yield raw
            except duckdb.CatalogException as error:
                if name := older_than(str(error)):
                    path = self.layout.database
                    raise ArchiveTooOld(
                        f"{path} is older than {name}: `pathscope upgrade --archive {path}` adds it."
                    ) from error
                raise
            finally:
                self._local.connection = None

    def query(self, sql: str, parameters: Parameters = None) -> pa.Table:
        """Run one statement with named parameters ($name) and return an Arrow table."""
        with self.session() as connection:
            return connection.execute(sql, dict(parameters or {})).to_arrow_table()

    def rows(self, sql: str, parameters: Parameters = None) -> list[dict[str, Any]]:
        """The same as a list of dicts, for results of at most a few thousand rows."""
        rows: list[dict[str, Any]] = self.query(sql, parameters).to_pylist()
        return rows

    def value(self, sql: str, parameters: Parameters = None) -> Any:
        """The single value of a one-row, one-column result."""
        return self.query(sql, parameters).column(0)[0].as_py()

    def __repr__(self) -> str:
        kind = "snapshot of " if self.snapshot else ""
        return f"Archive({kind}{self.layout.database})"


def open_archive(path: str | Path, *, snapshot: bool = False) -> Archive:
    """Open an archive for reading; see `Archive`."""
    return Archive(path, snapshot=snapshot)


def engine_for(file: Path, *, read_only: bool) -> Engine:
    """A SQLAlchemy engine that never pools: a pooled connection would keep everybody else out."""
    return create_engine(
        URL.create("duckdb", database=str(file)),
        poolclass=NullPool,
        pool_reset_on_return=None,  # closing ends the transaction; a ROLLBACK on a damaged file only logs a traceback
        connect_args={
            "read_only": read_only,
            "config": {
                "preserve_insertion_order": True,
                # for new files: from v1.4.0 on DuckDB notices a write-ahead log left by another state of the
                # file; before, it applied it (tests/archive/test_store.py)
                "storage_compatibility_version": "v1.5.0",
                # nothing here needs an extension; without this a foreign file makes DuckDB ask the network
                "autoinstall_known_extensions": False,
                "autoload_known_extensions": False,
            },
        },
    )


def driver(connection: Connection) -> duckdb.DuckDBPyConnection:
    """The DuckDB connection beneath a SQLAlchemy one, in the same transaction."""
    raw = connection.connection.driver_connection
    assert raw is not None
    return cast(duckdb.DuckDBPyConnection, raw)


@contextmanager
def connect(file: Path, *, read_only: bool, patience: float) -> Iterator[Connection]:
    """Open the file, waiting up to `patience` seconds while another process holds it.

    Raises ArchiveBusy naming the holder, ArchiveDamaged or NotAnArchive for a file DuckDB cannot read.
    """
    engine = engine_for(file, read_only=read_only)
    layout = Layout.of(file)
    if read_only:
        give_way(layout, min(patience, COURTESY))
        connection = patiently(engine.connect, file, patience)
    else:
        with waiting_to_write(layout):
            connection = patiently(engine.connect, file, patience, longest_pause=COURTESY / 10)
    try:
        # on by itself in notebooks and `python -c`, where it would land in the middle of an answer
        driver(connection).execute("SET enable_progress_bar = false")
        yield connection
    finally:
        connection.close()
        engine.dispose()


def patiently(action: Callable[[], T], file: Path, patience: float, *, longest_pause: float = 0.5) -> T:
    """Repeat `action` with jittered waits while it fails because another process holds `file`."""
    deadline = time.monotonic() + patience
    pause = 0.01
    while True:
        try:
            return action()
        except Exception as error:
            text = str(error)
            if not any(sign in text for sign in _HELD):
                raise _worded(error, file) from error
            if time.monotonic() + pause > deadline:
                raise ArchiveBusy(
                    f"{file} is held by {held_by(text)}; waited {patience:.0f} s. Try again, "
                    f"or read the published copy (`pathscope publish` makes one)."
                ) from None
            time.sleep(pause * random.uniform(0.5, 1.5))
            pause = min(pause * 1.6, longest_pause)


@contextmanager
def explain_damage(file: Path) -> Iterator[None]:
    """Turn DuckDB's words for a damaged file or a full disk into ours, with the way back."""
    try:
        yield
    except (duckdb.Error, DBAPIError) as error:
        worded = _worded(error, file)
        if worded is error:
            raise
        raise worded from error


def check_schema(connection: duckdb.DuckDBPyConnection, path: Path) -> None:
    """Raise unless the archive has exactly the schema this version needs."""
    tables = connection.execute(
        "SELECT count(*) FROM duckdb_tables() WHERE table_name IN ('alembic_version', 'archive_info')"
    ).fetchone()
    if tables is None or tables[0] < 2:
        raise NotAnArchive(
            f"{path} is a DuckDB file but not a pathscope archive; give another path to --archive."
        )
    found = connection.execute("SELECT version_num FROM alembic_version").fetchone()
    if found is None:
        raise NotAnArchive(f"{path} is a pathscope archive without a schema; give another path to --archive.")
    revision = found[0]
    if revision == SCHEMA_REVISION:
        return
    if revision < SCHEMA_REVISION:
        raise ArchiveTooOld(
            f"{path} has schema {revision}, this version needs {SCHEMA_REVISION}: "
            f"`pathscope upgrade --archive {path}` (a copy is kept beside it)."
        )
    raise ArchiveTooNew(
        f"{path} has schema {revision}, this version knows up to {SCHEMA_REVISION}: upgrade pathscope to read it."
    )


def _not_found(layout: Layout, snapshot: bool) -> ArchiveNotFound:
    if snapshot:
        return ArchiveNotFound(
            f"{layout.database} has no published copy: `pathscope publish --archive {layout.database}`."
        )
    return ArchiveNotFound(
        f"no archive at {layout.database}: `pathscope demo` makes one, `pathscope ingest STUDY.toml "
        f"--archive {layout.database}` or `pathscope import auto PATH --archive {layout.database}` starts one there."
    )


# the second is another thread of this process that reads what is to be written, or the other way round
_HELD = ("Could not set lock", "with a different configuration than existing connections")


def held_by(text: str) -> str:
    """Who holds the lock, from DuckDB's message, which has no fixed form."""
    if _HELD[1] in text:
        return f"another part of this process ({os.getpid()})"
    pid = re.search(r"PID (\d+)", text)
    if not pid:
        return "another process"
    program = re.search(r"held in (\S+)", text)
    return f"process {pid.group(1)}" + (f" ({program.group(1)})" if program else "")


_DAMAGE = (
    "Corrupt",
    "checksum",
    "Could not read enough bytes",
    "not a valid DuckDB database",
    "Failed to load",
)


def _worded(error: Exception, file: Path) -> Exception:
    text = str(error.orig if isinstance(error, DBAPIError) else error)
    if file.is_dir():
        return NotAnArchive(f"{file} is a folder; --archive takes the .duckdb file itself.")
    if "extension" in text and "sqlite_scanner" in text:
        return NotAnArchive(
            f"{file} is an SQLite database, not a pathscope archive; give another path to --archive."
        )
    if isinstance(error, PermissionError) or "Permission denied" in text or "Cannot open file" in text:
        return NotAnArchive(f"{file} cannot be opened ({text.splitlines()[0]}); check its owner and mode.")
    if "No space left" in text or "could not write all bytes" in text.lower():
        return NoSpace(
            f"the disk of {file} is full ({text.splitlines()[0]}); free space and run the same command."
        )
    if "replaying WAL file" in text:
        return ArchiveDamaged(
            f"{file.name}.wal beside {file} does not belong to this state of the file: {text.splitlines()[0][:300]}\n"
            f"After restoring an older copy, move the .wal file away and run `pathscope commit --replay --archive "
            f"{file}`, which offers the units in {Layout.of(file).committed} again."
        )
    if damage := [line for line in text.splitlines() if any(word in line for word in _DAMAGE)]:
        return ArchiveDamaged(
            f"{file} cannot be read: {damage[0][:300]}\n"
            f"Nothing was changed. `pathscope verify --archive {file}` says what is hit; docs/recovery.md gives the "
            f"way back (newest snapshot, then `pathscope commit --replay`)."
        )
    return error
