"""Whether one size is better at a kind of item: means of runs compared, with what another choice of documents would change."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.special import stdtr, stdtrit

from queries.stats.slices import SliceMeans

Floats = NDArray[np.float64]

# with fewer runs of a size nothing can be said of the size, only of these runs
FEWEST_RUNS = 3


@dataclass(frozen=True)
class SizeMeans:
    """Per kind, (kind,) each: delta = mean of the large runs less that of the small ones, its interval, and p of delta ≤ 0.

    over_runs: whether the interval and p count other runs, or, with fewer than 3 of a size, other documents only.
    """

    delta: Floats
    low: Floats
    high: Floats
    p: Floats
    over_runs: bool


def size_means(small: Floats, large: Floats, over_documents: SliceMeans, level: float = 0.95) -> SizeMeans:
    """small, large: mean loss of each run in each kind, (run, kind). over_documents: of the items' differences of means.

    The variance over runs (Welch: each size its own) is added to that over documents, which counts twice what a run does with
    a single document: intervals are too wide rather than too narrow. Degrees of freedom are Satterthwaite's of the three.
    NaN where nothing varies or a kind lies in one document.
    """
    delta = large.mean(0) - small.mean(0)
    variances, degrees = [over_documents.se**2], [over_documents.df]
    over_runs = min(len(small), len(large)) >= FEWEST_RUNS
    if over_runs:
        for runs in (small, large):
            variances.append(runs.var(0, ddof=1) / len(runs))
            degrees.append(np.full(len(delta), len(runs) - 1.0))
    variance = np.sum(variances, axis=0)
    with np.errstate(divide="ignore", invalid="ignore"):
        df = variance**2 / np.sum([v**2 / d for v, d in zip(variances, degrees, strict=True)], axis=0)
        se = np.where(variance > 0, np.sqrt(variance), np.nan)
        p: Floats = stdtr(df, -delta / se)
        half = stdtrit(df, (1 + level) / 2) * se
    return SizeMeans(delta, delta - half, delta + half, p, over_runs)
