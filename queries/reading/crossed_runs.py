"""Runs whose seeds are crossed: every init with every data order and split, as a table of variance components needs."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import product
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from archive.errors import NotComparable, UsageError
from queries.reading.run_values import RunValues
from queries.reading.tables import floats
from queries.stats.crossed import CrossedComponent, crossed_components

Floats = NDArray[np.float64]
Factor = Literal["init", "order", "split"]

SEED_FIELDS: Mapping[Factor, str] = {"init": "init_seed", "order": "data_order_seed", "split": "split_seed"}


@dataclass(frozen=True)
class Crossed:
    """One condition: its factors with their levels, one axis each, and repeats of a cell as the last axis."""

    table: Floats
    levels: Mapping[Factor, tuple[int, ...]]

    @property
    def shape(self) -> str:
        """The design in words, such as `5 init × 5 order`."""
        return " × ".join(f"{len(levels)} {name}" for name, levels in self.levels.items())

    def components(self, level: float) -> tuple[CrossedComponent, ...]:
        """Variance of every factor and interaction."""
        return crossed_components(self.table, list(self.levels), level)


def cross_runs(
    values: RunValues, factors: Sequence[Factor], log2: bool
) -> tuple[dict[str, Crossed], list[str]]:
    """Arrange one value per run by its seeds, per condition; factors with one level there are left out and noted.

    Raises UsageError for values without a logarithm or conditions without a crossed factor, and
    NotComparable for unknown seeds, a missing cell or unequal repeats: the shares of an unbalanced table mean
    something else.
    """
    groups: dict[str, list[tuple[int, float]]] = {}
    ids, names = values.table["run_id"].to_pylist(), values.table["group"].to_pylist()
    for run, group, value in zip(ids, names, floats(values.table, "value").tolist(), strict=True):
        groups.setdefault(group, []).append((run, value))
    found, notes = {}, []
    for group, rows in groups.items():
        y = np.array([value for _, value in rows])
        if log2 and (y <= 0).any():
            raise UsageError(
                f"{int((y <= 0).sum())} run(s) of {group} are not positive and have no logarithm, and a crossed table can "
                "spare none: ask with scale='raw'."
            )
        crossed, dropped = _crossed(
            values, group, [run for run, _ in rows], np.log2(y) if log2 else y, factors
        )
        notes += [f"{group}: all runs have one {name}, so it is no factor there." for name in dropped]
        if crossed:
            found[group] = crossed
    if not found:
        raise UsageError(
            f"no condition has runs that differ in {' or '.join(factors)}: ask without factors, or for more runs."
        )
    return found, notes


def _crossed(
    values: RunValues, group: str, runs: Sequence[int], y: Floats, factors: Sequence[Factor]
) -> tuple[Crossed | None, list[str]]:
    seeds: dict[Factor, list[int]] = {}
    for name in dict.fromkeys(factors):
        rows = [values.choice.selected.by_id[run] for run in runs]
        unknown = [row.run for row in rows if getattr(row, SEED_FIELDS[name]) is None]
        if unknown:
            raise NotComparable(
                f"the {name} seed of {len(unknown)} run(s) of {group} is not known (first: {unknown[0]}): ask for runs "
                "whose seeds are recorded, or without that factor."
            )
        seeds[name] = [int(getattr(row, SEED_FIELDS[name])) for row in rows]
    levels = {name: tuple(sorted(set(s))) for name, s in seeds.items()}
    kept = {name: known for name, known in levels.items() if len(known) > 1}
    dropped: list[str] = [name for name in levels if name not in kept]
    if not kept:
        return None, dropped
    cells: dict[tuple[int, ...], list[float]] = {cell: [] for cell in product(*kept.values())}
    for k, value in enumerate(y.tolist()):
        cells[tuple(seeds[name][k] for name in kept)].append(value)
    sizes = {cell: len(inside) for cell, inside in cells.items()}
    if len(set(sizes.values())) > 1:
        cell = min(sizes, key=lambda c: sizes[c])
        place = ", ".join(f"{name} {seed}" for name, seed in zip(kept, cell, strict=True))
        raise NotComparable(
            f"the runs of {group} are not fully crossed: {place} has {sizes[cell]} run(s), another cell {max(sizes.values())}. "
            "Ask for runs that are, or `pathscope ingest STUDY` trains the missing ones."
        )
    shape = [len(known) for known in kept.values()]
    table = np.array([cells[cell] for cell in cells]).reshape(*shape, -1)
    return Crossed(table, kept), dropped
