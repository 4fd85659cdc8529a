"""Curves of several runs: any scalar, per run and over everything but the seed."""

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Annotated, Literal, Unpack

import numpy as np
import plotly.graph_objects as go
import pyarrow as pa
import pyarrow.compute as pc
from pydantic import Field

from archive.store import Archive
from queries.parameters import CurveOrigin, IntervalLevel, SplitPart
from queries.reading.curves import AXIS_COLUMN, Axis, Curves, read_curves
from queries.reading.quantities import Which
from queries.reading.select import ALL_RUNS, Runs, select_runs
from queries.reading.tables import floats, only_value, stretches
from queries.reading.units import Units, among, units_by_group, units_limits
from queries.registry import query
from queries.render import interval, number
from queries.results import Answer, Provenance
from queries.stats.few_runs import detectable_difference
from queries.stats.means import METHOD, t_half_width
from queries.stats.over_units import METHOD as OVER_UNITS


@dataclass(frozen=True, kw_only=True, repr=False, eq=False)
class LossCurves(Answer):
    """One scalar over training.

    table: run, group, step, tokens_seen, value, se (of the value, over items), n_items.
    bands: group, step or tokens_seen, n_runs, mean, sd, low, high: mean over the runs of a group that have a
    value there, with its pointwise t interval, over those that share no seed (NULL where a single one is left).
    summary: one row a group, at the last point that all of its runs have; n_units of these share no seed.
    n_steps: distinct steps that have a value, before max_points thinned them.
    """

    bands: pa.Table
    label: str
    axis: Axis
    n_steps: int

    def plot(
        self, *, x_scale: Literal["log", "linear"] = "log", y_scale: Literal["log", "linear"] = "linear"
    ) -> go.Figure:
        """Thin line per run, band and mean per group; step 0 stays on the log axis, behind a break."""
        from queries.figures.plots import curves

        return curves(self, x_scale=x_scale, y_scale=y_scale)


@query(title="How do curves of several runs compare, and how far apart are the seeds?")
def loss_curves(
    archive: Archive,
    *,
    runs: Runs = ALL_RUNS,
    measure: Annotated[
        str, Field(description="any scalar: loss, accuracy, weight_norm, log.loss, ...")
    ] = "loss",
    part: SplitPart = "auto",
    axis: Annotated[Axis, Field(description="what runs are aligned by for means")] = "step",
    origin: CurveOrigin = "auto",
    max_points: Annotated[
        int | None, Field(ge=4, description="keep about this many steps per run; default: all of them")
    ] = None,
    confidence: IntervalLevel = 0.95,
    **which: Unpack[Which],
) -> LossCurves:
    """Values of one scalar over training, per run and averaged over the runs of each condition.

    Runs are grouped by everything but the seed (their condition). Means are arithmetic, over runs; intervals
    are Student t over runs, or over the seeds they share, pointwise. Values that are not finite count as not measured.
    """
    curves = read_curves(
        archive,
        select_runs(archive, runs),
        measure,
        part,
        which,
        origin=origin,
        axis=axis,
        max_points=max_points,
    )
    units = units_by_group(curves.selected, curves.group_of)
    bands = group_bands(curves, units, axis, confidence)
    summary = _summary(curves, units, bands, axis)
    # shared seeds are taken into account here
    provenance = replace(Provenance.of(archive, [curves.choice], curves.left_out), shared_seeds=())
    quantity = curves.choice.quantity
    # one group has one headline; several are compared in the summary
    only = summary.to_pylist()[0] if summary.num_rows == 1 else None
    by_run = only is not None and only["unit"] == "run"
    return LossCurves(
        sentence=_sentence(curves, summary, axis),
        table=curves.table.drop_columns(["run_id"]),
        summary=summary,
        bands=bands,
        label=curves.label,
        axis=axis,
        n_steps=curves.n_steps,
        n_runs=len(curves.group_of),
        n_items=only_value(curves.table, "n_items"),
        unit=quantity.shown_unit,
        ci_level=confidence,
        ci_method=(METHOD if by_run else OVER_UNITS) if only and only["low"] is not None else "",
        estimate=only["mean"] if only else np.nan,
        ci_low=_or_nan(only["low"]) if only else np.nan,
        ci_high=_or_nan(only["high"]) if only else np.nan,
        mde=detectable_difference(only["n_runs"], only["n_runs"]) * _or_nan(only["sd"])
        if only and by_run
        else np.nan,
        limits=(*provenance.limits, *curves.limits, *units_limits(units, ""), *_limits(bands, summary)),
        provenance=provenance,
        sql=curves.sql,
    )


def group_bands(curves: Curves, units: Mapping[str, Units], axis: Axis, level: float) -> pa.Table:
    """Mean, sd and t interval over the runs of each group, at every point where one has a value.

    Intervals end at the bounds of the measure; those of runs that share seeds are over the values of these.
    """
    at = AXIS_COLUMN[axis]
    starts, ends = stretches(curves.table, ["group"])
    names = curves.table["group"].take(pa.array(starts))
    # numbers in place of names: grouping by text takes several times as long
    code = np.repeat(np.arange(len(starts), dtype=np.int32), ends - starts)
    rows = pa.table(
        {"code": code, at: curves.table[at], "value": curves.table["value"], "run_id": curves.table["run_id"]}
    )
    known = np.isfinite(curves.column("value"))
    rows = rows if known.all() else rows.filter(pa.array(known))
    grouped = (
        rows.group_by(["code", at])
        .aggregate(
            [
                ("value", "count"),
                ("value", "mean"),
                ("value", "stddev", pc.VarianceOptions(ddof=1)),
            ]
        )
        .sort_by([("code", "ascending"), (at, "ascending")])
    )
    n = floats(grouped, "value_count")
    mean, sd = floats(grouped, "value_mean"), floats(grouped, "value_stddev")
    sd = np.where(n < 2, np.nan, sd)
    half = t_half_width(sd, n, level)
    for k, group in enumerate(names.to_pylist()):
        if units[group].counted:
            mine = rows.filter(pc.equal(rows["code"], k))
            half[grouped["code"].to_numpy() == k] = _half_over_units(mine, at, units[group], level)
    low, high = np.clip([mean - half, mean + half], *curves.choice.quantity.bounds)
    return pa.table(
        {
            "group": names.take(grouped["code"]),
            at: grouped[at],
            "n_runs": grouped["value_count"],
            "mean": mean,
            "sd": pa.array(sd, from_pandas=True),
            "low": pa.array(low, from_pandas=True),
            "high": pa.array(high, from_pandas=True),
        }
    )


def _half_over_units(rows: pa.Table, at: str, units: Units, level: float) -> np.ndarray:
    """Half widths at every point, in order: over the means of each seed's values, those of several seeds squared and added."""
    found = np.zeros(1)
    for of in units.of():
        number_of = dict(zip(units.runs, of.tolist(), strict=True))
        unit = pa.array([number_of[run] for run in rows["run_id"].to_pylist()])
        means = rows.append_column("unit", unit).group_by([at, "unit"]).aggregate([("value", "mean")])
        spread = (
            means.group_by(at)
            .aggregate([("value_mean", "count"), ("value_mean", "stddev", pc.VarianceOptions(ddof=1))])
            .sort_by(at)
        )
        n = floats(spread, "value_mean_count")
        sd = np.where(n < 2, np.nan, floats(spread, "value_mean_stddev"))
        found = np.hypot(found, t_half_width(sd, n, level))
    return found


def _summary(curves: Curves, units: Mapping[str, Units], bands: pa.Table, axis: Axis) -> pa.Table:
    """One row a group: the last point that every run of the group has, and the fewest runs at any point."""
    sizes = Counter(curves.group_of.values())
    n_runs = bands["n_runs"].to_numpy()
    starts, ends = stretches(bands, ["group"])
    groups = bands["group"].take(pa.array(starts)).to_pylist()
    last, fewest = [], []
    for group, a, b in zip(groups, starts, ends, strict=True):
        whole = np.flatnonzero(n_runs[a:b] == sizes[group])
        last.append(int(a) + int(whole[-1]) if len(whole) else int(b) - 1)
        fewest.append(int(n_runs[a:b].min()))
    summary = bands.take(pa.array(last, pa.int64()))
    for name, values in (
        ("group_size", [sizes[g] for g in groups]),
        ("n_units", [units[g].columns()["n_units"] for g in groups]),
        ("fewest_runs", fewest),
        ("n_points", (ends - starts).tolist()),
    ):
        summary = summary.append_column(name, pa.array(values, pa.int64()))
    names = pa.array([units[g].columns()["unit"] for g in groups], pa.string())
    first = ["group", "n_runs", "group_size", "n_units", "unit", AXIS_COLUMN[axis]]
    return summary.append_column("unit", names).select(
        [*first, "mean", "low", "high", "sd", "fewest_runs", "n_points"]
    )


def _sentence(curves: Curves, summary: pa.Table, axis: Axis) -> str:
    quantity = curves.choice.quantity
    where = "in the training log" if quantity.origin == "log" else "at checkpoints"
    n_groups, at = summary.num_rows, AXIS_COLUMN[axis]
    runs = len(curves.group_of)
    of = f"{runs} run{'s' if runs != 1 else ''}" + (f" in {n_groups} groups" if n_groups > 1 else "")
    row = summary.to_pylist()[0]
    of += among(row) if n_groups == 1 else ""
    what = f"{curves.label} of {of}, measured {where} ({curves.n_steps} steps)"
    place = f"{'step' if axis == 'step' else 'token'} {number(row[at])}"
    if n_groups > 1:
        return f"{what}; each group's mean at the last {axis} all of its runs have is in the summary."
    if row["n_runs"] < row["group_size"]:
        return f"{what}; no point is shared by all {row['group_size']} runs."
    band = f" {interval(_or_nan(row['low']), _or_nan(row['high']))}" if row["n_runs"] > 1 else ""
    unit = f" {quantity.shown_unit}".rstrip()
    return f"{what}: at {place} {'the mean' if row['n_runs'] > 1 else 'it'} is {number(row['mean'])}{band}{unit}."


def _limits(bands: pa.Table, summary: pa.Table) -> list[str]:
    lines = []
    rows = summary.to_pylist()
    alone = [r for r in rows if r["group_size"] == 1]
    if alone:
        which = "The only group has" if len(rows) == 1 else f"{len(alone)} of {len(rows)} groups have"
        lines.append(f"{which} a single run: one run says nothing about spread between seeds.")
    thinning = [r for r in rows if r["group_size"] > 1 and r["fewest_runs"] < r["group_size"]]
    if thinning:
        r = thinning[0]
        where = f"In {len(thinning)} of {len(rows)} groups not" if len(rows) > 1 else "Not"
        lines.append(
            f"{where} every run has every point (down to {r['fewest_runs']} of {r['group_size']} in {r['group']}): there "
            "the mean is over the runs still going, not over all seeds."
        )
    if bands.num_rows > bands.column("low").null_count:
        lines.append(
            "Intervals hold at one point at a time, not for a whole curve, and assume normal spread."
        )
    return lines


def _or_nan(value: float | None) -> float:
    return np.nan if value is None else value
