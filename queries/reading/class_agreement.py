"""What repeated runs have in common on tokens of one class of difficulty, in the columns of `agreement_by_difficulty`."""

import math
from collections.abc import Mapping, Sequence
from itertools import combinations

import numpy as np
from numpy.typing import NDArray

from queries.reading.output_pairs import known_as
from queries.reading.token_outputs import Outputs
from queries.reading.units import Units
from queries.stats.clusters import cluster_mean
from queries.stats.output_divergence import LN2, Lists, divergences
from queries.stats.run_pairs import mean_over_pairs
from queries.stats.top_agreement import top_agreement

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]

# by pair: value, standard error over documents (NaN: not known), least and most
_OVER_PAIRS: dict[str, tuple[str | None, tuple[float | None, float | None]]] = {
    "top1": ("top1_se", (0.0, 1.0)),
    "top1_chance": (None, (0.0, 1.0)),
    "kappa": ("kappa_se", (None, 1.0)),
    "both_wrong": (None, (0.0, 1.0)),
    "same_wrong": ("same_wrong_se", (0.0, 1.0)),
    "wrong_chance": (None, (0.0, 1.0)),
    "js_low": (None, (0.0, LN2)),
    "js_high": (None, (0.0, LN2)),
}
WITH_INTERVAL = ("kappa", "same_wrong")


def agreement_of_tops(
    lists: Mapping[int, Outputs[Lists]],
    units: Units,
    keys: Ints,
    classes: Ints,
    right: Ints,
    documents: Ints,
    level: float,
) -> list[dict[str, float | None]]:
    """Per class 0, 1, ... means over pairs of runs, empty where fewer than 2 of the runs have lists.

    keys, classes, right (the right token, −1 unknown), documents: of the predictions that are compared. Intervals leave
    out one run at a time, or all of one seed, and take at least 3.
    """
    there = [run for run in units.runs if run in lists]
    n_classes = int(classes.max()) + 1
    pairs = list(combinations(there, 2))
    found = [_pair(lists[a], lists[b], keys, classes, right, documents, n_classes) for a, b in pairs]
    return [
        _means(pairs, [rows[k] for rows in found], level, units.by_run()) if pairs else {}
        for k in range(n_classes)
    ]


def _means(
    pairs: Sequence[tuple[int, int]],
    rows: Sequence[Mapping[str, float]],
    level: float,
    shared: Sequence[Mapping[int, int]],
) -> dict[str, float | None]:
    """Columns of one class from its row of every pair."""
    columns: dict[str, float | None] = {}
    for name, (error, bounds) in _OVER_PAIRS.items():
        values = np.array([row[name] for row in rows])
        errors = np.array([row[error] for row in rows]) if error else np.full(len(rows), np.nan)
        mean, low, high = mean_over_pairs(pairs, values, errors, level, bounds, shared)
        columns[name] = mean
        if name in WITH_INTERVAL:
            columns |= {f"{name}_low": low, f"{name}_high": high}
    ends = [columns[name] for name in ("js_low", "js_high")]
    columns["js"] = known_as(*(math.nan if end is None else end for end in ends))
    return columns


def _pair(
    a: Outputs[Lists],
    b: Outputs[Lists],
    keys: Ints,
    classes: Ints,
    right: Ints,
    documents: Ints,
    n_classes: int,
) -> list[dict[str, float]]:
    both = np.isin(keys, a.keys, assume_unique=True) & np.isin(keys, b.keys, assume_unique=True)
    first, second = (x.values.rows(np.searchsorted(x.keys, keys[both])) for x in (a, b))
    apart = divergences(first, second)
    one, other = first.token_ids[:, 0], second.token_ids[:, 0]
    of_class, target, groups = classes[both], right[both], documents[both]
    rows = []
    for k in range(n_classes):
        mine = of_class == k
        top = top_agreement(one[mine], other[mine], target[mine])
        wrong = mine & (target >= 0) & (one != target) & (other != target)
        same = apart.same_top
        top_se, wrong_se = (cluster_mean(same[part], groups[part])[3] for part in (mine, wrong))
        rows.append(
            {
                "top1": top.same,
                "top1_chance": top.chance,
                "kappa": top.kappa,
                "both_wrong": top.both_wrong,
                "same_wrong": top.same_wrong,
                "wrong_chance": top.wrong_chance,
                "top1_se": top_se,
                "kappa_se": top_se / (1 - top.chance) if top.chance < 1 else math.nan,
                "same_wrong_se": wrong_se,
                "js_low": float(apart.js_low[mine].mean()) if mine.any() else math.nan,
                "js_high": float(apart.js_high[mine].mean()) if mine.any() else math.nan,
            }
        )
    return rows
