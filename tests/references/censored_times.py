"""Slow twin of the log-normal fit: plain quadrature and optimisation of the likelihoods it is defined by."""

import numpy as np
from scipy.integrate import quad
from scipy.optimize import minimize_scalar
from scipy.stats import norm


def restricted_mode(low: np.ndarray, high: np.ndarray) -> float:
    """Sigma (octaves) at the top of the likelihood of brackets (low, high] with mu integrated out."""
    a, b = np.log2(low), np.log2(high)
    centre = float(np.mean(np.where(np.isfinite(b), b, a)))

    def minus_log_area(log_sigma: float) -> float:
        sigma = np.exp(log_sigma)
        area, _ = quad(
            lambda mu: float(np.prod(norm.cdf((b - mu) / sigma) - norm.cdf((a - mu) / sigma))),
            centre - 30,
            centre + 30,
            points=[centre],
            limit=400,
        )
        return -np.log(area)

    return float(np.exp(minimize_scalar(minus_log_area, bounds=(-3, 3), method="bounded").x))
