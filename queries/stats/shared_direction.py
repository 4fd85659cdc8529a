"""Whether runs move in the same direction: cosines of their displacements, against directions of random sign."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from queries.stats.distributions import normal_tail
from queries.stats.run_pairs import mean_over_pairs

Floats = NDArray[np.float64]
# the ends of pairs, (pair, 2): numbers of runs, or of the seeds they have
Ends = NDArray[np.int64]

EXACT_RUNS = 14
N_SAMPLED = 9999
# cosines are of random projections to so many numbers, which adds this much to the variance of each
SKETCH_VARIANCE = 1 / 4096
# the normal law of a mean of cosines is not known to hold further out
SMALLEST_P = 1e-12


@dataclass(frozen=True)
class SharedDirection:
    """Mean cosine over pairs of runs with its interval, over runs or over the seeds that they share (leaving out one at a time).

    n_units: runs that are independent, of the seed with fewest values. n_pairs: those that count; n_dropped: left out, as they
    share a seed that others do not. p_signs: how often the mean is as large when every direction, of a run or of all runs
    with one seed, is turned round or not by a fair coin; exact, free of assumptions, at best 2^(1 − units). p_random:
    the same for independent directions, uniform in a space of so many dimensions, by the normal law of their mean, never
    below SMALLEST_P.
    """

    n_runs: int
    n_pairs: int
    cosine: float
    low: float
    high: float
    p_signs: float
    p_random: float
    n_units: int = 0
    n_dropped: int = 0


def shared_direction(
    pairs: Sequence[tuple[int, int]],
    cosines: Floats,
    *,
    dimensions: int = 1000,
    level: float = 0.95,
    shared: Sequence[Mapping[int, int]] = (),
) -> SharedDirection:
    """Judge cosines of pairs of runs (any integers); not finite ones are left out.

    shared: for every counted seed the number of its value, by run. What runs do alike because they share an init is no common
    way: pairs with the same value are left out, unless all pairs share theirs (weights are compared within an init only).
    Then a value of a seed is left out at a time and turned round at once, and pairs of the same two values are one
    direction. Half widths of several seeds are added as roots of summed squares; of their p the largest counts.
    """
    ends = np.array(pairs, dtype=np.int64).reshape(-1, 2)
    known = np.isfinite(cosines)
    n_known = int(known.sum())
    for of in shared:
        apart = np.array([of[a] != of[b] for a, b in ends.tolist()], dtype=bool) & known
        known = apart if apart.any() else known
    ends, values = ends[known], cosines[known]
    if not len(ends):
        return SharedDirection(0, 0, math.nan, math.nan, math.nan, math.nan, math.nan)
    runs = np.unique(ends)
    units = [np.vectorize(of.__getitem__)(ends) for of in shared] or [ends]
    low, high = _interval(units, values, level)
    sd = math.sqrt((1 / dimensions + SKETCH_VARIANCE) / min(_n_distinct(of) for of in units))
    mean = float(values.mean())
    # a seed that the runs of every pair share cannot turn them apart
    turned = [of for of in units if (of[:, 0] != of[:, 1]).any()] or [ends]
    return SharedDirection(
        len(runs),
        len(ends),
        mean,
        low,
        high,
        max(_sign_p(of, values) for of in turned),
        max(SMALLEST_P, normal_tail(mean / sd)),
        min(len(np.unique(of)) for of in units),
        n_known - len(ends),
    )


def _interval(units: Sequence[Ends], values: Floats, level: float) -> tuple[float, float]:
    nothing = np.full(len(values), math.nan)
    found = [mean_over_pairs([(a, b) for a, b in of.tolist()], values, nothing, level) for of in units]
    half = math.hypot(*(high - mean for mean, _, high in found))
    mean = found[0][0]
    low, high = np.clip([mean - half, mean + half], -1.0, 1.0)
    return float(low), float(high)


def _n_distinct(of: Ends) -> int:
    return len(np.unique(np.sort(of, axis=1), axis=0))


def _sign_p(pairs: Ends, values: Floats) -> float:
    units, places = np.unique(pairs, return_inverse=True)
    a, b = places.reshape(pairs.shape).T
    n = len(units)
    exact = n <= EXACT_RUNS
    if exact:
        signs = 1.0 - 2.0 * ((np.arange(2 ** (n - 1))[:, None] >> np.arange(n)) & 1)
    else:
        signs = np.random.default_rng(0).choice([-1.0, 1.0], size=(N_SAMPLED, n))
    sums = (signs[:, a] * signs[:, b]) @ values
    at_least = int((sums >= values.sum() - 1e-9).sum())
    return at_least / len(sums) if exact else (at_least + 1) / (len(sums) + 1)
