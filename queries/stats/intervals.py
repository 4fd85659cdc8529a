"""When a curve reaches a level, known no better than the two measurements that bracket it."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

Rule = Literal["first", "stays"]
Direction = Literal["up", "down"]
Kind = Literal["observed", "never", "before", "no data"]


@dataclass(frozen=True)
class Bracket:
    """The event lies in (low, high].

    low: last measured time before the event, −inf when it was already there at the first measurement.
    high: first measured time at which it is there, inf when it never was (low is then the last measurement).
    n_points: finite measurements used. level_at_high: the value at `high`, NaN when never.
    """

    low: float
    high: float
    n_points: int
    level_at_high: float = math.nan

    @property
    def kind(self) -> Kind:
        """Observed (between two measurements), never (right-censored), before (left-censored), no data."""
        if not self.n_points:
            return "no data"
        if math.isinf(self.high):
            return "never"
        return "before" if math.isinf(self.low) else "observed"

    @property
    def octaves(self) -> float:
        """log2(high / low): the resolution of this time; inf when low is 0, NaN when not observed."""
        if self.kind != "observed":
            return math.nan
        return math.log2(self.high / self.low) if self.low > 0 else math.inf


def crossing(
    times: NDArray[np.float64],
    values: NDArray[np.float64],
    level: float,
    *,
    direction: Direction = "up",
    rule: Rule = "first",
) -> Bracket:
    """Bracket the time at which `values` reach `level`.

    times: strictly increasing, one per value, any axis (steps, tokens). values: unit of the measure; values
    that are not finite are measurements that did not happen, so the bracket widens over them.
    direction "up": at or above `level` counts as reached; "down": at or below.
    rule "first": the first reached value; "stays": the first from which every later value is reached.
    Raises ValueError where times do not increase or lengths differ.
    """
    if len(times) != len(values):
        raise ValueError(f"{len(times)} times for {len(values)} values")
    if len(times) > 1 and not (np.diff(times) > 0).all():
        raise ValueError("times must increase strictly: one value per step")
    finite = np.isfinite(values)
    at, y = times[finite], values[finite]
    if not len(y):
        return Bracket(-math.inf, math.inf, 0)
    reached = y >= level if direction == "up" else y <= level
    if rule == "stays":
        # from the end: reached here and at every later point
        reached = np.logical_and.accumulate(reached[::-1])[::-1]
    if not reached.any():
        return Bracket(float(at[-1]), math.inf, len(y))
    k = int(np.argmax(reached))
    low = float(at[k - 1]) if k else -math.inf
    return Bracket(low, float(at[k]), len(y), float(y[k]))


def rising_crossings(
    times: NDArray[np.float64], values: NDArray[np.float64], levels: Sequence[float]
) -> list[Bracket]:
    """`crossing` of every level, of a finite curve that never falls: several at once, nothing checked."""
    found = []
    for k in np.searchsorted(values, levels).tolist():
        low = float(times[k - 1]) if k else -math.inf
        there = k < len(values)
        high, reached = (float(times[k]), float(values[k])) if there else (math.inf, math.nan)
        found.append(Bracket(low, high, len(values), reached))
    return found


def n_crossings(values: NDArray[np.float64], level: float, direction: Direction = "up") -> int:
    """How often a curve goes from not reached to reached: more than once means the rule matters."""
    y = values[np.isfinite(values)]
    reached = y >= level if direction == "up" else y <= level
    return int(reached[:1].sum() + (reached[1:] & ~reached[:-1]).sum())
