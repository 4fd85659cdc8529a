"""How well regressors explain a curve in runs that were not used to fit, and what any smooth curve would.

Two curves that drift explain one another, whatever they are of: checkpoints of a run follow from each other, so a hundred of
them are a few observations. What counts is prediction of runs left out, against the same with the regressors of
other runs in their place: that keeps everything all runs do alike over time and breaks only what is a run's own.
"""

import math
from dataclasses import dataclass
from itertools import permutations

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]

EXACT_RUNS = 6
N_SAMPLED = 999
# runs below which no arrangement of so few reaches 5 %
FEWEST_RUNS = 4
# of the trace of a moment matrix: smaller eigenvalues are regressors that say the same
RIDGE = 1e-10


@dataclass(frozen=True)
class HeldOut:
    """Prediction of each run by a regression on the others.

    r2: per run, share of its variance over time; below 0 where its mean is the better guess. swapped: mean of r2 with the
    regressors of other runs, every run with those of another or its own by lot. p: how often such an arrangement predicts
    as well on average; NaN below 2 runs. exact: all arrangements were counted.
    """

    r2: Floats
    swapped: float
    p: float
    exact: bool

    @property
    def mean(self) -> float:
        """Mean over runs."""
        return float(self.r2.mean()) if len(self.r2) else math.nan


def standardised(curves: Floats, weights: Floats) -> Floats:
    """Each run's curve (run, point) with weighted mean 0 and standard deviation 1; NaN for one that does not change."""
    centred = curves - (curves @ weights)[:, None]
    sd = np.sqrt((centred**2) @ weights)
    # a curve constant up to rounding has no shape to explain
    flat = sd <= 1e-12 * np.maximum(np.abs(curves).max(axis=1), 1e-300)
    found: Floats = centred / np.where(flat, np.nan, sd)[:, None]
    return found


def held_out(y: Floats, x: Floats, weights: Floats, *, seed: int = 0) -> HeldOut:
    """Leave one run out at a time, and the same with regressors swapped between runs.

    y: (run, point), standardised. x: (run, point, regressor), in one unit over all runs. weights: of points, summing to 1.
    The intercept is part of the fit. Up to 6 runs all arrangements are counted, beyond that 999 are drawn and
    the observed one counts as one of them.
    """
    n = len(y)
    if n < 2:
        return HeldOut(np.empty(0), math.nan, math.nan, True)
    orders, exact = _arrangements(n, seed)
    r2 = _left_out(_moments(y, x, weights), orders)
    means = r2.mean(axis=1)
    at_least = int((means >= means[0] - 1e-9).sum())
    # the first is the observed one, also where orders are drawn
    return HeldOut(r2[0], float(means[1:].mean()), at_least / len(means), exact)


@dataclass(frozen=True)
class _Moments:
    """Of every regressor run with itself (run, k, k) and with every curve (regressor run, curve run, k); Σ w y² (run,)."""

    own: Floats
    cross: Floats
    total: Floats


def _moments(y: Floats, x: Floats, weights: Floats) -> _Moments:
    design = np.concatenate([np.ones((*x.shape[:2], 1)), x], axis=2)
    weighted = design * weights[None, :, None]
    return _Moments(
        np.einsum("rtk,rtl->rkl", weighted, design),
        np.einsum("rtk,qt->rqk", weighted, y),
        (y**2) @ weights,
    )


def _left_out(m: _Moments, orders: Ints) -> Floats:
    """r2 (arrangement, run), when run r has the regressors of run order[r].

    The regressors of the others are the same runs in any order, so a system is solved once for each run left out.
    """
    n = orders.shape[1]
    inverses = np.linalg.pinv(m.own.sum(axis=0) - m.own, rcond=RIDGE, hermitian=True)
    own, cross = m.own[orders], m.cross[orders, np.arange(n)]
    others = cross.sum(axis=1, keepdims=True) - cross
    coefficients = (inverses[orders] @ others[..., None])[..., 0]
    # Σ w (y − xb)² = Σ w y² − 2 b·c + b·A b
    fitted = (own @ coefficients[..., None])[..., 0]
    error = m.total - 2 * (coefficients * cross).sum(axis=2) + (coefficients * fitted).sum(axis=2)
    found: Floats = 1 - error / m.total
    return found


def _arrangements(n: int, seed: int) -> tuple[Ints, bool]:
    """Orders of runs, the observed one first: (arrangement, run)."""
    if n <= EXACT_RUNS:
        return np.array(list(permutations(range(n))), dtype=np.int64), True
    rng = np.random.default_rng(seed)
    drawn = np.argsort(rng.random((N_SAMPLED, n)), axis=1)
    return np.vstack([np.arange(n), drawn]).astype(np.int64), False
