"""What an archive already has, by natural key: the planner's and the importers' question."""

from collections.abc import Sequence
from typing import NamedTuple

from archive.manifest import Owner
from archive.schema.base import CellState, SubjectKind
from archive.store import Archive


class KnownCell(NamedTuple):
    """What the ledger says of one (subject, quantity)."""

    state: CellState
    attempts: int
    n_rows: int


def known_cells(archive: Archive, runs: Sequence[str] | None = None) -> dict[tuple[Owner, str], KnownCell]:
    """Ledger rows of the given runs (all runs if None), keyed by (owner, quantity hash).

    Unknown run names simply have no cells.
    """
    wanted = "" if runs is None else "WHERE list_contains($runs, x.run)"
    table = archive.query(
        f"""SELECT * FROM (
              SELECT l.subject_kind, r.name AS run, 0::BIGINT AS step, '' AS snapshot, '' AS run_b, 0::BIGINT AS step_b,
                     '' AS snapshot_b, q.hash, l.state, l.attempts, l.n_rows
              FROM cell l JOIN run r ON r.id = l.subject_id JOIN quantity q ON q.id = l.quantity_id
              WHERE l.subject_kind = 0
              UNION ALL
              SELECT l.subject_kind, r.name, c.step, c.snapshot, '', 0, '', q.hash, l.state, l.attempts, l.n_rows
              FROM cell l JOIN checkpoint c ON c.id = l.subject_id JOIN run r ON r.id = c.run_id
              JOIN quantity q ON q.id = l.quantity_id
              WHERE l.subject_kind = 1
              UNION ALL
              SELECT l.subject_kind, ra.name, a.step, a.snapshot, rb.name, b.step, b.snapshot, q.hash, l.state,
                     l.attempts, l.n_rows
              FROM cell l JOIN checkpoint_pair k ON k.id = l.subject_id
              JOIN checkpoint a ON a.id = k.checkpoint_a JOIN run ra ON ra.id = a.run_id
              JOIN checkpoint b ON b.id = k.checkpoint_b JOIN run rb ON rb.id = b.run_id
              JOIN quantity q ON q.id = l.quantity_id
              WHERE l.subject_kind = 2) x {wanted}""",
        {} if runs is None else {"runs": list(runs)},
    )
    columns = [c.to_pylist() for c in table.columns]
    known: dict[tuple[Owner, str], KnownCell] = {}
    for kind, run, step, snapshot, run_b, step_b, snapshot_b, hash_, state, attempts, n_rows in zip(
        *columns, strict=True
    ):
        if kind == SubjectKind.RUN:
            owner = Owner("run", (run,))
        elif kind == SubjectKind.CHECKPOINT:
            owner = Owner("checkpoint", (run, step, snapshot))
        else:
            owner = Owner("pair", (run, step, snapshot, run_b, step_b, snapshot_b))
        known[(owner, hash_)] = KnownCell(CellState(state), attempts, n_rows)
    return known
