"""Principal components of a trajectory from its inner products, and how sharply it turns in them."""

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]

N_ITERATIONS = 12
SHORTEST_WAY = 0.05


@dataclass(frozen=True)
class Components:
    """scores: (point, k), in the unit of the vectors. shares: of the weighted variance, (k,)."""

    scores: Floats
    shares: Floats


def time_weights(times: Floats, weighting: str) -> Floats:
    """Weights of the points of a trajectory, summing to 1.

    "equal", or "log_time": the stretch of log time that a point stands for (half of the gaps to its
    neighbours), so that many checkpoints of one stretch do not outvote the rest. Time 0 has no logarithm: it
    gets the weight of the first point after it.
    """
    if weighting == "equal" or len(times) < 3:
        return np.full(len(times), 1 / len(times))
    positive = times > 0
    x = np.log2(times[positive])
    stretch = np.gradient(x) if len(x) > 1 else np.ones(1)
    weights = np.full(len(times), stretch[0])
    weights[positive] = stretch
    normalised: Floats = weights / weights.sum()
    return normalised


def components_of_gram(gram: Floats, weights: Floats, k: int) -> Components:
    """Weighted principal components from inner products alone.

    gram: (point, point) inner products of the vectors, uncentred. weights: sum to 1. k is cut to what n
    points can have. A trajectory that does not move has scores 0 and shares NaN.
    """
    n = len(gram)
    mean = weights @ gram
    centred = gram - mean[None, :] - mean[:, None] + float(weights @ mean)
    root = np.sqrt(weights)
    values, vectors = np.linalg.eigh(root[:, None] * centred * root[None, :])
    k = min(k, n - 1)
    values, vectors = values[::-1][:k], vectors[:, ::-1][:, :k]
    total = float((weights * np.diag(centred)).sum())
    # rounding of inner products leaves eigenvalues of about this size where there is no variance
    floor = 1e-12 * max(float(np.abs(np.diag(gram)).max()), 1e-300)
    if total <= floor:
        return Components(np.zeros((n, k)), np.full(k, math.nan))
    kept = np.where(values > floor, values, np.inf)
    scores = centred @ (root[:, None] * vectors) / np.sqrt(kept)
    return Components(scores, np.maximum(values, 0.0) / total)


def step_lengths(gram: Floats) -> Floats:
    """Distance between neighbouring points, from their inner products."""
    squares = np.diag(gram)
    between = squares[1:] + squares[:-1] - 2 * np.diag(gram, 1)
    lengths: Floats = np.sqrt(np.maximum(between, 0.0))
    return lengths


def window(n_points: int) -> int:
    """How many points before and after a turn give its directions: an eighth of the trajectory."""
    return max(1, round(n_points / 8))


def largest_turns(scores: Floats) -> tuple[Floats, NDArray[np.int64]]:
    """Largest angle between the way into a point and the way out of it, and at which point that is.

    scores: (walk, point, component), centred. Ways are displacements over `window` points, so jitter from one
    checkpoint to the next is no turn; ways shorter than a twentieth of the trajectory's reach (its largest
    distance from the mean) have no direction worth the name, and their angle counts as 0. Radians, 0 =
    straight on, π = back.
    """
    h = window(scores.shape[1])
    into = scores[:, h:-h] - scores[:, : -2 * h]
    out = scores[:, 2 * h :] - scores[:, h:-h]
    before, after = np.linalg.norm(into, axis=2), np.linalg.norm(out, axis=2)
    shortest = SHORTEST_WAY * np.linalg.norm(scores, axis=2).max(axis=1, keepdims=True)
    there = (np.minimum(before, after) >= shortest) & (shortest > 0)
    cosine = (into * out).sum(axis=2) / np.where(there, before * after, 1.0)
    angles = np.where(there, np.arccos(np.clip(cosine, -1.0, 1.0)), 0.0)
    at = angles.argmax(axis=1)
    return np.take_along_axis(angles, at[:, None], axis=1)[:, 0], at + h


def leading_components(points: Floats, weights: Floats, k: int) -> tuple[Floats, Floats]:
    """Shares (walk, k) and scores (walk, point, k) of many trajectories at once, by subspace iteration.

    points: (walk, point, dimension). Twelve iterations: eigenvalues of walks fall as 1 / k², so the first
    three are right to far below what walks differ by.
    """
    centred = points - (weights[:, None] * points).sum(axis=1, keepdims=True)
    weighted = centred * np.sqrt(weights)[:, None]
    k = min(k, points.shape[1] - 1, points.shape[2])
    extra = min(k + 2, min(weighted.shape[1:]))
    # cosines over time are what walks look like: a start near the answer
    n = points.shape[1]
    start = np.cos(np.pi * np.outer(np.arange(n) + 0.5, np.arange(1, extra + 1)) / n)
    basis = np.broadcast_to(start, (len(points), n, extra))
    for _ in range(N_ITERATIONS):
        basis, _ = np.linalg.qr(weighted @ (weighted.transpose(0, 2, 1) @ basis))
    small = basis.transpose(0, 2, 1) @ weighted
    _, values, axes = np.linalg.svd(small, full_matrices=False)
    total = (weighted**2).sum(axis=(1, 2))
    shares = values[:, :k] ** 2 / total[:, None]
    return shares, centred @ axes[:, :k].transpose(0, 2, 1)


def align_signs(tracks: list[tuple[Floats, Floats]]) -> list[Floats]:
    """Signs (±1 per component) that make the runs' scores agree best: a component's sign means nothing by itself.

    tracks: per run (times > 0 ascending, scores (point, k)). The first run ends positive; each next one
    gets the sign under which it correlates positively, over shared log time, with the mean of those before.
    """
    signs: list[Floats] = []
    grid = np.linspace(0, 1, 101)
    shared_low = max(float(t[0]) for t, _ in tracks)
    shared_high = min(float(t[-1]) for t, _ in tracks)
    total: Floats | None = None
    for times, scores in tracks:
        if shared_high > shared_low:
            at = np.log2(shared_low) + grid * np.log2(shared_high / shared_low)
            on_grid = np.stack([np.interp(at, np.log2(times), s) for s in scores.T], axis=1)
        else:
            on_grid = scores[-1:]
        if total is None:
            sign = np.where(scores[-1] < 0, -1.0, 1.0)
            total = np.zeros_like(on_grid)
        else:
            agreement = ((on_grid - on_grid.mean(axis=0)) * (total - total.mean(axis=0))).sum(axis=0)
            sign = np.where(agreement < 0, -1.0, 1.0)
        signs.append(sign)
        spread = np.abs(on_grid).max(axis=0)
        total = total + sign * on_grid / np.where(spread > 0, spread, 1.0)
    return signs
