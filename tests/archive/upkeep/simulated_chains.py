"""Honest ways through weight space, for the rate of false accusations, and the same with planted faults.

`python -m tests.archive.upkeep.simulated_chains 400 0` counts accusations in 400 series of each kind, from seed 0.
"""

import sys
from collections.abc import Callable

import numpy as np

from archive.upkeep.chain_order import judge_order, squared_distances

LENGTHS = (10, 12, 20, 40, 80, 154)
DIMENSIONS = (3, 10, 30, 100, 1000)


def gaps(rng: np.random.Generator, n: int) -> np.ndarray:
    """Updates between checkpoints: even, log-spaced, or powers of two and then every thousand."""
    kind = rng.integers(3)
    if kind == 0:
        return np.ones(n)
    if kind == 1:
        steps = np.r_[0, np.unique(np.round(2 ** np.linspace(0, 14, 3 * n)).astype(int))][:n]
    else:
        steps = np.r_[0, 2 ** np.arange(10), 1000 * np.arange(1, n)][:n]
    return np.diff(np.r_[-1, steps]).astype(float)


def walk(rng: np.random.Generator, n: int, k: int) -> np.ndarray:
    """Independent updates."""
    return np.cumsum(rng.normal(size=(n, k)) * np.sqrt(gaps(rng, n))[:, None], 0)


def drift(rng: np.random.Generator, n: int, k: int) -> np.ndarray:
    """A smooth bend in log time, seen with noise from negligible to overwhelming."""
    x = np.log(np.cumsum(gaps(rng, n)) + 1)
    way = np.outer(x, rng.normal(size=k)) + np.outer(x**2 / 8, rng.normal(size=k))
    return way + rng.normal(size=(n, k)) * 10 ** rng.uniform(-2, 1)


def phases(rng: np.random.Generator, n: int, k: int) -> np.ndarray:
    """One to three jumps, up to 30 times as long as everything else, over less than one to several checkpoints."""
    way = walk(rng, n, k)
    way /= np.abs(way).max()
    for _ in range(rng.integers(1, 4)):
        steepness = np.clip((np.arange(n) - rng.uniform(0, n)) / rng.uniform(0.05, 2), -50, 50)
        way += np.outer(1 / (1 + np.exp(-steepness)), rng.normal(size=k) * 10 ** rng.uniform(-0.5, 1.5))
    return way


def spike(rng: np.random.Generator, n: int, k: int) -> np.ndarray:
    """A walk that one checkpoint leaves for somewhere else."""
    between = gaps(rng, n)
    way = np.cumsum(rng.normal(size=(n, k)) * between[:, None] ** 0.25, 0)
    way[rng.integers(n)] += rng.normal(size=k) * np.sqrt(between.sum()) * rng.uniform(0.3, 3)
    return way


def wander(rng: np.random.Generator, n: int, k: int) -> np.ndarray:
    """A walk that settles and then moves about one point, in some directions more than in others."""
    way = walk(rng, n, k)
    settled, memory = rng.integers(n), 1 - 10 ** rng.uniform(-3, 0)
    about, scale = rng.normal(size=k), 10 * 10 ** rng.uniform(-1, 0, size=k)
    for i in range(settled, n):
        about = memory * about + np.sqrt(1 - memory**2) * rng.normal(size=k)
        way[i] = way[settled] + about * scale
    return way


HONEST: dict[str, Callable[[np.random.Generator, int, int], np.ndarray]] = {
    one.__name__: one for one in (walk, drift, phases, spike, wander)
}


def accusations(kind: str, n_series: int, seed: int) -> int:
    """In how many honest series somebody is accused."""
    rng = np.random.default_rng([seed, list(HONEST).index(kind)])
    n_accused = 0
    for _ in range(n_series):
        way = HONEST[kind](rng, int(rng.choice(LENGTHS)), int(rng.choice(DIMENSIONS)))
        found = judge_order(squared_distances(way))
        n_accused += bool(found.exchanged or found.misplaced)
    return n_accused


if __name__ == "__main__":
    for name in HONEST:
        print(name, accusations(name, int(sys.argv[1]), int(sys.argv[2])))
