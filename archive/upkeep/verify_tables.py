"""Checks of the small tables: every id leads somewhere, the ledger is consistent, the schema is the declared one."""

from collections.abc import Iterator

from archive.macros import MACROS
from archive.manifest import SUBJECT_OF_OWNER
from archive.schema.base import SubjectKind
from archive.schema.dimensions import DIMENSIONS
from archive.schema.facts import FACTS, all_fact_tables
from archive.store import Archive
from archive.upkeep.findings import DAMAGED, MAX_EXAMPLES, Finding, offenders
from archive.upkeep.references import REFERENCES
from archive.upkeep.verify_facts import doubles
from archive.views import VIEWS, views_hash

_CONTRACT_SQL = """\
SELECT view_name AS name FROM duckdb_views() WHERE NOT internal
UNION ALL
SELECT function_name FROM duckdb_functions() WHERE function_type = 'table_macro' AND NOT internal"""

SUBJECTS = {
    SubjectKind.RUN: "run",
    SubjectKind.CHECKPOINT: "checkpoint",
    SubjectKind.PAIR: "checkpoint_pair",
}


def check_references(archive: Archive) -> Iterator[Finding]:
    """Rows that point to what does not exist, in dimensions, ledger and content."""
    with archive.session():
        for ref in REFERENCES:
            none = "" if ref.none is None else f"AND x.{ref.column} <> {ref.none}"
            yield from offenders(
                archive,
                "orphan",
                f"{ref.table}.{ref.column}",
                f"""SELECT x.{ref.column}, count(*) AS n_rows FROM {ref.table} x
                    WHERE x.{ref.column} NOT IN (SELECT id FROM {ref.target}) {none} GROUP BY ALL""",
                f"{ref.table} has {{n}} value(s) of {ref.column} that {ref.target} does not have",
            )


def check_ledger(archive: Archive) -> Iterator[Finding]:
    """Cells that are there twice, about nothing or of the wrong kind, and reasons without a cell."""
    key = ("subject_kind", "subject_id", "quantity_id")
    columns = ", ".join(key)
    with archive.session():
        yield from doubles(archive, "cell", key, "cell")
        for table in ("cell", "failure"):
            for kind, target in SUBJECTS.items():
                yield from offenders(
                    archive,
                    "orphan",
                    f"{table}.subject_id",
                    f"""SELECT subject_id AS {target}_id, count(*) AS n_rows FROM {table}
                        WHERE subject_kind = {int(kind)} AND subject_id NOT IN (SELECT id FROM {target}) GROUP BY ALL""",
                    f"{table} is about {{n}} {target}(s) that do not exist",
                )
        yield from offenders(
            archive,
            "orphan",
            "failure",
            f"SELECT {columns}, error_class FROM failure x ANTI JOIN cell USING ({columns})",
            "{n} reason(s) for a failure belong to no cell",
        )
        homes = ", ".join(f"('{t.name}', {int(SUBJECT_OF_OWNER[t.owner])})" for t in FACTS)
        yield from offenders(
            archive,
            "rows",
            "cell",
            f"""SELECT {columns}, n_rows, m.table_name FROM cell x
                JOIN quantity q ON q.id = x.quantity_id JOIN measure m ON m.id = q.measure_id
                LEFT JOIN (VALUES {homes}) home(name, kind) ON home.name = m.table_name
                WHERE x.n_rows > 0 AND home.kind IS DISTINCT FROM x.subject_kind""",
            "{n} cell(s) announce rows, but their measure's table holds another kind of subject",
        )


def check_segments(archive: Archive) -> Iterator[Finding]:
    """Segments of one log that overlap: one of them should have replaced the other."""
    yield from offenders(
        archive,
        "double",
        "log_segment",
        """SELECT run_id, quantity_id, after_step, last_step FROM (
             SELECT *, max(last_step) OVER (PARTITION BY run_id, quantity_id ORDER BY after_step, last_step
                                            ROWS BETWEEN UNBOUNDED PRECEDING AND 1 PRECEDING) AS reached
             FROM log_segment) WHERE after_step < reached""",
        "{n} segment(s) of training logs overlap the one before",
    )


def check_shape(archive: Archive) -> Iterator[Finding]:
    """Tables and columns as declared, views as this version words them."""
    tables = [*DIMENSIONS, *(spec.table for spec in all_fact_tables())]
    declared = {(t.name, c.name) for t in tables for c in t.columns}
    with archive.session():
        stored = {
            (r["table_name"], r["column_name"])
            for r in archive.rows("SELECT table_name, column_name FROM duckdb_columns() WHERE NOT internal")
        }
        words = [r["value"] for r in archive.rows("SELECT value FROM archive_info WHERE key = 'views'")]
        views = {r["name"] for r in archive.rows(_CONTRACT_SQL)}
    missing = sorted(f"{table}.{column}" for table, column in declared - stored)
    if missing:
        names = ", ".join(missing[:MAX_EXAMPLES])
        yield Finding(
            "schema",
            missing[0],
            f"{len(missing)} declared column(s) are missing: {names}",
            DAMAGED,
            len(missing),
        )
    gone = sorted({*(v.name for v in VIEWS), *(m.name for m in MACROS)} - views)
    if gone:
        text = f"{len(gone)} view(s) or table macro(s) are missing: {', '.join(gone[:MAX_EXAMPLES])}"
        yield Finding("views", gone[0], text, "pathscope upgrade", len(gone))
    elif words != [views_hash()]:
        yield Finding("views", "archive_info", "the views are those of another version", "pathscope upgrade")
