"""Whether curves were really better before their end, where the best of many noisy measurements always looks better."""

import math
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.special import ndtr

Floats = NDArray[np.float64]

# errors of the last measurement that are further out, in standard deviations, hold 1e-10
_FAR = 6.5
# a standard error counts as no smaller than this share of the last one's: an exact value is a step that is as steep
_SMALLEST = 1e-6
_BLOCK = 2**15  # numbers at once: what a core has at hand


@dataclass(frozen=True)
class Declines:
    """Best measurement of every curve against its last one, larger being better.

    best: its place. lost: best − last. se: of that difference if their errors were independent. p: one-sided, of
    `never_higher`; NaN without a standard error.
    """

    best: NDArray[np.intp]
    lost: Floats
    se: Floats
    p: Floats


def declines(values: Floats, ses: Floats) -> Declines:
    """Best and last of every curve, and how likely so large a difference is where it never was better than at its end.

    values: (curve, checkpoint), finite, in the order of training, larger better. ses: NaN where not known. Measurements at
    several checkpoints of one run share their items: their errors go together, which makes the true standard error of a
    difference smaller than `se` (at least the difference of the two) and p too large, never too small.
    """
    best = values.argmax(axis=1)
    at_best = np.arange(len(values)), best
    return Declines(
        best=best,
        lost=values[at_best] - values[:, -1],
        se=np.hypot(ses[at_best], ses[:, -1]),
        p=never_higher(values, ses),
    )


def never_higher(values: Floats, ses: Floats) -> Floats:
    """Probability of a drop as large as each curve's largest in standard errors, where no earlier value is truly higher.

    Statistic: max over earlier measurements of (value − last) / sqrt(se² + last se²). Null: all true values equal,
    the least favourable case of "none is above the last", errors normal and independent. Exact (Dunnett 1955: given
    the error of the last, the others are independent), so that taking the best of many checkpoints is paid for.
    values, ses: (curve, checkpoint). NaN where the last or every earlier standard error is unknown; a standard error
    of 0 is an exact value. Right to 1e-9.
    """
    last = ses[:, -1:]
    spread = np.hypot(ses[:, :-1], last)
    # without any error between them two values differ for certain or not at all
    compared = spread > 0
    z = np.divide(values[:, :-1] - values[:, -1:], spread, out=np.full_like(spread, -np.inf), where=compared)
    told = np.asarray(compared.any(axis=1))
    largest = np.where(told, z.max(axis=1, initial=-np.inf), 0.0)
    # in its standard errors an earlier value must be off by more than reach + steep × the error of the last
    error = np.maximum(ses[:, :-1], _SMALLEST * last)
    reach = np.divide(largest[:, None] * spread, error, out=np.full_like(spread, np.inf), where=compared)
    steep = np.divide(last, error, out=np.zeros_like(spread), where=compared)
    p = np.full(len(values), np.nan)
    for block, at, weights in _places(largest, steep, told):
        beyond = ndtr(-reach[block, :, None] - steep[block, :, None] * at[:, None, :])
        # the sum where it is small, because 1 − Π would be 0 there
        some = beyond.sum(axis=1)
        some = np.where(some < 1e-7, some, 1 - np.multiply.reduce(1 - beyond, axis=1))
        p[block] = np.clip((weights * some).sum(axis=1), 0.0, 1.0)
    return p


def _places(
    largest: Floats, steep: Floats, told: NDArray[np.bool_]
) -> Iterator[tuple[NDArray[np.intp], Floats, Floats]]:
    """Curves, errors of the last measurement in standard deviations (curve, place) to sum at, and their weights.

    Places are evenly spaced in v, where error = −largest + width × sinh v: close where steep probabilities turn. The more
    earlier measurements there are, the more suddenly one of them is beyond, and the closer places have to be.
    """
    middle = np.clip(-largest, -_FAR, _FAR)
    width = 2 / np.maximum(steep.max(axis=1, initial=1.0), 1.0)
    low, high = (np.arcsinh((end - middle) / width) for end in (-_FAR, _FAR))
    apart = 0.43 / math.log(max(steep.shape[1], 17))
    n_places = 4 * np.ceil((high - low) / apart / 4).astype(int)
    for n in np.unique(n_places[told]).tolist():
        those = np.flatnonzero(told & (n_places == n))
        for block in np.array_split(those, math.ceil(len(those) * steep.shape[1] * n / _BLOCK)):
            v = np.linspace(low[block], high[block], n, axis=1)
            at = middle[block, None] + width[block, None] * np.sinh(v)
            weights = np.exp(-(at**2) / 2) * np.cosh(v)
            yield block, at, weights / weights.sum(axis=1, keepdims=True)
