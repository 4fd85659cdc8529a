"""Repeated runs that leave the path the others keep to: which, when, and by how much."""

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Annotated, Any, Literal, Unpack

import numpy as np
import plotly.graph_objects as go
import pyarrow as pa
from numpy.typing import NDArray
from pydantic import Field

from archive.store import Archive
from queries.events.event_times import finite_or_none
from queries.parameters import SplitPart
from queries.reading.paths import GroupPaths, read_paths
from queries.reading.quantities import Which
from queries.reading.select import ALL_RUNS, Runs, select_runs
from queries.reading.units import units_limits
from queries.registry import query
from queries.render import number
from queries.results import Answer, Provenance
from queries.stats.divergence import LEAST_RUNS, Departure, departures, robust_place
from queries.wording.divergence import divergence_limits, divergence_sentence

NULL = "runs of one path, deviations normal and as serially correlated"
LEAST_STEPS = 3

Floats = NDArray[np.float64]
Status = Literal["left", "stays", "not finite", "not judged"]
_TEXT, _WHOLE, _REAL = pa.string(), pa.int64(), pa.float64()
_TABLE = pa.schema(
    [
        ("run", _TEXT),
        ("group", _TEXT),
        ("status", _TEXT),
        ("distance", _REAL),
        ("p", _REAL),
        *((name, _WHOLE) for name in ("left_after", "left_at", "back_at")),
        ("largest", _REAL),
        ("largest_step", _WHOLE),
        ("final", _REAL),
        ("final_distance", _REAL),
        ("why", _TEXT),
    ]
)
_DEVIATIONS = pa.schema(
    [
        *((name, _TEXT) for name in ("run", "group", "status")),
        ("step", _WHOLE),
        *((name, _REAL) for name in ("value", "deviation", "distance")),
    ]
)


@dataclass(frozen=True)
class Judged:
    """Runs of one condition that could be judged: rows of the answer, and the smallest offset that would be found."""

    rows: list[dict[str, Any]]
    deviations: list[dict[str, Any]]
    detectable: float


@dataclass(frozen=True, kw_only=True, repr=False, eq=False)
class DivergentRuns(Answer):
    """Each run against the others of its condition.

    table: run, group, status (left; stays; not finite: some of its values are not numbers, the first at left_at, with numbers
    again at back_at; not judged, with why); distance: largest mean deviation from the median of the others over a stretch of
    steps, in robust standard deviations between them; p that any run without cause is so far, for all runs of the answer.
    left_at: first step, on the way to that stretch, beyond the range of the runs that stay by more than half of it
    (left_after: the step before); back_at: first step that is not any more, empty where it never comes back. largest:
    deviation where it is largest while outside, with its step; final: at the last step, final_distance the same in standard
    deviations.
    deviations: run, group, status, step, value, deviation, distance.
    """

    label: str
    value_unit: str
    deviations: pa.Table

    def overview(self) -> pa.Table | None:
        """Runs that left first, in few columns."""
        rows = sorted(self.table.to_pylist(), key=lambda r: (r["p"] is None, r["p"] or 0.0))
        return pa.Table.from_pylist(
            [
                {
                    "run": r["run"],
                    "status": r["status"],
                    "distance": number(r["distance"], 3),
                    "p": number(r["p"], 2),
                    "left at": r["left_at"],
                    "back at": r["back_at"],
                    "largest": number(r["largest"], 3),
                    "final": number(r["final"], 3),
                }
                for r in rows
            ]
        )

    def plot(self, *, x_scale: Literal["log", "linear"] = "log") -> go.Figure:
        """Deviation of every run from the others over training; runs that left stand out."""
        from queries.figures.repeats import deviations

        return deviations(self, x_scale=x_scale)


@query(title="Which repeated runs left the path of the others?")
def divergent_runs(
    archive: Archive,
    *,
    runs: Runs = ALL_RUNS,
    measure: Annotated[
        str, Field(description="a scalar such as loss, a log such as log.loss, or benchmark.acc")
    ] = "loss",
    part: SplitPart = "auto",
    stretch: Annotated[
        int, Field(ge=0, description="steps in a row that a departure lasts at least; 0 = a fifth of them")
    ] = 0,
    alpha: Annotated[
        float, Field(gt=0, lt=1, description="chance of calling any run divergent where none is")
    ] = 0.05,
    max_steps: Annotated[int, Field(ge=8, le=512, description="most steps read of a long log")] = 64,
    **which: Unpack[Which],
) -> DivergentRuns:
    """Runs whose deviation from the median of the other runs of their condition lasts and is beyond chance.

    Place and spread of the others are robust and leave the run itself out, so that odd runs do not hide one another. What runs
    of one path reach by chance is drawn: as many of them, with deviations as correlated from step to step. A run with
    values that are not finite is named, and is no part of the path. Where runs share seeds, each is held against a set of runs
    of which no two share one.
    """
    selected = select_runs(archive, runs)
    paths = read_paths(archive, selected, measure, part, which, max_steps=max_steps)
    sets = [_sets(g) for g in paths.groups]
    n_tested = sum(max(1, sum(len(one.known) >= LEAST_RUNS for one in of_group)) for of_group in sets)
    judged = [
        _judge(one, stretch, alpha, n_tested, len(of_group) > 1) for of_group in sets for one in of_group
    ]
    place = {run: k for k, run in enumerate(run for g in paths.groups for run in g.runs)}
    rows = sorted((row for j in judged for row in j.rows), key=lambda row: place[row["run"]])
    deviations = sorted((d for j in judged for d in j.deviations), key=lambda row: place[row["run"]])
    known = [r["p"] for r in rows if r["p"] is not None]
    detectable = [j.detectable for j in judged if math.isfinite(j.detectable)]
    left = [r for r in rows if r["status"] in ("left", "not finite")]
    # shared seeds are taken into account here
    provenance = replace(Provenance.of(archive, [paths.choice], paths.left_out), shared_seeds=())
    return DivergentRuns(
        sentence=divergence_sentence(paths.label, rows, paths.unit),
        table=pa.Table.from_pylist(rows, schema=_TABLE),
        deviations=pa.Table.from_pylist(deviations, schema=_DEVIATIONS),
        label=paths.label,
        value_unit=paths.unit,
        n_runs=paths.n_runs,
        unit="sd between runs",
        null_name=NULL if known else "",
        p_value=min(known) if known else math.nan,
        mde=max(detectable) if detectable else math.nan,
        verdict="yes" if left else "unresolved",
        limits=(
            *provenance.limits,
            *paths.limits,
            *units_limits({g.group: g.units for g in paths.groups}, ""),
            *divergence_limits(rows, sets),
        ),
        provenance=provenance,
        sql=paths.sql,
    )


def _sets(group: GroupPaths) -> list[GroupPaths]:
    """Runs of which no two share a seed, as large a set as there is, then one of the others; one set where none is shared.

    Runs that share a seed leave a path together, so that their own null would not hold. Those without finite values come first.
    """
    rest, found = group.known, []
    while rest:
        found.append(group.units.apart(rest))
        rest = [run for run in rest if run not in found[-1]]
    broken = [run for run in group.units.runs if run not in group.known]
    first, *others = found or [[]]
    return [group.only([*first, *broken]), *(group.only(one) for one in others)]


def _judge(group: GroupPaths, stretch: int, alpha: float, n_tested: int, part: bool) -> Judged:
    """One condition, or part of it; p counts all that are tested for the answer (Bonferroni)."""
    finite = group.finite
    values = group.values[finite]
    ends = {run: _not_finite(group, k) for k, run in enumerate(group.runs) if not finite[k]}
    differing = np.ptp(values, axis=0) > 0 if len(values) else np.zeros(len(group.steps), bool)
    n_steps = int(differing.sum())
    if len(values) < LEAST_RUNS or n_steps < LEAST_STEPS:
        why = (
            f"{len(values)} run(s) of one condition{' that share no seed' if part else ''}, and a path needs {LEAST_RUNS}"
            if len(values) < LEAST_RUNS
            else f"runs differ at {n_steps} shared step(s) only"
        )
        rows = [ends.get(run) or _row(group, run, "not judged", why=why) for run in group.runs]
        return Judged(rows, _deviations(group, rows), math.nan)
    lasting = min(stretch or max(LEAST_STEPS, n_steps // 5), n_steps)
    found, null = departures(values[:, differing], stretch=lasting)
    p = [min(1.0, d.p * n_tested) for d in found]
    staying = values[[x >= alpha for x in p]]
    names = [run for run, keep in zip(group.runs, finite, strict=True) if keep]
    judged = {
        run: _place(group, run, (values, staying), k, found[k], p[k], np.flatnonzero(differing), alpha)
        for k, run in enumerate(names)
    }
    rows = [ends.get(run) or judged[run] for run in group.runs]
    return Judged(rows, _deviations(group, rows), null.detectable(alpha / n_tested))


def _place(
    group: GroupPaths,
    run: str,
    paths: tuple[Floats, Floats],
    k: int,
    departure: Departure,
    p: float,
    differing: NDArray[np.int64],
    alpha: float,
) -> dict[str, Any]:
    """The row of a judged run: where it left and came back, and how far it was."""
    values, staying = paths
    centre, spread = robust_place(values)
    deviation = values[k] - centre[k]
    row = _row(
        group,
        run,
        "left" if p < alpha else "stays",
        distance=finite_or_none(departure.distance),
        p=p,
        final=float(deviation[-1]),
        final_distance=finite_or_none(float(deviation[-1] / spread[k][-1])) if spread[k][-1] > 0 else None,
    )
    if p >= alpha:
        return row
    start, end = int(differing[departure.start]), int(differing[departure.end])
    side = 1.0 if deviation[start : end + 1].mean() > 0 else -1.0
    # any run is the outermost now and then: outside is beyond the range of those that stay by half of it
    low, high = (staying.min(axis=0), staying.max(axis=0)) if len(staying) else (centre[k], centre[k])
    edge = high + (high - low) / 2 if side > 0 else low - (high - low) / 2
    outside: NDArray[np.bool_] = np.greater(side * (values[k] - edge), 0)
    inside = np.flatnonzero(outside[start : end + 1])
    # a mean may be far although no single step is: then the stretch itself is all there is to say
    first = start + int(inside[0]) if len(inside) else start
    while first > 0 and outside[first - 1] and first <= start:
        first -= 1
    last = max(end, first)
    while last + 1 < len(outside) and outside[last + 1]:
        last += 1
    at = first + int(np.argmax(side * deviation[first : last + 1]))
    steps = group.steps
    return row | {
        "left_after": int(steps[first - 1]) if first else None,
        "left_at": int(steps[first]),
        "back_at": int(steps[last + 1]) if last + 1 < len(steps) else None,
        "largest": float(deviation[at]),
        "largest_step": int(steps[at]),
    }


def _not_finite(group: GroupPaths, k: int) -> dict[str, Any]:
    """The row of a run that has values that are not numbers."""
    there = np.isfinite(group.values[k])
    bad = int(np.argmin(there))
    again = np.flatnonzero(there[bad:])
    return _row(
        group,
        group.runs[k],
        "not finite",
        left_after=int(group.steps[bad - 1]) if bad else None,
        left_at=int(group.steps[bad]),
        back_at=int(group.steps[bad + int(again[0])]) if len(again) else None,
        why=f"{int((~there).sum())} of its {len(there)} values are not finite",
    )


def _row(group: GroupPaths, run: str, status: Status, **known: object) -> dict[str, Any]:
    return {**dict.fromkeys(_TABLE.names), "run": run, "group": group.group, "status": status, **known}


def _deviations(group: GroupPaths, rows: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    """Every value with its deviation from the median of the finite others."""
    finite = group.finite
    centre, spread = (np.full(group.values.shape, np.nan) for _ in range(2))
    if finite.sum() >= LEAST_STEPS:
        centre[finite], spread[finite] = robust_place(group.values[finite])
    found = []
    for k, row in enumerate(rows):
        for t, step in enumerate(group.steps.tolist()):
            deviation = float(group.values[k, t] - centre[k, t])
            wide = spread[k, t] > 0
            found.append(
                {
                    "run": row["run"],
                    "group": group.group,
                    "status": row["status"],
                    "step": int(step),
                    "value": finite_or_none(float(group.values[k, t])),
                    "deviation": finite_or_none(deviation),
                    "distance": finite_or_none(deviation / float(spread[k, t])) if wide else None,
                }
            )
    return found
