"""Exact permutation tests of times of runs: two groups, or pairs. No distribution is assumed.

Times are in octaves (log2). Runs that never got there have the value inf, runs that were there at their
first measurement −inf: only their place in the order is known, so a comparison with such runs is one of ranks.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass
from itertools import combinations

import numpy as np
from numpy.typing import NDArray

from queries.stats.few_runs import smallest_permutation_p, smallest_sign_flip_p

Floats = NDArray[np.float64]

EXACT_LIMIT = 20_000
N_SAMPLED = 10_000
N_PLACES = 25
N_HALVINGS = 12


@dataclass(frozen=True)
class Shift:
    """How much later a second group is, in octaves.

    difference: b − a of medians (groups) or the mean of the pairs' differences; infinite or NaN where
    censored runs leave it open. low, high: the shifts that the same test does not refuse; (−inf, inf) where no
    arrangement of so few runs can be refused. smallest_p: the smallest p that so many runs can give.
    ranks: the test used ranks, because some run is censored or because it was asked to.
    """

    difference: float
    low: float
    high: float
    p: float
    smallest_p: float
    ranks: bool
    exact: bool


def mid_ranks(values: Floats) -> Floats:
    """Ranks from 1, equal values (also equal infinities) sharing their mean rank."""
    order = np.sort(values)
    first = np.searchsorted(order, values, side="left")
    past = np.searchsorted(order, values, side="right")
    ranks: Floats = (first + 1 + past) / 2
    return ranks


def two_groups(a: Floats, b: Floats, *, level: float = 0.95, by_ranks: bool = False) -> Shift:
    """Exact two-sided permutation test of "the groups differ in nothing", and the interval it implies.

    Statistic: the difference of medians, equal ones ordered by the difference of mean ranks; alone, medians
    would not tell 5 runs all before 5 others (p = 0.048) from much less. by_ranks, or any censored run:
    mean ranks only. Above 20,000 arrangements 10,000 are drawn, with a fixed seed.
    Raises ValueError for an empty group.
    """
    if not (len(a) and len(b)):
        raise ValueError("a group without runs")
    in_b, exact = _assignments(len(a), len(b))
    ranks = by_ranks or not (np.isfinite(a).all() and np.isfinite(b).all())
    smallest = smallest_permutation_p(len(a), len(b)) if exact else 1 / (len(in_b) + 1)

    def p_of(shift: float) -> float:
        return _group_p(np.concatenate([a, b - shift]), in_b, exact, ranks)

    with np.errstate(invalid="ignore"):
        difference = float(_median(b) - _median(a))
        candidates = np.unique((b[:, None] - a[None, :]).ravel())
    low, high = _not_refused(p_of, candidates[np.isfinite(candidates)], 1 - level, smallest)
    if math.isfinite(difference):
        low, high = min(low, difference), max(high, difference)
    return Shift(difference, low, high, p_of(0.0), smallest, ranks, exact)


def sign_flips(differences: Floats, *, level: float = 0.95, by_ranks: bool = False) -> Shift:
    """Exact two-sided sign-flip test of "either run of a pair could have been the later one".

    differences: b − a per pair, octaves; ±inf where one of a pair is censored, 0 where both are. Statistic:
    the mean, or with a censored run (or by_ranks) the signed-rank sum. 5 pairs can never reach 0.05. Above 14 pairs
    10,000 flips are drawn, with a fixed seed. Raises ValueError without a pair.
    """
    n = len(differences)
    if not n:
        raise ValueError("no pairs")
    exact = 2**n <= EXACT_LIMIT
    if exact:
        signs = 1.0 - 2.0 * ((np.arange(2**n)[:, None] >> np.arange(n)) & 1)
    else:
        signs = np.random.default_rng(0).choice([-1.0, 1.0], size=(N_SAMPLED, n))
    censored = not np.isfinite(differences).all()
    ranks = by_ranks or censored
    smallest = smallest_sign_flip_p(n) if exact else 1 / (len(signs) + 1)

    def p_of(shift: float) -> float:
        moved = differences - shift
        weights = np.sign(moved) * mid_ranks(np.abs(moved)) if ranks else moved
        return _tail(np.abs(signs @ weights), abs(float(weights.sum())), exact)

    difference = float(differences.mean()) if not censored else float(_median(differences))
    finite = differences[np.isfinite(differences)]
    walsh = (finite[:, None] + finite[None, :]) / 2
    low, high = _not_refused(p_of, np.unique(walsh.ravel()), 1 - level, smallest)
    if math.isfinite(difference):
        low, high = min(low, difference), max(high, difference)
    return Shift(difference, low, high, p_of(0.0), smallest, ranks, exact)


def _assignments(n_a: int, n_b: int) -> tuple[NDArray[np.int64], bool]:
    """Which places go to the second group: (arrangement, n_b)."""
    n = n_a + n_b
    if math.comb(n, n_b) <= EXACT_LIMIT:
        return np.array(list(combinations(range(n), n_b))), True
    rng = np.random.default_rng(0)
    return np.argsort(rng.random((N_SAMPLED, n)), axis=1)[:, :n_b], False


def _group_p(values: Floats, in_b: NDArray[np.int64], exact: bool, by_ranks: bool) -> float:
    n, n_b = len(values), in_b.shape[1]
    member = np.zeros((len(in_b), n), dtype=bool)
    np.put_along_axis(member, in_b, True, axis=1)
    observed = np.arange(n) >= n - n_b
    everything = np.vstack([observed, member])
    ranks = mid_ranks(values)
    mean = np.abs(everything @ ranks / n_b - (~everything) @ ranks / (n - n_b))
    if by_ranks:
        statistic = mean
    else:
        # in the second group's columns first, so that one reshape splits each arrangement
        order = np.argsort(~everything, axis=1, kind="stable")
        split = values[order]
        medians = np.abs(np.median(split[:, :n_b], axis=1) - np.median(split[:, n_b:], axis=1))
        # mean ranks differ by less than n: scaled below the rounding of medians they only order equal ones
        scale = float(np.ptp(values)) or 1.0
        statistic = np.round(medians / scale, 9) + mean / n * 1e-10
    return _tail(statistic[1:], float(statistic[0]), exact, tolerance=1e-15)


def _tail(statistics: Floats, observed: float, exact: bool, tolerance: float = 1e-9) -> float:
    slack = tolerance * max(1.0, abs(observed))
    at_least = int((statistics >= observed - slack).sum())
    return at_least / len(statistics) if exact else (at_least + 1) / (len(statistics) + 1)


def _not_refused(
    p_of: Callable[[float], float], candidates: Floats, alpha: float, smallest: float
) -> tuple[float, float]:
    """Outermost shifts that the test keeps; infinite where it can refuse none on that side."""
    if smallest > alpha or not len(candidates):
        return -math.inf, math.inf
    # a look at 25 places inwards, then the edge between the last refused and the first kept
    places = np.unique(np.quantile(candidates, np.linspace(0, 1, N_PLACES)))
    ends = []
    for sign, ordered in ((-1.0, places), (1.0, places[::-1])):
        refused = float(ordered[0]) + sign * (1 + float(np.ptp(places)))
        if p_of(refused) > alpha:
            ends.append(sign * math.inf)
            continue
        kept = float(ordered[len(ordered) // 2])
        for place in ordered[: len(ordered) // 2 + 1]:
            if p_of(float(place)) > alpha:
                kept = float(place)
                break
            refused = float(place)
        for _ in range(N_HALVINGS):
            middle = (refused + kept) / 2
            refused, kept = (refused, middle) if p_of(middle) > alpha else (middle, kept)
        ends.append(refused)
    return ends[0], ends[1]


def _median(values: Floats) -> float:
    ordered = np.sort(values)
    low, high = ordered[(len(values) - 1) // 2], ordered[len(values) // 2]
    return float(low if low == high else (low + high) / 2)
