"""Slow twins of the variance components: restricted maximum likelihood by numerical optimisation."""

import numpy as np
from scipy.optimize import minimize


def reml(y: np.ndarray, designs: list[np.ndarray]) -> np.ndarray:
    """Restricted maximum likelihood with one mean: variances of each random design, then of the residual.

    y: (n,). designs: indicator matrices (n, levels). Variances are kept positive by their logarithms.
    """
    n = len(y)
    grams = [z @ z.T for z in designs] + [np.eye(n)]
    ones = np.ones(n)

    def deviance(logs: np.ndarray) -> float:
        v = sum(np.exp(s) * g for s, g in zip(logs, grams, strict=True))
        _, logdet = np.linalg.slogdet(v)
        inverse = np.linalg.inv(v)
        weight = ones @ inverse @ ones
        rest = y - (ones @ inverse @ y) / weight
        return float(logdet + np.log(weight) + rest @ inverse @ rest)

    start = np.full(len(grams), np.log(y.var() / len(grams)))
    found = minimize(
        deviance, start, method="Nelder-Mead", options={"xatol": 1e-6, "fatol": 1e-9, "maxiter": 5000}
    )
    return np.exp(found.x)


def indicators(labels: np.ndarray) -> np.ndarray:
    """One column per level."""
    return (labels[:, None] == np.unique(labels)[None, :]).astype(float)
