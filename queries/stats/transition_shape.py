"""The shape of one rise or fall: when it is 10, 50 and 90 % done, how wide, and how much of it falls into one octave.

All from the monotone curve nearest to the values and as brackets, so that sparse checkpoints give wide answers
instead of wrong ones. It uses the end of training: it describes a transition and never predicts one.
"""

import math
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import isotonic_regression

from queries.stats.intervals import Bracket, Direction, rising_crossings
from queries.stats.width import WIDEST_SPACING, width_between

Floats = NDArray[np.float64]
Class = Literal["major_transition", "gradual", "unresolved"]

# half of the change within one octave of steps; no smooth family reaches it (t^-0.5 has 0.29, an exponential 0.25)
MAJOR_SHARE = 0.5
FEWEST_INSIDE = 3
# in standard deviations of the values around the monotone curve, which follows noise by about three of them
CLEAR = 6.0
NOTHING = Bracket(-math.inf, math.inf, 0)


@dataclass(frozen=True)
class Shape:
    """One curve's change.

    first, last: of the monotone curve. t10, t50, t90: when that share of the change is done. width: least and
    most octaves between 10 and 90 %, NaN where points are too far apart. share: least and most of the change
    that one octave can hold. n_inside: points with between 10 and 90 % done. why: what keeps it from being
    resolved, empty where nothing does.
    """

    first: float
    last: float
    t10: Bracket
    t50: Bracket
    t90: Bracket
    width: tuple[float, float]
    share: tuple[float, float]
    n_inside: int
    why: str

    @property
    def change(self) -> float:
        """Of the monotone curve from its first to its last value."""
        return self.last - self.first

    @property
    def kind(self) -> Class:
        """Major: at least half of the change within one octave. Unresolved where the points cannot tell."""
        if self.why:
            return "unresolved"
        return "major_transition" if self.share[0] >= MAJOR_SHARE else "gradual"


def transition_shape(times: Floats, values: Floats, direction: Direction) -> Shape:
    """Describe the change of a curve; values that are not finite are left out.

    times: strictly increasing, ≥ 0. Resolved needs 3 points between 10 and 90 %, no gap of more than 2/3 octave
    around either end, a change that is over (at most 10 % of it in the last octave), and bounds of the share on
    one side of a half.
    """
    finite = np.isfinite(values)
    at, y = times[finite], values[finite]
    nan = (math.nan, math.nan)
    if len(y) < 3:
        first, last = (float(y[0]), float(y[-1])) if len(y) else nan
        return Shape(first, last, NOTHING, NOTHING, NOTHING, nan, nan, 0, "fewer than 3 checkpoints")
    smooth = isotonic_regression(y, increasing=direction == "up").x
    first, last = float(smooth[0]), float(smooth[-1])
    if first == last:
        return Shape(first, last, NOTHING, NOTHING, NOTHING, nan, nan, 0, "no change")
    done = (smooth - first) / (last - first)
    t10, t50, t90 = rising_crossings(at, done, (0.1, 0.5, 0.9))
    inside = int(((done > 0.1) & (done < 0.9)).sum())
    share = octave_share(at, done)
    rest = y - smooth  # its mean is 0
    scatter = math.sqrt(rest @ rest / len(rest))
    why = _why(at, t10, t90, inside, share)
    if abs(last - first) < CLEAR * scatter:
        why = "the change is not large against the scatter of the values"
    return Shape(first, last, t10, t50, t90, width_between(t10, t90), share, inside, why)


def octave_share(times: Floats, done: Floats) -> tuple[float, float]:
    """Least and most that any one octave of time can hold of a monotone change: (low, high).

    times: increasing, ≥ 0; done: from 0 to 1, not decreasing. Low: between two measured points within an
    octave. High: the measured points around any octave that starts between two neighbours.
    """
    positive = times > 0
    at, y = times[positive], done[positive]
    if not len(at):
        return 0.0, 1.0
    # a point exactly one octave on belongs to the octave
    end = np.searchsorted(at, 2 * at * (1 + 1e-12), side="right") - 1
    low = float((y[end] - y).max())
    cover = y[np.minimum(np.searchsorted(at, 2 * at * (1 - 1e-12), side="left"), len(at) - 1)]
    high = max(float(cover[0] - done[0]), float((cover[1:] - y[:-1]).max(initial=0.0)))
    return low, max(low, high)


def lag_octaves(a: Bracket, b: Bracket) -> tuple[float, float]:
    """Least and most octaves by which the event b is later than the event a; NaN where either is not observed."""
    if a.kind != "observed" or b.kind != "observed":
        return math.nan, math.nan
    low = math.log2(b.low / a.high) if b.low > 0 else -math.inf
    high = math.log2(b.high / a.low) if a.low > 0 else math.inf
    return low, high


def steps_needed(shape: Shape, times: Floats) -> list[int]:
    """Whole steps, at most a third of an octave apart, that would show what lies between 10 and 90 %."""
    low, high = max(shape.t10.low, 1.0), shape.t90.high
    if not (math.isfinite(high) and high > low + 1):
        return []
    octaves = math.log2(high / low)
    n = min(12, max(FEWEST_INSIDE + 1, math.ceil(3 * octaves)))
    steps = {round(low * 2 ** (octaves * k / (n + 1))) for k in range(1, n + 1)}
    return sorted(steps - {round(t) for t in times})


def _why(at: Floats, t10: Bracket, t90: Bracket, inside: int, share: tuple[float, float]) -> str:
    if t10.low <= 0:
        return "the change has begun by the first checkpoint after step 0"
    if t90.high > at[-1] / 2:
        return "the change is not over an octave before the run ends"
    if inside < FEWEST_INSIDE:
        return f"{inside} of {FEWEST_INSIDE} checkpoints needed between 10 and 90 % of the change"
    if any(b.octaves > WIDEST_SPACING + 1e-9 for b in (t10, t90)):
        return "checkpoints are more than 2/3 octave apart where the change begins or ends"
    if share[0] < MAJOR_SHARE <= share[1]:
        return "checkpoints are too far apart to say whether one octave holds half of the change"
    return ""
