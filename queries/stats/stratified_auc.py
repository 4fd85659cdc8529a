"""Do scores tell which units have something? AUC within strata, against units exchanged within strata.

Units are heads of one layer, or frequencies. Runs that began from the same weights have the same scores to begin with,
so they are one observation: their units are exchanged together, and intervals are over starts, not over runs.
"""

import math
from collections import Counter
from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby

import numpy as np
from numpy.typing import NDArray
from scipy.special import ndtri

from queries.stats.few_runs import ALPHA, POWER
from queries.stats.means import mean_interval

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]
Bools = NDArray[np.bool_]

METHOD = "wider of Student t over inits and the spread by chance"

N_PERMUTED = 10_000
# arrangements of one cluster, and of all of them together, that are looked at one by one
MOST_OF_CLUSTER = 2_000
MOST_ARRANGEMENTS = 100_000
# a spread below this part of the largest score is rounding
ROUNDING = 1e-5


@dataclass(frozen=True)
class Stratum:
    """Units of one run among which pairs are formed. has, lacks: per unit; one with neither is in no pair.

    cluster: strata of one cluster have the same units in the same order, and are rearranged together.
    """

    run: int
    cluster: Hashable
    scores: Floats
    has: Bools
    lacks: Bools

    @property
    def n_pairs(self) -> int:
        """Pairs of a unit that has it and one that lacks it."""
        return int(self.has.sum() * self.lacks.sum())

    @property
    def why_not(self) -> str:
        """Why it tells nothing of the scores; empty where it does."""
        if not self.n_pairs:
            return "none have it" if not self.has.any() else "none lack it"
        if not np.isfinite(self.scores).all():
            return "scores are missing"
        if np.ptp(self.scores) <= ROUNDING * np.abs(self.scores).max():
            return "scores are all the same"
        return ""


@dataclass(frozen=True)
class Separation:
    """auc: mean over starts of the mean over their runs; 1: units that have it score above all that lack it; 0.5: no relation.

    low, high: NaN with fewer than 2 starts. by_run: AUC of every run with pairs. null_*: units exchanged.
    p: two-sided, of an AUC at least as far from 0.5. least_p: the smallest p that these numbers of units allow.
    detectable: distance from 0.5 that would be found with 80 % probability; NaN where not even 0 or 1 would.
    """

    auc: float
    low: float
    high: float
    by_run: Mapping[int, float]
    n_starts: int
    n_strata: int
    n_pairs: int
    null_mean: float
    null_sd: float
    null_low: float
    null_high: float
    p: float
    least_p: float
    detectable: float
    exact: bool


def outer_interval(values: Sequence[float], null_sd: float, level: float) -> tuple[float, float, float]:
    """Mean of one value per start with an interval in 0 to 1: (mean, low, high), either end the outer one of two.

    Student's t holds for starts that differ, but says nothing is left open where a few of them happen to agree; their mean
    is no better known than chance lets it vary, null_sd. NaN ends with fewer than 2 values.
    """
    mean, low, high = mean_interval(values, level)
    half = float(ndtri((1 + level) / 2)) * null_sd
    ends = (
        np.clip([min(low, mean - half), max(high, mean + half)], 0.0, 1.0)
        if len(values) > 1
        else [math.nan] * 2
    )
    return mean, float(ends[0]), float(ends[1])


def concordance_table(scores: Floats) -> Floats:
    """(unit, unit): 1 where the first scores above the second, half where they are equal."""
    above = scores[:, None] > scores[None]
    found: Floats = above + 0.5 * (scores[:, None] == scores[None])
    return found


def separation(
    strata: Sequence[Stratum],
    start_of: Mapping[int, Hashable],
    *,
    moves: Mapping[Hashable, Ints] | None = None,
    level: float = 0.95,
    n_tests: int = 1,
    n_permuted: int = N_PERMUTED,
    seed: int = 0,
) -> Separation | None:
    """AUC of scores for who has it, over pairs within strata, with its permutation null; None where no stratum has pairs.

    start_of: run -> the start it shares with others; strata of one cluster are of one start. moves: per cluster the
    rearrangements (move, unit) that mean nothing under the null; default: every one. All are looked at where they are at
    most 100,000, else 10,000 are drawn with a fixed seed. n_tests: how many such tests `detectable` has to stand up to.
    Equal scores count half. A run's AUC is over all its pairs, so that small layers weigh little.
    """
    used = sorted((s for s in strata if not s.why_not), key=lambda s: repr(s.cluster))
    if not used:
        return None
    pairs: dict[int, int] = {}
    for s in used:
        pairs[s.run] = pairs.get(s.run, 0) + s.n_pairs
    weights = _weights(used, pairs, start_of)
    tables = [concordance_table(s.scores) for s in used]
    aucs = dict.fromkeys(pairs, 0.0)
    for s, table in zip(used, tables, strict=True):
        aucs[s.run] += float(s.has @ table @ s.lacks) / pairs[s.run]
    starts = list(dict.fromkeys(start_of[run] for run in aucs))
    by_start = [float(np.mean([a for run, a in aucs.items() if start_of[run] == one])) for one in starts]
    null, exact = _null(used, tables, weights, moves, n_permuted, seed)
    sd = float(null.std())
    auc, low, high = outer_interval(by_start, sd, level)
    far = np.abs(null - 0.5)
    at_least = int((far >= abs(auc - 0.5) - 1e-9).sum())
    reach = float(ndtri(1 - ALPHA / (2 * n_tests)) + ndtri(POWER)) * sd
    tails = np.quantile(null, [(1 - level) / 2, (1 + level) / 2])
    return Separation(
        auc=auc,
        low=low,
        high=high,
        by_run=aucs,
        n_starts=len(starts),
        n_strata=len(used),
        n_pairs=sum(pairs.values()),
        null_mean=float(null.mean()),
        null_sd=sd,
        null_low=float(tails[0]),
        null_high=float(tails[1]),
        p=at_least / len(null) if exact else (at_least + 1) / (len(null) + 1),
        least_p=float((far >= far.max() - 1e-9).mean()) if exact else 1 / (len(null) + 1),
        detectable=reach if 0 < reach <= 0.5 else math.nan,
        exact=exact,
    )


def _weights(used: Sequence[Stratum], pairs: Mapping[int, int], start_of: Mapping[int, Hashable]) -> Floats:
    """What one pair of each stratum counts for in the mean over starts."""
    of_start = Counter(start_of[run] for run in pairs)
    return np.array([1 / (pairs[s.run] * of_start[start_of[s.run]] * len(of_start)) for s in used])


def _null(
    used: Sequence[Stratum],
    tables: Sequence[Floats],
    weights: Floats,
    moves: Mapping[Hashable, Ints] | None,
    n_permuted: int,
    seed: int,
) -> tuple[Floats, bool]:
    """The mean AUC under every rearrangement, or under drawn ones: a sum over clusters, each by itself."""
    clusters = [list(mine) for _, mine in groupby(range(len(used)), key=lambda k: used[k].cluster)]
    if moves is None:
        codes = [np.array([2 * used[k].has + used[k].lacks for k in mine]) for mine in clusters]
        sizes = [_n_distinct(code) for code in codes]
    else:
        sizes = [len(moves[used[mine[0]].cluster]) for mine in clusters]
    exact = max(sizes) <= MOST_OF_CLUSTER and math.prod(sizes) <= MOST_ARRANGEMENTS
    rng = np.random.default_rng(seed)
    total = np.zeros(1 if exact else n_permuted)
    for c, mine in enumerate(clusters):
        if moves is not None:
            known = moves[used[mine[0]].cluster]
            chosen = known if exact else known[rng.integers(len(known), size=n_permuted)]
        elif exact:
            chosen = _distinct(codes[c])
        else:
            chosen = np.argsort(rng.random((n_permuted, len(used[mine[0]].scores))), axis=1)
        part = np.zeros(len(chosen))
        for k in mine:
            has, lacks = used[k].has[chosen].astype(np.float64), used[k].lacks[chosen]
            part += weights[k] * ((has @ tables[k]) * lacks).sum(axis=1)
        total = (total[:, None] + part[None]).ravel() if exact else total + part
    return total, exact


def _n_distinct(codes: Ints) -> int:
    """In how many ways units with these codes (stratum, unit) can be arranged so that something differs."""
    _, counts = np.unique(codes, axis=1, return_counts=True)
    return math.factorial(int(counts.sum())) // math.prod(math.factorial(int(n)) for n in counts)


def _distinct(codes: Ints) -> Ints:
    """One order of the units (arrangement, unit) for each of those ways."""
    _, kinds = np.unique(codes, axis=1, return_inverse=True)
    kinds = kinds.reshape(-1)
    members = [np.flatnonzero(kinds == kind).tolist() for kind in range(int(kinds.max()) + 1)]
    orders: list[tuple[int, ...]] = [()]
    for _ in kinds:
        orders = [
            (*order, members[kind][used])
            for order in orders
            for kind in range(len(members))
            if (used := sum(kinds[unit] == kind for unit in order)) < len(members[kind])
        ]
    return np.array(orders, dtype=np.int64)
