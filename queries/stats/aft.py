"""Log-normal accelerated failure times with a ridge penalty: how settings and measurements shift a time known to a bracket.

log2 T = intercept + columns · effects + sigma · normal noise, T known to lie in (low, high]. In the scale of the noise
(effects / sigma, 1 / sigma) the likelihood is concave (Olsen 1978; intervals by Prékopa), so Newton steps find its one top, of
thousands of fits at once.
"""

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.special import log_ndtr, ndtr

Floats = NDArray[np.float64]
Flags = NDArray[np.bool_]

# octaves: one more observation with this residual, so that sigma is neither 0 nor infinite
SIGMA_PRIOR = 0.1
MOST_STEPS = 100
MOST_HALVINGS = 40
# gain of log-likelihood that the last Newton step promises: it is taken, and leaves the square of that
TOLERANCE = 1e-6
_LOG_ROOT = 0.5 * math.log(2 * math.pi)


@dataclass(frozen=True)
class Aft:
    """Fitted times, one entry per (design, fit). Arrays are NaN where nobody was seen to arrive.

    intercept, sigma: (design, fit), octaves. effects: (design, fit, column), octaves for one unit of the column.
    """

    intercept: Floats
    effects: Floats
    sigma: Floats

    def location(self, columns: Floats) -> Floats:
        """Mean log2 time by each fit, (design, fit, run). columns: (design or 1, run, column)."""
        found: Floats = self.intercept[..., None] + self.effects @ np.swapaxes(columns, -1, -2)
        return found


def fit_aft(low: Floats, high: Floats, columns: Floats, use: Flags, ridge: Floats) -> Aft:
    """Fit every design to every set of runs.

    low, high: (run,) log2 times, low <= high; −inf, inf where open, equal where exact. columns: (design, run, column).
    use: (fit, run), the runs of each fit. ridge: (column,), penalty ridge / 2 · (effect / sigma)², as if that many runs had
    shown no effect.
    Uncensored, the effects are those of ridge regression (ridge 0: least squares) and sigma² is (y'(y − fitted) of the centred y
    + SIGMA_PRIOR²) / (n + 1). Raises ValueError for low > high.
    """
    if not (low <= high).all():
        raise ValueError("every time needs low <= high")
    enough = (use & np.isfinite(high)).any(axis=1)
    n_columns = columns.shape[2]
    shape = (columns.shape[0], len(use))
    intercept, sigma = np.full(shape, np.nan), np.full(shape, np.nan)
    effects = np.full((*shape, n_columns), np.nan)
    if enough.any():
        problem = _Problem(low, high, columns, use[enough].astype(np.float64), ridge)
        top = problem.climb()
        theta = top[..., -1]
        intercept[:, enough], sigma[:, enough] = top[..., 0] / theta, 1 / theta
        effects[:, enough] = top[..., 1:-1] / theta[..., None]
    return Aft(intercept, effects, sigma)


def survival(location: Floats, sigma: Floats, log2_time: float) -> Floats:
    """Probability that the time is later than 2^log2_time."""
    later: Floats = ndtr((location - log2_time) / sigma)
    return later


def log_mass(low: Floats, high: Floats) -> Floats:
    """log(Φ(high) − Φ(low)), also far out in a tail."""
    flip = low > 0
    upper = log_ndtr(np.where(flip, -low, high))
    lower = log_ndtr(np.where(flip, -high, low))
    with np.errstate(divide="ignore", invalid="ignore"):
        found: Floats = upper + np.log(-np.expm1(lower - upper))
    return found


class _Problem:
    """The penalised log-likelihood of all fits in v = (intercept / sigma, effects / sigma, 1 / sigma)."""

    def __init__(self, low: Floats, high: Floats, columns: Floats, use: Floats, ridge: Floats) -> None:
        self.exact = low == high
        # an open end adds nothing to any derivative: its place is taken by 0
        self.ends = [np.where(np.isfinite(t), t, 0.0) for t in (low, high)]
        self.open = ~np.isfinite(low), ~np.isfinite(high)
        self.low, self.high, self.use = low, high, use
        ones = np.ones((*columns.shape[:2], 1))
        self.rows = np.concatenate([ones, columns], axis=2)  # (design, run, k)
        k = self.rows.shape[2]
        self.squares = (self.rows[..., :, None] * self.rows[..., None, :]).reshape(*columns.shape[:2], k * k)
        self.penalty = np.concatenate([[0.0], ridge, [0.0]])

    def climb(self) -> Floats:
        """The top of every fit, (design, fit, k + 1)."""
        shape = (len(self.rows), len(self.use), self.rows.shape[2] + 1)
        v = np.zeros(shape)
        known = np.isfinite(self.high)
        middle = np.where(
            self.open[0], self.ends[1] - 1, (self.ends[0] + np.where(known, self.ends[1], self.ends[0])) / 2
        )
        weights = self.use * known
        centre = weights @ middle / weights.sum(axis=1)
        spread = np.sqrt(weights @ middle**2 / weights.sum(axis=1) - centre**2 + 1e-12).clip(0.5)
        v[..., 0], v[..., -1] = centre / spread, 1 / spread
        value = self.value(v)
        for _ in range(MOST_STEPS):
            gradient, hessian = self.slopes(v)
            step = np.linalg.solve(-hessian, gradient[..., None])[..., 0]
            promised = (gradient * step).sum(axis=-1)
            moving = promised > TOLERANCE
            if not moving.any():
                top: Floats = v + step
                return top
            v, value = self._along(v, value, np.where(moving[..., None], step, 0.0), promised)
        return v

    def _along(self, v: Floats, value: Floats, step: Floats, promised: Floats) -> tuple[Floats, Floats]:
        """Step as far as the likelihood rises by a share of what was promised."""
        length = np.ones(value.shape)
        # 1 / sigma stays positive
        falling = -step[..., -1] > 0.9 * v[..., -1]
        length[falling] = 0.9 * v[..., -1][falling] / -step[..., -1][falling]
        for _ in range(MOST_HALVINGS):
            tried = v + length[..., None] * step
            found = self.value(tried)
            # NaN is no rise; close to the top rounding may hide one
            short = ~(found >= value + 1e-4 * length * promised - 1e-10 * np.abs(value))
            if not short.any():
                break
            length[short] /= 2
        keep = short[..., None]
        return np.where(keep, v, tried), np.where(short, value, found)

    def value(self, v: Floats) -> Floats:
        """Penalised log-likelihood, (design, fit)."""
        theta = v[..., -1:]
        low, high = self._standard(v)
        exact = np.log(theta) - 0.5 * np.where(self.exact, high, 0.0) ** 2 - _LOG_ROOT
        each = np.where(self.exact, exact, log_mass(low, high)) if self.exact.any() else log_mass(low, high)
        prior = np.log(theta[..., 0]) - 0.5 * (SIGMA_PRIOR * theta[..., 0]) ** 2
        with np.errstate(invalid="ignore"):
            # a run that is not used may lie where its likelihood is 0
            fitted = np.where(self.use > 0, each, 0.0).sum(axis=-1)
        found: Floats = fitted + prior - 0.5 * (self.penalty * v**2).sum(axis=-1)
        return found

    def _standard(self, v: Floats) -> tuple[Floats, Floats]:
        """Both ends in standard deviations from where each run is expected, (design, fit, run)."""
        theta, centre = v[..., -1:], v[..., :-1] @ np.swapaxes(self.rows, -1, -2)
        return theta * self.low - centre, theta * self.high - centre

    def slopes(self, v: Floats) -> tuple[Floats, Floats]:
        """Gradient (design, fit, k + 1) and Hessian (design, fit, k + 1, k + 1)."""
        (a, b), theta = self.ends, v[..., -1:]
        low, high = self._standard(v)
        mass = log_mass(low, high)
        # density at either end over the probability between them
        at_low, at_high = (
            np.where(is_open | self.exact, 0.0, np.exp(np.minimum(-0.5 * end**2 - _LOG_ROOT - mass, 300)))
            for end, is_open in zip((low, high), self.open, strict=True)
        )
        low, high = np.where(self.open[0], 0.0, low), np.where(self.open[1], 0.0, high)
        inner, outer = at_high - at_low, b * at_high - a * at_low
        curve = low * at_low - high * at_high - inner**2
        mixed = b * high * at_high - a * low * at_low + inner * outer
        spread = a**2 * low * at_low - b**2 * high * at_high - outer**2
        slope = -inner
        if self.exact.any():
            slope = np.where(self.exact, high, slope)
            outer = np.where(self.exact, 1 / theta - b * high, outer)
            curve = np.where(self.exact, -1.0, curve)
            mixed = np.where(self.exact, b, mixed)
            spread = np.where(self.exact, -1 / theta**2 - b**2, spread)
        slope, outer, curve, mixed, spread = (
            np.where(self.use > 0, x, 0.0) for x in (slope, outer, curve, mixed, spread)
        )
        k = self.rows.shape[2]
        gradient = np.empty(v.shape)
        gradient[..., :k] = slope @ self.rows
        gradient[..., k] = outer.sum(axis=-1) + 1 / v[..., -1] - SIGMA_PRIOR**2 * v[..., -1]
        hessian = np.empty((*v.shape, k + 1))
        hessian[..., :k, :k] = (curve @ self.squares).reshape(*v.shape[:2], k, k)
        hessian[..., :k, k] = hessian[..., k, :k] = mixed @ self.rows
        hessian[..., k, k] = spread.sum(axis=-1) - 1 / v[..., -1] ** 2 - SIGMA_PRIOR**2
        diagonal = np.arange(k + 1)
        hessian[..., diagonal, diagonal] -= self.penalty
        return gradient - self.penalty * v, hessian
