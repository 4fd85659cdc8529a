"""Which of two events comes first, run by run, when each time is only known to lie in a bracket.

Two events of a run are in order only where one bracket ends before the other begins; otherwise which came
first is unknown, and is treated as unknown, never as a tie of the times themselves.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from queries.stats.distributions import fair_coin_tail
from queries.stats.few_runs import share_interval

Floats = NDArray[np.float64]
Flags = NDArray[np.bool_]


@dataclass(frozen=True)
class Precedence:
    """How often a came before b.

    n_before, n_after, n_unclear: runs. n_units: of how many of them the rest is, which share no seed. low, high: interval of the
    probability that a comes first; runs whose order is unclear count against either end, so it holds whichever way they went.
    p: exact two-sided sign test with the unclear runs split against the majority.
    """

    n_before: int
    n_after: int
    n_unclear: int
    n_units: int
    low: float
    high: float
    p: float


def certainly_before(low: Floats, high: Floats) -> Flags:
    """before[r, i, j]: in run r event i certainly came before event j.

    low, high: (run, event), an event in (low, high]; high = inf for one not seen by `low`, low = −inf for
    one there at the first measurement; NaN in both where nothing is known.
    """
    return high[:, :, None] <= low[:, None, :]


def interval_ranks(low: Floats, high: Floats) -> Floats:
    """Rank of every event within its run, 1 = first: 1 + events certainly before it + half of the unclear ones.

    The mean rank over a coin toss for every unclear pair; equals the usual mid-rank where brackets are equal
    or apart. Each row sums to m (m + 1) / 2. Shapes as in `certainly_before`, all known.
    """
    before = certainly_before(low, high)
    n_events = low.shape[1]
    wins, losses = before.sum(axis=1), before.sum(axis=2)
    ranks: Floats = (n_events + 1) / 2 + (wins - losses) / 2
    return ranks


def precedence(low: Floats, high: Floats, a: int, b: int, level: float = 0.95) -> Precedence:
    """Count and judge "event a before event b" over runs; runs in which either is unknown are left out."""
    low, high = low[:, [a, b]], high[:, [a, b]]
    known = ~np.isnan(low).any(axis=1)
    before = certainly_before(low[known], high[known])
    n_before, n_after = int(before[:, 0, 1].sum()), int(before[:, 1, 0].sum())
    n = int(known.sum())
    unclear = n - n_before - n_after
    least, most = sorted((n_before, n_after))
    against = min(least + unclear, most)  # unclear runs cannot turn the majority round, only undo it
    p = min(1.0, 2 * (1 - fair_coin_tail(against, n))) if n else 1.0
    return Precedence(
        n_before,
        n_after,
        unclear,
        n,
        share_interval(n_before, n, level)[0],
        share_interval(n - n_after, n, level)[1],
        p,
    )
