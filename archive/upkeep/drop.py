"""Taking things out of an archive: a run, a study, an imported source or a measure, with all that hangs on it.

One plan says which rows go; the dry run counts them, the real thing deletes them in one transaction, so it
happened or it did not. Ids of what goes are collected in temporary tables, which every statement then reads.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import duckdb

from archive.errors import UnknownName, UsageError
from archive.layout import Layout
from archive.manifest import SUBJECT_OF_OWNER
from archive.schema.facts import FACTS, OWNER_COLUMNS
from archive.store import READ_PATIENCE, WRITE_PATIENCE, Archive
from archive.upkeep.change import audit, changing, find_run
from archive.upkeep.weights import put_aside, settle, weight_folders

Target = Literal["run", "study", "source", "measure"]

_QUANTITIES = "SELECT id FROM quantity WHERE {column} IN (SELECT id FROM target)"
_STUDY_SHARDS = "SELECT id FROM shard WHERE study_id IN (SELECT id FROM target)"
_SOURCE_FILES = "SELECT id FROM source_file WHERE source_id IN (SELECT id FROM target)"
# every run that a cell is about; a pair is about two
_ABOUT = """
  SELECT 0 AS subject_kind, id AS subject_id, id AS run_id FROM run
  UNION ALL SELECT 1, id, run_id FROM checkpoint
  UNION ALL SELECT DISTINCT 2, k.id, c.run_id FROM checkpoint_pair k
  JOIN checkpoint c ON c.id IN (k.checkpoint_a, k.checkpoint_b)"""
_KEY = "(subject_kind, subject_id, quantity_id)"
_ALL_CELLS = """
  SELECT subject_kind::INTEGER AS subject_kind, subject_id, quantity_id, shard_id, file_id FROM cell
  UNION ALL SELECT DISTINCT 0, run_id, quantity_id, shard_id, 0 FROM log_segment"""
# which of these cells a target takes with it; a log that is still growing has segments but no cell
_GONE_CELLS: dict[Target, str] = {
    "run": f"""(subject_kind, subject_id) IN
               (SELECT (subject_kind, subject_id) FROM ({_ABOUT}) WHERE run_id IN (SELECT id FROM target))""",
    "study": f"shard_id IN ({_STUDY_SHARDS})",
    "source": f"quantity_id IN ({_QUANTITIES.format(column='source_id')}) OR file_id IN ({_SOURCE_FILES})",
    "measure": f"quantity_id IN ({_QUANTITIES.format(column='measure_id')})",
}
_GONE_QUANTITIES: dict[Target, str] = {
    "source": _QUANTITIES.format(column="source_id"),
    "measure": _QUANTITIES.format(column="measure_id"),
}
# runs that go if nothing else speaks of them
_CANDIDATES: dict[Target, str] = {
    "run": "SELECT id FROM target",
    "study": """SELECT run_id AS id FROM study_run GROUP BY run_id
                HAVING bool_and(study_id IN (SELECT id FROM target))""",
    "source": """SELECT id FROM run WHERE source_id IN (SELECT id FROM target)
                 AND id NOT IN (SELECT run_id FROM study_run)""",
}


@dataclass(frozen=True)
class Dropped:
    """What goes, or went: rows per table, runs by name, folders of weights; `kept` says what stays and why."""

    target: Target
    name: str
    rows: dict[str, int]
    runs: tuple[str, ...]
    weights: tuple[Path, ...]
    kept: tuple[str, ...]


def step(name: str) -> None:
    """Marks a point between two steps of a drop; crash tests stop here."""


def plan_drop(layout: Layout, target: Target, name: str, *, patience: float = READ_PATIENCE) -> Dropped:
    """What `drop` would remove, counted exactly; changes nothing. Raises UnknownName with the nearest names."""
    with Archive(layout.database, patience=patience).session() as connection:
        return _plan(connection, layout, target, name)


def drop(layout: Layout, target: Target, name: str, *, patience: float = WRITE_PATIENCE) -> Dropped:
    """Remove a run, study, source or measure with everything measured of it, and write an audit row.

    study: the cells its units brought, and its runs of which nothing else is stored. source: the values, files,
    aliases and notes it brought, and its runs of which nothing else is stored; it can be imported again. measure:
    `name`, or `name@version` for one version. Weights of dropped runs go too unless other runs share their folder.
    Killed midway, the same command finishes it. Raises ArchiveBusy when a run to drop is being trained.
    """
    before: set[str] = set()
    try:
        with changing(layout, "drop", patience=patience) as connection:
            before = _run_names(connection)
            settle(layout, before)  # an earlier drop may have been killed
            dropped = _plan(connection, layout, target, name)
            for table, where in _conditions(target):
                connection.execute(f"DELETE FROM {table} WHERE {where}")
            if target == "study":
                connection.execute(f"UPDATE shard SET study_id = 0 WHERE id IN ({_STUDY_SHARDS})")
            audit(
                connection, "drop", f"{target} {dropped.name}", {"rows": dropped.rows, "runs": dropped.runs}
            )
            left = _run_names(connection)
            put_aside(layout, dropped.weights)
            step("weights put aside")
    except BaseException:
        if before:  # nothing was deleted, so weights go back
            settle(layout, before)
        raise
    step("committed")
    settle(layout, left)
    return dropped


def _plan(connection: duckdb.DuckDBPyConnection, layout: Layout, target: Target, name: str) -> Dropped:
    """Fill the temporary tables and count what they take with them."""
    name, ids = _choose(connection, target, name)
    _collect(connection, target, ids)
    rows = {}
    for table, where in _conditions(target):
        found = connection.execute(f"SELECT count(*) FROM {table} WHERE {where}").fetchone()
        if found is not None and found[0]:
            rows[table] = int(found[0])
    runs = connection.execute("SELECT name FROM run WHERE id IN (SELECT id FROM gone_run) ORDER BY name")
    gone = [n for (n,) in runs.fetchall()]
    weights, kept = [], []
    for folder, inside in weight_folders(layout) if gone else ():
        if inside <= set(gone):
            weights.append(folder)
        elif others := inside.intersection(gone):
            kept.append(
                f"weights of {', '.join(sorted(others))} in {folder}, which {len(inside - set(gone))} other run(s) share"
            )
    if target == "source" and "source" not in rows:
        kept.append(f"the row of source {name!r}: runs that others have measured name it as theirs")
    return Dropped(target, name, rows, tuple(gone), tuple(weights), tuple(kept))


def _choose(connection: duckdb.DuckDBPyConnection, target: Target, name: str) -> tuple[str, list[int]]:
    """The thing's canonical name and its ids."""
    if target == "run":
        identity, name = find_run(connection, name)
        return name, [identity]
    if target == "source" and name == "pathscope":
        raise UsageError(
            "source 'pathscope' is everything measured here: drop runs, studies or measures instead."
        )
    wanted, _, version = name.partition("@") if target == "measure" else (name, "", "")
    found = connection.execute(
        f"SELECT id, {'version' if target == 'measure' else '0'} AS version FROM {target} WHERE name = $name",
        {"name": wanted},
    ).fetchall()
    ids = [int(i) for i, v in found if not version or str(v) == version]
    if not ids:
        text = "name || '@' || version" if target == "measure" else "name"
        known = [n for (n,) in connection.execute(f"SELECT {text} FROM {target}").fetchall()]
        view, column = f"v_{target}", target
        raise UnknownName.of(target, name, known, listing=f'`pathscope sql "SELECT {column} FROM {view}"`')
    return name, ids


def _collect(connection: duckdb.DuckDBPyConnection, target: Target, ids: list[int]) -> None:
    """Temporary tables of the ids that go: target, gone_cell, gone_quantity, gone_run, gone_checkpoint, gone_pair."""
    nothing = "SELECT 0 AS id WHERE false"
    candidates = _CANDIDATES.get(target, nothing)
    spared = (
        nothing
        if target == "run"
        else f"""SELECT run_id AS id FROM ({_ABOUT}) a WHERE (subject_kind, subject_id) IN
                 (SELECT (subject_kind, subject_id) FROM ({_ALL_CELLS}) WHERE {_KEY} NOT IN (SELECT {_KEY} FROM gone_cell))"""
    )
    for table, sql in (
        ("target", f"SELECT unnest({ids!r}) AS id"),
        (
            "gone_cell",
            f"SELECT DISTINCT subject_kind, subject_id, quantity_id FROM ({_ALL_CELLS}) WHERE {_GONE_CELLS[target]}",
        ),
        ("gone_quantity", _GONE_QUANTITIES.get(target, nothing)),
        ("gone_run", f"({candidates}) EXCEPT ({spared})"),
        ("gone_checkpoint", "SELECT id FROM checkpoint WHERE run_id IN (SELECT id FROM gone_run)"),
        (
            "gone_pair",
            """SELECT id FROM checkpoint_pair WHERE checkpoint_a IN (SELECT id FROM gone_checkpoint)
               OR checkpoint_b IN (SELECT id FROM gone_checkpoint)""",
        ),
    ):
        connection.execute(f"CREATE OR REPLACE TEMP TABLE {table} AS {sql}")


def _conditions(target: Target) -> Iterator[tuple[str, str]]:
    """(table, condition) of every row that goes; a row that others point to comes after them."""
    cell = f"{_KEY} IN (SELECT {_KEY} FROM gone_cell)"
    in_run, in_quantity = (
        "run_id IN (SELECT id FROM gone_run)",
        "quantity_id IN (SELECT id FROM gone_quantity)",
    )
    for spec in FACTS:
        owner = OWNER_COLUMNS[spec.owner][-1]
        key = f"({int(SUBJECT_OF_OWNER[spec.owner])}, {owner}, quantity_id)"
        whole = "pair_id IN (SELECT id FROM gone_pair)" if spec.owner == "pair" else in_run
        yield spec.name, f"{key} IN (SELECT {_KEY} FROM gone_cell) OR {in_quantity} OR {whole}"
    yield "log_segment", f"(0, run_id, quantity_id) IN (SELECT {_KEY} FROM gone_cell)"
    yield "failure", f"{cell} OR {in_quantity}"
    if target == "source":
        yield "source_file", "source_id IN (SELECT id FROM target)"
    else:  # files of which nothing is left, so that they can be imported again
        yield (
            "source_file",
            f"""id IN (SELECT file_id FROM cell WHERE {cell})
                AND id NOT IN (SELECT file_id FROM cell WHERE {_KEY} NOT IN (SELECT {_KEY} FROM gone_cell))""",
        )
    yield "cell", cell
    yield "checkpoint_pair", "id IN (SELECT id FROM gone_pair)"
    yield "checkpoint", "id IN (SELECT id FROM gone_checkpoint)"
    yield "checkpoint_block", in_run
    said_by = " OR source_id IN (SELECT id FROM target)" if target == "source" else ""
    yield "run_alias", in_run + said_by
    yield "run_note", in_run + said_by
    yield "run_tag", in_run
    yield "exclusion", in_run
    yield "study_run", in_run + (" OR study_id IN (SELECT id FROM target)" if target == "study" else "")
    yield "run", "id IN (SELECT id FROM gone_run)"
    yield "quantity", "id IN (SELECT id FROM gone_quantity)"
    if target in ("study", "measure"):
        yield target, "id IN (SELECT id FROM target)"
    elif target == "source":
        yield (
            "source",
            """id IN (SELECT id FROM target) AND id NOT IN
               (SELECT source_id FROM run WHERE id NOT IN (SELECT id FROM gone_run))""",
        )


def _run_names(connection: duckdb.DuckDBPyConnection) -> set[str]:
    return {n for (n,) in connection.execute("SELECT name FROM run").fetchall()}
