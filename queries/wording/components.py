"""What variance components say and cannot say, in words."""

import math
from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from queries.reading.crossed_runs import Crossed
from queries.reading.item_tables import ItemTable
from queries.reading.run_values import RunValues
from queries.render import interval, number
from queries.stats.components import Component, TwoWay
from queries.stats.crossed import CrossedComponent
from queries.stats.few_runs import sd_multipliers

Floats = NDArray[np.float64]


def sentence_of_runs(
    values: RunValues, parts: tuple[Component, ...], n_runs: int, n_groups: int, unit: str
) -> str:
    """The spread between seeds of one condition, and beside conditions."""
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


def sentence_of_items(items: ItemTable, found: dict[str, TwoWay]) -> str:
    """How much of a runs × items table is a run's own."""
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


def limits_of_runs(
    groups: dict[str, Floats], parts: tuple[Component, ...], noise: float | None, level: float
) -> list[str]:
    """What one value per run cannot tell."""
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


def limits_of_items(found: dict[str, TwoWay], items: ItemTable) -> list[str]:
    """What a runs × items table cannot tell."""
    lines = _negative([(g, c) for g, r in found.items() for c in r.components])
    few = [g for g in found if items.tables[g].shape[0] <= 5]
    if few:
        n = items.tables[few[0]].shape[0]
        lines.append(
            f"The run is the unit of inference: {n} runs stay {n} however many items there are; items only tighten "
            "the item part." + (" With 2 runs no interval can be given." if n == 2 else "")
        )
    lines.append(
        "How hard an item is counts as item variance here; agreement beyond shared difficulty is another question."
    )
    return lines


def _negative(rows: Sequence[tuple[str, Component | CrossedComponent]]) -> list[str]:
    return [
        f"The estimate of {c.name}{' in ' + group if group else ''} is negative ({number(c.estimate, 3)}): less than "
        f"chance alone would give, so read it as 0, at most {number(c.high, 3)}."
        for group, c in rows
        if c.estimate < 0
    ]


def sentence_of_crossed(
    values: RunValues, found: Mapping[str, Crossed], parts: Mapping[str, Sequence[CrossedComponent]]
) -> str:
    """Shares of the factors of the only condition, or where to look."""
    start = f"{values.label} at {values.place}"
    if len(found) != 1:
        return f"{start}: {len(found)} crossed conditions, each in the table."
    group, crossed = next(iter(found.items()))
    shares = "; ".join(
        f"{c.name} {c.share:.0%} {interval(c.share_low, c.share_high, 2)}" for c in parts[group]
    )
    return f"{start}, {crossed.table.size} runs ({crossed.shape}): shares of the variance are {shares}."


def limits_of_crossed(
    found: Mapping[str, Crossed], parts: Mapping[str, Sequence[CrossedComponent]]
) -> list[str]:
    """What so few levels of each factor cannot tell."""
    lines = _negative([(group, c) for group, mine in parts.items() for c in mine])
    few = [
        (group, name, len(known))
        for group, c in found.items()
        for name, known in c.levels.items()
        if len(known) < 5
    ]
    if few:
        group, name, n = few[0]
        lines.append(
            f"{name} has only {n} levels in {group}: a variance is known from the levels of its own factor, however many "
            "runs there are, and from so few hardly at all."
        )
    if any(c.table.shape[-1] == 1 for c in found.values()):
        lines.append(
            "With one run a cell the interaction of all factors includes whatever else makes two runs of the same seeds "
            "differ; where training repeats bit for bit there is nothing else."
        )
    lines.append(
        "Seeds count as drawn at random from all seeds; intervals are generalised ones (Weerahandi) for normal effects, cut at 0."
    )
    return lines
