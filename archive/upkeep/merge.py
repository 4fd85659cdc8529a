"""Joining two archives without measuring anything again.

What the other archive has and this one lacks travels as shards with natural keys through the same committer,
so nothing is doubled and merging twice adds nothing. Where both have a thing, what was here first stays.
"""

import errno
import json
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import duckdb
import pyarrow as pa

from archive.committer import commit_inbox
from archive.errors import NoSpace, UsageError
from archive.layout import Layout
from archive.records import Study
from archive.store import WRITE_PATIENCE, Archive, explain_damage, patiently
from archive.upkeep.change import audit, changing, quoted, require
from archive.upkeep.conflicts import Conflict, find_conflicts
from archive.upkeep.two import TwoArchives
from archive.upkeep.unload import unload
from archive.upkeep.want import find_wanted

OURS = "archive_ours"


@dataclass
class Merged:
    """What a merge brought, or would bring.

    wanted: how many things of each kind the other archive has and this one lacked. conflicts: what the two say
    differently. n_cells, n_rows: what was entered. refused: units the committer set aside, with the reason.
    """

    other: Path
    wanted: dict[str, int]
    conflicts: list[Conflict]
    n_cells: int = 0
    n_rows: int = 0
    refused: list[tuple[str, str]] = field(default_factory=list)

    @property
    def nothing_new(self) -> bool:
        """True when the other archive had nothing that this one lacked."""
        return not any(self.wanted.values())


@dataclass(frozen=True)
class _Marks:
    """What people did to the other archive, which no shard carries."""

    exclusions: pa.Table
    hypotheses: pa.Table
    attempts: pa.Table


def step(name: str) -> None:
    """Marks a point between two steps of a merge; crash tests stop here."""


def merge(
    layout: Layout,
    other: Path,
    *,
    dry_run: bool = False,
    patience: float = WRITE_PATIENCE,
    on_step: Callable[[str], None] = lambda _: None,
) -> Merged:
    """Bring into an archive what another one has; the other one is only read.

    That is results, logs and failures, runs with their names, tags, notes and exclusions, checkpoints, studies,
    hypotheses, texts and tokens, imported files. Killed midway, what went in is whole and the same command brings
    the rest. dry_run: only compare. Raises ArchiveNotFound, ArchiveTooOld for either archive, and UsageError when
    both are one file.
    """
    require(layout)
    source = Archive(other, patience=patience)
    if os.path.samefile(source.layout.database, layout.database):
        raise UsageError(f"{other} is the archive itself: `pathscope merge` takes another one.")
    if not dry_run:
        commit_inbox(layout, patience=patience)  # what waits here counts as known
    with source.session() as theirs, explain_damage(source.file):
        on_step("comparing the two archives")
        with _attached(theirs, layout.database, patience):
            two = TwoArchives(theirs, ours=f"{OURS}.", theirs="")
            conflicts, wanted, marks = find_conflicts(two), find_wanted(two), _find_marks(two)
            studies = _studies(two)
        wanted |= {"exclusion": marks.exclusions.num_rows, "hypothesis": marks.hypotheses.num_rows}
        merged = Merged(source.layout.database, wanted, conflicts)
        if dry_run or merged.nothing_new:
            return merged
        origin = source.value("SELECT value FROM archive_info WHERE key = 'uuid'")
        with _explain_no_space(layout):
            shards = unload(theirs, layout.inbox, origin=origin, studies=studies, on_step=on_step)
        step("unloaded")
    on_step("committing")
    report = commit_inbox(layout, patience=patience)
    merged.n_cells, merged.n_rows, merged.refused = report.n_cells, report.n_rows, report.refused
    step("committed")
    with changing(layout, "merge", patience=patience) as connection:
        _enter_marks(connection, marks, [path.name for path in shards])
        audit(
            connection,
            "merge",
            str(merged.other),
            {"uuid": origin, "cells": merged.n_cells, "rows": merged.n_rows, "conflicts": len(conflicts)},
        )
    return merged


@contextmanager
def _attached(connection: duckdb.DuckDBPyConnection, ours: Path, patience: float) -> Iterator[None]:
    """Our archive, read only, beside the one that a connection is open on."""
    patiently(lambda: connection.execute(f"ATTACH {quoted(ours)} AS {OURS} (READ_ONLY)"), ours, patience)
    try:
        yield
    finally:
        connection.execute(f"DETACH {OURS}")


@contextmanager
def _explain_no_space(layout: Layout) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        if error.errno != errno.ENOSPC:
            raise
        raise NoSpace(
            f"the disk of {layout.inbox} is full; units that are whole wait there. Free space and run the same command."
        ) from error


def _studies(two: TwoArchives) -> dict[str, Study]:
    """Our wordings of studies, which stay when theirs are other ones."""
    rows = two.rows(f"SELECT name, toml, resolved_json, n_cells_wanted FROM {two.ours}study")
    return {
        name: Study(name=name, toml=toml, resolved=json.loads(resolved), n_cells_wanted=n)
        for name, toml, resolved, n in rows
    }


def _find_marks(two: TwoArchives) -> _Marks:
    """Exclusions and hypotheses that ours does not have, and attempts of wanted cells that took several."""
    o, t = two.ours, two.theirs
    return _Marks(
        exclusions=two.connection.execute(
            f"""SELECT r.name AS run, e.reason, e.who, e.happened_at, e.lifted FROM {t}exclusion e
                JOIN {t}run r ON r.id = e.run_id LEFT JOIN map_run m ON m.theirs = e.run_id
                LEFT JOIN {o}exclusion x ON x.run_id = m.ours AND x.reason = e.reason AND x.who = e.who
                  AND x.happened_at = e.happened_at
                WHERE x.id IS NULL ORDER BY e.id"""
        ).to_arrow_table(),
        hypotheses=two.connection.execute(
            f"SELECT * EXCLUDE (id) FROM {t}hypothesis WHERE name NOT IN (SELECT name FROM {o}hypothesis) ORDER BY id"
        ).to_arrow_table(),
        attempts=two.connection.execute(
            f"""SELECT coalesce(r.name, ra.name) AS run, a.step, a.snapshot, rb.name AS run_b, b.step AS step_b,
                       b.snapshot AS snapshot_b, q.hash, l.attempts
                FROM {t}cell l JOIN want_cell w USING (subject_kind, subject_id, quantity_id)
                JOIN {t}quantity q ON q.id = l.quantity_id
                LEFT JOIN {t}run r ON l.subject_kind = 0 AND r.id = l.subject_id
                LEFT JOIN {t}checkpoint_pair k ON l.subject_kind = 2 AND k.id = l.subject_id
                LEFT JOIN {t}checkpoint a
                  ON a.id = CASE l.subject_kind WHEN 1 THEN l.subject_id WHEN 2 THEN k.checkpoint_a END
                LEFT JOIN {t}checkpoint b ON b.id = k.checkpoint_b
                LEFT JOIN {t}run ra ON ra.id = a.run_id LEFT JOIN {t}run rb ON rb.id = b.run_id
                WHERE l.attempts > 1"""
        ).to_arrow_table(),
    )


def _enter_marks(connection: duckdb.DuckDBPyConnection, marks: _Marks, shards: list[str]) -> None:
    """Exclusions and hypotheses with new ids; attempts raised to what the other archive counted."""
    for name, table in (
        ("exclusions", marks.exclusions),
        ("hypotheses", marks.hypotheses),
        ("tries", marks.attempts),
    ):
        connection.register(name, table)
    connection.execute(
        """INSERT INTO exclusion SELECT (SELECT coalesce(max(id), 0) FROM exclusion) + row_number() OVER (),
                  r.id, e.reason, e.who, e.happened_at, e.lifted FROM exclusions e JOIN run r ON r.name = e.run"""
    )
    connection.execute(
        """INSERT INTO hypothesis
           SELECT (SELECT coalesce(max(id), 0) FROM hypothesis) + row_number() OVER (), * FROM hypotheses"""
    )
    connection.execute(
        """UPDATE cell SET attempts = greatest(cell.attempts, x.attempts) FROM (
             SELECT CASE WHEN k.id IS NOT NULL THEN 2 WHEN a.id IS NOT NULL THEN 1 ELSE 0 END AS subject_kind,
                    coalesce(k.id, a.id, r.id) AS subject_id, q.id AS quantity_id, t.attempts
             FROM tries t JOIN run r ON r.name = t.run JOIN quantity q ON q.hash = t.hash
             LEFT JOIN checkpoint a ON a.run_id = r.id AND a.step = t.step AND a.snapshot = t.snapshot
             LEFT JOIN run rb ON rb.name = t.run_b
             LEFT JOIN checkpoint b ON b.run_id = rb.id AND b.step = t.step_b AND b.snapshot = t.snapshot_b
             LEFT JOIN checkpoint_pair k ON k.checkpoint_a = a.id AND k.checkpoint_b = b.id) x
           WHERE cell.subject_kind = x.subject_kind AND cell.subject_id = x.subject_id
             AND cell.quantity_id = x.quantity_id
             AND cell.shard_id IN (SELECT id FROM shard WHERE name IN (SELECT unnest($shards)))""",
        {"shards": shards},
    )
    for name in ("exclusions", "hypotheses", "tries"):
        connection.unregister(name)
