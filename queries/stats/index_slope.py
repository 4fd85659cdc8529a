"""Whether repeated runs agree less on harder objects: the path-dependence index by class of difficulty, and its slope.

Source: measures.md D.3. All indices rest on the same runs and documents, so that a run or a group of documents is left out
of all of them at once.
"""

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.special import stdtr

from queries.stats.distributions import t_quantile
from queries.stats.few_runs import detectable_paired_difference
from queries.stats.jackknife import FEWEST_LEFT_OUT, degrees, kept_runs, variance
from queries.stats.over_units import Shared
from queries.stats.path_index import MOST_GROUPS, leave_outs, strata_of

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]

METHOD = (
    "jackknives over runs and over documents, variances added, Student t with runs − 1 degrees of freedom"
)
SEEDS_METHOD = METHOD.replace("runs", "independent seeds")
# objects that a finer class within a class has at least: an object is also exchanged with itself, which in a class of
# so many adds a fiftieth of what is missing to 1
FEWEST_IN_STRATUM = 50


@dataclass(frozen=True)
class IndexSlope:
    """How the index changes from one class of difficulty to the next.

    indices: (class,), easiest first. slope: of the line of least squares, per class. low, high, se, p (two-sided): NaN with
    fewer than 3 runs or 2 groups of documents. mde: the smallest slope, either way, that so many runs would show with a
    power of 80 % at 5 %. without_runs: (run,) the slope were that run not there; empty with fewer than 3.
    """

    indices: Floats
    slope: float
    without_runs: Floats
    low: float = math.nan
    high: float = math.nan
    se: float = math.nan
    p: float = math.nan
    mde: float = math.nan

    @property
    def rise(self) -> float:
        """From the easiest class to the hardest, along the line."""
        return self.slope * (len(self.indices) - 1)


def finer_strata(difficulty: Floats, classes: Ints, finer: int) -> Ints:
    """Classes within classes: at most `finer` of equal size in each, none of fewer than 50 objects, (object,)."""
    found = np.zeros(len(difficulty), np.int64)
    for k in np.unique(classes):
        mine = classes == k
        n = max(1, min(finer, int(mine.sum()) // FEWEST_IN_STRATUM))
        found[mine] = k * finer + strata_of(difficulty[mine], n)
    return found


def without_trend(values: Floats, difficulty: Floats, classes: Ints) -> Floats:
    """Values (run, object) less what they rise with difficulty within each class, the same for every run.

    A straight line per class, fitted to the mean over runs. Differences between runs stay as they are; objects of one
    class are then alike in difficulty, where finer classes alone leave some of it, most where objects vary little else.
    """
    found = values.copy()
    mean = values.mean(0)
    for k in np.unique(classes):
        mine = classes == k
        apart = difficulty[mine] - difficulty[mine].mean()
        spread = float(apart @ apart)
        if spread > 0:
            # centred, so that what is the same everywhere stays exactly so
            found[:, mine] -= apart * (float(apart @ (mean[mine] - mean[mine].mean())) / spread)
    return found


def index_slope(
    values: Floats,
    classes: Ints,
    strata: Ints,
    documents: Ints,
    level: float = 0.95,
    shared: Shared = (),
) -> IndexSlope:
    """Slope of the index over classes 0, 1, ...

    values: (run, object), finite, at least 2 runs. strata: finer classes, within which objects are exchanged. documents:
    (object,), any integers. A class whose objects do not differ in any run has no index and no part in the slope. shared:
    seeds that runs share, each value of which is left out with all its runs; of these it takes 3 values as of runs.
    """
    n_runs, df = len(values), degrees(len(values), shared)
    # each run in turn, which is told, and each value of each seed, by which the spread is judged
    rests = [*kept_runs(n_runs), *(kept_runs(n_runs, shared) if shared else [])]
    rests = [one if min(keep.sum() for keep in one) > 1 else [] for one in rests]
    every = [keep for one in rests for keep in one]
    names, of_document = np.unique(documents, return_inverse=True)
    n_groups = min(len(names), MOST_GROUPS)
    groups = of_document * n_groups // len(names)
    n_classes = int(classes.max()) + 1
    whole = np.full(n_classes, np.nan)
    runs = np.full((n_classes, len(every)), np.nan)
    parts = np.full((n_classes, n_groups if n_groups > 1 else 0), np.nan)
    for k in range(n_classes):
        mine = classes == k
        # groups of which the class has nothing change nothing
        there, of_group = np.unique(groups[mine], return_inverse=True)
        whole[k], runs[k], without = leave_outs(values[:, mine], strata[mine], of_group, every)
        parts[k] = whole[k]
        if len(without):
            parts[k, there] = without
    known = np.isfinite(whole) & np.isfinite(runs).all(1) & np.isfinite(parts).all(1)
    if known.sum() < 2:
        return IndexSlope(whole, math.nan, np.empty(0))
    weights = np.arange(n_classes)[known] - np.arange(n_classes)[known].mean()
    weights = weights / (weights @ weights)
    slope, left_out, over_parts = (weights @ x[known] for x in (whole, runs, parts))
    over_runs, *over_seeds = np.split(left_out, np.cumsum([len(one) for one in rests])[:-1])
    spread = over_seeds or [over_runs]
    if min(map(len, spread)) < FEWEST_LEFT_OUT or n_groups < 2:
        return IndexSlope(whole, float(slope), over_runs)
    se = math.sqrt(variance([*spread, over_parts]))
    half = t_quantile((1 + level) / 2, df) * se
    return IndexSlope(
        whole,
        float(slope),
        over_runs,
        float(slope - half),
        float(slope + half),
        se,
        2 * float(stdtr(df, -abs(slope) / se)) if se > 0 else math.nan,
        detectable_paired_difference(df + 1) * math.sqrt(df + 1) * se,
    )
