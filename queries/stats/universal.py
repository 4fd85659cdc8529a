"""Which neurons of a run other runs have too: excess correlation averaged over partners, and shares over runs."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.special import gammainc
from scipy.stats import rankdata

from queries.stats.distributions import t_quantile
from queries.stats.few_runs import share_interval
from queries.stats.jackknife import FEWEST_LEFT_OUT, degrees, kept_runs, variance

Floats = NDArray[np.float64]

METHOD = "jackknife over runs, as runs and as partners"
SEEDS_METHOD = "jackknife over independent seeds, as runs and as partners"


@dataclass(frozen=True)
class UniversalShares:
    """by_run: per run that was matched to others its share; mean over them with its interval; se of that mean."""

    by_run: dict[int, float]
    mean: float
    low: float
    high: float
    se: float


def excess_correlation(excess: Sequence[Floats]) -> Floats:
    """Mean over partners of what each neuron's best match has beyond its baseline: (neuron,), NaN where none is known.

    excess: per partner (neuron,). Source: Gurnee et al. 2024, mean over models b of the best correlation minus that of the
    baseline, whose means are taken one by one there.
    """
    together = np.asarray(excess, dtype=np.float64)
    known = np.isfinite(together)
    n = known.sum(axis=0)
    found: Floats = np.where(n > 0, np.where(known, together, 0.0).sum(axis=0) / np.maximum(n, 1), np.nan)
    return found


def universal_shares(
    pairs: Sequence[tuple[int, int]],
    excess: Sequence[Floats],
    threshold: float,
    level: float = 0.95,
    shared: Sequence[Mapping[int, int]] = (),
) -> UniversalShares:
    """Share of neurons with an excess correlation above the threshold, per run and over runs.

    pairs: run and partner of each. excess: per pair (neuron of the run,); a neuron without a value counts as not universal.
    A run is a partner of others, so shares of runs are not independent: for the interval whole runs are left out one at a
    time, as runs and as partners, with Student's t of one degree of freedom fewer than runs. Where all shares are 0, or
    all 1, it is the exact binomial with runs as trials. NaN with fewer than 3 runs, or where leaving one out leaves
    nobody a partner. shared: run -> value of a seed that runs share, of each such seed; then all runs of one value are left
    out at a time, variances of seeds are added, and values of the seed with fewest count for runs.
    """
    by_run = _shares(pairs, excess, threshold)
    mean = float(np.mean(list(by_run.values()))) if by_run else math.nan
    runs = sorted({run for pair in pairs for run in pair})

    def mean_of(stay: NDArray[np.bool_]) -> float:
        there = {run for run, stays in zip(runs, stay.tolist(), strict=True) if stays}
        kept = [k for k, pair in enumerate(pairs) if there.issuperset(pair)]
        rest = _shares([pairs[k] for k in kept], [excess[k] for k in kept], threshold)
        return float(np.mean(list(rest.values()))) if rest else math.nan

    numbers = [np.array([of[run] for run in runs]) for of in shared]
    without = [np.array([mean_of(stay) for stay in one]) for one in kept_runs(len(runs), numbers)]
    n = degrees(len(runs), numbers) + 1
    if n < FEWEST_LEFT_OUT or not all(np.isfinite(means).all() for means in without):
        return UniversalShares(by_run, mean, math.nan, math.nan, math.nan)
    se = math.sqrt(variance(without))
    if mean in (0.0, 1.0):
        return UniversalShares(by_run, mean, *share_interval(round(mean * n), n, level), se)
    half = t_quantile((1 + level) / 2, n - 1) * se
    low, high = np.clip([mean - half, mean + half], 0.0, 1.0)
    return UniversalShares(by_run, mean, float(low), float(high), se)


def _shares(pairs: Sequence[tuple[int, int]], excess: Sequence[Floats], threshold: float) -> dict[int, float]:
    of_run: dict[int, list[Floats]] = {}
    for (run, _), values in zip(pairs, excess, strict=True):
        of_run.setdefault(run, []).append(values)
    return {run: float((excess_correlation(found) > threshold).mean()) for run, found in of_run.items()}


def rank_auc(chosen: Floats, others: Floats) -> float:
    """Chance that one of `chosen` is above one of `others`, equal ones counting half; NaN where either has no number."""
    a, b = (values[np.isfinite(values)] for values in (chosen, others))
    if not len(a) or not len(b):
        return math.nan
    ranks = rankdata(np.concatenate([a, b]))[: len(a)]
    return float((ranks.mean() - (len(a) + 1) / 2) / len(b))


def same_number_p(n_same: int, expected: float) -> float:
    """Chance that at least so many matches are neurons of one number where numbers mean nothing: Poisson, slightly too large.

    expected: Σ over matched neurons of 1 / neurons of the layer, for matches in the neuron's own layer. Under permuted numbers
    the count of a permutation's fixed points is Poisson but for terms of the order of 1 / neurons; where several neurons have
    one match it varies less.
    """
    if n_same == 0:
        return 1.0
    return float(gammainc(n_same, expected)) if expected > 0 else 0.0


def highest_by_chance(n_tokens: int, n_candidates: int) -> float:
    """About the highest of so many correlations over independent tokens between things with nothing in common.

    √(2 ln m / n), of normal values: 0.127 for 3,072 candidates and 1,000 tokens. Neurons that seldom fire reach more.
    """
    if n_tokens < 1 or n_candidates < 2:
        return math.nan
    return min(1.0, math.sqrt(2 * math.log(n_candidates) / n_tokens))
