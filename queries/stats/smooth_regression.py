"""Regression of one smooth curve on others within a run: what it explains, how surely, and what random walks would.

Points are checkpoints that follow from one another, so intervals resample blocks of them and the yardstick is a walk.
"""

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from queries.stats.distributions import t_quantile
from queries.stats.held_out import RIDGE

Floats = NDArray[np.float64]

# a block is a quarter of the points: shorter ones covered 63 to 76 % of drifting curves at 95 %, these 94 %
N_BLOCKS = 4


@dataclass(frozen=True)
class Fit:
    """One run. r2 with its interval; coefficients (regressor,) with theirs, in sd of the curve per unit of the regressor.

    Intervals are Student's t with as many degrees of freedom as blocks less one, on the standard deviation over draws of
    blocks; that of r2 on the scale of Fisher's z of its root.

    walk_r2: mean of what as many random walks explain of the same curve; walk_high: their 95 % quantile; p: share of walks that
    explain as much (the observed one counts).
    """

    r2: float
    r2_low: float
    r2_high: float
    coefficients: Floats
    low: Floats
    high: Floats
    walk_r2: float
    walk_high: float
    p: float


def fit_curve(
    y: Floats,
    x: Floats,
    weights: Floats,
    *,
    level: float = 0.95,
    n_boot: int = 500,
    n_walks: int = 500,
    seed: int = 0,
) -> Fit:
    """Least squares with an intercept. y: (point,), x: (point, regressor), weights: of points, summing to 1."""
    rng = np.random.default_rng(seed)
    design = np.concatenate([np.ones((len(y), 1)), x], axis=1)
    r2, coefficients = (part[0] for part in _fits(y[None], design[None], weights[None]))
    index = _blocks(rng, len(y), n_boot)
    boot_r2, boot = _fits(y[index], design[index], _normalised(weights[index]))
    # few blocks: their spread is known as badly as that of few runs
    reach = t_quantile((1 + level) / 2, N_BLOCKS - 1) * math.sqrt(N_BLOCKS / (N_BLOCKS - 1))
    half = reach * boot[:, 1:].std(axis=0, ddof=1)
    r2_low, r2_high = _around(float(r2), boot_r2, reach)
    walks = np.concatenate([np.ones((n_walks, len(y), 1)), _walks(rng, x, n_walks)], axis=2)
    null, _ = _fits(np.broadcast_to(y, (n_walks, len(y))), walks, np.broadcast_to(weights, (n_walks, len(y))))
    return Fit(
        float(r2),
        r2_low,
        r2_high,
        coefficients[1:],
        coefficients[1:] - half,
        coefficients[1:] + half,
        float(null.mean()),
        float(np.quantile(null, 0.95)),
        float(((null >= r2 - 1e-12).sum() + 1) / (n_walks + 1)) if math.isfinite(r2) else math.nan,
    )


def _around(r2: float, drawn: Floats, reach: float) -> tuple[float, float]:
    """Interval of r2 from draws; NaN where the curve does not change."""
    if not math.isfinite(r2):
        return math.nan, math.nan
    # a perfect fit has no finite z
    z, spread = (np.arctanh(np.sqrt(np.clip(v, 0.0, 1 - 1e-12))) for v in (r2, drawn[np.isfinite(drawn)]))
    half = reach * float(spread.std(ddof=1)) if len(spread) > 1 else math.inf
    low, high = (math.tanh(max(float(z) + side * half, 0.0)) ** 2 for side in (-1, 1))
    return min(low, r2), max(high, r2)


def _fits(y: Floats, design: Floats, weights: Floats) -> tuple[Floats, Floats]:
    """r2 (fit,) and coefficients (fit, column) of many regressions at once; the first column is the intercept."""
    weighted = design * weights[..., None]
    a = np.einsum("ntk,ntl->nkl", weighted, design)
    b = np.einsum("ntk,nt->nk", weighted, y)
    found = (np.linalg.pinv(a, rcond=RIDGE, hermitian=True) @ b[..., None])[..., 0]
    mean = (weights * y).sum(axis=1, keepdims=True)
    total = (weights * (y - mean) ** 2).sum(axis=1)
    error = (weights * (y - np.einsum("ntk,nk->nt", design, found)) ** 2).sum(axis=1)
    with np.errstate(invalid="ignore", divide="ignore"):
        r2 = np.where(total > 0, 1 - error / total, np.nan)
    return r2, found


def _blocks(rng: np.random.Generator, n: int, n_boot: int) -> NDArray[np.int64]:
    """Indices (draw, point) of blocks of neighbours put side by side."""
    length = max(2, math.ceil(n / N_BLOCKS))
    starts = rng.integers(0, n - length + 1, size=(n_boot, math.ceil(n / length)))
    return (starts[:, :, None] + np.arange(length)).reshape(n_boot, -1)[:, :n]


def _walks(rng: np.random.Generator, x: Floats, n_walks: int) -> Floats:
    """The regressors with the signs of their steps thrown anew: (walk, point, regressor). As fast where they were fast."""
    steps = np.diff(x, axis=0)
    signs = rng.choice([-1.0, 1.0], size=(n_walks, *steps.shape))
    walks = np.zeros((n_walks, *x.shape))
    np.cumsum(signs * steps, axis=1, out=walks[:, 1:])
    return walks


def _normalised(weights: Floats) -> Floats:
    found: Floats = weights / weights.sum(axis=1, keepdims=True)
    return found
