"""Means and shares over runs of which some share seeds: every value of a seed is one unit, however many runs have it.

Two seeds may be crossed, so that no grouping of the runs makes independent groups: for each seed the runs of a value are
averaged and the spread of these averages taken. An error of each seed's is added, so that the interval holds whichever of
them matters. Without a shared seed every run is a unit, and these are the plain intervals over runs.
"""

import math
from collections.abc import Iterator, Sequence

import numpy as np
from numpy.typing import ArrayLike, NDArray

from queries.stats.distributions import beta_quantile
from queries.stats.few_runs import (
    detectable_difference,
    detectable_paired_difference,
    half_width_of_mean,
    share_interval,
)
from queries.stats.means import METHOD as OVER_RUNS
from queries.stats.means import mean_interval

Floats = NDArray[np.float64]
Whole = NDArray[np.int64]
# for every seed that is counted the number of its value in each run, from 0; empty where runs share none
Shared = Sequence[Whole]

METHOD = "Student t over independent seeds"
# orders of runs that are tried to find the most that share no seed
MOST_TRIED = 50
SHARE_METHOD = "wider of Student t over independent seeds and exact binomial with seeds as trials"


def method_over(shared: Shared) -> str:
    """How `mean_over_units` makes its interval."""
    return METHOD if shared else OVER_RUNS


def fewest_units(shared: Shared, n_runs: int) -> int:
    """How many values the seed with fewest has, or how many runs there are where none is shared."""
    return min((len(np.unique(of)) for of in shared), default=n_runs)


def apart(shared: Shared, n_runs: int) -> list[int]:
    """Places of runs of which no two share a seed, as many as are found: what a test that exchanges runs may use.

    Two crossed seeds leave no groups of runs that are independent of one another, but of 3 inits × 3 orders these 3 runs are.
    Which ones depends on the seeds alone. Every run where none is shared.
    """
    best: list[int] = []
    for order in _orders(n_runs):
        seen: list[set[int]] = [set() for _ in shared]
        kept = []
        for k in order.tolist():
            mine = [int(of[k]) for of in shared]
            if not any(value in known for value, known in zip(mine, seen, strict=True)):
                kept.append(k)
                for value, known in zip(mine, seen, strict=True):
                    known.add(value)
        best = max(best, sorted(kept), key=len)
        if len(best) == fewest_units(shared, n_runs):
            break
    return best


def _orders(n_runs: int) -> Iterator[Whole]:
    """The runs as they come, then shuffled, always the same ways."""
    yield np.arange(n_runs)
    rng = np.random.default_rng(0)
    for _ in range(MOST_TRIED - 1):
        yield rng.permutation(n_runs)


def count_over_units(flags: Sequence[bool], shared: Shared, level: float = 0.95) -> tuple[float, float]:
    """Interval of the share of runs that have something: exact (Clopper-Pearson), or as of `share_over_units`."""
    if not shared or not flags:
        return share_interval(sum(flags), len(flags), level)
    _, low, high = share_over_units(flags, shared, level)
    return low, high


def unit_means(values: Floats, of: Whole) -> Floats:
    """Mean of the runs of each unit; of: the unit of each run. Units without a run are left out."""
    units, numbers = np.unique(of, return_inverse=True)
    found: Floats = np.bincount(numbers, values, len(units)) / np.bincount(numbers, minlength=len(units))
    return found


def mean_over_units(
    values: ArrayLike,
    shared: Shared,
    level: float = 0.95,
    bounds: tuple[float | None, float | None] = (None, None),
) -> tuple[float, float, float]:
    """Mean of one value per run with a two-sided interval: (mean, low, high).

    The half width is the root of the summed squares of the t half widths over the values of each shared seed, so it holds at
    least as often as it says whichever seed matters (Banerjee 1961); the interval ends at the bounds of the measure.
    Values that are not finite are left out. The interval is NaN where a counted seed has one value.
    """
    known = np.asarray(values, dtype=np.float64)
    if not shared:
        return mean_interval(known, level, bounds)
    kept = np.isfinite(known)
    if not kept.any():
        return math.nan, math.nan, math.nan
    mean = float(known[kept].mean())
    half = math.hypot(*(_half_width(unit_means(known[kept], of[kept]), level) for of in shared))
    low, high = np.clip([mean - half, mean + half], *bounds)
    return mean, float(low), float(high)


def share_over_units(shares: ArrayLike, shared: Shared, level: float = 0.95) -> tuple[float, float, float]:
    """Mean of a share that every run has one of, or of 0 and 1, with an interval: (mean, low, high).

    Without a shared seed, and where every run has 0 or 1, it is the exact (Clopper-Pearson) interval. Otherwise either end is
    the outer one of that of `mean_over_units` and the exact one with as many trials as the seed with fewest values
    has, which is what is left where all runs agree. NaN without a run.
    """
    known = np.asarray(shares, dtype=np.float64)
    known_of = [of[np.isfinite(known)] for of in shared]
    known = known[np.isfinite(known)]
    if not len(known):
        return math.nan, math.nan, math.nan
    mean = float(known.mean())
    exact = exact_share(mean, fewest_units(known_of, len(known)), level)
    if not shared and np.isin(known, (0.0, 1.0)).all():
        return mean, *exact
    _, low, high = mean_over_units(known, known_of, level, (0.0, 1.0))
    return mean, float(np.fmin(low, exact[0])), float(np.fmax(high, exact[1]))


def exact_share(share: float, n: float, level: float = 0.95) -> tuple[float, float]:
    """Exact (Clopper-Pearson) interval of a share of n trials, neither of which need be whole."""
    k, tail = share * n, (1 - level) / 2
    low = beta_quantile(tail, k, n - k + 1) if k > 0 else 0.0
    high = beta_quantile(1 - tail, k + 1, n - k) if k < n else 1.0
    return float(low), float(high)


def detectable_mean(values: ArrayLike, shared: Shared) -> float:
    """Smallest mean that a t test over units finds, for values that vary so; of several seeds the largest, NaN for one unit."""
    known = np.asarray(values, dtype=np.float64)
    per_seed = [unit_means(known, of) for of in shared] or [known]
    found = [
        detectable_paired_difference(len(m)) * float(m.std(ddof=1)) if len(m) > 1 else math.nan
        for m in per_seed
    ]
    return float(np.max(found))


def detectable_between(values: ArrayLike, shared: Shared) -> float:
    """Smallest difference to the mean of a like group that a t test over units finds; of several seeds the largest."""
    known = np.asarray(values, dtype=np.float64)
    per_seed = [unit_means(known, of) for of in shared] or [known]
    found = [
        detectable_difference(len(m), len(m)) * float(m.std(ddof=1)) if len(m) > 1 else math.nan
        for m in per_seed
    ]
    return float(np.max(found))


def p_over_units(p: ArrayLike, shared: Shared) -> Floats:
    """One p per unit from one per run, of the seed with fewest values; as they are where none is shared.

    Of n runs with one seed k = ⌈n / 2⌉ decide: n / k times their k-th smallest p, at most 1, which is right however
    the runs depend on one another (Rüger 1978).
    """
    known = np.asarray(p, dtype=np.float64)
    if not shared:
        return known
    of = min(shared, key=lambda one: len(np.unique(one)))
    found = []
    for unit in np.unique(of):
        mine = np.sort(known[of == unit])
        k = math.ceil(len(mine) / 2)
        found.append(min(1.0, len(mine) / k * float(mine[k - 1])))
    return np.array(found)


def _half_width(means: Floats, level: float) -> float:
    n = len(means)
    return half_width_of_mean(n, level) * float(means.std(ddof=1)) if n > 1 else math.nan
