"""Whether a curve was really better before its end, where the best of many noisy measurements always looks better."""

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.special import ndtr

Floats = NDArray[np.float64]


def _places(n: int) -> tuple[Floats, Floats]:
    """Errors of the last measurement in standard deviations, evenly spaced, and their weights: the tails beyond hold 1e-15."""
    at = np.linspace(-8.0, 8.0, n)
    density = np.exp(-(at**2) / 2)
    return at, density / density.sum()


# sums over evenly spaced places converge so fast that more change nothing before the 12th digit, but for a step, which an
# earlier value without any error is: a 1,600th of the range is fine enough for that
_SMOOTH, _STEPS = _places(97), _places(1601)


@dataclass(frozen=True)
class Decline:
    """Best measurement against the last one, larger being better.

    best: its place. lost: best − last. se: of that difference if their errors were independent. p: one-sided, of
    `never_higher`; NaN without a standard error.
    """

    best: int
    lost: float
    se: float
    p: float


def decline(values: Floats, ses: Floats) -> Decline:
    """Best and last of a curve, and how likely so large a difference is where it never was better than at its end.

    values: finite, in the order of training, larger better. ses: NaN where not known. Measurements at several
    checkpoints of one run share their items: their errors go together, which makes the true standard error of a
    difference smaller than `se` (at least the difference of the two) and p too large, never too small.
    """
    best = int(np.argmax(values))
    return Decline(
        best=best,
        lost=float(values[best] - values[-1]),
        se=math.hypot(ses[best], ses[-1]),
        p=never_higher(values, ses),
    )


def never_higher(values: Floats, ses: Floats) -> float:
    """Probability of a drop as large as the largest one in standard errors, where no earlier value is truly higher.

    Statistic: max over earlier measurements of (value − last) / sqrt(se² + last se²). Null: all true values equal,
    the least favourable case of "none is above the last", errors normal and independent. Exact (Dunnett 1955: given
    the error of the last, the others are independent), so that taking the best of many checkpoints is paid for.
    NaN where the last or every earlier standard error is unknown; a standard error of 0 is an exact value.
    """
    earlier, errors, last = values[:-1], ses[:-1], float(ses[-1])
    known = np.isfinite(errors)
    if not known.any() or not math.isfinite(last):
        return math.nan
    spread = np.hypot(errors[known], last)
    if not spread.any():
        return math.nan
    at, weight = _SMOOTH if (errors[known] > 0).all() else _STEPS
    with np.errstate(divide="ignore", invalid="ignore"):
        z = (earlier[known] - values[-1]) / spread
        # without any error between them two values differ for certain or not at all
        largest = float(np.max(np.where(spread > 0, z, -math.inf)))
        reach = largest * spread[:, None] + last * at
        placed = np.where(
            errors[known][:, None] > 0,
            reach / errors[known][:, None],
            np.where(reach >= 0, math.inf, -math.inf),
        )
        # log Φ by the upper tail: two thirds of the time of log_ndtr, and exact wherever the product is not 0
        none_beyond = np.log1p(-ndtr(-placed[spread > 0])).sum(axis=0)
    return float(np.clip((weight * -np.expm1(none_beyond)).sum(), 0.0, 1.0))
