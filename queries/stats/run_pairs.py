"""Means over pairs of runs: pairs that share a run are not independent, so runs are left out one at a time."""

import math
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from queries.stats.distributions import t_quantile

Floats = NDArray[np.float64]

METHOD = "jackknife over runs, with the standard error over documents"


def mean_over_pairs(
    pairs: Sequence[tuple[int, int]],
    values: Floats,
    errors: Floats,
    level: float = 0.95,
    bounds: tuple[float | None, float | None] = (None, None),
) -> tuple[float, float, float]:
    """Mean over pairs with an interval: (mean, low, high).

    pairs: the two runs of each; values: one number a pair, errors: its standard error over documents (NaN counts
    as 0). Variances are added: that of leaving out one run at a time, and that of documents, taken as if the same
    for all pairs because they share the documents. Student's t with one degree of freedom fewer than runs;
    the interval is NaN with fewer than 3 runs. Values that are not finite are left out.
    """
    known = np.isfinite(values)
    ends = np.array(pairs, dtype=np.int64).reshape(-1, 2)[known]
    kept = values[known]
    if not len(kept):
        return math.nan, math.nan, math.nan
    mean = float(kept.mean())
    runs = np.unique(ends)
    without = [kept[(ends != run).all(1)] for run in runs]
    if len(runs) < 3 or any(not len(rest) for rest in without):
        return mean, math.nan, math.nan
    means = np.array([rest.mean() for rest in without])
    n = len(runs)
    over_runs = (n - 1) / n * float(((means - means.mean()) ** 2).sum())
    over_documents = float(np.nan_to_num(errors[known]).mean()) ** 2
    half = t_quantile((1 + level) / 2, n - 1) * math.sqrt(over_runs + over_documents)
    low, high = np.clip([mean - half, mean + half], *bounds)
    return mean, float(low), float(high)
