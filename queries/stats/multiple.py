"""Several tests at once: p values that hold for the whole family, and q values of its discoveries."""

from typing import Literal

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Correction = Literal["holm", "bh"]


def holm(p: Floats) -> Floats:
    """Adjusted p values: refusing those below α is wrong anywhere with probability at most α, whatever depends on what.

    p: any order, NaN for a test that could not be made; those stay NaN and do not count. Source: Holm 1979.
    """
    return _stepwise(p, down=True)


def benjamini_hochberg(p: Floats) -> Floats:
    """Values q: of the tests with q below a bound, that share is expected to be wrong (independent or positively dependent).

    p: any order, NaN for a test that could not be made. Source: Benjamini & Hochberg 1995.
    """
    return _stepwise(p, down=False)


def adjusted(p: Floats, correction: Correction) -> Floats:
    """`holm` or `benjamini_hochberg` by name."""
    return holm(p) if correction == "holm" else benjamini_hochberg(p)


def _stepwise(p: Floats, *, down: bool) -> Floats:
    found = np.full(len(p), np.nan)
    known = np.flatnonzero(np.isfinite(p))
    m = len(known)
    order = known[np.argsort(p[known], kind="stable")]
    rank = np.arange(1, m + 1)
    if down:
        values = np.maximum.accumulate(p[order] * (m - rank + 1))
    else:
        values = np.minimum.accumulate((p[order] * m / rank)[::-1])[::-1]
    found[order] = np.minimum(values, 1.0)
    return found
