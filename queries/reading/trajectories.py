"""Reading a run's trajectory as inner products of its checkpoints, however they were stored."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from archive.errors import NotComparable, UsageError
from archive.store import Archive
from queries.reading.checkpoints import LeftOuts, find_left_out
from queries.reading.quantities import Choice, Quantity, Want, Which, choose_quantities
from queries.reading.select import Selected
from queries.reading.tables import stretches
from queries.results import readable_sql

Floats = NDArray[np.float64]
Of = Literal["weights", "logits"]

MEASURES: Mapping[Of, str] = {"weights": "weight_products", "logits": "logit_products"}

_SQL = """\
SELECT run_id, run, step, part, "values" AS numbers
FROM v_vector
WHERE quantity_id = $quantity_id AND run_id IN (SELECT unnest($run_ids))
  AND checkpoint_id NOT IN (SELECT unnest($left_out)) AND part IN ('steps', 'products', 'sketch')
ORDER BY run_id, step, part"""


@dataclass(frozen=True)
class Trajectory:
    """Steps of one run's checkpoints and the inner products of every two of them (uncentred)."""

    steps: Floats
    gram: Floats

    def thinned(self, most: int) -> "Trajectory":
        """At most so many checkpoints, evenly among those there are, first and last kept."""
        n = len(self.steps)
        if n <= most:
            return self
        kept = np.unique(np.linspace(0, n - 1, most).round().astype(int))
        return Trajectory(self.steps[kept], self.gram[np.ix_(kept, kept)])

    def from_step(self, step: int) -> "Trajectory":
        """Only checkpoints at or after `step`."""
        kept = np.flatnonzero(self.steps >= step)
        return Trajectory(self.steps[kept], self.gram[np.ix_(kept, kept)])


@dataclass(frozen=True)
class Trajectories:
    """By run_id. n_dropped: checkpoints without inner products with all others of their run. sketched: by random projection."""

    runs: Mapping[int, Trajectory]
    choice: Choice
    left_out: LeftOuts
    sketched: bool
    n_dropped: int
    sql: str


def trajectory_wants(of: Of) -> list[Want]:
    """Exact inner products and those of sketches, as `choose_quantities` takes them."""
    return [Want((MEASURES[of],), ("fact_vector",), fits=fits) for fits in (_is_exact, _is_sketch)]


def read_trajectories(
    archive: Archive,
    selected: Selected,
    of: Of,
    which: Which,
    found: Sequence[Choice | UsageError | NotComparable] | None = None,
) -> Trajectories:
    """Exact inner products where all runs with either have them, else those of sketches.

    found: what `choose_quantities` gave for `trajectory_wants`, where that was asked before. Raises as `choose_quantity`
    does.
    """
    exact, sketch = found or choose_quantities(archive, selected, trajectory_wants(of), which)
    for refusal in (exact, sketch):
        if isinstance(refusal, NotComparable):
            raise refusal
    choice = exact
    if isinstance(sketch, Choice) and not (
        isinstance(exact, Choice) and set(sketch.selected.ids) <= set(exact.selected.ids)
    ):
        choice = sketch
    if not isinstance(choice, Choice):
        raise choice
    left_out = find_left_out(archive, choice, which)
    parameters = {
        "quantity_id": choice.quantity.quantity_id,
        "run_ids": choice.selected.ids,
        "left_out": left_out.ids,
    }
    rows = archive.query(_SQL, parameters)
    runs, n_dropped = {}, 0
    for a, b in zip(*stretches(rows, ["run_id"]), strict=True):
        trajectory, dropped = _assembled(rows.slice(int(a), int(b - a)))
        runs[int(rows["run_id"][int(a)].as_py())] = trajectory
        n_dropped += dropped
    return Trajectories(runs, choice, left_out, choice is sketch, n_dropped, readable_sql(_SQL, parameters))


def _is_sketch(quantity: Quantity) -> bool:
    return quantity.params.get("projection", "none") != "none"


def _is_exact(quantity: Quantity) -> bool:
    return not _is_sketch(quantity)


def _assembled(rows: pa.Table) -> tuple[Trajectory, int]:
    """The matrix of one run from its rows, and how many checkpoints had to be left out to make it whole."""
    by_part: dict[str, dict[int, Floats]] = {"steps": {}, "products": {}, "sketch": {}}
    for step, part, numbers in zip(
        rows["step"].to_pylist(), rows["part"].to_pylist(), rows["numbers"], strict=True
    ):
        by_part[part][step] = numbers.values.to_numpy(zero_copy_only=False).astype(np.float64)
    if by_part["sketch"]:
        steps = np.array(sorted(by_part["sketch"]), dtype=np.float64)
        points = np.stack([by_part["sketch"][int(s)] for s in steps])
        finite = np.isfinite(points).all(axis=1)
        return Trajectory(steps[finite], points[finite] @ points[finite].T), int((~finite).sum())
    steps = np.array(sorted(set(by_part["steps"]) & set(by_part["products"])), dtype=np.float64)
    gram = np.full((len(steps), len(steps)), np.nan)
    for k, step in enumerate(steps):
        theirs, products = by_part["steps"][int(step)], by_part["products"][int(step)]
        _, here, there = np.intersect1d(steps, theirs, return_indices=True)
        gram[k, here] = gram[here, k] = products[there]
    kept = np.arange(len(steps))
    # a checkpoint measured after a later one's row was written is not in that row, and weights may overflow
    while len(kept) and not np.isfinite(gram[np.ix_(kept, kept)]).all():
        gaps = (~np.isfinite(gram[np.ix_(kept, kept)])).sum(axis=1)
        kept = np.delete(kept, int(np.argmax(gaps)))
    return Trajectory(steps[kept], gram[np.ix_(kept, kept)]), len(steps) - len(kept)
