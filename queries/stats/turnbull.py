"""Times without a model: Turnbull's estimate of the share that has arrived, and an exact interval of the median."""

import math
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from queries.stats.distributions import fair_coin_tail

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Arrival:
    """Share of runs that has reached the event, as far as interval-censored times determine it.

    The probability `mass[k]` lies somewhere in (left[k], right[k]]; where it lies inside is unknowable.
    right is inf for the mass of runs that had not arrived when they were last seen.
    """

    left: Floats
    right: Floats
    mass: Floats

    def quantile(self, p: float) -> tuple[float, float]:
        """The interval (left, right] in which the share first reaches p; right is inf when it never does."""
        k = int(np.searchsorted(np.cumsum(self.mass), p - 1e-9))
        if k >= len(self.mass):
            return float(self.left[-1]), math.inf
        return float(self.left[k]), float(self.right[k])


def arrival(low: Floats, high: Floats, *, tolerance: float = 1e-10, max_steps: int = 20_000) -> Arrival:
    """Turnbull's nonparametric maximum-likelihood estimate for times in (low, high].

    low, high: one per run; low = −inf for left-, high = inf for right-censored times.
    Equals 1 − Kaplan-Meier where times are exact or right-censored.
    Source: Turnbull 1976, self-consistency; the answer is the fixed point reached from equal masses.
    """
    if not len(low):
        raise ValueError("no times")
    if not (low < high).all():
        raise ValueError("every time needs low < high")
    left, right = _innermost(low, high)
    inside = (left[None, :] >= low[:, None]) & (right[None, :] <= high[:, None])
    mass = np.full(len(left), 1 / len(left))
    for _ in range(max_steps):
        expected = inside * mass
        updated = (expected / expected.sum(axis=1, keepdims=True)).mean(axis=0)
        moved = float(np.abs(updated - mass).max())
        mass = updated
        if moved < tolerance:
            break
    return Arrival(left, right, mass)


def _innermost(low: Floats, high: Floats) -> tuple[Floats, Floats]:
    """Intervals that run from some low to the next high with no other low or high between: only they get mass."""
    # at a tie the high comes first, because (a, b] and (b, c] do not meet
    events = sorted([(float(h), 0) for h in high] + [(float(v), 1) for v in low])
    pairs = [(a, b) for (a, kind_a), (b, kind_b) in pairwise(events) if kind_a == 1 and kind_b == 0]
    return np.array([a for a, _ in pairs]), np.array([b for _, b in pairs])


def median_interval(low: Floats, high: Floats, level: float = 0.95) -> tuple[float, float]:
    """Exact sign-test interval of the median time, conservative under interval censoring.

    A time m is ruled out as the median when too many runs certainly arrived by m (high <= m), or certainly
    after it (low >= m), for a fair coin. Returns (−inf, inf) when no split can reach the level: with 5 runs
    the widest possible interval holds only 93.75 %.
    """
    n = len(low)
    if not n:
        return -math.inf, math.inf
    # smallest count that a fair coin reaches with probability at most alpha / 2
    critical = next(k for k in range(n + 2) if fair_coin_tail(k - 1, n) <= (1 - level) / 2)
    if critical > n:
        return -math.inf, math.inf
    after = float(np.sort(low)[::-1][critical - 1])  # up to here, at least `critical` runs had not arrived
    before = float(np.sort(high)[critical - 1])  # from here, at least `critical` runs had arrived
    return after, before
