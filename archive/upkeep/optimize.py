"""Rewriting an archive with its facts in the order in which questions over training read them."""

import errno
import os
import shutil
from dataclasses import dataclass
from pathlib import Path

import duckdb

from archive.errors import NoSpace, PathscopeError
from archive.layout import Layout
from archive.schema.facts import CONTENT, FACTS, OWNER_COLUMNS, FactTable
from archive.store import WRITE_PATIENCE, connect, driver, explain_damage, patiently
from archive.upkeep.change import audit, locked, quoted
from archive.upkeep.prune import Pruned, prune
from archive.upkeep.publish import SPACE_MARGIN, flush_folder, settle_wal

# what tells rows of one (subject, quantity) apart: these are followed over training, so they come before the run;
# any other key column (position, item, step ...) enumerates rows that are read together, so it comes after
COMPONENTS = frozenset(
    ("layer", "head", "unit", "src_layer", "dst_layer", "layer_a", "layer_b", "unit_a", "unit_b")
)


@dataclass(frozen=True)
class Optimized:
    """Sizes in bytes before and after, rows written, and what retention removed."""

    n_bytes_before: int
    n_bytes_after: int
    n_rows: int
    pruned: Pruned


def step(name: str) -> None:
    """Marks a point between two steps; crash tests stop here."""


def optimize(layout: Layout, *, patience: float = WRITE_PATIENCE) -> Optimized:
    """Write the archive anew, sorted, compare it with the old one, and put it in its place by one rename.

    Facts are sorted by quantity, part and component, then run, checkpoint and what is enumerated in it. Until the
    rename the old file is only read, so a kill leaves it as it was; readers may stay open throughout.
    Also gives back the space of deleted rows, mends damaged indexes, and applies retention to the folders.
    Raises NoSpace before the disk would fill, PathscopeError when the new file is not equal to the old one.
    """
    with locked(layout, "optimize", patience=patience), explain_damage(layout.database):
        settle_wal(layout.database, patience)
        before = layout.database.stat().st_size
        free = shutil.disk_usage(layout.database.parent).free
        if free < before + SPACE_MARGIN:
            raise _no_space(layout, before, free)
        fresh = layout.database.with_name(f".{layout.database.stem}.optimize.duckdb")
        _remove(fresh)
        try:
            n_rows = _rebuild(layout.database, fresh, before, patience)
            step("rebuilt")
            _flush(fresh)
            shutil.copymode(layout.database, fresh)
            after = fresh.stat().st_size
            fresh.replace(layout.database)
            step("swapped")
        except OSError as error:
            if error.errno == errno.ENOSPC:
                raise _no_space(layout, before, free) from error
            raise
        finally:
            _remove(fresh)
        flush_folder(layout.database.parent)
        pruned = prune(layout)
    return Optimized(before, after, n_rows, pruned)


def order_of(spec: FactTable) -> tuple[str, ...]:
    """The columns by which a fact or content table is sorted."""
    owner = OWNER_COLUMNS[spec.owner]
    if not spec.has_quantity:
        return (*owner, *spec.key)
    part = ("part_id",) if spec.has_part else ()
    components = tuple(k for k in spec.key if k in COMPONENTS)
    return ("quantity_id", *part, *components, *owner, *(k for k in spec.key if k not in COMPONENTS))


def _rebuild(database: Path, fresh: Path, before: int, patience: float) -> int:
    """Write `fresh` from `database`; returns the number of rows, which are equal in both."""
    orders = {spec.name: order_of(spec) for spec in (*FACTS, *CONTENT)}
    orders["cell"] = orders["failure"] = ("subject_kind", "subject_id", "quantity_id")
    n_rows = 0
    with connect(fresh, read_only=False, patience=patience) as connection, explain_damage(database):
        raw = driver(connection)
        raw.execute("PRAGMA disable_progress_bar")
        patiently(lambda: raw.execute(f"ATTACH {quoted(database)} AS old (READ_ONLY)"), database, patience)
        here = raw.execute("SELECT current_database()").fetchone()
        assert here is not None
        raw.execute(f'COPY FROM DATABASE old TO "{here[0]}" (SCHEMA)')
        step("schema copied")
        tables = raw.execute(
            "SELECT schema_name, table_name FROM duckdb_tables() WHERE database_name = 'old' AND NOT internal ORDER BY ALL"
        ).fetchall()
        for schema, name in tables:
            table = f'"{schema}"."{name}"'
            order = f"ORDER BY {', '.join(orders[name])}" if name in orders else ""
            with connection.begin():
                raw.execute(f"INSERT INTO {table} SELECT * FROM old.{table} {order}")
            n_rows += _same_rows(raw, table, database)
            step(f"copied {name}")
        raw.execute("DETACH old")
        with connection.begin():
            audit(raw, "optimize", database.name, {"bytes_before": before, "rows": n_rows})
        raw.execute("CHECKPOINT")
    return n_rows


def _same_rows(raw: duckdb.DuckDBPyConnection, table: str, database: Path) -> int:
    """Raise unless both files hold the same rows of a table, whatever their order."""
    sql = "SELECT count(*), sum(hash(t)) FROM {} t"
    old, new = raw.execute(sql.format(f"old.{table}")).fetchone(), raw.execute(sql.format(table)).fetchone()
    if old is None or new is None or old != new:
        raise PathscopeError(
            f"the rewritten {table} has other rows than {database} ({new} and {old} as count and checksum): the old "
            f"file stays. `pathscope verify --archive {database}` checks it."
        )
    return int(new[0])


def _flush(file: Path) -> None:
    wal = file.with_name(f"{file.name}.wal")
    if wal.exists():
        raise PathscopeError(f"{wal} was not folded into the rewritten file; the old archive stays.")
    with file.open("rb") as handle:
        os.fsync(handle.fileno())


def _remove(fresh: Path) -> None:
    """Delete a rewritten file that is not, or no longer, needed, with what DuckDB put beside it."""
    fresh.unlink(missing_ok=True)
    fresh.with_name(f"{fresh.name}.wal").unlink(missing_ok=True)
    shutil.rmtree(fresh.with_name(f"{fresh.name}.tmp"), ignore_errors=True)


def _no_space(layout: Layout, size: int, free: int) -> NoSpace:
    return NoSpace(
        f"optimizing {layout.database} needs {(size + SPACE_MARGIN) / 2**20:.0f} MB beside it, "
        f"{free / 2**20:.0f} MB are free; nothing was changed. Free space and run `pathscope optimize`."
    )
