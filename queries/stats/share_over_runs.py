"""Mean of a share that every run has one of, where what it is a share of is not independent within a run."""

import numpy as np
from numpy.typing import ArrayLike

from queries.stats.distributions import beta_quantile
from queries.stats.means import mean_interval

METHOD = "wider of Student t over runs and exact binomial with runs as trials"


def share_over_runs(shares: ArrayLike, level: float = 0.95) -> tuple[float, float, float]:
    """Mean over runs with an interval: (mean, low, high); shares: one per run, in [0, 1].

    Student's t says [1, 1] when all runs have a share of 1. The binomial takes every run as one trial and their sum,
    whole or not, as successes (Clopper-Pearson): no shares with that mean vary more than such trials do. Either end is
    the outer one of the two. It does not matter how many things each share is of: those of a run may all go the same
    way. NaN without a run.
    """
    known = np.asarray(shares, dtype=np.float64)
    n, k = len(known), float(known.sum())
    mean, low, high = mean_interval(known, level, (0.0, 1.0))
    if not n:
        return mean, low, high
    tail = (1 - level) / 2
    exact_low = beta_quantile(tail, k, n - k + 1) if k > 0 else 0.0
    exact_high = beta_quantile(1 - tail, k + 1, n - k) if k < n else 1.0
    return mean, float(np.fmin(low, exact_low)), float(np.fmax(high, exact_high))
