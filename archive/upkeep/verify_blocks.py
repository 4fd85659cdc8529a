"""Reading every block of an archive, and saying what a damaged one held."""

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import duckdb
from sqlalchemy.exc import DBAPIError

from archive.errors import ArchiveDamaged
from archive.store import Archive
from archive.upkeep.findings import DAMAGED, MAX_EXAMPLES, Finding
from archive.upkeep.raw_file import bad_blocks, block_offset

# what a damaged file makes DuckDB, SQLAlchemy or our own wording of them raise
TROUBLE = (duckdb.Error, DBAPIError, ArchiveDamaged)
ROW_GROUP = 122_880

Step = Callable[[str], None]
Rows = dict[str, int]  # of every table that could be read


def table_names(archive: Archive) -> list[str]:
    """Every table of the file, also those that are not ours."""
    return [
        r["table_name"] for r in archive.rows("SELECT table_name FROM duckdb_tables() ORDER BY table_name")
    ]


def read_table(archive: Archive, table: str, rows: Rows) -> Iterator[Finding]:
    """Read every value of a table and put its number of rows into `rows`."""
    try:
        # a hash of whole rows cannot be answered from statistics, so every block is read
        found = archive.rows(f'SELECT count(*) AS n, sum(hash(t)) AS h FROM "{table}" t')
        rows[table] = int(found[0]["n"])
    except TROUBLE as error:
        yield _damaged_table(archive, table, error)


def check_block_sums(archive: Archive, damaged: Sequence[str], on_step: Step) -> list[Finding]:
    """Check the stored checksum of every used block, also of indexes, which no query reads.

    damaged: tables that could not be read, which some of the blocks then belong to.
    """
    on_step("checking block checksums")
    try:
        with archive.session():  # keeps writers out while another process reads the bytes
            bad = bad_blocks(archive.file)
    except TROUBLE as error:
        return [unreadable(archive.file, error)]
    except OSError as error:
        return [Finding("damage", str(archive.file), f"cannot be read: {error.strerror}", DAMAGED)]
    if not bad:
        return []
    first = ", ".join(f"{b} (byte {block_offset(b)})" for b in bad[:MAX_EXAMPLES])
    message = f"{len(bad)} block(s) do not have their checksum: {first}"
    message += (
        f". Some belong to {', '.join(damaged)}."
        if damaged
        else ". They hold no table's rows but indexes: no result is lost, but a commit that needs one of them will "
        "fail. Writing the file anew mends it."
    )
    examples = tuple({"block": b, "byte": block_offset(b)} for b in bad[:MAX_EXAMPLES])
    command = DAMAGED if damaged else "pathscope optimize"
    return [Finding("damage", str(archive.file), message, command, len(bad), examples)]


def unreadable(file: Path, error: Exception) -> Finding:
    """The finding for a file that cannot be opened at all."""
    return Finding("damage", str(file), str(error).splitlines()[0], DAMAGED)


def _damaged_table(archive: Archive, table: str, error: Exception) -> Finding:
    """Which columns and rows of a table cannot be read, and whose rows they are."""
    columns: list[str] = []
    stretches: list[dict[str, object]] = []
    try:
        columns = _columns(archive, table)
        bad = [c for c in columns if not _reads(archive, table, c)]
        stretches = _stretches(archive, table, bad)
        if "run_id" in columns and "run_id" not in bad:
            for stretch in stretches:
                stretch["runs"] = _runs(archive, table, stretch)
        columns = bad
    except TROUBLE:
        columns = []  # the description of the table is damaged too
    rows = "; ".join(
        f"rows {s['first_row']}-{s['last_row']} of {s['column']}"
        + (f" (runs {s['runs']})" if "runs" in s else "")
        for s in stretches[:MAX_EXAMPLES]
    )
    return Finding(
        "damage",
        f"{table}.{columns[0]}" if len(columns) == 1 else table,
        f"{table} cannot be read whole"
        + (f": {rows}" if rows else "")
        + f" ({str(error).splitlines()[0][:160]})",
        DAMAGED,
        max(len(stretches), 1),
        tuple(stretches[:MAX_EXAMPLES]),
    )


def _columns(archive: Archive, table: str) -> list[str]:
    sql = "SELECT column_name FROM duckdb_columns() WHERE table_name = $table ORDER BY column_index"
    return [r["column_name"] for r in archive.rows(sql, {"table": table})]


def _reads(archive: Archive, table: str, column: str, where: str = "") -> bool:
    try:
        archive.rows(f'SELECT sum(hash("{column}")) AS h FROM "{table}" {where}')
    except TROUBLE:
        return False
    return True


def _stretches(archive: Archive, table: str, columns: Sequence[str]) -> list[dict[str, object]]:
    """Row numbers of what is lost, in steps of a row group, DuckDB's unit of storage."""
    last = archive.rows(f'SELECT coalesce(max(rowid), -1) AS last FROM "{table}"')[0]["last"]
    return [
        {"column": column, "first_row": low, "last_row": min(low + ROW_GROUP - 1, last)}
        for column in columns
        for low in range(0, last + 1, ROW_GROUP)
        if not _reads(archive, table, column, f"WHERE rowid BETWEEN {low} AND {low + ROW_GROUP - 1}")
    ]


def _runs(archive: Archive, table: str, stretch: dict[str, object]) -> str:
    """Names of the first runs whose rows lie in a stretch that cannot be read."""
    sql = f"""SELECT DISTINCT coalesce(r.name, t.run_id::VARCHAR) AS run FROM "{table}" t
              LEFT JOIN run r ON r.id = t.run_id WHERE t.rowid BETWEEN $low AND $high ORDER BY run"""
    names = [r["run"] for r in archive.rows(sql, {"low": stretch["first_row"], "high": stretch["last_row"]})]
    more = f" and {len(names) - MAX_EXAMPLES} more" if len(names) > MAX_EXAMPLES else ""
    return ", ".join(names[:MAX_EXAMPLES]) + more
