"""Log-normal times known only to lie in an interval: location and spread with small-sample intervals.

An accelerated-failure model without covariates: log2 T ~ Normal(mu, sigma), T in (low, high]. Ordinary
likelihood intervals are too short for a handful of runs, so each likelihood is cut where the cut is exact
when nothing is censored: Student t for mu, chi-square for sigma. Coverage under censoring is simulated in
tests/queries/stats/test_calibration.py.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import brentq, minimize_scalar
from scipy.special import ndtr

from queries.stats.distributions import chi_square_quantile, t_quantile

Floats = NDArray[np.float64]

# in octaves; below the first a spread cannot be told from none, beyond the second nothing is known
SIGMA_RANGE = (2.0**-12, 2.0**6)
N_NODES = 401


@dataclass(frozen=True)
class LogNormal:
    """Fitted log-normal times.

    mu, sigma: mean and sd of log2 time (octaves), each with (low, high). sigma 0 = indistinguishable from no
    spread at this resolution. n = runs, n_events = runs with a finite upper bracket.
    """

    mu: float
    mu_low: float
    mu_high: float
    sigma: float
    sigma_low: float
    sigma_high: float
    n: int
    n_events: int

    @property
    def median(self) -> tuple[float, float, float]:
        """Median time with its interval, on the scale of the times."""
        return 2.0**self.mu, _power(self.mu_low), _power(self.mu_high)


def fit_lognormal(low: Floats, high: Floats, level: float = 0.95) -> LogNormal | None:
    """Fit times in (low, high], low >= 0 (or −inf) and high > 0 (inf = never seen).

    mu: profile likelihood, cut at n·log(1 + t²/(n−1)), which is Student's interval for exact times.
    sigma: likelihood with mu integrated out (restricted likelihood), cut so that exact times give the
    chi-square interval. n counts events only, so censored runs never make an interval shorter by number.
    None with fewer than 2 events, or with no lower bound above 0: nothing says where such times lie.
    Raises ValueError for high <= low.
    """
    if not (low < high).all():
        raise ValueError("every time needs low < high")
    n_events = int(np.isfinite(high).sum())
    if n_events < 2 or not (low > 0).any():
        return None
    with np.errstate(divide="ignore"):
        a, b = np.log2(np.maximum(low, 0.0)), np.log2(high)
    # runs share their checkpoints, so several have one bracket: it is looked at once
    (a, b), counts = np.unique(np.stack([a, b]), axis=1, return_counts=True)
    sigma, sigma_low, sigma_high = _sigma(a, b, counts, n_events, level)
    mu, mu_low, mu_high = _mu(a, b, counts, n_events, level, start=max(sigma, 0.05))
    return LogNormal(mu, mu_low, mu_high, sigma, sigma_low, sigma_high, len(low), n_events)


def log_likelihood(
    a: Floats, b: Floats, mu: Floats, sigma: Floats, counts: NDArray[np.int64] | int = 1
) -> Floats:
    """Log-likelihood of log2 times in (a, b]; mu and sigma broadcast against one another; counts: times in each bracket."""
    centre, spread = np.broadcast_arrays(mu, sigma)
    z_low = (a - centre[..., None]) / spread[..., None]
    z_high = (b - centre[..., None]) / spread[..., None]
    # in the left tail, where the normal distribution function keeps its relative precision
    left = np.copysign(1.0, -z_low)
    inside = np.abs(ndtr(left * z_high) - ndtr(left * z_low))
    with np.errstate(divide="ignore"):
        total: Floats = (counts * np.log(inside)).sum(axis=-1)
    return total


def _sigma(
    a: Floats, b: Floats, counts: NDArray[np.int64], n_events: int, level: float
) -> tuple[float, float, float]:
    df = n_events - 1
    events = np.isfinite(b)
    first = float(np.min(np.where(np.isfinite(a[events]), a[events], b[events] - 1)))
    last = float(np.max(b[events]))

    def restricted(log2_sigma: float) -> float:
        sigma = 2.0**log2_sigma
        # 12 sigma beyond the outermost event the likelihood is below e^-70 of its top
        nodes = np.linspace(first - 12 * sigma, last + 12 * sigma, N_NODES)
        heights = log_likelihood(a, b, nodes, np.array(sigma), counts)
        top = float(heights.max())
        if math.isinf(top):
            return -math.inf
        area = float(np.exp(heights - top).sum()) * float(nodes[1] - nodes[0])
        return top + math.log(area)

    lowest, highest = (math.log2(s) for s in SIGMA_RANGE)
    grid = np.arange(lowest, highest + 0.5)
    heights = np.array([restricted(float(s)) for s in grid])
    k = int(np.argmax(heights))
    best, top = float(grid[k]), float(heights[k])
    if 0 < k < len(grid) - 1:
        found = minimize_scalar(lambda s: -restricted(s), bounds=(grid[k - 1], grid[k + 1]), method="bounded")
        best, top = float(found.x), -float(found.fun)
    tail = (1 - level) / 2
    low = _cut(restricted, best, lowest, top - _chi_drop(chi_square_quantile(1 - tail, df), df))
    high = _cut(restricted, best, highest, top - _chi_drop(chi_square_quantile(tail, df), df))
    none = k == 0
    return (
        0.0 if none else 2.0**best,
        0.0 if none or low is None else 2.0**low,
        math.inf if high is None else 2.0**high,
    )


def _chi_drop(v: float, df: int) -> float:
    """Fall of the restricted log-likelihood of exact times from its top (v = df) to v = SS / sigma²."""
    return 0.5 * (v - df - df * math.log(v / df))


def _mu(
    a: Floats, b: Floats, counts: NDArray[np.int64], n_events: int, level: float, start: float
) -> tuple[float, float, float]:
    events = np.isfinite(b)
    middle = np.where(
        np.isfinite(a), (np.where(events, b, a + 1) + np.where(np.isfinite(a), a, 0)) / 2, b - 0.5
    )
    grid = 2.0 ** np.arange(math.log2(SIGMA_RANGE[0]), math.log2(SIGMA_RANGE[1]), 0.25)

    def profile(mu: float) -> float:
        heights = log_likelihood(a, b, np.array(mu), grid, counts)
        k = int(np.argmax(heights))
        if k in (0, len(grid) - 1) or not np.isfinite(heights[k - 1 : k + 2]).all():
            return float(heights[k])
        # the top of the parabola through the best three: exact to 1e-3 at this spacing
        left, best, right = heights[k - 1 : k + 2]
        curvature = left - 2 * best + right
        return float(best - (right - left) ** 2 / (8 * curvature)) if curvature < 0 else float(best)

    spread = float(np.ptp(middle)) + start
    found = minimize_scalar(
        lambda m: -profile(m), bounds=(middle.min() - spread, middle.max() + 2 * spread), method="bounded"
    )
    mu, top = float(found.x), -float(found.fun)
    shared = float(a.max()), float(b.min())
    if shared[0] < shared[1] and math.isfinite(shared[0]):
        # every time may be the same one, anywhere in this stretch: the top is flat, so name its middle
        mu = sum(shared) / 2
        top = profile(mu)
    t = t_quantile((1 + level) / 2, n_events - 1)
    floor = top - 0.5 * n_events * math.log1p(t * t / (n_events - 1))
    far = 64 * SIGMA_RANGE[1]
    low, high = _cut(profile, mu, mu - far, floor), _cut(profile, mu, mu + far, floor)
    return mu, -math.inf if low is None else low, math.inf if high is None else high


def _cut(curve: Callable[[float], float], top_at: float, end: float, floor: float) -> float | None:
    """Where the curve falls to `floor` between its top and `end`; None when it never does."""
    step = math.copysign(0.25, end - top_at)
    inner = top_at
    while abs(inner - top_at) < abs(end - top_at):
        outer = inner + step
        if abs(outer - top_at) > abs(end - top_at):
            outer = end
        if curve(outer) < floor:
            # −inf cannot be interpolated, so it is lifted to a finite value below the floor
            return float(brentq(lambda x: max(curve(x) - floor, -1e3), inner, outer, xtol=1e-4))
        inner, step = outer, step * 1.5
    return None


def _power(x: float) -> float:
    return math.inf if x > 1000 else 2.0**x
