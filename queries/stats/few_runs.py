"""What a handful of runs can and cannot show: exact small-sample limits, printed with every answer.

All are in units of the standard deviation between runs, so they can be quoted before any data are in.
Source: standard normal-theory results; tests hold them against a table worked out independently.
"""

import math
from functools import lru_cache

import numpy as np
from scipy.optimize import brentq

from queries.stats.distributions import (
    beta_quantile,
    chi_square_quantile,
    f_quantile,
    noncentral_t_cdf,
    t_quantile,
)

ALPHA = 0.05
POWER = 0.8


def half_width_of_mean(n: int, level: float = 0.95) -> float:
    """Half width of the t interval of a mean over n runs, in sd between runs; NaN for one run."""
    return t_quantile((1 + level) / 2, n - 1) / math.sqrt(n) if n > 1 else math.nan


def sd_multipliers(df: int, level: float = 0.95) -> tuple[float, float]:
    """Factors that turn a sample sd with `df` degrees of freedom into its exact chi-square interval.

    df = runs − groups. (NaN, NaN) without a degree of freedom. Exact for normal values only.
    """
    if df < 1:
        return math.nan, math.nan
    tail = (1 - level) / 2
    return math.sqrt(df / chi_square_quantile(1 - tail, df)), math.sqrt(df / chi_square_quantile(tail, df))


@lru_cache(maxsize=512)
def detectable_difference(n_a: int, n_b: int, alpha: float = ALPHA, power: float = POWER) -> float:
    """Smallest difference of two group means, in sd, that a two-sided t test finds with probability `power`."""
    return _detectable(math.sqrt(n_a * n_b / (n_a + n_b)), n_a + n_b - 2, alpha, power)


@lru_cache(maxsize=512)
def detectable_paired_difference(n: int, alpha: float = ALPHA, power: float = POWER) -> float:
    """Smallest mean difference of n pairs, in sd of the differences, that a paired t test finds."""
    return _detectable(math.sqrt(n), n - 1, alpha, power)


def _detectable(scale: float, df: int, alpha: float, power: float) -> float:
    if df < 1:
        return math.nan
    critical = t_quantile(1 - alpha / 2, df)

    def shortfall(difference: float) -> float:
        centre = difference * scale
        # SciPy gives NaN for some tails far below rounding: they add nothing
        other_side = noncentral_t_cdf(-critical, df, centre)
        found = 1 - noncentral_t_cdf(critical, df, centre) + (0.0 if math.isnan(other_side) else other_side)
        return found - power

    upper = 2.0
    while shortfall(upper) < 0:
        upper *= 2
    return float(brentq(shortfall, 1e-9, upper, xtol=1e-6))


def detectable_variance_ratio(n_a: int, n_b: int, alpha: float = ALPHA, power: float = POWER) -> float:
    """Smallest ratio of two variances that a two-sided F test finds; NaN with fewer than 2 runs in a group."""
    if min(n_a, n_b) < 2:
        return math.nan
    return f_quantile(1 - alpha / 2, n_a - 1, n_b - 1) / f_quantile(1 - power, n_a - 1, n_b - 1)


def share_interval(k: int, n: int, level: float = 0.95) -> tuple[float, float]:
    """Exact (Clopper-Pearson) interval of a probability after k of n runs; (0, 1) when n = 0."""
    if not 0 <= k <= n:
        raise ValueError(f"{k} of {n} runs: k must lie between 0 and n")
    tail = (1 - level) / 2
    low = 0.0 if k == 0 else beta_quantile(tail, k, n - k + 1)
    high = 1.0 if k == n else beta_quantile(1 - tail, k + 1, n - k)
    return low, high


def smallest_permutation_p(n_a: int, n_b: int) -> float:
    """Smallest two-sided p that an exact two-group permutation test can reach."""
    return min(1.0, 2 / math.comb(n_a + n_b, n_a))


def smallest_sign_flip_p(n_pairs: int) -> float:
    """Smallest two-sided p that an exact sign-flip test of n pairs can reach: 5 pairs never reach 0.05."""
    return min(1.0, 2.0 ** (1 - n_pairs))


def pooled_sd(groups: list[np.ndarray]) -> tuple[float, int]:
    """Standard deviation within groups, pooled, and its degrees of freedom; (NaN, 0) without repeats."""
    df = sum(len(g) - 1 for g in groups if len(g))
    if df < 1:
        return math.nan, 0
    squares = sum(float(((g - g.mean()) ** 2).sum()) for g in groups if len(g))
    return math.sqrt(squares / df), df
