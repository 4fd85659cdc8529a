"""Whether a head looks at some places more than evenly spread attention would, over items."""

import math

import numpy as np
from numpy.typing import NDArray
from scipy import stats

Floats = NDArray[np.float64]


def above_even(attention: Floats, even: Floats, able: Floats) -> tuple[float, float, float]:
    """(mean attention, mean of evenly spread attention, one-sided p) over items.

    attention, even: one share per item, 0 to 1. able: the most that attention could be, the share of queries that see such a
    place. p: Student's t of (attention − even) / (able − even), above 0: a share of what is possible, so that items where
    the places come early and late compare. NaN with fewer than two items that leave room, or where one is not finite;
    0 or 1 where all items agree.
    """
    if not len(attention):
        return math.nan, math.nan, math.nan
    mean, chance = float(attention.mean()), float(even.mean())
    room = able - even > 1e-6  # none where the only query that sees one sees nothing else
    shares = (attention[room] - even[room]) / (able[room] - even[room])
    if len(shares) < 2 or not np.isfinite(shares).all():
        return mean, chance, math.nan
    sd = float(shares.std(ddof=1))
    if sd == 0:
        return mean, chance, 0.0 if shares.mean() > 0 else 1.0
    t = shares.mean() / (sd / math.sqrt(len(shares)))
    return mean, chance, float(stats.t.sf(t, len(shares) - 1))
