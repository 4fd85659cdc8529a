"""A mean over runs that were all measured on the same items, where both runs and groups of items could have been others."""

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from queries.stats.distributions import t_quantile
from queries.stats.over_units import Shared, unit_means

Floats = NDArray[np.float64]

METHOD = "Student t over runs and documents"
SEEDS_METHOD = "Student t over independent seeds and documents"
ONE_RUN = "Student t over documents"


@dataclass(frozen=True)
class TwoWayMean:
    """A mean with the standard errors that runs and clusters leave; NaN where not known, as of one run.

    Of one run an interval is over clusters alone, and speaks of this run only. seeds: where runs share some, the standard
    error and the degrees of freedom of each, which count for those of runs.
    """

    mean: float
    se_runs: float
    se_clusters: float
    n_runs: int
    n_clusters: int
    seeds: tuple[tuple[float, int], ...] = ()

    @property
    def _parts(self) -> list[tuple[float, int]]:
        """Standard errors with their degrees of freedom; none where clusters leave half of the error unknown."""
        if not math.isfinite(self.se_clusters):
            return []
        parts = [(self.se_clusters, self.n_clusters - 1)]
        if self.seeds:
            return [*parts, *self.seeds]
        return [*parts, (self.se_runs, self.n_runs - 1)] if self.n_runs > 1 else parts

    def _reach(self, *quantiles: float) -> float:
        parts = self._parts
        sizes = [sum(t_quantile(q, df) for q in quantiles) * se for se, df in parts]
        return math.hypot(*sizes) if parts else math.nan

    def interval(self, level: float) -> tuple[float, float]:
        """Two-sided interval: the root of the summed squares of all half widths, each with its own Student's t.

        So it holds at least as often as it says, whichever of the spreads is the largest (Banerjee 1961). NaN without
        two clusters, or where a seed has one value.
        """
        half = self._reach((1 + level) / 2)
        return self.mean - half, self.mean + half

    def detectable(self, level: float, power: float = 0.8) -> float:
        """About the smallest true mean that is found to differ from 0 with probability `power`; NaN without an error."""
        return self._reach((1 + level) / 2, power)


def two_way_mean(sums: Floats, counts: Floats, shared: Shared = ()) -> TwoWayMean:
    """Mean over runs of each run's mean over items.

    sums, counts: (run, cluster), of the items of a cluster (document) in a run; 0 of 0 where a run lacks it. The error of
    runs is that of a mean of independent runs, that of clusters comes from leaving one out at a time (the plain sandwich is
    too small for few documents of unequal length). What is a run's own at a document is in both; what all runs share at a
    document is in the second only, and no number of runs makes up for few documents. shared: of every seed that runs share its
    value in each; then the error of runs is that of the means of each seed's values, those of several seeds added.
    """
    totals = counts.sum(1)
    n_runs = len(sums)
    means = sums.sum(1) / totals
    with np.errstate(divide="ignore", invalid="ignore"):
        without = (sums.sum(1, keepdims=True) - sums) / (totals[:, None] - counts)
    # how much the mean over runs moves without each cluster; a run of one cluster alone leaves it unknown
    moves = (without - means[:, None]).mean(0)[counts.sum(0) > 0]
    n_clusters = len(moves)
    seeds = tuple(_of_seed(unit_means(means, of)) for of in shared)
    runs = math.sqrt(float(means.var(ddof=1)) / n_runs) if n_runs > 1 else math.nan
    if seeds:
        runs = math.hypot(*(se for se, _ in seeds))
    clusters = (
        math.sqrt((n_clusters - 1) / n_clusters * float((moves**2).sum())) if n_clusters > 1 else math.nan
    )
    return TwoWayMean(float(means.mean()), runs, clusters, n_runs, n_clusters, seeds)


def _of_seed(means: Floats) -> tuple[float, int]:
    n = len(means)
    return (math.sqrt(float(means.var(ddof=1)) / n), n - 1) if n > 1 else (math.nan, 1)


def signs(found: list[TwoWayMean], margin: float, level: float) -> list[tuple[str, str]]:
    """Per mean whether it is surely above 0 and surely below 0: (yes, no or unresolved) each.

    "no": surely short of `margin` that way. All hold together: intervals are at 1 − (1 − level) / number of means
    (Bonferroni), so that any of them is wrong with at most 1 − level.
    """
    each = 1 - (1 - level) / max(1, len(found))
    told = []
    for one in found:
        low, high = one.interval(each)
        up = "yes" if low > 0 else "no" if high < margin else "unresolved"
        down = "yes" if high < 0 else "no" if low > -margin else "unresolved"
        told.append((up, down))
    return told
