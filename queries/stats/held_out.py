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

from queries.stats.left_out import design_of
from queries.stats.over_units import Shared

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]
Flags = NDArray[np.bool_]

EXACT_RUNS = 6
N_SAMPLED = 999
# runs below which no arrangement of so few reaches 5 %
FEWEST_RUNS = 4
# independent ones, below which an interval over them says next to nothing
FEWEST_UNITS = 3
# of the trace of a moment matrix: smaller eigenvalues are regressors that say the same
RIDGE = 1e-10


@dataclass(frozen=True)
class HeldOut:
    """Prediction of each run by a regression on the others.

    r2: per run, share of its variance over time; below 0 where its mean is the better guess. swapped: mean of r2 with the
    regressors of other runs, every run with those of another or its own by lot. p: how often such an arrangement predicts
    as well on average; NaN below 2 runs. exact: all arrangements were counted. least_p: what so few of them can reach.
    """

    r2: Floats
    swapped: float
    p: float
    exact: bool
    least_p: float = math.nan

    @property
    def mean(self) -> float:
        """Mean over runs."""
        return float(np.nanmean(self.r2)) if np.isfinite(self.r2).any() else math.nan


def standardised(curves: Floats, weights: Floats) -> Floats:
    """Each run's curve (run, point) with weighted mean 0 and standard deviation 1; NaN for one that does not change."""
    centred = curves - (curves @ weights)[:, None]
    sd = np.sqrt((centred**2) @ weights)
    # a curve constant up to rounding has no shape to explain
    flat = sd <= 1e-12 * np.maximum(np.abs(curves).max(axis=1), 1e-300)
    found: Floats = centred / np.where(flat, np.nan, sd)[:, None]
    return found


def held_out(y: Floats, x: Floats, weights: Floats, *, shared: Shared = (), seed: int = 0) -> HeldOut:
    """Leave one run out at a time, and the same with regressors swapped between runs.

    y: (run, point), standardised. x: (run, point, regressor), in one unit over all runs. weights: of points, summing to 1.
    The intercept is part of the fit. Up to 6 runs all arrangements are counted, beyond that 999 are drawn and
    the observed one counts as one of them. shared: for every seed that runs share the number of its value in each. Then
    runs that share one with the run left out are left out with it, and arrangements relabel seeds, so that what
    runs with one init have in common stays with them.
    """
    n = len(y)
    if n < 2:
        return HeldOut(np.empty(0), math.nan, math.nan, True, math.nan)
    orders, exact = _arrangements(n, shared, seed)
    r2 = _left_out(_moments(y, x, weights), orders, _others(n, shared))
    known = np.isfinite(r2[0])
    # a run that shares a seed with every other has none to learn from
    means = r2[:, known].mean(axis=1) if known.any() else np.full(len(r2), math.nan)
    at_least = int((means >= means[0] - 1e-9).sum())
    # the first is the observed one, also where orders are drawn
    return HeldOut(
        r2[0],
        float(means[1:].mean()),
        at_least / len(means) if known.any() else math.nan,
        exact,
        1 / min(len(orders), len(np.unique(orders, axis=0))),
    )


def _others(n: int, shared: Shared) -> Flags:
    """Which runs (run left out, run) may be learned from."""
    found = ~np.eye(n, dtype=bool)
    for of in shared:
        found &= of[:, None] != of[None, :]
    return found


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


def _left_out(m: _Moments, orders: Ints, others: Flags) -> Floats:
    """r2 (arrangement, run), when run r has the regressors of run order[r] and learns from its others (run, run)."""
    n = orders.shape[1]
    own, cross = m.own[orders], m.cross[orders, np.arange(n)]
    coefficients = (_inverses(m.own, orders, others) @ (others.astype(float) @ cross)[..., None])[..., 0]
    # Σ w (y − xb)² = Σ w y² − 2 b·c + b·A b
    fitted = (own @ coefficients[..., None])[..., 0]
    error = m.total - 2 * (coefficients * cross).sum(axis=2) + (coefficients * fitted).sum(axis=2)
    found: Floats = np.where(others.any(axis=1), 1 - error / m.total, math.nan)
    return found


def _inverses(own: Floats, orders: Ints, others: Flags) -> Floats:
    """Of the moments that each run learns from (arrangement, run, k, k).

    Arrangements share most of their sets of runs to learn from, and every set is solved once.
    """
    sets = others[:, np.argsort(orders, axis=1)].transpose(1, 0, 2).reshape(-1, orders.shape[1])
    packed = np.ascontiguousarray(np.packbits(sets, axis=1))
    keys = packed.view(np.dtype((np.void, packed.shape[1])))[:, 0]
    _, first, where = np.unique(keys, return_index=True, return_inverse=True)
    solved = np.linalg.pinv(
        np.einsum("sn,nkl->skl", sets[first].astype(float), own), rcond=RIDGE, hermitian=True
    )
    found: Floats = solved[where].reshape(*orders.shape, *own.shape[1:])
    return found


def _arrangements(n: int, shared: Shared, seed: int) -> tuple[Ints, bool]:
    """Orders of runs, the observed one first: (arrangement, run)."""
    if n <= EXACT_RUNS and not shared:
        return np.array(list(permutations(range(n))), dtype=np.int64), True
    rng = np.random.default_rng(seed)
    if shared:
        design = design_of([0] * n, {str(k): of.tolist() for k, of in enumerate(shared)})
        drawn = design.exchanged(rng, N_SAMPLED)
    else:
        drawn = np.argsort(rng.random((N_SAMPLED, n)), axis=1)
    return np.vstack([np.arange(n), drawn]).astype(np.int64), False
