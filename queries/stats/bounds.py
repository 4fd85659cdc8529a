"""Whether true values lie beyond bounds, from estimates with standard errors: one-sided tests, alone or all at once."""

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.special import ndtr, stdtr

Floats = NDArray[np.float64]


def beyond(values: ArrayLike, bounds: ArrayLike, ses: ArrayLike, n: ArrayLike) -> Floats:
    """One-sided p: how likely estimates are that lie so far beyond, where the true value is at most its bound.

    values, bounds, ses (standard errors), n (items behind each; NaN where not known): arrays that broadcast. Student's
    t with n − 1 degrees of freedom, normal where n is not known. NaN where an estimate, its standard error or a
    bound is missing, or n < 2. A standard error of 0 decides by the value alone.
    """
    return beyond_or_short(values, bounds, ses, n)[0]


def beyond_or_short(
    values: ArrayLike, bounds: ArrayLike, ses: ArrayLike, n: ArrayLike
) -> tuple[Floats, Floats]:
    """`beyond`, and the same for how far short of their bounds the values are: `beyond` of the negatives."""
    value, bound, se, items = np.broadcast_arrays(
        *(np.asarray(a, np.float64) for a in (values, bounds, ses, n))
    )
    with np.errstate(divide="ignore", invalid="ignore"):
        distance = (value - bound) / se
    distance = np.where((se == 0) & (value == bound), 0.0, distance)
    df = np.where(np.isnan(items), np.inf, items - 1)
    tested = np.isfinite(value) & np.isfinite(bound) & np.isfinite(se) & (df >= 1)
    # the smaller tail keeps its relative precision, and the other is what it leaves; one of them takes long to compute
    far = -np.abs(distance)
    by_t = stdtr(np.where(tested & np.isfinite(df), df, 1.0), far)
    small = np.where(tested, np.where(np.isfinite(df), by_t, ndtr(far)), np.nan)
    return np.where(distance > 0, small, 1 - small), np.where(distance > 0, 1 - small, small)


def all_beyond(p: Floats) -> Floats:
    """Of p (test, series) the largest: that of the test that some of several true values is at most its bound.

    The intersection-union test (Berger 1982): no correction is needed, as a false yes takes an error in a test whose
    null holds. NaN where any of them could not be made.
    """
    largest: Floats = np.max(p, axis=0)
    return largest


def any_short(p: Floats) -> Floats:
    """From p (test, series) of each value being short of its bound, that of the test that none is.

    Such p are `beyond` of the negatives. Bonferroni over the tests that could be made; NaN where none could.
    """
    known = np.isfinite(p)
    smallest = np.min(np.where(known, p, 1.0), axis=0)
    return np.where(known.any(axis=0), np.minimum(1.0, smallest * known.sum(axis=0)), np.nan)
