"""One quantity of repeated runs at the steps they share: what a question about runs of one condition starts from."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from archive.errors import UsageError
from archive.store import Archive
from queries.reading.checkpoints import LeftOuts, find_left_out
from queries.reading.curves import read_curves
from queries.reading.quantities import Choice, Which, choose_quantity
from queries.reading.select import Selected
from queries.reading.tables import floats, stretches, with_groups
from queries.reading.units import Units, units_of
from queries.results import readable_sql

Floats = NDArray[np.float64]

BENCHMARK = "benchmark."

_BENCHMARK_SQL = """\
SELECT run_id, run, step, tokens_seen, value, se, n_items
FROM v_benchmark
WHERE quantity_id = $quantity_id AND run_id IN (SELECT unnest($run_ids))
  AND checkpoint_id NOT IN (SELECT unnest($left_out))
ORDER BY run_id, step"""


@dataclass(frozen=True)
class GroupPaths:
    """Runs of one condition. values: (run, step) at `steps`, which all of them have; not all are finite.

    short: names of runs with less than half as many steps as the longest, which are left out. units: the runs by run_id, in the
    same order, and the seeds that they share.
    """

    group: str
    runs: tuple[str, ...]
    steps: Floats
    values: Floats
    short: tuple[str, ...]
    units: Units

    @property
    def finite(self) -> NDArray[np.bool_]:
        """Of each run, whether all of its values are finite."""
        whole: NDArray[np.bool_] = np.logical_and.reduce(np.isfinite(self.values), axis=1)
        return whole

    @property
    def known(self) -> list[int]:
        """run_id of runs with finite values only."""
        return [run for run, whole in zip(self.units.runs, self.finite.tolist(), strict=True) if whole]

    @property
    def apart(self) -> Floats:
        """Values of those of which no two share a seed, (run, step): of all of them where none is shared."""
        apart: Floats = self.values[np.isin(self.units.runs, self.units.apart(self.known))]
        return apart

    def only(self, run_ids: Iterable[int]) -> "GroupPaths":
        """The same with fewer runs, in the same order."""
        kept = np.isin(self.units.runs, list(run_ids))
        return replace(
            self,
            runs=tuple(np.array(self.runs, object)[kept]),
            values=self.values[kept],
            units=Units(tuple(np.array(self.units.runs)[kept].tolist()), {}),
        )


@dataclass(frozen=True)
class Paths:
    """What was read: `groups` in the order of the archive's runs."""

    groups: tuple[GroupPaths, ...]
    choice: Choice
    left_out: LeftOuts
    label: str
    unit: str
    sql: str
    notes: tuple[str, ...]

    @property
    def limits(self) -> tuple[str, ...]:
        """What every answer from these values has to say about them."""
        short = [run for g in self.groups for run in g.short]
        lines = [*self.notes]
        if short:
            lines.append(
                f"{len(short)} run(s) have less than half of the steps of others and are left out (first: {short[0]})."
            )
        apart = [g.group for g in self.groups if len(g.runs) > 1 and not len(g.steps)]
        if apart:
            lines.append(
                f"The runs of {apart[0] or 'one condition'} share no step: choose some that do with --runs."
            )
        return tuple(lines)

    @property
    def n_runs(self) -> int:
        """Runs in all groups."""
        return sum(len(g.runs) for g in self.groups)


def read_paths(
    archive: Archive, selected: Selected, measure: str, part: str, which: Which, *, max_steps: int
) -> Paths:
    """Read a scalar, a series of a training log, or a metric of a benchmark (benchmark.acc with eval_set=TASK).

    At most about `max_steps` steps are read of longer logs, the same for all runs. Raises as `read_curves` does.
    """
    if measure.startswith(BENCHMARK):
        return _benchmark(archive, selected, measure, which)
    curves = read_curves(archive, selected, measure, part, which, max_points=max_steps)
    return Paths(
        groups=_groups(curves.table, selected),
        choice=curves.choice,
        left_out=curves.left_out,
        label=curves.label,
        unit=curves.choice.quantity.shown_unit,
        sql=curves.sql,
        notes=(*curves.choice.notes, *curves.left_out.limits, *_thinned(curves.thinned, curves.n_steps)),
    )


def _benchmark(archive: Archive, selected: Selected, measure: str, which: Which) -> Paths:
    choice = choose_quantity(archive, selected, [measure], which, tables=("fact_benchmark",))
    left_out = find_left_out(archive, choice, which)
    parameters = {
        "quantity_id": choice.quantity.quantity_id,
        "run_ids": choice.selected.ids,
        "left_out": left_out.ids,
    }
    rows = archive.query(_BENCHMARK_SQL, parameters)
    if not rows.num_rows:
        raise UsageError(f"every checkpoint with {measure} is left out; with_suspect=True uses suspect ones.")
    return Paths(
        groups=_groups(with_groups(rows, choice.selected), choice.selected),
        choice=choice,
        left_out=left_out,
        label=f"{choice.quantity.eval_set} {measure.removeprefix(BENCHMARK)}",
        unit=choice.quantity.shown_unit,
        sql=readable_sql(_BENCHMARK_SQL, parameters),
        notes=(*choice.notes, *left_out.limits),
    )


def _thinned(thinned: bool, n_steps: int) -> Sequence[str]:
    return (f"Read at some of {n_steps:,} steps only (max_steps).",) if thinned else ()


def _groups(table: pa.Table, selected: Selected) -> tuple[GroupPaths, ...]:
    """Rows of one run lie together, sorted by step, and runs of one group do."""
    steps, values = floats(table, "step"), floats(table, "value")
    members: dict[str, dict[str, dict[float, float]]] = {}
    for a, b in zip(*stretches(table, ["run_id"]), strict=True):
        group, run = (str(table[name][int(a)].as_py()) for name in ("group", "run"))
        mine = members.setdefault(group, {})
        mine[run] = dict(zip(steps[a:b].tolist(), values[a:b].tolist(), strict=True))
    ids = {run.run: run.run_id for run in selected.runs}
    found = []
    for group, runs in members.items():
        longest = max(len(curve) for curve in runs.values())
        kept = {run: curve for run, curve in runs.items() if 2 * len(curve) >= longest}
        shared = sorted(set.intersection(*(set(curve) for curve in kept.values())))
        found.append(
            GroupPaths(
                group=group,
                runs=tuple(kept),
                steps=np.array(shared),
                values=np.array([[curve[s] for s in shared] for curve in kept.values()], float).reshape(
                    len(kept), len(shared)
                ),
                short=tuple(run for run in runs if run not in kept),
                units=units_of(selected, [ids[run] for run in kept]),
            )
        )
    return tuple(found)
