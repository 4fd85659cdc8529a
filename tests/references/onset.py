"""Slow twins of predictions of when events happen: one likelihood by a general optimiser, one pair of runs at a time."""

import math

import numpy as np
from scipy.optimize import minimize


def normal_below(z: float) -> float:
    return 0.5 * math.erfc(-z / math.sqrt(2))


def censored_fit(
    low: np.ndarray, high: np.ndarray, columns: np.ndarray, ridge: float, sigma_prior: float
) -> tuple[float, np.ndarray, float]:
    """(intercept, effects, sigma) of log-normal times in (low, high], penalised; exact where low == high."""

    def minus_log(parameters: np.ndarray) -> float:
        intercept, effects, sigma = parameters[0], parameters[1:-1], math.exp(parameters[-1])
        total = 0.0
        for a, b, row in zip(low, high, columns, strict=True):
            at = intercept + float(row @ effects)
            if a == b:
                total += -math.log(sigma) - 0.5 * ((a - at) / sigma) ** 2
            else:
                inside = normal_below((b - at) / sigma) - normal_below((a - at) / sigma)
                total += math.log(max(inside, 1e-300))
        total -= ridge / 2 * float((effects / sigma) @ (effects / sigma))
        return -(total - math.log(sigma) - 0.5 * (sigma_prior / sigma) ** 2)

    finite = high[np.isfinite(high)]
    start = np.concatenate([[finite.mean()], np.zeros(columns.shape[1]), [0.0]])
    for _ in range(2):
        start = minimize(minus_log, start, method="BFGS", options={"gtol": 1e-6}).x
    return float(start[0]), start[1:-1], math.exp(start[-1])


def pair_scores(
    low: np.ndarray,
    high: np.ndarray,
    columns: np.ndarray,
    block: np.ndarray,
    ridge: float,
    sigma_prior: float,
) -> dict[tuple[int, int], float]:
    """1, 1/2 or 0 for every pair (earlier, later) in a certain order, by a fit without both of their blocks."""
    found = {}
    for i in range(len(low)):
        for j in range(len(low)):
            if i == j or not high[i] <= low[j]:
                continue
            rest = [k for k in range(len(low)) if block[k] not in (block[i], block[j])]
            _, effects, _ = censored_fit(low[rest], high[rest], columns[rest], ridge, sigma_prior)
            apart = float((columns[j] - columns[i]) @ effects)
            found[i, j] = 0.5 if abs(apart) < 1e-9 else float(apart > 0)
    return found


def jackknife_se(scores: dict[tuple[int, int], float], levels: np.ndarray) -> float:
    """Standard error of the mean score, leaving out all pairs that any level is in, one level at a time."""
    means = []
    for level in np.unique(levels):
        kept = [s for (i, j), s in scores.items() if level not in (levels[i], levels[j])]
        means.append(sum(kept) / len(kept))
    n = len(means)
    return math.sqrt((n - 1) / n * sum((m - sum(means) / n) ** 2 for m in means))
