"""Means over pairs of runs: pairs that share a run are not independent, so runs are left out one at a time."""

import math
from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from queries.stats.distributions import t_quantile
from queries.stats.jackknife import FEWEST_LEFT_OUT, variance

Floats = NDArray[np.float64]

METHOD = "jackknife over runs, with the standard error over documents"
SEEDS_METHOD = "jackknife over independent seeds, with the standard error over documents"


def method_over(shared: Sequence[Mapping[int, int]]) -> str:
    """How `mean_over_pairs` makes its interval where no errors over documents are given."""
    return (SEEDS_METHOD if shared else METHOD).split(",")[0]


def mean_over_pairs(
    pairs: Sequence[tuple[int, int]],
    values: Floats,
    errors: Floats,
    level: float = 0.95,
    bounds: tuple[float | None, float | None] = (None, None),
    shared: Sequence[Mapping[int, int]] = (),
) -> tuple[float, float, float]:
    """Mean over pairs with an interval: (mean, low, high).

    pairs: the two runs of each; values: one number a pair, errors: its standard error over documents (NaN counts
    as 0). Variances are added: that of leaving out one run at a time, and that of documents, taken as if the same
    for all pairs because they share the documents. Student's t with one degree of freedom fewer than runs;
    the interval is NaN with fewer than 3 runs. Values that are not finite are left out. shared: run -> value of a seed that
    runs share, of each such seed; then all pairs with a run of one value are left out at a time, and values count for runs.
    """
    known = np.isfinite(values)
    ends = np.array(pairs, dtype=np.int64).reshape(-1, 2)[known]
    kept = values[known]
    if not len(kept):
        return math.nan, math.nan, math.nan
    mean = float(kept.mean())
    of_seeds = [np.vectorize(of.__getitem__)(ends) for of in shared] or [ends]
    values_of = [np.unique(of) for of in of_seeds]
    without = [[kept[(of != v).all(1)] for v in vs] for of, vs in zip(of_seeds, values_of, strict=True)]
    fewest = min(map(len, without))
    if fewest < FEWEST_LEFT_OUT or not all(len(rest) for one in without for rest in one):
        return mean, math.nan, math.nan
    over_runs = variance([np.array([rest.mean() for rest in one]) for one in without])
    over_documents = float(np.nan_to_num(errors[known]).mean()) ** 2
    half = t_quantile((1 + level) / 2, fewest - 1) * math.sqrt(over_runs + over_documents)
    low, high = np.clip([mean - half, mean + half], *bounds)
    return mean, float(low), float(high)
