"""How much of the variation is the seed's: between runs of one condition, and over items."""

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Annotated, Literal, Unpack

import numpy as np
import plotly.graph_objects as go
import pyarrow as pa
from numpy.typing import NDArray
from pydantic import Field

from archive.errors import UsageError
from archive.store import Archive
from queries.parameters import IntervalLevel, SplitPart
from queries.reading.checkpoints import Step
from queries.reading.crossed_runs import Factor, cross_runs
from queries.reading.item_tables import ItemTable, read_items
from queries.reading.quantities import Which
from queries.reading.run_values import RunValues, read_run_values
from queries.reading.select import ALL_RUNS, Runs, select_runs
from queries.registry import query
from queries.results import Answer, Provenance, Verdict
from queries.stats.components import Component, TwoWay, excess_spread_p, one_way, two_way
from queries.stats.crossed import CrossedComponent
from queries.stats.few_runs import detectable_difference
from queries.wording.components import (
    limits_of_crossed,
    limits_of_items,
    limits_of_runs,
    sentence_of_crossed,
    sentence_of_items,
    sentence_of_runs,
)

Floats = NDArray[np.float64]

_COMPONENTS = pa.schema(
    [
        ("group", pa.string()),
        ("component", pa.string()),
        ("variance", pa.float64()),
        ("low", pa.float64()),
        ("high", pa.float64()),
        ("share", pa.float64()),
        ("share_low", pa.float64()),
        ("share_high", pa.float64()),
        ("sd", pa.float64()),
        ("df", pa.float64()),
        ("method", pa.string()),
    ]
)


@dataclass(frozen=True, kw_only=True, repr=False, eq=False)
class VarianceComponents(Answer):
    """Variance by where it comes from.

    table: group, component, variance (unbiased, so it may be negative) with its interval, share of the total
    (negative ones count as 0; with its interval for crossed seeds), sd, df, method.
    summary: per group its runs, their mean and sd; for items also ICC(A,1), ICC(C,1) and the idiosyncratic share
    1 − ICC(A,1).
    estimate: the sd between seeds of one condition (one value per run), the idiosyncratic share (items), or the
    share of the first factor (crossed seeds).
    """

    label: str

    def plot(self) -> go.Figure:
        """Components as bars with their intervals."""
        from queries.figures.plots import components

        return components(self)


@query(title="How much of the variation is the seed's?")
def variance_components(
    archive: Archive,
    *,
    runs: Runs = ALL_RUNS,
    measure: Annotated[
        str, Field(description="one value per run (loss, log.accuracy) or per item, token or head")
    ] = "loss",
    part: SplitPart = "auto",
    step: Step = "final",
    scale: Annotated[
        Literal["raw", "log2"], Field(description="log2 for values that differ by factors, such as losses")
    ] = "raw",
    factors: Annotated[
        tuple[Factor, ...],
        Field(
            description="seeds that are crossed: init, order, split (two or three); default: seeds as a whole"
        ),
    ] = (),
    confidence: IntervalLevel = 0.95,
    **which: Unpack[Which],
) -> VarianceComponents:
    """Variance components of one measure at one checkpoint of each run.

    One value per run: between conditions and between the seeds of one condition. One value per item, token
    or (for runs that share their init) head: item, seed and seed:item, per condition. With `factors`, one value
    per run of a full crossing of seeds: init, data order, split and their interactions. Method of moments.
    """
    selected = select_runs(archive, runs)
    found = read_run_values(archive, selected, measure, part, step, which)
    if isinstance(found, RunValues):
        if factors:
            return _between_factors(archive, found, factors, scale, confidence)
        return _between_runs(archive, found, scale, confidence)
    if factors:
        raise UsageError(
            f"{measure} has a value per item, and factors need one per run: ask for a scalar such as loss, or without factors."
        )
    return _over_items(archive, read_items(archive, found, step, which), scale, confidence)


def _between_runs(
    archive: Archive, values: RunValues, scale: Literal["raw", "log2"], level: float
) -> VarianceComponents:
    groups, notes = _scaled(values, scale)
    parts = one_way([g for g in groups.values() if len(g)], level)
    # a standard error over items is noise only on the scale it was measured on
    errors = values.errors if scale == "raw" else {}
    noise = _noise(errors, groups)
    if noise is not None:
        parts = _without_noise(parts, noise)
    seed = next((c for c in parts if c.name == "seed"), None)
    n_runs = sum(len(g) for g in groups.values())
    p = _excess_p(groups, errors) if noise is not None else math.nan
    verdict: Verdict | None = "unresolved" if seed is None or seed.estimate <= 0 else None
    if math.isfinite(p):
        verdict = "yes" if p < 0.05 else "unresolved"
    unit = f"log2 {values.unit}".rstrip() if scale == "log2" else values.unit
    sd = math.sqrt(max(seed.estimate, 0.0)) if seed else math.nan
    largest = max((len(g) for g in groups.values()), default=0)
    provenance = Provenance.of(archive, [values.choice], values.left_out)
    return VarianceComponents(
        sentence=sentence_of_runs(values, parts, n_runs, len(groups), unit),
        table=_component_table([("", c) for c in parts]),
        summary=_group_table(groups),
        label=f"{values.label} at {values.place}",
        n_runs=n_runs,
        n_items=values.n_items,
        unit=unit,
        estimate=sd,
        ci_low=math.sqrt(seed.low) if seed else math.nan,
        ci_high=math.sqrt(seed.high) if seed else math.nan,
        ci_level=level,
        ci_method=f"sd between seeds, {seed.method}" if seed else "",
        null_name="evaluation noise alone (Cochran's Q)" if math.isfinite(p) else "",
        p_value=p,
        mde=detectable_difference(largest, largest) * sd if seed and largest > 1 else math.nan,
        verdict=verdict,
        limits=(
            *provenance.limits,
            *values.limits,
            *notes,
            *limits_of_runs(groups, parts, noise, level),
        ),
        provenance=provenance,
        sql=values.sql,
    )


def _between_factors(
    archive: Archive,
    values: RunValues,
    factors: Sequence[Factor],
    scale: Literal["raw", "log2"],
    level: float,
) -> VarianceComponents:
    found, notes = cross_runs(values, factors, scale == "log2")
    parts = {group: crossed.components(level) for group, crossed in found.items()}
    rows = [(group, c) for group, mine in parts.items() for c in mine]
    first = rows[0][1] if len(found) == 1 else None
    # that seeds are shared is what this answer is about
    provenance = replace(Provenance.of(archive, [values.choice], values.left_out), shared_seeds=())
    return VarianceComponents(
        sentence=sentence_of_crossed(values, found, parts),
        table=_component_table(rows),
        summary=_group_table({group: crossed.table.ravel() for group, crossed in found.items()}),
        label=f"{values.label} at {values.place}",
        n_runs=sum(crossed.table.size for crossed in found.values()),
        n_items=values.n_items,
        unit="share of variance",
        estimate=first.share if first else math.nan,
        ci_low=first.share_low if first else math.nan,
        ci_high=first.share_high if first else math.nan,
        ci_level=level,
        ci_method=f"share of {first.name}, generalised interval" if first else "",
        verdict=None if any(c.low > 0 for _, c in rows) else "unresolved",
        limits=(*provenance.limits, *values.limits, *notes, *limits_of_crossed(found, parts)),
        provenance=provenance,
        sql=values.sql,
    )


def _over_items(
    archive: Archive, items: ItemTable, scale: Literal["raw", "log2"], level: float
) -> VarianceComponents:
    found: dict[str, TwoWay] = {}
    notes = list(items.limits)
    for group, table in items.tables.items():
        y = table
        if scale == "log2":
            keep = (y > 0).all(axis=0)
            if not keep.all():
                notes.append(
                    f"{int((~keep).sum())} item(s) of {group} are not positive: no logarithm, left out."
                )
            y = np.log2(y[:, keep])
        if min(y.shape) >= 2:
            found[group] = two_way(y, level)
        else:
            notes.append(f"{group}: {y.shape[0]} run(s) × {y.shape[1]} item(s); at least 2 × 2 are needed.")
    rows = [(group, c) for group, result in found.items() for c in result.components]
    only = next(iter(found.values())) if len(found) == 1 else None
    n_runs = sum(items.tables[g].shape[0] for g in found)
    supported = any(items.tables[g].shape[0] > 2 for g in found)
    provenance = Provenance.of(archive, [items.choice], items.left_out)
    return VarianceComponents(
        sentence=sentence_of_items(items, found),
        table=_component_table(rows),
        summary=_item_summary(items, found),
        label=f"{items.label} at {items.place}",
        n_runs=n_runs,
        n_items=items.tables[next(iter(found))].shape[1] if only else None,
        unit="share of variance",
        estimate=only.idiosyncratic if only else math.nan,
        ci_low=only.idiosyncratic_low if only else math.nan,
        ci_high=only.idiosyncratic_high if only else math.nan,
        ci_level=level,
        ci_method="1 − ICC(A,1), jackknife over runs and item blocks" if only else "",
        verdict=None if supported else "unresolved",
        limits=(*provenance.limits, *notes, *limits_of_items(found, items)),
        provenance=provenance,
        sql=items.sql,
    )


def _scaled(values: RunValues, scale: Literal["raw", "log2"]) -> tuple[dict[str, Floats], list[str]]:
    notes, groups = [], {}
    for group, y in values.groups.items():
        if scale == "log2":
            if (y <= 0).any():
                notes.append(
                    f"{int((y <= 0).sum())} run(s) of {group} are not positive: no logarithm, left out."
                )
            y = np.log2(y[y > 0])
        groups[group] = y
    return groups, notes


def _noise(errors: dict[str, Floats], groups: dict[str, Floats]) -> float | None:
    """Mean squared standard error, where every run has one."""
    if set(errors) != set(groups) or not all((np.isfinite(e) & (e > 0)).all() for e in errors.values()):
        return None
    return float(np.concatenate([e**2 for e in errors.values()]).mean())


def _excess_p(groups: dict[str, Floats], errors: dict[str, Floats]) -> float:
    return excess_spread_p([(groups[g], errors[g]) for g in groups])


def _without_noise(parts: tuple[Component, ...], noise: float) -> tuple[Component, ...]:
    """Split the within part into what the seed adds and the evaluation's own noise, taken as known."""
    within = next((c for c in parts if c.name == "seed"), None)
    if within is None:
        return parts
    between = [c for c in parts if c.name != "seed"]
    seed = within.estimate - noise
    whole = sum(max(c.estimate, 0.0) for c in between) + max(seed, 0.0) + noise
    kept = [
        Component(c.name, c.estimate, c.low, c.high, c.df, max(c.estimate, 0.0) / whole, c.method)
        for c in between
    ]
    return (
        *kept,
        Component(
            "seed",
            seed,
            max(0.0, within.low - noise),
            max(0.0, within.high - noise),
            within.df,
            max(seed, 0.0) / whole,
            "chi-square, less the mean squared standard error",
        ),
        Component("evaluation", noise, noise, noise, math.nan, noise / whole, "mean squared standard error"),
    )


def _component_table(rows: Sequence[tuple[str, Component | CrossedComponent]]) -> pa.Table:
    return pa.Table.from_pylist(
        [
            {
                "group": group,
                "component": c.name,
                "variance": c.estimate,
                "low": c.low,
                "high": c.high,
                "share": c.share,
                "share_low": getattr(c, "share_low", None),
                "share_high": getattr(c, "share_high", None),
                "sd": math.sqrt(max(c.estimate, 0.0)),
                "df": None if math.isnan(c.df) else c.df,
                "method": c.method if isinstance(c, Component) else "generalised interval",
            }
            for group, c in rows
        ],
        schema=_COMPONENTS,
    )


def _group_table(groups: dict[str, Floats]) -> pa.Table:
    many = {g: len(y) > 1 for g, y in groups.items()}
    return pa.table(
        {
            "group": pa.array(list(groups), pa.string()),
            "n_runs": pa.array([len(y) for y in groups.values()], pa.int64()),
            "mean": pa.array([float(y.mean()) if len(y) else None for y in groups.values()], pa.float64()),
            "sd": pa.array(
                [float(y.std(ddof=1)) if many[g] else None for g, y in groups.items()], pa.float64()
            ),
            "lowest": pa.array([float(y.min()) if len(y) else None for y in groups.values()], pa.float64()),
            "highest": pa.array([float(y.max()) if len(y) else None for y in groups.values()], pa.float64()),
        }
    )


def _item_summary(items: ItemTable, found: dict[str, TwoWay]) -> pa.Table:
    shapes = {g: items.tables[g].shape for g in found}
    return pa.table(
        {
            "group": pa.array(list(found), pa.string()),
            "n_runs": pa.array([shapes[g][0] for g in found], pa.int64()),
            "n_items": pa.array([shapes[g][1] for g in found], pa.int64()),
            "idiosyncratic": [r.idiosyncratic for r in found.values()],
            "low": [r.idiosyncratic_low for r in found.values()],
            "high": [r.idiosyncratic_high for r in found.values()],
            "icc_agreement": [r.icc_agreement for r in found.values()],
            "icc_consistency": [r.icc_consistency for r in found.values()],
        }
    )
