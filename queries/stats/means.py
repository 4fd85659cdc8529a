"""Means over runs with Student t intervals: the run is the unit of inference, never the token."""

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.special import stdtrit

Floats = NDArray[np.float64]

METHOD = "Student t over runs"


def t_half_width(sd: ArrayLike, n: ArrayLike, level: float = 0.95) -> Floats:
    """Half width of the two-sided t interval of a mean, in the unit of `sd`.

    sd, n: broadcastable arrays, n = number of runs. NaN where n < 2: one run says nothing about spread.
    """
    counts = np.asarray(n, dtype=np.float64)
    spread = np.asarray(sd, dtype=np.float64)
    enough = counts >= 2
    df = np.where(enough, counts - 1, 1.0)
    width = stdtrit(df, (1 + level) / 2) * spread / np.sqrt(np.where(enough, counts, 1.0))
    return np.where(enough, width, np.nan)


def mean_interval(
    values: ArrayLike, level: float = 0.95, bounds: tuple[float | None, float | None] = (None, None)
) -> tuple[float, float, float]:
    """Mean and two-sided t interval of one value per run: (mean, low, high).

    The interval ends at the bounds of the measure. Values that are not finite are left out; NaN for what
    cannot be said (no value, or no interval from one).
    """
    kept = np.asarray(values, dtype=np.float64)
    kept = kept[np.isfinite(kept)]
    if not len(kept):
        return np.nan, np.nan, np.nan
    mean = float(kept.mean())
    half = float(t_half_width(kept.std(ddof=1), len(kept), level)) if len(kept) > 1 else np.nan
    low, high = np.clip([mean - half, mean + half], *bounds)
    return mean, float(low), float(high)
