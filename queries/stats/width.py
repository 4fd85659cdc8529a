"""How wide a transition is: the octaves in which a curve makes most of its change, as brackets."""

import math

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import isotonic_regression

from queries.stats.intervals import Bracket, Direction, crossing

Floats = NDArray[np.float64]

# wider gaps between measurements than this say where a transition is, but not how sharp
WIDEST_SPACING = 2 / 3


def width_octaves(times: Floats, values: Floats, direction: Direction) -> tuple[float, float]:
    """Least and most octaves between 10 % and 90 % of a curve's own change: (low, high).

    times: strictly increasing; values that are not finite are left out. The change is that of the monotone curve
    nearest to the values (least squares), from its first to its last value: it uses the end of training,
    so it describes and never predicts. (NaN, NaN) where the curve does not change or a gap around either end
    exceeds 2/3 octave.
    """
    finite = np.isfinite(values)
    at, y = times[finite], values[finite]
    if len(y) < 3:
        return math.nan, math.nan
    smooth = isotonic_regression(y, increasing=direction == "up").x
    change = float(smooth[-1] - smooth[0])
    if change == 0:
        return math.nan, math.nan
    begun, done = (crossing(at, smooth, smooth[0] + s * change, direction=direction) for s in (0.1, 0.9))
    return width_between(begun, done)


def width_between(begun: Bracket, done: Bracket) -> tuple[float, float]:
    """Least and most octaves from one time to a later one; (NaN, NaN) where a gap around either exceeds 2/3 octave."""
    if not all(_is_sharp(bracket) for bracket in (begun, done)):
        return math.nan, math.nan
    return max(0.0, math.log2(done.low / begun.high)), math.log2(done.high / begun.low)


def _is_sharp(bracket: Bracket) -> bool:
    return bracket.kind == "observed" and bracket.octaves <= WIDEST_SPACING + 1e-9
