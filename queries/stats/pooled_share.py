"""Share of successes where every run has a few trials of its own."""

from collections.abc import Sequence

import numpy as np

from queries.stats.few_runs import share_interval
from queries.stats.means import mean_interval

METHOD = "wider of Student t over runs and exact binomial over all trials"


def pooled_share(
    successes: Sequence[int], trials: Sequence[int], level: float = 0.95
) -> tuple[float, float, float]:
    """Mean over runs of successes / trials with an interval: (share, low, high).

    trials: at least 1 per run. Student's t holds for runs that differ but says [0, 0] when no run has a
    success; the binomial knows that few trials show little but not that runs differ. Either end is the outer
    one of the two. NaN without a run, (share, NaN, NaN) with one.
    """
    shares = np.array(successes, dtype=np.float64) / np.array(trials, dtype=np.float64)
    mean, low, high = mean_interval(shares, level, (0.0, 1.0))
    if len(shares) < 2:
        return mean, low, high
    exact = share_interval(sum(successes), sum(trials), level)
    return mean, min(low, exact[0]), max(high, exact[1])
