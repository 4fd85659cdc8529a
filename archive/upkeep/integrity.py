"""The integrity ledger of runs: what the archive knows of their checkpoints, judged, and what is new recorded."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from math import isnan
from typing import Any

import numpy as np

from archive.committer import commit_inbox
from archive.errors import PathscopeError, UnknownName
from archive.layout import Layout
from archive.records import ACCEPTED, Checkpoint, Integrity, Provenance
from archive.shard import ShardBuilder
from archive.store import WRITE_PATIENCE, Archive
from archive.upkeep.chain import Judgement, Link, judge
from archive.upkeep.change import LIST_RUNS

SKETCHED = "weight_products"
# plain sums of weights: not finite only where the weights are not
OF_NUMBERS = (SKETCHED, "weight_norm", "sum_of_squared_weights")
# errors of a checkpoint that could not be read at all
UNREADABLE = ("CheckpointDamaged", "WeightsRefused")

# of several snapshots of one step the newest counts, as in answers
_CHECKPOINTS_SQL = """\
SELECT checkpoint_id, step, snapshot, weights_hash, location, integrity, integrity_note, integrity_link
FROM v_checkpoint WHERE run_id = $run_id
QUALIFY row_number() OVER (PARTITION BY step ORDER BY checkpoint_id DESC) = 1
ORDER BY step"""

_CELLS_SQL = """\
SELECT l.subject_id AS checkpoint_id, count(*) FILTER (l.state = 1) AS n_done,
       any_value(f.message) FILTER (l.state = 4) AS absent,
       any_value(f.error_class || ': ' || f.message)
         FILTER (l.state IN (2, 3) AND list_contains($unreadable, f.error_class)) AS unreadable,
       any_value(f.message)
         FILTER (l.state IN (2, 3) AND f.error_class = 'FloatingPointError'
                                        AND list_contains($of_numbers, m.name)) AS not_finite
FROM cell l
JOIN checkpoint c ON c.id = l.subject_id AND c.run_id = $run_id
JOIN quantity q ON q.id = l.quantity_id
JOIN measure m ON m.id = q.measure_id
LEFT JOIN failure f USING (subject_kind, subject_id, quantity_id)
WHERE l.subject_kind = 1
GROUP BY l.subject_id"""

# sketches of one projection only: the quantity that most checkpoints of the run have
_SKETCHES_SQL = """\
WITH sketch AS (
  SELECT f.checkpoint_id, f.quantity_id, f."values" FROM fact_vector f
  JOIN quantity q ON q.id = f.quantity_id
  JOIN measure m ON m.id = q.measure_id AND m.name = $measure
  JOIN part p ON p.id = f.part_id AND p.kind = 'gram' AND p.name = 'sketch'
  WHERE f.run_id = $run_id
)
SELECT checkpoint_id, "values" FROM sketch
WHERE quantity_id = (SELECT quantity_id FROM sketch GROUP BY quantity_id ORDER BY count(*) DESC, quantity_id LIMIT 1)"""


@dataclass(frozen=True)
class LedgerRow:
    """One checkpoint. integrity, note: as recorded, or as found now; new: found now. weights_hash: "" if never read.

    to_previous, to_next: distance to the next checkpoint on either side that has a sketch, relative to the length
    of the weights; None where unknown. accepted: a person said that it is as it should be.
    """

    step: int
    snapshot: str
    weights_hash: str
    to_previous: float | None
    to_next: float | None
    integrity: Integrity
    note: str
    link: str
    accepted: bool
    new: bool


@dataclass(frozen=True)
class RunLedger:
    """The checkpoints of one run by step, and what people should know of them besides."""

    run: str
    rows: tuple[LedgerRow, ...]
    remarks: tuple[str, ...]

    @property
    def new(self) -> tuple[LedgerRow, ...]:
        """What was not known before."""
        return tuple(row for row in self.rows if row.new)

    @property
    def n_suspect(self) -> int:
        """Checkpoints that curves leave out."""
        return sum(row.integrity != "ok" for row in self.rows)


def find_runs(archive: Archive, wanted: str) -> list[tuple[int, str]]:
    """(id, name) of the runs that `wanted` means: a name, an alias, a pattern with * or ?, or `all`.

    Raises UnknownName with the nearest names.
    """
    names = [(r["run_id"], r["run"]) for r in archive.rows("SELECT run_id, run FROM v_run ORDER BY run_id")]
    if wanted == "all":
        return names
    aliases = archive.rows("SELECT run_id FROM v_run_name WHERE name = $name", {"name": wanted})
    known = {r["run_id"] for r in aliases}
    found = [(i, name) for i, name in names if i in known] or [
        (i, name) for i, name in names if fnmatchcase(name, wanted)
    ]
    if not found:
        raise UnknownName.of("run", wanted, [name for _, name in names], listing=LIST_RUNS)
    return found


def read_ledger(archive: Archive, run_id: int, run: str) -> RunLedger:
    """The integrity ledger of one run; reads only."""
    with archive.session():
        stored = archive.rows(_CHECKPOINTS_SQL, {"run_id": run_id})
        cells = {
            r["checkpoint_id"]: r
            for r in archive.rows(
                _CELLS_SQL, {"run_id": run_id, "unreadable": list(UNREADABLE), "of_numbers": list(OF_NUMBERS)}
            )
        }
        sketches = archive.query(_SKETCHES_SQL, {"run_id": run_id, "measure": SKETCHED})
    vectors = sketches.column("values").combine_chunks()
    width = len(vectors.values) // max(len(vectors), 1)
    by_id = dict(
        zip(
            sketches.column("checkpoint_id").to_pylist(),
            vectors.values.to_numpy().reshape(len(vectors), width),
            strict=True,
        )
    )
    chain = [_link(row, cells.get(row["checkpoint_id"], {}), by_id) for row in stored]
    judgement = judge(chain)
    remarks = [*judgement.remarks, *_remarks(chain, stored, cells)]
    return RunLedger(run, tuple(_rows(chain, stored, judgement)), tuple(remarks))


def _link(row: dict[str, Any], cells: dict[str, Any], sketches: dict[int, Any]) -> Link:
    done = bool(cells.get("n_done"))
    not_finite = cells.get("not_finite")
    unreadable = f"weights are NaN or infinite: {not_finite}" if not_finite else ""
    if not done and not unreadable:
        unreadable = cells.get("unreadable") or ""
    vector = sketches.get(row["checkpoint_id"])
    return Link(
        step=row["step"],
        snapshot=row["snapshot"],
        integrity=row["integrity"],
        note=row["integrity_note"],
        accepted=row["integrity"] == "ok" and row["integrity_note"].startswith(ACCEPTED),
        weights_hash=row["weights_hash"],
        sketch=None if vector is None or not np.isfinite(vector).all() else vector,
        absent="" if done else (cells.get("absent") or ""),
        unreadable=unreadable,
    )


def _rows(
    chain: Sequence[Link], stored: Sequence[dict[str, Any]], judgement: Judgement
) -> Iterator[LedgerRow]:
    found = {suspicion.place: suspicion for suspicion in judgement.suspicions}
    for k, (link, row) in enumerate(zip(chain, stored, strict=True)):
        suspicion = found.get(k)
        note = link.note
        if suspicion is not None:
            note = suspicion.note + (f" ({link.note})" if link.note else "")
        yield LedgerRow(
            step=link.step,
            snapshot=link.snapshot,
            weights_hash=link.weights_hash,
            to_previous=_known(judgement.to_previous[k]),
            to_next=_known(judgement.to_next[k]),
            integrity=link.integrity if suspicion is None else suspicion.integrity,
            note=note,
            link=row["integrity_link"],
            accepted=link.accepted,
            new=suspicion is not None,
        )


def _known(distance: float) -> float | None:
    return None if isnan(distance) else float(distance)


def _remarks(
    chain: Sequence[Link], stored: Sequence[dict[str, Any]], cells: dict[int, dict[str, Any]]
) -> Iterator[str]:
    """Results and failures that do not fit the state a checkpoint has."""
    for link, row in zip(chain, stored, strict=True):
        of_cells = cells.get(row["checkpoint_id"], {})
        done = of_cells.get("n_done") or 0
        if done and of_cells.get("unreadable") and not link.unreadable:
            yield (
                f"{link.name} has {done} result(s), but could not be read when more were wanted: {of_cells['unreadable']}"
            )
        if done and link.integrity in ("absent", "defect") and not link.unreadable:
            yield (
                f"{link.name} is marked as {link.integrity} ({link.note}) and has {done} result(s) now; if it is as it "
                "should be, take it back with --accept"
            )


def record(layout: Layout, ledgers: Sequence[RunLedger], *, patience: float = WRITE_PATIENCE) -> int:
    """Record what is new as the integrity of the checkpoints, by a unit through the inbox; returns how many.

    Raises PathscopeError when the committer refuses the unit.
    """
    found = [(ledger.run, row) for ledger in ledgers for row in ledger.new]
    if not found:
        return 0
    builder = ShardBuilder(
        kind="content",
        provenance=Provenance(facts={"command": "verify --checkpoints", "findings": len(found)}),
    )
    for run, row in found:
        builder.checkpoint(
            Checkpoint(
                run=run,
                step=row.step,
                snapshot=row.snapshot,
                integrity=row.integrity,
                integrity_note=row.note,
                integrity_link=row.link,
            )
        )
    name = builder.write(layout.inbox).name
    refused = dict(commit_inbox(layout, patience=patience).refused)
    if name in refused:
        raise PathscopeError(f"the findings could not be recorded: {refused[name]}")
    return len(found)
