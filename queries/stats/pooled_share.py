"""Share of successes where every run has a few trials of its own, and by how much one such share exceeds another."""

import math
from collections.abc import Sequence

import numpy as np

from queries.stats.over_units import Shared, exact_share, fewest_units, mean_over_units

METHOD = "wider of Student t over independent runs and exact binomial over all trials"
DIFFERENCE_METHOD = (
    "wider of Student t over independent runs and Newcombe's of exact binomials over all trials"
)


def pooled_share(
    successes: Sequence[int], trials: Sequence[int], level: float = 0.95, shared: Shared = ()
) -> tuple[float, float, float]:
    """Mean over runs of successes / trials with an interval: (share, low, high).

    trials: at least 1 per run. Student's t holds for runs that differ but says [0, 0] when no run has a
    success; the binomial knows that few trials show little but not that runs differ. Either end is the outer
    one of the two. shared: seeds that runs share, each value of which counts once: the t is over them, and trials of runs
    with one seed are one run's. NaN without a run, (share, NaN, NaN) with one.
    """
    mean, low, high = mean_over_units(_shares(successes, trials), shared, level, (0.0, 1.0))
    if len(successes) < 2:
        return mean, low, high
    exact = _exact(successes, trials, level, shared)
    return mean, float(np.fmin(low, exact[0])), float(np.fmax(high, exact[1]))


def excess_over(
    successes: Sequence[float],
    trials: Sequence[int],
    others: Sequence[float],
    other_trials: Sequence[int],
    level: float = 0.95,
    shared: Shared = (),
) -> tuple[float, float, float]:
    """Mean over runs of one share less another with an interval: (difference, low, high), likewise the outer one of two.

    The binomial one squares and adds how far the exact interval of each pooled share reaches on the side that counts
    (Newcombe 1998): runs that all have the same two shares show no spread, and no precision by that.
    """
    difference, low, high = mean_over_units(
        _shares(successes, trials) - _shares(others, other_trials), shared, level, (-1.0, 1.0)
    )
    if len(successes) < 2:
        return difference, low, high
    a, b = sum(successes) / sum(trials), sum(others) / sum(other_trials)
    a_low, a_high = _exact(successes, trials, level, shared)
    b_low, b_high = _exact(others, other_trials, level, shared)
    down = a - b - math.hypot(a - a_low, b_high - b)
    up = a - b + math.hypot(a_high - a, b - b_low)
    return difference, float(np.fmin(low, down)), float(np.fmax(high, up))


def _shares(successes: Sequence[float], trials: Sequence[int]) -> np.ndarray:
    found: np.ndarray = np.array(successes, dtype=np.float64) / np.array(trials, dtype=np.float64)
    return found


def _exact(
    successes: Sequence[float], trials: Sequence[int], level: float, shared: Shared
) -> tuple[float, float]:
    n_runs, total = len(trials), sum(trials)
    return exact_share(sum(successes) / total, total * fewest_units(shared, n_runs) / n_runs, level)
