"""Items at which all runs of one size beat all of another: how many there are, by chance, and in runs that chose none of them.

Values are losses: lower is better. An item is apart where n of the runs lie below all others by more than a margin, and so is so
under exactly one way of naming n runs small. Counting which n runs that are therefore counts for all namings at once:
the null that the sizes are alike is exact, however many namings there are. Source: measures of complete separation,
permutation of labels (Fisher).
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.special import stdtr

from queries.stats.distributions import t_quantile

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]
Bools = NDArray[np.bool_]
Losses = NDArray[np.floating]

# items looked at together: what a processor keeps near
CHUNK = 1 << 16
# a set of runs is a whole number with a bit for each
MOST_RUNS = 62


@dataclass(frozen=True)
class Lowest:
    """Per item: which n runs have the lowest values, as a number with a bit for each run, and how far the others lie above."""

    runs: Ints
    gap: Floats

    def apart(self, margin: float) -> Bools:
        """Items at which the others lie above by more than the margin."""
        found: Bools = self.gap > margin
        return found


@dataclass(frozen=True)
class OwnItems:
    """Items at which the first n runs are apart, against every naming of n runs.

    count: how many. chance: mean number over all namings, the true one included. p: share of namings with as many or more, the
    true one included; 1 where there are none. n_namings: how many there are, so that p is at least its inverse.
    """

    count: int
    chance: float
    p: float
    n_namings: int


@dataclass(frozen=True)
class HeldOut:
    """How much lower the first size is in two runs that had no part in choosing the items, mean over all such two.

    found: in the runs that chose them. held_out with low and high; p: one-sided, of a held-out difference that is not above 0.
    n_items: chosen on the average.
    """

    n_items: float
    found: float
    held_out: float
    low: float
    high: float
    p: float


def lowest_runs(values: Losses, n: int) -> Lowest:
    """values: (run, item), finite, at most 62 runs. n: size of the set, at least 1 and fewer than the runs."""
    n_runs, n_items = values.shape
    if not 1 <= n < n_runs <= MOST_RUNS:
        raise ValueError(f"{n} of {n_runs} runs: expected 1 to {MOST_RUNS - 1} of at most {MOST_RUNS}")
    runs, gap = np.empty(n_items, np.int64), np.empty(n_items, np.float64)
    # counting who is below whom takes a third of the time of sorting
    for start in range(0, n_items, CHUNK):
        block = np.ascontiguousarray(values[:, start : start + CHUNK])
        below = np.zeros(block.shape, np.int8)
        for a in range(n_runs):
            for b in range(a + 1, n_runs):
                higher = block[b] < block[a]
                below[a] += higher
                below[b] += ~higher
        inside = below < n
        part = slice(start, start + block.shape[1])
        runs[part] = 0
        for run in range(n_runs):
            runs[part] |= inside[run].astype(np.int64) << run
        gap[part] = _gap(block, inside)
    return Lowest(runs, gap)


def own_items(runs: Ints, n: int, n_runs: int) -> OwnItems:
    """runs: of the items that are apart, which n of the n_runs runs are below (`Lowest.runs`); the first n are the true ones."""
    codes, counts = np.unique(runs, return_counts=True)
    of = dict(zip(codes.tolist(), counts.tolist(), strict=True))
    mine = of.get((1 << n) - 1, 0)
    n_namings = math.comb(n_runs, n)
    # namings under which nothing is apart have no entry
    at_least = int((counts >= mine).sum()) if mine else n_namings
    return OwnItems(mine, len(runs) / n_namings, at_least / n_namings, n_namings)


def held_out_runs(
    small: Losses, large: Losses, clusters: Ints, margin: float, level: float = 0.95
) -> HeldOut:
    """Choose items by all runs but one of each size, and look at those two; clusters: (item,) 0, 1, ....

    The interval adds the variance of leaving out one run of either size at a time to that over clusters, with Student's t for
    the size with fewer runs. NaN with fewer than 2 runs of a size or where nothing is chosen, interval and p with fewer than 3.
    """
    n_small, n_large = len(small), len(large)
    nothing = HeldOut(0.0, *(math.nan,) * 5)
    if min(n_small, n_large) < 2:
        return nothing
    highest, least = _without_one(small, np.maximum), _without_one(large, np.minimum)
    n_clusters = int(clusters.max(initial=-1)) + 1
    counts, sums = np.zeros((n_small, n_large)), np.zeros((n_small, n_large))
    inside = np.zeros((n_small, n_large))
    by_cluster, of_cluster = np.zeros(n_clusters), np.zeros(n_clusters)
    means_small, means_large = _total(small), _total(large)
    for s in range(n_small):
        for b in range(n_large):
            chosen = np.flatnonzero(least[b] - highest[s] > margin)
            delta = large[b, chosen].astype(np.float64) - small[s, chosen]
            chose = (means_large[chosen] - large[b, chosen]) / (n_large - 1)
            chose = chose - (means_small[chosen] - small[s, chosen]) / (n_small - 1)
            counts[s, b], sums[s, b], inside[s, b] = len(chosen), delta.sum(), chose.sum()
            by_cluster += np.bincount(clusters[chosen], delta, n_clusters)
            of_cluster += np.bincount(clusters[chosen], minlength=n_clusters)
    n = float(counts.sum())
    if not n:
        return nothing
    mean = float(sums.sum()) / n
    low = high = p = math.nan
    if min(n_small, n_large) >= 3:
        variance = sum(_jackknife(sums.sum(axis), counts.sum(axis)) for axis in (0, 1))
        deviations = by_cluster - mean * of_cluster
        with_items = int((of_cluster > 0).sum())
        variance += with_items / max(with_items - 1, 1) * float((deviations**2).sum()) / n**2
        df = min(n_small, n_large) - 1
        se = math.sqrt(variance)
        half = t_quantile((1 + level) / 2, df) * se
        low, high = mean - half, mean + half
        p = float(stdtr(df, -mean / se)) if se > 0 else float(mean <= 0)
    return HeldOut(n / (n_small * n_large), float(inside.sum()) / n, mean, low, high, p)


def _gap(block: Losses, inside: Bools) -> Floats:
    infinity = block.dtype.type(np.inf)
    above: Floats = np.where(inside, infinity, block).min(0)
    found: Floats = above - np.where(inside, block, -infinity).max(0)
    return found


def _total(values: Losses) -> Floats:
    found: Floats = values.sum(0, dtype=np.float64)
    return found


def _without_one(values: Losses, of: np.ufunc) -> Sequence[Losses]:
    """The highest (or lowest) of all runs but one, for each run left out, (item,) each."""
    forward, backward = [values[0]], [values[-1]]
    for row, other in zip(values[1:-1], values[-2:0:-1], strict=True):
        forward.append(of(forward[-1], row))
        backward.append(of(backward[-1], other))
    backward.reverse()
    middle = [of(a, b) for a, b in zip(forward[:-1], backward[1:], strict=True)]
    return [backward[0], *middle, forward[-1]]


def _jackknife(sums: Floats, counts: Floats) -> float:
    """Variance of a mean over items whose sums and numbers come in a few runs, one left out at a time."""
    rest = counts.sum() - counts
    if not rest.all():
        return math.inf
    without = (sums.sum() - sums) / rest
    k = len(sums)
    return (k - 1) / k * float(((without - without.mean()) ** 2).sum())
