"""Do runs agree on an order? Kendall's W, its permutation null, and what the null reaches by itself."""

import math
from dataclasses import dataclass
from itertools import permutations

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]

N_PERMUTATIONS = 20_000
# below this many arrangements every one of them is looked at
EXACT_LIMIT = 400_000
MOST_EVENTS = 8


@dataclass(frozen=True)
class Concordance:
    """Agreement of runs on the order of events.

    w: 0 = no agreement, 1 = every run has the same ranks. q95: the value that runs with independent random
    orders stay below 95 % of the time. p: probability of at least w then. NaN where no order is known.
    exact: every arrangement was looked at, none sampled.
    """

    w: float
    q95: float
    p: float
    n_runs: int
    n_events: int
    exact: bool


def kendall_w(ranks: Floats) -> float:
    """Kendall's W of ranks (run, event), ties allowed: Σ over events of squared rank-sum deviations, over its maximum.

    S / (n Σ_r SS_r) with SS_r the sum of squared deviations of run r's ranks; the textbook's tie correction
    written so that it also holds for ranks of unclear orders. NaN where no run orders anything.
    """
    deviations = ranks - ranks.mean(axis=1, keepdims=True)
    largest = len(ranks) * float((deviations**2).sum())
    return float((deviations.sum(axis=0) ** 2).sum()) / largest if largest > 0 else math.nan


def concordance(ranks: Floats, *, seed: int = 0) -> Concordance:
    """Kendall's W with its null: each run's ranks shuffled over the events, independently of the others.

    ranks: (run, event), at least 2 × 2, as `precedence.interval_ranks` gives them; the shuffles keep each
    run's ties, so a run whose order is mostly unclear weighs as little in the null as in W. All arrangements
    are counted where there are at most 400,000, else 20,000 are drawn (the observed one counts as one of them).
    """
    n_runs, n_events = ranks.shape
    w = kendall_w(ranks)
    if math.isnan(w) or n_runs < 2:
        return Concordance(math.nan, math.nan, math.nan, n_runs, n_events, True)
    sums, exact = _null_sums(ranks - ranks.mean(axis=1, keepdims=True), seed)
    null = (sums**2).sum(axis=1) / (n_runs * float(((ranks - ranks.mean(axis=1, keepdims=True)) ** 2).sum()))
    at_least = int((null >= w - 1e-9).sum())
    p = at_least / len(null) if exact else (at_least + 1) / (len(null) + 1)
    return Concordance(w, _quantile(null), p, n_runs, n_events, exact)


def _quantile(null: Floats) -> float:
    """Smallest value with at least 95 % of the null at or below it."""
    return float(np.sort(null)[math.ceil(0.95 * len(null)) - 1])


def _null_sums(deviations: Floats, seed: int) -> tuple[Floats, bool]:
    """Rank sums (arrangement, event) with every run but the first shuffled: only relative order counts."""
    n_runs, n_events = deviations.shape
    if n_events <= MOST_EVENTS and math.factorial(n_events) ** (n_runs - 1) <= EXACT_LIMIT:
        orders = np.array(list(permutations(range(n_events))))
        sums = deviations[:1]
        for row in deviations[1:]:
            sums = (sums[:, None, :] + row[orders][None]).reshape(-1, n_events)
        return sums, True
    rng = np.random.default_rng(seed)
    total = np.zeros((N_PERMUTATIONS, n_events))
    for row in deviations:
        total += rng.permuted(np.tile(row, (N_PERMUTATIONS, 1)), axis=1)
    return total, False
