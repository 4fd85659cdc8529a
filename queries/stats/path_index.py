"""The path-dependence index: how far repeated runs differ object by object, against what chance would give.

With y[r, i] what run r does on object i, D_o the mean squared difference over pairs of runs and objects, and D_e the same
with objects exchanged within strata of equal difficulty, independently in every run, the index is D_o / D_e. 0: all runs
do the same on every object. 1: they agree on no more than how hard objects of a stratum are. Above 1: they differ
systematically. An object may be exchanged for itself, so strata of n objects draw the index towards 1 by about 1 / n of the
way. Source: measures.md D.1; 1 − index is Krippendorff's alpha within strata.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from queries.stats.distributions import t_quantile
from queries.stats.jackknife import FEWEST_LEFT_OUT, Flags, degrees, kept_runs, variance
from queries.stats.over_units import Shared

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]

METHOD = "jackknives over runs and over documents, variances added, on the log scale"
SEEDS_METHOD = "jackknives over independent seeds and over documents, variances added, on the log scale"
# documents are left out in so many groups at most: more would tell no more
MOST_GROUPS = 100
# where runs differ by so little, how much is a matter of rounding and of single objects
NEAR_ZERO = 0.02


@dataclass(frozen=True)
class PathIndex:
    """The index of one group of runs.

    pattern: run means removed first, so that only differences object by object count. offset: what the difference of run
    means adds to the observed distance, in the same units, so pattern + offset is not far from the index of raw values.
    low, high: interval of pattern; low is NaN near 0, where only a bound from above is known. null_sd: standard
    deviation of pattern around 1 were objects exchanged within strata. observed, expected: D_o and D_e of the pattern.
    """

    pattern: float
    low: float
    high: float
    offset: float
    null_sd: float
    observed: float
    expected: float
    n_runs: int
    n_items: int
    n_documents: int
    n_strata: int


@dataclass(frozen=True)
class _Sums:
    """All that the index needs, per group of documents; run means of all objects are taken off first.

    n: objects (group, stratum). values, squares: sums of every run (group, stratum, run). products: Σ over objects of the
    products of runs (group, run, run).
    """

    n: Floats
    values: Floats
    squares: Floats
    products: Floats

    @classmethod
    def of(cls, values: Floats, strata: Ints, groups: Ints) -> "_Sums":
        centred = values - values.mean(1, keepdims=True)
        if (groups[1:] < groups[:-1]).any():
            order = np.argsort(groups, kind="stable")
            centred, strata, groups = centred[:, order], strata[order], groups[order]
        n_strata, n_groups = int(strata.max()) + 1, int(groups[-1]) + 1
        cells = groups * n_strata + strata
        edges = np.searchsorted(groups, np.arange(n_groups + 1))

        def total(weights: Floats | None) -> Floats:
            found: Floats = np.bincount(cells, weights, n_groups * n_strata).astype(np.float64)
            return found.reshape(n_groups, n_strata)

        return cls(
            total(None),
            np.stack([total(row) for row in centred], -1),
            np.stack([total(row**2) for row in centred], -1),
            np.stack([centred[:, a:b] @ centred[:, a:b].T for a, b in pairwise(edges)]),
        )

    def without_group(self, group: int) -> "_Sums":
        keep = np.arange(len(self.n)) != group
        return _Sums(self.n[keep], self.values[keep], self.squares[keep], self.products[keep])

    def of_runs(self, keep: Flags) -> "_Sums":
        return _Sums(
            self.n, self.values[:, :, keep], self.squares[:, :, keep], self.products[:, keep][:, :, keep]
        )


def strata_of(difficulty: Floats, n_strata: int) -> Ints:
    """Objects in n_strata classes of as nearly equal size as ties allow, easiest first.

    Objects of one difficulty are never parted. Raises ValueError for a difficulty that is not finite.
    """
    if not np.isfinite(difficulty).all():
        raise ValueError("an object has no difficulty")
    edges = np.quantile(difficulty, np.linspace(0, 1, n_strata + 1)[1:-1])
    return _numbered(np.searchsorted(edges, difficulty, "right"))


def path_index(
    values: Floats, strata: Ints, documents: Ints, level: float = 0.95, shared: Shared = ()
) -> PathIndex:
    """The index of runs that were asked the same.

    values: (run, object), finite, at least 2 runs. strata, documents: (object,), any integers. shared: seeds that runs
    share, each value of which is left out with all its runs. The interval takes at least 3 runs, 3 values of each of these
    and 2 documents. NaN throughout where objects of a stratum do not differ in any run.
    """
    n_runs, n_items = values.shape
    members, of_document = _numbered(strata), _numbered(documents)
    n_documents = int(of_document.max(initial=-1)) + 1
    groups = of_document * min(n_documents, MOST_GROUPS) // max(n_documents, 1)
    whole = _Sums.of(values, members, groups)
    observed, expected = _distances(whole)
    pattern = observed / expected if expected > 0 else math.nan
    low, high = _interval(whole, pattern, level, shared)
    return PathIndex(
        pattern=pattern,
        low=low,
        high=high,
        offset=2 * float(values.mean(1).var(ddof=1)) / expected if expected > 0 else math.nan,
        null_sd=_null_sd(whole, n_runs) / expected if expected > 0 else math.nan,
        observed=observed,
        expected=expected,
        n_runs=n_runs,
        n_items=n_items,
        n_documents=n_documents,
        n_strata=int(members.max(initial=-1)) + 1,
    )


def leave_outs(
    values: Floats, strata: Ints, groups: Ints, kept: Sequence[Flags] | None = None
) -> tuple[float, Floats, Floats]:
    """The index, of the runs kept each time (time,), and without each group of documents in turn (group,).

    values, strata: as in `path_index`. groups: (object,), from 0. kept: (run,) each, left out: all but each run in turn. For
    differences of indices that share runs and documents: theirs must be left out of all of them at once. None without a run
    for fewer than 3, or without the only group.
    """
    whole = _Sums.of(values, np.unique(strata, return_inverse=True)[1], groups)
    n_groups = len(whole.n)
    rests = (kept_runs(len(values))[0] if len(values) > 2 else []) if kept is None else kept
    over_runs = [_index(whole.of_runs(keep)) for keep in rests]
    over_groups = [_index(whole.without_group(g)) for g in range(n_groups if n_groups > 1 else 0)]
    return _index(whole), np.array(over_runs), np.array(over_groups)


def expected_distance(values: Floats, strata: Ints) -> float:
    """D_e alone, for other strata than those of an index."""
    n = np.bincount(strata).astype(np.float64)
    centred = values - values.mean(1, keepdims=True)
    sums = np.stack([np.bincount(strata, row).astype(np.float64) for row in centred], -1)[None]
    squares = np.stack([np.bincount(strata, row**2).astype(np.float64) for row in centred], -1)[None]
    return _expected(_Sums(n[None], sums, squares, np.zeros(0)))


def distance(a: Floats, b: Floats) -> float:
    """D_o of two runs, their means removed: what a yardstick divides by the expected distance of a group."""
    found: float = (a - b).var()
    return found


def _distances(sums: _Sums) -> tuple[float, float]:
    """D_o and D_e of the pattern: twice a mean variance over runs, by the identity of pairs and variances."""
    n_all = sums.n.sum()
    run_means = sums.values.sum((0, 1)) / n_all
    products, n_runs = sums.products.sum(0), len(run_means)
    between = (np.trace(products) - products.sum() / n_runs) / (n_runs - 1)
    return 2 * float(between / n_all - run_means.var(ddof=1)), _expected(sums)


def _expected(sums: _Sums) -> float:
    n = sums.n.sum(0)
    some = n > 0
    means = sums.values.sum(0)[some] / n[some, None]
    within = sums.squares.sum(0)[some] / n[some, None] - means**2
    apart = (means - sums.values.sum((0, 1)) / n.sum()).var(1, ddof=1)
    return 2 * float((n[some] * (within.mean(1) + apart)).sum() / n.sum())


def _numbered(names: Ints) -> Ints:
    """The same classes as 0, 1, ... in their order; for integers that lie close together a fifth of the time of a sort."""
    low, n = int(names.min(initial=0)), int(np.ptp(names)) + 1 if len(names) else 0
    if n > 10 * len(names) + 1000:
        return np.unique(names, return_inverse=True)[1].astype(np.int64)
    numbers = np.cumsum(np.bincount(names - low, minlength=n) > 0) - 1
    found: Ints = numbers[names - low].astype(np.int64)
    return found


def _null_sd(sums: _Sums, n_runs: int) -> float:
    """Of D_o when objects are exchanged at random: Σ a b over exchanged places has variance n² var a var b / (n − 1).

    Pairs that share a run have no covariance, because the other two runs are exchanged independently.
    """
    n = sums.n.sum(0)
    some = n > 1
    n, means = n[some], sums.values.sum(0)[some] / n[some, None]
    within = np.maximum(sums.squares.sum(0)[some] / n[:, None] - means**2, 0.0)
    pairs = (within.sum(1) ** 2 - (within**2).sum(1)) / 2
    n_pairs = n_runs * (n_runs - 1) / 2
    return 2 / (n_pairs * float(sums.n.sum())) * math.sqrt(float((n**2 / (n - 1) * pairs).sum()))


def _interval(whole: _Sums, pattern: float, level: float, shared: Shared) -> tuple[float, float]:
    n_groups, df = len(whole.n), degrees(whole.values.shape[2], shared)
    rests = kept_runs(whole.values.shape[2], shared)
    too_few = df + 1 < FEWEST_LEFT_OUT or min(keep.sum() for one in rests for keep in one) < 2
    if too_few or n_groups < 2 or not pattern > 0:
        return math.nan, math.nan
    over_runs = [np.array([_log_index(whole.of_runs(keep)) for keep in one]) for one in rests]
    over_documents = np.array([_log_index(whole.without_group(g)) for g in range(n_groups)])
    half = t_quantile((1 + level) / 2, df) * math.sqrt(variance([*over_runs, over_documents]))
    low, high = pattern * math.exp(-half), pattern * math.exp(min(half, 700.0))
    return (math.nan if pattern < NEAR_ZERO else low), high


def _index(sums: _Sums) -> float:
    if not sums.n.any():
        return math.nan
    observed, expected = _distances(sums)
    return observed / expected if expected > 0 else math.nan


def _log_index(sums: _Sums) -> float:
    observed, expected = _distances(sums)
    return math.log(observed / expected) if observed > 0 and expected > 0 else math.nan
