"""How much of where a run ends is known from its value at an earlier step, over repeats of one condition."""

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
from queries.parameters import IntervalLevel, SplitPart
from queries.reading.paths import GroupPaths, read_paths
from queries.reading.quantities import Which
from queries.reading.select import ALL_RUNS, Runs, select_runs
from queries.reading.units import apart_limits, units_limits
from queries.registry import query
from queries.render import interval, number
from queries.results import Answer, Provenance
from queries.stats.early import LEAST_RUNS, Correlation, detectable_correlation, predictions
from queries.stats.over_units import mean_over_units
from queries.wording.circuits import or_nan
from queries.wording.early import ALPHA, early_limits, early_sentence

NULL = "final values that belong to any of the runs"

_TEXT, _WHOLE, _REAL = pa.string(), pa.int64(), pa.float64()
_TABLE = pa.schema(
    [
        ("group", _TEXT),
        ("step", _WHOLE),
        ("n_runs", _WHOLE),
        ("sd", _REAL),
        *(
            (f"{name}{end}", _REAL)
            for name in ("pearson", "spearman", "r2", "mae")
            for end in ("", "_low", "_high")
        ),
        *((name, _REAL) for name in ("mae_mean", "p", "p_any")),
        ("why", _TEXT),
    ]
)
_SUMMARY = pa.schema(
    [
        ("group", _TEXT),
        *((name, _WHOLE) for name in ("n_runs", "n_units")),
        ("unit", _TEXT),
        ("final_step", _WHOLE),
        *((name, _REAL) for name in ("final_mean", "final_low", "final_high", "final_sd")),
        *((name, _WHOLE) for name in ("tells_from", "half_from")),
        ("p", _REAL),
    ]
)
_POINTS = pa.schema([("run", _TEXT), ("group", _TEXT), ("step", _WHOLE), ("value", _REAL), ("final", _REAL)])


@dataclass(frozen=True, kw_only=True, repr=False, eq=False)
class EarlyPrediction(Answer):
    """What the value at each step tells of the final one.

    table: per condition and step n_runs, of which no two share a seed, sd (between them at that step), Pearson's and Spearman's
    correlation with the final value, r2: share of the variance of a run left out that a line through the other runs explains,
    mae: its mean absolute error, in the unit of the measure, all with intervals over runs; mae_mean: that of guessing the
    others' mean; p of r2 against finals permuted over runs, p_any the same for the best step of all, in all conditions; why a
    step has none. The last step is the final value itself and proves nothing: it has no p.
    summary: per condition the final value over all runs, n_units of which share no seed (`unit`), tells_from: first step from
    which every later one predicts (p_any < 0.05), half_from: first from which at least half of the variance is explained at
    every later one.
    points: run, group, step, value, final.
    """

    label: str
    value_unit: str
    points: pa.Table

    def overview(self) -> pa.Table | None:
        """The steps in few columns."""
        several = len(set(self.table["group"].to_pylist())) > 1
        return pa.Table.from_pylist(
            [
                {
                    **({"group": r["group"]} if several else {}),
                    "step": r["step"],
                    "r2": number(r["r2"], 3),
                    f"{self.ci_level:.0%} interval": interval(or_nan(r["r2_low"]), or_nan(r["r2_high"]), 3),
                    "spearman": number(r["spearman"], 3),
                    "mae": number(r["mae"], 3),
                    "of guessing": number(r["mae_mean"], 3),
                    "p_any": number(r["p_any"], 2),
                    "why": r["why"] or "",
                }
                for r in self.table.to_pylist()
            ]
        )

    def plot(self, *, x_scale: Literal["log", "linear"] = "log") -> go.Figure:
        """The share explained over training, with its interval."""
        from queries.figures.repeats import prediction

        return prediction(self, x_scale=x_scale)


@query(title="How early can the final value of a run be told?")
def early_prediction(
    archive: Archive,
    *,
    runs: Runs = ALL_RUNS,
    measure: Annotated[
        str, Field(description="a scalar such as loss, a log such as log.loss, or benchmark.acc")
    ] = "loss",
    part: SplitPart = "auto",
    max_steps: Annotated[int, Field(ge=8, le=512, description="most steps read of a long log")] = 64,
    confidence: IntervalLevel = 0.95,
    **which: Unpack[Which],
) -> EarlyPrediction:
    """Final values predicted from the value at each step, for every run by a line through the other runs.

    The run is the unit: with n runs there are n errors, whatever the number of items behind each value. Undefined, with the
    reason, where runs do not differ. A relation among repeats of one condition says nothing of other conditions.
    """
    selected = select_runs(archive, runs)
    paths = read_paths(archive, selected, measure, part, which, max_steps=max_steps)
    rows = [row for g in paths.groups for row in _rows(g, confidence, len(paths.groups))]
    summary = [_summary(g, rows, confidence) for g in paths.groups]
    known = [s["p"] for s in summary if s["p"] is not None]
    largest = max(len(g.apart) for g in paths.groups)
    units = {g.group: g.units for g in paths.groups}
    # shared seeds are taken into account here
    provenance = replace(Provenance.of(archive, [paths.choice], paths.left_out), shared_seeds=())
    return EarlyPrediction(
        sentence=early_sentence(paths.label, rows, summary),
        table=pa.Table.from_pylist(rows, schema=_TABLE),
        summary=pa.Table.from_pylist(summary, schema=_SUMMARY),
        points=pa.Table.from_pylist([p for g in paths.groups for p in _points(g)], schema=_POINTS),
        label=paths.label,
        value_unit=paths.unit,
        n_runs=paths.n_runs,
        unit="correlation",
        ci_level=confidence,
        null_name=NULL if known else "",
        p_value=min(known) if known else math.nan,
        mde=detectable_correlation(largest),
        verdict="yes" if any(s["tells_from"] is not None for s in summary) else "unresolved",
        limits=(
            *provenance.limits,
            *paths.limits,
            *units_limits(units, ""),
            *apart_limits(selected, units, "predictions"),
            *early_limits(rows, paths.groups),
        ),
        provenance=provenance,
        sql=paths.sql,
    )


def _rows(group: GroupPaths, level: float, n_groups: int) -> list[dict[str, Any]]:
    """Every step of one condition; p_any counts all steps and all conditions of the answer (Bonferroni)."""
    # siblings tell one another's end, and finals cannot be exchanged between them
    values = group.apart
    if not values.size:
        return []
    found = predictions(values, values[:, -1], level=level)
    few = ""
    if len(values) < min(LEAST_RUNS, len(group.known)):
        few = f"{len(values)} runs that share no seed, and a prediction needs {LEAST_RUNS}"
    rows = []
    for k, (step, entry) in enumerate(zip(group.steps.tolist(), found, strict=True)):
        last = k == len(found) - 1
        row: dict[str, Any] = {
            "group": group.group,
            "step": int(step),
            "n_runs": len(values),
            # equal values have no spread, not the rounding error of their mean
            "sd": _spread(values[:, k]),
            "mae_mean": finite_or_none(entry.mae_mean),
            "p": None if last else finite_or_none(entry.p),
            "p_any": None if last else _together(entry.p_any, n_groups),
            "why": few or entry.why or ("the final value itself" if last else None),
        }
        for name in ("pearson", "spearman", "r2", "mae"):
            number_: Correlation = getattr(entry, name)
            row |= {
                name: finite_or_none(number_.value),
                f"{name}_low": finite_or_none(number_.low),
                f"{name}_high": finite_or_none(number_.high),
            }
        rows.append(row)
    return rows


def _summary(group: GroupPaths, rows: Sequence[dict[str, Any]], level: float) -> dict[str, Any]:
    mine = [r for r in rows if r["group"] == group.group]
    finals = group.values[group.finite][:, -1] if mine else np.empty(0)
    mean, low, high = mean_over_units(finals, group.units.of(group.known), level)
    tested = [r for r in mine[:-1] if r["p_any"] is not None]
    return {
        "group": group.group,
        "n_runs": len(finals),
        **group.units.columns(group.known),
        "final_step": mine[-1]["step"] if mine else None,
        "final_mean": finite_or_none(mean),
        "final_low": finite_or_none(low),
        "final_high": finite_or_none(high),
        "final_sd": _spread(finals),
        "tells_from": _from([(r["step"], r["p_any"] < ALPHA) for r in tested]),
        "half_from": _from([(r["step"], r["r2"] >= 0.5) for r in tested]),
        "p": min((r["p_any"] for r in tested), default=None),
    }


def _together(p: float, n: int) -> float | None:
    """Bonferroni's p of n tests; None where there is none."""
    return min(1.0, p * n) if math.isfinite(p) else None


def _spread(values: NDArray[np.float64]) -> float | None:
    if len(values) < 2:
        return None
    return float(values.std(ddof=1)) if np.ptp(values) else 0.0


def _from(steps: Sequence[tuple[int, bool]]) -> int | None:
    """The first step from which all hold."""
    found = None
    for step, holds in reversed(steps):
        if not holds:
            break
        found = step
    return found


def _points(group: GroupPaths) -> list[dict[str, Any]]:
    return [
        {
            "run": run,
            "group": group.group,
            "step": int(step),
            "value": float(group.values[k, t]),
            "final": float(group.values[k, -1]),
        }
        for k, run in enumerate(group.runs)
        if group.finite[k]
        for t, step in enumerate(group.steps.tolist())
    ]
