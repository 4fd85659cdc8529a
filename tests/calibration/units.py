"""How often runs that share seeds, without any effect of what is asked about, are called an effect: as seeds and as runs.

    python -m tests.calibration.units [--replicates 1000] [--write]

Prints a table (minutes on one core); --write puts it into docs/statistics.md. The tests of the suite run some of its cells.
"""

from collections.abc import Callable
from itertools import combinations

import numpy as np

from queries.stats.held_out import held_out, standardised
from queries.stats.index_slope import index_slope
from queries.stats.over_units import Shared, mean_over_units, share_over_units
from queries.stats.shared_direction import shared_direction
from tests.calibration.tables import Lines, head, make_tables

POINTS, DIMENSIONS = 40, 300
TOKENS = 2000
EVEN = np.full(POINTS, 1 / POINTS)
Found = Callable[[np.random.Generator, int, float, float, Shared], bool]


def seeds(n: int) -> list[np.ndarray]:
    """n inits times n orders."""
    return [np.arange(n * n) // n, np.arange(n * n) % n]


def a_mean(rng: np.random.Generator, n: int, inits: float, orders: float, shared: Shared) -> bool:
    """Whether values with mean 0 are found to differ from it."""
    of_init, of_order = seeds(n)
    values = inits * rng.normal(size=n)[of_init] + orders * rng.normal(size=n)[of_order]
    _, low, high = mean_over_units(values + 0.3 * rng.normal(size=n * n), shared)
    return low > 0 or high < 0


def a_share(rng: np.random.Generator, n: int, inits: float, orders: float, shared: Shared) -> bool:
    """Whether a half is called more or fewer than half, by the interval of verdicts (90 %)."""
    of_init, of_order = seeds(n)
    values = inits * rng.normal(size=n)[of_init] + orders * rng.normal(size=n)[of_order]
    _, low, high = share_over_units(values + 0.3 * rng.normal(size=n * n) > 0, shared, 0.9)
    return low > 0.5 or high < 0.5


def a_way(rng: np.random.Generator, n: int, inits: float, orders: float, shared: Shared) -> bool:
    """Whether runs are said to go the same way."""
    of_init, of_order = seeds(n)
    ways = (
        inits * rng.normal(size=(n, DIMENSIONS))[of_init]
        + orders * rng.normal(size=(n, DIMENSIONS))[of_order]
    )
    ways += 0.7 * rng.normal(size=ways.shape)
    ways /= np.linalg.norm(ways, axis=1, keepdims=True)
    pairs = list(combinations(range(n * n), 2))
    found = shared_direction(
        pairs,
        np.array([ways[a] @ ways[b] for a, b in pairs]),
        dimensions=DIMENSIONS,
        shared=[dict(enumerate(of.tolist())) for of in shared],
    )
    return found.low > 0 and found.p_random < 0.05


def an_explanation(rng: np.random.Generator, n: int, inits: float, orders: float, shared: Shared) -> bool:
    """Whether regressors that have nothing to do with scores explain them in runs left out, p ≤ 0.05."""

    def curves() -> np.ndarray:
        of_init, of_order = seeds(n)
        found = 0.3 * rng.normal(size=(n * n, POINTS)).cumsum(axis=1)
        for size, of in ((inits, of_init), (orders, of_order)):
            found += size * rng.normal(size=(n, POINTS)).cumsum(axis=1)[of]
        return found

    y, x = standardised(curves(), EVEN), curves()[:, :, None]
    return held_out(y, x, EVEN, shared=shared, seed=int(rng.integers(2**31))).p <= 0.05


def a_slope(rng: np.random.Generator, n: int, inits: float, orders: float, shared: Shared) -> bool:
    """Whether agreement that changes with difficulty in some inits and back in others is said to change in runs at large."""
    of_init, of_order = seeds(n)
    bends = inits * rng.normal(size=n)[of_init] + orders * rng.normal(size=n)[of_order]
    classes = np.arange(TOKENS) % 10
    own = 0.3 * np.exp(0.5 * np.clip(bends, -2, 2)[:, None] * (classes - 4.5) / 9)
    values = np.sqrt(1 - own) * rng.normal(size=TOKENS) + np.sqrt(own) * rng.normal(size=(n * n, TOKENS))
    documents = np.arange(TOKENS) * 10 // TOKENS
    return index_slope(values, classes, classes, documents, shared=shared).p <= 0.05


ASKED: dict[str, tuple[Found, int]] = {
    "a mean of 0 differs from it": (a_mean, 4),
    "a half is most, or few (10% allowed)": (a_share, 5),
    "runs go one way": (a_way, 4),
    "curves explain others": (an_explanation, 3),
    "agreement changes with difficulty": (a_slope, 3),
}


def table(replicates: int) -> Lines:
    """Markdown: a row per question and effects of seeds; percent found with seeds counted, and with runs counted."""
    yield from [f"{replicates:,} replicates.", ""]
    yield from head("said of runs, of which none is so", "inits × orders", "effects", "by seed", "by run")
    for name, (found, n) in ASKED.items():
        for effects in ((1.0, 0.0), (1.0, 1.0)):
            rates = []
            for shared in (seeds(n), []):
                rng = np.random.default_rng(0)
                rates.append(np.mean([found(rng, n, *effects, shared) for _ in range(replicates)]))
            which = "init" if effects[1] == 0 else "init and order"
            yield f"| {name} | {n} × {n} | {which} | {100 * rates[0]:.1f} | {100 * rates[1]:.1f} |"


if __name__ == "__main__":
    make_tables("Calibrates what is said of runs that share seeds.", {"units": table})
