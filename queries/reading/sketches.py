"""Displacements of runs side by side: random projections of their checkpoints, which are the same for all runs."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from archive.store import Archive
from queries.reading.checkpoint_pairs import numbering
from queries.reading.quantities import Choice
from queries.reading.select import Selected
from queries.reading.trajectories import Of
from queries.stats.displacement import phase_borders

Floats = NDArray[np.float64]

# one row a checkpoint; only those at the borders of phases
_SQL = """\
SELECT run_id, step, "values" AS numbers
FROM v_vector
WHERE quantity_id = $quantity_id AND run_id IN (SELECT unnest($run_ids)) AND part = 'sketch'
  AND checkpoint_id NOT IN (SELECT unnest($left_out)) AND step IN (SELECT unnest($steps))
ORDER BY run_id, step"""

_STEPS_SQL = """\
SELECT c.run_id, c.step
FROM cell l JOIN checkpoint c ON c.id = l.subject_id
WHERE l.subject_kind = 1 AND l.state = 1 AND l.quantity_id = $quantity_id
  AND c.run_id IN (SELECT unnest($run_ids)) AND c.id NOT IN (SELECT unnest($left_out))
ORDER BY c.run_id, c.step"""


@dataclass(frozen=True)
class CosinePair:
    """The cosine between displacements of two runs over one phase, from `first` to `last` step."""

    a: int
    b: int
    phase: str
    first: int
    last: int
    cosine: float
    why: str


@dataclass(frozen=True)
class Cosines:
    """Cosines of all pairs that may be compared. refused: (run, run, why) of the first pair that may not; n_refused of them."""

    pairs: tuple[CosinePair, ...]
    n_refused: int = 0
    refused: tuple[str, str, str] | None = None


def read_cosines(
    archive: Archive,
    choice: Choice,
    selected: Selected,
    groups: Mapping[str, Sequence[int]],
    of: Of,
    left_out: Sequence[int],
) -> Cosines:
    """Compare displacements of runs of one group over the phases of the steps that all of them have.

    Weights of runs that began from different numbers lie in different coordinates and are not compared. Outputs on one
    eval set may be compared whatever the init. Two statements.
    """
    ids = [run for run in selected.ids if run in set(choice.selected.ids)]
    legal, n_refused, refused = _legal(selected, groups, ids, of)
    if not legal:
        return Cosines((), n_refused, refused)
    parameters = {"quantity_id": choice.quantity.quantity_id, "run_ids": ids, "left_out": list(left_out)}
    known: dict[int, set[int]] = {}
    for row in archive.rows(_STEPS_SQL, parameters):
        known.setdefault(row["run_id"], set()).add(row["step"])
    borders: dict[str, dict[str, tuple[int, int]]] = {}
    for group, pairs in legal.items():
        members = {run for a, b, _ in pairs for run in (a, b)}
        steps = sorted(set.intersection(*(known.get(run, set()) for run in members)))
        if len(steps) > 1 and steps[-1] > 0:
            ends = phase_borders(np.array(steps, dtype=np.float64))
            borders[group] = {phase: (steps[i], steps[j]) for phase, (i, j) in ends.items() if i < j}
    wanted = sorted({step for ends in borders.values() for pair in ends.values() for step in pair})
    points = _points(archive.query(_SQL, {**parameters, "steps": wanted}))
    found = []
    for group, pairs in legal.items():
        for phase, (first, last) in borders.get(group, {}).items():
            moves = {
                run: points[run, last] - points[run, first]
                for run in {run for a, b, _ in pairs for run in (a, b)}
                if (run, first) in points and (run, last) in points
            }
            found += [
                CosinePair(a, b, phase, first, last, _cosine(moves[a], moves[b]), why)
                for a, b, why in pairs
                if a in moves and b in moves
            ]
    return Cosines(tuple(found), n_refused, refused)


def _legal(
    selected: Selected, groups: Mapping[str, Sequence[int]], ids: Sequence[int], of: Of
) -> tuple[dict[str, list[tuple[int, int, str]]], int, tuple[str, str, str] | None]:
    legal: dict[str, list[tuple[int, int, str]]] = {}
    n_refused, refused = 0, None
    for group, members in groups.items():
        for a, b in combinations([run for run in members if run in ids], 2):
            same, why = (
                (True, "outputs on the same examples")
                if of == "logits"
                else numbering(selected.by_id[a], selected.by_id[b])
            )
            if same:
                legal.setdefault(group, []).append((a, b, why))
            else:
                n_refused += 1
                refused = refused or (selected.by_id[a].run, selected.by_id[b].run, why)
    return legal, n_refused, refused


def _points(rows: pa.Table) -> dict[tuple[int, int], Floats]:
    return {
        (run, step): numbers.values.to_numpy(zero_copy_only=False).astype(np.float64)
        for run, step, numbers in zip(
            rows["run_id"].to_pylist(), rows["step"].to_pylist(), rows["numbers"], strict=True
        )
    }


def _cosine(a: Floats, b: Floats) -> float:
    """NaN where either does not move or is not finite."""
    size = float(np.linalg.norm(a) * np.linalg.norm(b))
    return float(a @ b) / size if np.isfinite(size) and size > 0 else float("nan")
