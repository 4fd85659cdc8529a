"""What keys would make sure of elsewhere: rows against cells, ids that exist, no row twice.

Set-based: a few statements per table, whatever the number of cells.
"""

from collections.abc import Iterator

from archive.manifest import SUBJECT_OF_OWNER
from archive.schema.facts import OWNER_COLUMNS, FactTable
from archive.store import Archive
from archive.upkeep.findings import Finding, offenders

# rows grouped in one statement when looking for doubles; a group takes some 80 bytes of memory
ROWS_AT_ONCE = 5_000_000
SUBJECT_TABLES = {"run": "run", "checkpoint": "checkpoint", "pair": "checkpoint_pair"}


def check_fact_table(archive: Archive, spec: FactTable) -> Iterator[Finding]:
    """Rows against the ledger, unknown ids, doubled rows of one fact table, all seen in one session."""
    ids = [*OWNER_COLUMNS[spec.owner], "quantity_id", *(["part_id"] if spec.has_part else [])]
    with archive.session() as connection:
        connection.execute(
            f"CREATE OR REPLACE TEMP TABLE seen AS SELECT {', '.join(ids)}, count(*) AS n FROM {spec.name} GROUP BY ALL"
        )
        yield from _rows_against_cells(archive, spec)
        yield from _unknown_ids(archive, spec)
        yield from _doubled_rows(archive, spec)


def check_content_table(archive: Archive, spec: FactTable) -> Iterator[Finding]:
    """Doubled rows of a content table; that its owner exists is checked with the other references."""
    yield from doubles(archive, spec.name, spec.stored_key, spec.name)


def doubles(
    archive: Archive, table: str, key: tuple[str, ...], rows: str, where: str = ""
) -> Iterator[Finding]:
    """Rows that share their key."""
    columns = ", ".join(key)
    sql = f"SELECT {columns}, count(*) AS times FROM {rows} {where} GROUP BY ALL HAVING count(*) > 1"
    yield from offenders(archive, "double", table, sql, f"{{n}} key(s) of {table} are there more than once")


def _rows_against_cells(archive: Archive, spec: FactTable) -> Iterator[Finding]:
    kind = int(SUBJECT_OF_OWNER[spec.owner])
    compared = f"""
        SELECT subject_id, quantity_id, found.n AS rows_found, said.n AS rows_announced
        FROM (SELECT {OWNER_COLUMNS[spec.owner][-1]} AS subject_id, quantity_id, sum(n)::BIGINT AS n
              FROM seen GROUP BY ALL) found
        FULL JOIN (SELECT l.subject_id, l.quantity_id, max(l.n_rows) AS n FROM cell l
                   JOIN quantity q ON q.id = l.quantity_id JOIN measure m ON m.id = q.measure_id
                   WHERE l.subject_kind = {kind} AND m.table_name = '{spec.name}' GROUP BY ALL) said
          USING (subject_id, quantity_id)"""
    # a run that is still training has log segments before it has a cell
    growing = (
        "AND (subject_id, quantity_id) NOT IN (SELECT (run_id, quantity_id) FROM log_segment)"
        if spec.name == "fact_log"
        else ""
    )
    yield from offenders(
        archive,
        "orphan",
        spec.name,
        _named(f"SELECT * FROM ({compared}) WHERE rows_announced IS NULL {growing}", kind),
        f"{{n}} (subject, quantity) of {spec.name} have rows but no cell in the ledger",
    )
    yield from offenders(
        archive,
        "rows",
        spec.name,
        _named(f"SELECT * FROM ({compared}) WHERE coalesce(rows_found, 0) <> rows_announced", kind),
        f"{{n}} cell(s) of {spec.name} have other numbers of rows than the ledger announces",
    )


def _named(wrong: str, kind: int) -> str:
    """The same rows with the run, step and measure they are about."""
    label, subjects = {
        0: ("run", "SELECT id, name, NULL AS step FROM run"),
        1: ("checkpoint", "SELECT c.id, r.name, c.step FROM checkpoint c JOIN run r ON r.id = c.run_id"),
        2: (
            "pair",
            "SELECT k.id, r.name, c.step FROM checkpoint_pair k JOIN checkpoint c ON c.id = k.checkpoint_a "
            "JOIN run r ON r.id = c.run_id",
        ),
    }[kind]
    return f"""SELECT s.name AS run, s.step, m.name AS measure, w.subject_id AS {label}_id, w.quantity_id,
                      w.rows_found, w.rows_announced
               FROM ({wrong}) w LEFT JOIN ({subjects}) s ON s.id = w.subject_id
               LEFT JOIN quantity q ON q.id = w.quantity_id LEFT JOIN measure m ON m.id = q.measure_id"""


def _unknown_ids(archive: Archive, spec: FactTable) -> Iterator[Finding]:
    targets = {"quantity_id": "quantity"}
    if spec.has_part:
        targets["part_id"] = "part"
    if spec.owner == "checkpoint":
        yield from offenders(
            archive,
            "orphan",
            f"{spec.name}.checkpoint_id",
            """SELECT run_id, checkpoint_id, sum(n)::BIGINT AS n_rows FROM seen x
               WHERE NOT EXISTS (SELECT 1 FROM checkpoint c WHERE c.id = x.checkpoint_id AND c.run_id = x.run_id)
               GROUP BY ALL""",
            f"rows of {spec.name} belong to {{n}} checkpoint(s) that do not exist or are another run's",
        )
    else:
        targets[OWNER_COLUMNS[spec.owner][0]] = SUBJECT_TABLES[spec.owner]
    for column, target in targets.items():
        yield from offenders(
            archive,
            "orphan",
            f"{spec.name}.{column}",
            f"""SELECT {column}, sum(n)::BIGINT AS n_rows FROM seen
                WHERE {column} NOT IN (SELECT id FROM {target}) GROUP BY ALL""",
            f"rows of {spec.name} have {{n}} value(s) of {column} that {target} does not have",
        )


def _doubled_rows(archive: Archive, spec: FactTable) -> Iterator[Finding]:
    """Looked for in ranges of quantities, so that memory stays bounded."""
    ranges: list[tuple[int, int]] = []
    room = 0
    for row in archive.rows("SELECT quantity_id AS q, sum(n)::BIGINT AS n FROM seen GROUP BY q ORDER BY q"):
        if row["n"] > room:
            ranges.append((row["q"], row["q"]))
            room = ROWS_AT_ONCE
        ranges[-1] = (ranges[-1][0], row["q"])
        room -= row["n"]
    for low, high in ranges:
        where = f"WHERE quantity_id BETWEEN {low} AND {high}"
        yield from doubles(archive, spec.name, spec.stored_key, spec.name, where)
