"""Displacements, signs and held-out regressions the slow way: loops over pairs, runs and arrangements."""

import math
from itertools import permutations, product

import numpy as np


def slope_of_distances(times, points):
    """Slope of log distance in log lag, through the means of half-octaves of lag."""
    classes = {}
    for i in range(len(times)):
        for j in range(i + 1, len(times)):
            lag = math.log2(times[j] - times[i])
            distance = math.dist(points[i], points[j])
            classes.setdefault(math.floor(2 * lag), []).append((lag, math.log2(distance)))
    means = [np.mean(pairs, axis=0) for pairs in classes.values()]
    x, y = np.array(means).T
    return float(((x - x.mean()) * (y - y.mean())).sum() / ((x - x.mean()) ** 2).sum())


def held_out_by_lstsq(y, x, weights):
    """Share of each run's variance that a weighted regression on all the others predicts."""
    found = []
    for left in range(len(y)):
        rows = [r for r in range(len(y)) if r != left]
        root = np.sqrt(np.tile(weights, len(rows)))
        design = np.concatenate([np.column_stack([np.ones(len(weights)), x[r]]) for r in rows])
        b = np.linalg.lstsq(design * root[:, None], np.concatenate([y[r] for r in rows]) * root, rcond=None)[
            0
        ]
        error = y[left] - np.column_stack([np.ones(len(weights)), x[left]]) @ b
        found.append(1 - float(weights @ error**2) / float(weights @ y[left] ** 2))
    return np.array(found)


def swapped_means(y, x, weights):
    """Mean held-out share of every arrangement of the regressors over runs."""
    return [held_out_by_lstsq(y, x[list(order)], weights).mean() for order in permutations(range(len(y)))]


def share_of_flips(vectors):
    """How often the mean cosine is as large when each vector is turned round or not."""
    unit = [v / np.linalg.norm(v) for v in vectors]

    def mean(signs):
        turned = [s * u for s, u in zip(signs, unit, strict=True)]
        return sum(float(a @ b) for i, a in enumerate(turned) for b in turned[:i])

    seen = [mean(signs) for signs in product((1, -1), repeat=len(unit))]
    return sum(m >= seen[0] - 1e-9 for m in seen) / len(seen)
