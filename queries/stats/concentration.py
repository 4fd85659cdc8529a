"""How concentrated changes are: all items by the same amount, or most of it in a few of them."""

import math

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]


def gini(values: Floats) -> float:
    """Gini coefficient of absolute values: 0 where all are equal, towards 1 where a few hold everything.

    values: (item,), finite. Σ_i (2i − n − 1) |v|_(i) / (n Σ |v|), so one of n holding everything gives 1 − 1/n. Normal
    changes about 0 have √2 − 1 = 0.414, exponential sizes 1/2. NaN without items or where nothing differs from 0.
    Source: Gini 1912; the half mean absolute difference over the mean.
    """
    size = np.sort(np.abs(values))
    n, total = len(size), float(size.sum())
    if not total:
        return math.nan
    # rounding may leave −1e-17 where all are equal
    return max(0.0, float((2 * np.arange(1, n + 1) - n - 1) @ size) / (n * total))


def top_share(values: Floats, share: float = 0.01) -> float:
    """Share of the sum of absolute values that the largest `share` of the items hold: exactly `share` where all are equal.

    values: (item,), finite. Where `share` of the items is no whole number, the last item counts in part. Exponential sizes
    have share · (1 − ln share): 0.056 for 1 %. NaN without items or where nothing differs from 0.
    """
    size = np.abs(values)
    total = float(size.sum())
    if not total:
        return math.nan
    wanted = share * len(size)
    whole = min(len(size), math.floor(wanted + 1e-9))
    if whole == len(size):
        return 1.0
    # the item that counts in part in its place, all larger ones above it
    size = np.partition(size, len(size) - whole - 1)[len(size) - whole - 1 :]
    return (float(size[1:].sum()) + max(0.0, wanted - whole) * float(size[0])) / total


def participation_ratio(values: Floats) -> float:
    """How many of the items take part: (Σ |v|)² / Σ v², 1 where one holds everything, n where all are equal.

    values: (item,), finite; signs do not matter. Normal noise about 0 gives 2n / π. NaN where nothing differs from 0.
    """
    size = np.abs(values)
    squares = float((size**2).sum())
    return float(size.sum()) ** 2 / squares if squares else math.nan


def noise_participation(ses: Floats, *, n_draws: int = 400, seed: int = 0) -> float:
    """Mean participation ratio of changes that are nothing but their errors: normal draws with these standard errors."""
    known = ses[np.isfinite(ses)]
    if not (known > 0).any():
        return math.nan
    draws = np.abs(np.random.default_rng(seed).normal(size=(n_draws, len(known))) * known)
    return float((draws.sum(1) ** 2 / (draws**2).sum(1)).mean())
