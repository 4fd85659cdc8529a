"""Whether runs move in the same direction: cosines of their displacements, against directions of random sign."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from queries.stats.distributions import normal_tail
from queries.stats.run_pairs import mean_over_pairs

Floats = NDArray[np.float64]

EXACT_RUNS = 14
N_SAMPLED = 9999
# cosines are of random projections to so many numbers, which adds this much to the variance of each
SKETCH_VARIANCE = 1 / 4096


@dataclass(frozen=True)
class SharedDirection:
    """Mean cosine over pairs of runs with its interval over runs (leaving out one at a time).

    p_signs: how often the mean is as large when every run's direction is turned round or not by a fair coin; exact, free of
    assumptions, at best 2^(1 − runs). p_random: the same for independent directions, uniform in a space of so many
    dimensions, by the normal law of their mean.
    """

    n_runs: int
    n_pairs: int
    cosine: float
    low: float
    high: float
    p_signs: float
    p_random: float


def shared_direction(
    pairs: Sequence[tuple[int, int]], cosines: Floats, *, dimensions: int = 1000, level: float = 0.95
) -> SharedDirection:
    """Judge cosines of pairs of runs (any integers); not finite ones are left out."""
    known = np.isfinite(cosines)
    ends = [pair for pair, ok in zip(pairs, known, strict=True) if ok]
    values = cosines[known]
    runs = sorted({run for pair in ends for run in pair})
    mean, low, high = mean_over_pairs(ends, values, np.full(len(values), math.nan), level, (-1.0, 1.0))
    if not ends:
        return SharedDirection(0, 0, math.nan, math.nan, math.nan, math.nan, math.nan)
    sd = math.sqrt((1 / dimensions + SKETCH_VARIANCE) / len(values))
    return SharedDirection(
        len(runs), len(ends), mean, low, high, _sign_p(runs, ends, values), normal_tail(mean / sd)
    )


def _sign_p(runs: Sequence[int], pairs: Sequence[tuple[int, int]], values: Floats) -> float:
    place = {run: k for k, run in enumerate(runs)}
    n = len(runs)
    exact = n <= EXACT_RUNS
    if exact:
        signs = 1.0 - 2.0 * ((np.arange(2 ** (n - 1))[:, None] >> np.arange(n)) & 1)
    else:
        signs = np.random.default_rng(0).choice([-1.0, 1.0], size=(N_SAMPLED, n))
    a, b = (np.array([place[pair[k]] for pair in pairs]) for k in (0, 1))
    sums = (signs[:, a] * signs[:, b]) @ values
    at_least = int((sums >= values.sum() - 1e-9).sum())
    return at_least / len(sums) if exact else (at_least + 1) / (len(sums) + 1)
