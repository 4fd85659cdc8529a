"""How much of the variation is the seed's: between runs of one condition, and over items."""

import math
from dataclasses import dataclass
from typing import Annotated, Literal, Unpack

import numpy as np
import plotly.graph_objects as go
import pyarrow as pa
from numpy.typing import NDArray
from pydantic import Field

from archive.store import Archive
from queries.checkpoints import Step
from queries.item_tables import ItemTable, read_items
from queries.quantities import Which
from queries.registry import query
from queries.render import interval, number
from queries.results import Answer, Provenance, Verdict
from queries.run_values import RunValues, read_run_values
from queries.select import ALL_RUNS, Runs, select_runs
from queries.stats.components import Component, TwoWay, excess_spread_p, one_way, two_way
from queries.stats.few_runs import detectable_difference, sd_multipliers

Floats = NDArray[np.float64]

_COMPONENTS = pa.schema(
    [
        ("group", pa.string()),
        ("component", pa.string()),
        ("variance", pa.float64()),
        ("low", pa.float64()),
        ("high", pa.float64()),
        ("share", pa.float64()),
        ("sd", pa.float64()),
        ("df", pa.float64()),
        ("method", pa.string()),
    ]
)


@dataclass(frozen=True, kw_only=True, repr=False, eq=False)
class VarianceComponents(Answer):
    """Variance by where it comes from.

    table: group, component, variance (unbiased, so it may be negative) with its interval, share of the total
    (negative ones count as 0), sd, df, method. summary: per group its runs, their mean and sd; for items also
    ICC(A,1), ICC(C,1) and the idiosyncratic share 1 − ICC(A,1).
    estimate: the sd between seeds of one condition (one value per run), or the idiosyncratic share (items).
    """

    label: str

    def plot(self) -> go.Figure:
        """Components as bars with their intervals."""
        from queries.plots import components

        return components(self)


@query(title="How much of the variation is the seed's?")
def variance_components(
    archive: Archive,
    *,
    runs: Runs = ALL_RUNS,
    measure: Annotated[
        str, Field(description="one value per run (loss, log.accuracy) or per item, token or head")
    ] = "loss",
    part: Annotated[
        str, Field(description="split, tensor or class; auto = test, else the only one")
    ] = "auto",
    step: Step = "final",
    scale: Annotated[
        Literal["raw", "log2"], Field(description="log2 for values that differ by factors, such as losses")
    ] = "raw",
    confidence: Annotated[float, Field(gt=0, lt=1, description="level of the intervals")] = 0.95,
    **which: Unpack[Which],
) -> VarianceComponents:
    """Variance components of one measure at one checkpoint of each run.

    One value per run: between conditions and between the seeds of one condition. One value per item, token
    or (for runs that share their init) head: item, seed and seed:item, per condition. Method of moments.
    """
    selected = select_runs(archive, runs)
    found = read_run_values(archive, selected, measure, part, step, which)
    if isinstance(found, RunValues):
        return _between_runs(archive, found, scale, confidence)
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
        sentence=_sentence_runs(values, parts, n_runs, len(groups), unit),
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
            *_limits_runs(groups, parts, noise, level),
        ),
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
        sentence=_sentence_items(items, found),
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
        limits=(*provenance.limits, *notes, *_limits_items(found, items)),
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


def _component_table(rows: list[tuple[str, Component]]) -> pa.Table:
    return pa.Table.from_pylist(
        [
            {
                "group": group,
                "component": c.name,
                "variance": c.estimate,
                "low": c.low,
                "high": c.high,
                "share": c.share,
                "sd": math.sqrt(max(c.estimate, 0.0)),
                "df": None if math.isnan(c.df) else c.df,
                "method": c.method,
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


def _sentence_runs(
    values: RunValues, parts: tuple[Component, ...], n_runs: int, n_groups: int, unit: str
) -> str:
    seed = next((c for c in parts if c.name == "seed"), None)
    start = f"{values.label} at {values.place}, {n_runs} runs in {n_groups} condition{'s' if n_groups != 1 else ''}"
    if seed is None:
        return f"{start}: no condition has two runs, so nothing can be said about seeds."
    sd = math.sqrt(max(seed.estimate, 0.0))
    band = interval(math.sqrt(seed.low), math.sqrt(seed.high), 3)
    text = f"{start}: the sd between seeds is {number(sd, 3)} {band} {unit}".rstrip()
    condition = next((c for c in parts if c.name == "condition"), None)
    if condition:
        text += f"; seeds carry {seed.share:.0%} of the variance, conditions {condition.share:.0%}"
    return text + "."


def _sentence_items(items: ItemTable, found: dict[str, TwoWay]) -> str:
    if len(found) != 1:
        return f"{items.label} at {items.place}: {len(found)} conditions, each in the summary."
    group, result = next(iter(found.items()))
    n_runs, n_items = items.tables[group].shape
    shares = ", ".join(f"{c.name} {c.share:.0%}" for c in result.components)
    band = interval(result.idiosyncratic_low, result.idiosyncratic_high, 2)
    return (
        f"{items.label} at {items.place}, {n_runs} runs × {n_items:,} items: {number(result.idiosyncratic, 2)} {band} "
        f"of the variance is a run's own (shares: {shares})."
    )


def _limits_runs(
    groups: dict[str, Floats], parts: tuple[Component, ...], noise: float | None, level: float
) -> list[str]:
    lines = _negative([("", c) for c in parts])
    seed = next((c for c in parts if c.name == "seed"), None)
    if seed is not None:
        low, high = sd_multipliers(int(seed.df), level)
        lines.append(
            f"With {seed.df:.0f} degrees of freedom the true sd between seeds lies within {low:.2f} to {high:.2f} times "
            "the estimate, for normal values; outlier seeds are kept and widen it."
        )
        if sum(len(g) > 1 for g in groups.values()) > 1:
            lines.append(
                "The seed variance is pooled over conditions as if it were equal in all; a handful of runs cannot "
                "show that it differs (5 against 5 runs detect a ratio of 24)."
            )
    if noise is not None:
        lines.append(
            "Standard errors over items were subtracted; where runs share their items this removes too much, so the "
            "seed part is a lower estimate."
        )
    else:
        lines.append(
            "No standard error over items is used: the seed part includes any noise of the evaluation."
        )
    return lines


def _limits_items(found: dict[str, TwoWay], items: ItemTable) -> list[str]:
    lines = _negative([(g, c) for g, r in found.items() for c in r.components])
    few = [g for g in found if items.tables[g].shape[0] <= 5]
    if few:
        n = items.tables[few[0]].shape[0]
        lines.append(
            f"The run is the unit of inference: {n} runs stay {n} however many items there are; items only tighten "
            "the item part." + (" With 2 runs no interval can be given." if n == 2 else "")
        )
    offset = [g for g, r in found.items() if r.components[1].share > r.components[2].share]
    if offset:
        lines.append(
            f"In {len(offset)} group(s) runs differ mostly by an overall offset, which few runs show poorly: there the "
            "interval of the run's own share covers less than it says (88 % for 95 % from 5 runs)."
        )
    lines.append(
        "How hard an item is counts as item variance here; agreement beyond shared difficulty is another question."
    )
    return lines


def _negative(rows: list[tuple[str, Component]]) -> list[str]:
    return [
        f"The estimate of {c.name}{' in ' + group if group else ''} is negative ({number(c.estimate, 3)}): less than "
        f"chance alone would give, so read it as 0, at most {number(c.high, 3)}."
        for group, c in rows
        if c.estimate < 0
    ]
