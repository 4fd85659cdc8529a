"""What every change to an archive by hand shares: the lock, one transaction, and a row that says who did it."""

import getpass
import os
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from pathlib import Path

import duckdb

from archive.errors import UnknownName, UsageError
from archive.identity import canonical_json
from archive.layout import Layout
from archive.lock import writer_lock
from archive.store import (
    WRITE_PATIENCE,
    Archive,
    check_schema,
    connect,
    driver,
    explain_damage,
)

LIST_RUNS = '`pathscope sql "SELECT run FROM v_run"`'


@contextmanager
def changing(
    layout: Layout, action: str, *, patience: float = WRITE_PATIENCE
) -> Iterator[duckdb.DuckDBPyConnection]:
    """The archive opened for writing, under the writer's lock, inside one transaction.

    COMMIT when the block ends, ROLLBACK when it raises. Raises ArchiveNotFound before anything is touched,
    ArchiveBusy naming the holder after `patience` seconds.
    """
    with (
        locked(layout, action, patience=patience),
        explain_damage(layout.database),
        connect(layout.database, read_only=False, patience=patience) as connection,
    ):
        raw = driver(connection)
        check_schema(raw, layout.database)
        with connection.begin():
            yield raw


@contextmanager
def locked(layout: Layout, action: str, *, patience: float = WRITE_PATIENCE) -> Iterator[None]:
    """The writer's lock of an archive that exists; nobody writes and the file is not open here.

    Raises ArchiveNotFound, ArchiveBusy, and UsageError where the user may not write.
    """
    require(layout)
    with ExitStack() as stack:
        try:
            stack.enter_context(writer_lock(layout, action, patience=patience))
        except OSError as error:
            raise UsageError(
                f"cannot {action}: {error.filename or layout.folder} cannot be written ({error.strerror}). Copy the "
                f"archive to where you may write, or ask its owner."
            ) from error
        yield


def require(layout: Layout) -> None:
    """Raise ArchiveNotFound unless the archive is there, without making its folder."""
    Archive(layout.database)


def audit(
    connection: duckdb.DuckDBPyConnection, action: str, target: str, detail: Mapping[str, object]
) -> None:
    """Write down, inside the change's own transaction, who did what to what."""
    connection.execute(
        """INSERT INTO audit SELECT coalesce(max(id), 0) + 1, now(), $who, $action, $target, $detail FROM audit""",
        {"who": who(), "action": action, "target": target, "detail": canonical_json(detail)},
    )


def who() -> str:
    """The user's name; a number where the system knows no name (containers)."""
    try:
        return getpass.getuser()
    except (KeyError, OSError):
        return f"uid {os.getuid()}"


def find_run(connection: duckdb.DuckDBPyConnection, name: str) -> tuple[int, str]:
    """(id, canonical name) of a run given its name or an alias that only one run has.

    Raises UnknownName with the nearest names; UsageError when several runs go by the alias.
    """
    found = connection.execute("SELECT id, name FROM run WHERE name = $name", {"name": name}).fetchall()
    found = found or (
        connection.execute(
            "SELECT DISTINCT r.id, r.name FROM run_alias a JOIN run r ON r.id = a.run_id WHERE a.alias = $name "
            "ORDER BY r.name",
            {"name": name},
        ).fetchall()
    )
    if not found:
        known = [n for (n,) in connection.execute("SELECT name FROM v_run_name").fetchall()]
        raise UnknownName.of("run", name, known, listing=LIST_RUNS)
    if len(found) > 1:
        names = ", ".join(repr(n) for _, n in found)
        raise UsageError(f"{name!r} is what sources call {len(found)} different runs: give one of {names}.")
    return int(found[0][0]), str(found[0][1])


def quoted(path: Path) -> str:
    """A path as an SQL string."""
    return "'" + str(path).replace("'", "''") + "'"
