"""What a random walk looks like in its principal components: the null of every picture of a trajectory.

A walk in many dimensions gives smooth curves whose first components carry 61 %, 15 % and 7 % of the
variance, and a clear turn in the middle. Source of the shares: eigenvalues 1 / (π k)² of Brownian motion less
its mean, over their sum 1 / 6; Antognini & Sohl-Dickstein 2018 for training.
"""

import math

import numpy as np
from numpy.typing import NDArray

from queries.stats.trajectory import largest_turns, leading_components

Floats = NDArray[np.float64]

# numbers of the walks that are held at once
MOST_NUMBERS = 4_000_000


def walk_share(k: int) -> float:
    """Share of variance of the k-th component (from 1) of a long, evenly weighted walk in many dimensions."""
    return 6 / (math.pi * k) ** 2


def simulated_walks(
    steps: Floats,
    weights: Floats,
    *,
    k: int,
    dimensions: int,
    n_walks: int = 1000,
    seed: int = 0,
) -> tuple[Floats, Floats]:
    """Shares (walk, k) and largest turns (walk,), radians, of walks with these step lengths in random directions.

    steps: length of every step, one fewer than points. weights: of the points, summing to 1. dimensions: of
    the space the directions are drawn from, uniformly; the fewer, the more walks differ. Exact for any number
    of dimensions at the cost of as many as there are steps: directions enter only through their inner
    products, drawn by Bartlett's triangular factor of a Wishart matrix.
    """
    n = len(steps)
    if dimensions < 2:
        raise ValueError(f"{dimensions} dimension(s): a direction needs at least 2")
    rng = np.random.default_rng(seed)
    shares, turns = [], []
    chunk = max(1, MOST_NUMBERS // (n * n))
    for first in range(0, n_walks, chunk):
        directions = random_directions(rng, min(chunk, n_walks - first), n, dimensions)
        points = np.zeros((len(directions), n + 1, directions.shape[2]))
        np.cumsum(directions * steps[:, None], axis=1, out=points[:, 1:])
        found, scores = leading_components(points, weights, k)
        shares.append(found)
        turns.append(largest_turns(scores)[0])
    return np.concatenate(shares), np.concatenate(turns)


def random_directions(rng: np.random.Generator, n_walks: int, n: int, dimensions: int) -> Floats:
    """Unit vectors with the inner products of uniform directions: (walk, step, min(step count, dimensions))."""
    width = min(n, dimensions)
    rows = np.tril(rng.standard_normal((n_walks, n, width)))
    corner = np.arange(width)
    rows[:, corner, corner] = np.sqrt(rng.chisquare(dimensions - corner, size=(n_walks, width)))
    lengths = np.linalg.norm(rows, axis=2, keepdims=True)
    unit: Floats = rows / lengths
    return unit
