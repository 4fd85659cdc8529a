"""Runs that each choose a few of many: whether the choice is uniform, and whether it was visible before."""

import math
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]

N_SIMULATED = 10_000


def uniform_choice_p(
    chosen: Sequence[Sequence[int]], n_options: int, *, n_simulated: int = N_SIMULATED, seed: int = 0
) -> float:
    """Probability of choices this concentrated if every run chose uniformly and independently.

    chosen: per run the distinct options it ended with, 0 ≤ option < n_options. Statistic: Σ of squared counts
    per option, against simulated sets of runs with as many choices each; the observed set counts as one of
    them. NaN with fewer than 2 runs that chose anything: one run cannot repeat itself.
    """
    sizes = [len(set(c)) for c in chosen if len(c)]
    if len(sizes) < 2:
        return math.nan
    observed = _concentration(np.bincount([o for c in chosen for o in set(c)], minlength=n_options)[None])[0]
    rng = np.random.default_rng(seed)
    counts = np.zeros((n_simulated, n_options))
    for size in sizes:
        picked = np.argpartition(rng.random((n_simulated, n_options)), size - 1, axis=1)[:, :size]
        np.put_along_axis(counts, picked, np.take_along_axis(counts, picked, axis=1) + 1, axis=1)
    return float(((_concentration(counts) >= observed).sum() + 1) / (n_simulated + 1))


def overlap_p(overlaps: Sequence[int], sizes: Sequence[int], n_options: int, *, seed: int = 0) -> float:
    """Probability of at least this total overlap if each run's choice had nothing to do with its earlier order.

    overlaps: per run, how many of its `size` final options were among its `size` strongest earlier; under
    the null hypergeometric, independent over runs. One-sided; 10,000 simulated sets. NaN without a run.
    """
    if not len(sizes):
        return math.nan
    rng = np.random.default_rng(seed)
    totals = np.sum([rng.hypergeometric(m, n_options - m, m, N_SIMULATED) for m in sizes], axis=0)
    return float(((totals >= sum(overlaps)).sum() + 1) / (N_SIMULATED + 1))


def _concentration(counts: NDArray[np.float64] | NDArray[np.int64]) -> Floats:
    found: Floats = (counts.astype(np.float64) ** 2).sum(axis=1)
    return found
