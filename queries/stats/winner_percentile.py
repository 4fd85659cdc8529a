"""Where the pair of heads that composes most in the end stood among all pairs before training."""

import math
from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.special import ndtri

from queries.stats.few_runs import ALPHA, POWER, half_width_of_mean
from queries.stats.permutation import mid_ranks
from queries.stats.stratified_auc import outer_interval

Floats = NDArray[np.float64]

N_PERMUTED = 10_000
# of a percentile that is anywhere with equal probability
UNIFORM_SD = 1 / math.sqrt(12)


@dataclass(frozen=True)
class Winner:
    """The pairs of two layers that won in one run, usually one. before: (source head, destination head), any finite score.

    cells: the pairs, as (source head, destination head). source, destination: which heads these are; heads of one name
    are the same in all runs that have it, and are rearranged together.
    """

    run: int
    before: Floats
    cells: tuple[tuple[int, int], ...]
    source: Hashable
    destination: Hashable


@dataclass(frozen=True)
class WinnerPercentile:
    """mean: over starts, of the mean over their runs; 0.5: winners were anywhere before, 1: all were on top.

    low, high: the wider of Student t over starts and the spread by chance. by_run: percentile of each run. null_*:
    winners moved. p: two-sided. detectable: distance from 0.5 that would be found with 80 % probability, NaN where none would.
    """

    mean: float
    low: float
    high: float
    by_run: Mapping[int, float]
    n_starts: int
    null_mean: float
    null_sd: float
    null_low: float
    null_high: float
    p: float
    least_p: float
    detectable: float


def percentiles(scores: Floats) -> Floats:
    """(rank − ½) / n of every cell of a table of finite scores, equal ones sharing their mean rank: 0.5 on average."""
    ranks = mid_ranks(scores.ravel())
    found: Floats = ((ranks - 0.5) / scores.size).reshape(scores.shape)
    return found


def winner_percentile(
    winners: Sequence[Winner],
    start_of: Mapping[int, Hashable],
    *,
    level: float = 0.95,
    n_permuted: int = N_PERMUTED,
    seed: int = 0,
) -> WinnerPercentile:
    """Mean percentile before training of the pairs that won, against pairs that could have been any others.

    start_of: run -> the start it shares with others; a run may have several winners. Null: the heads of a layer are
    rearranged, which no model that begins at random can tell, the same way in all runs that share them; 10,000 times with
    a fixed seed, the observed order counting as one more. Raises ValueError without a winner.
    """
    if not winners:
        raise ValueError("no run has a winner")
    rng = np.random.default_rng(seed)
    tables = [percentiles(w.before) for w in winners]
    own: dict[int, list[float]] = {}
    for w, table in zip(winners, tables, strict=True):
        own.setdefault(w.run, []).extend(float(table[cell]) for cell in w.cells)
    by_run = {run: float(np.mean(values)) for run, values in own.items()}
    starts = list(dict.fromkeys(start_of[run] for run in by_run))
    runs_of = {one: [run for run in by_run if start_of[run] == one] for one in starts}
    by_start = [float(np.mean([by_run[run] for run in runs])) for runs in runs_of.values()]
    orders: dict[tuple[Hashable, int], NDArray[np.int64]] = {}

    def moved(name: Hashable, n: int) -> NDArray[np.int64]:
        if (name, n) not in orders:
            orders[name, n] = np.argsort(rng.random((n_permuted, n)), axis=1)
        return orders[name, n]

    null = np.zeros(n_permuted)
    for w, table in zip(winners, tables, strict=True):
        sources, destinations = moved(w.source, w.before.shape[0]), moved(w.destination, w.before.shape[1])
        weight = 1 / (len(starts) * len(runs_of[start_of[w.run]]) * len(own[w.run]))
        for source, destination in w.cells:
            null += weight * table[sources[:, source], destinations[:, destination]]
    sd = float(null.std())
    mean, low, high = outer_interval(by_start, sd, level)
    far = np.abs(null - 0.5)
    reach = float(ndtri(1 - ALPHA / 2) + ndtri(POWER)) * sd
    tails = np.quantile(null, [(1 - level) / 2, (1 + level) / 2])
    return WinnerPercentile(
        mean=mean,
        low=low,
        high=high,
        by_run=by_run,
        n_starts=len(starts),
        null_mean=float(null.mean()),
        null_sd=sd,
        null_low=float(tails[0]),
        null_high=float(tails[1]),
        p=float(((far >= abs(mean - 0.5) - 1e-9).sum() + 1) / (n_permuted + 1)),
        least_p=float(((far >= far.max() - 1e-9).sum() + 1) / (n_permuted + 1)),
        detectable=reach if 0 < reach <= 0.5 else math.nan,
    )


def expected_half_width(n_starts: int, level: float = 0.95) -> float:
    """Half width of the interval of a mean percentile over so many starts if winners were anywhere; NaN for one."""
    return half_width_of_mean(n_starts, level) * UNIFORM_SD
