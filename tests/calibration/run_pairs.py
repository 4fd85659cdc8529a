"""How often the interval of a mean over pairs of runs holds it, where pairs share runs and where runs share seeds.

    python -m tests.calibration.run_pairs [--replicates 1000] [--write]

Prints two tables (a minute on one core); --write puts them into docs/statistics.md. The tests of the suite run one cell of the
second.
"""

from collections.abc import Mapping
from itertools import combinations

import numpy as np
from numpy.typing import NDArray

from queries.stats.means import mean_interval
from queries.stats.run_pairs import mean_over_pairs
from tests.calibration.tables import Lines, head, make_tables

Floats = NDArray[np.float64]

OWN = 0.3
RUNS = (3, 5, 10)
SEEDS = (3, 5, 8)
# kinds of values: the sum of what both runs have, or the mean squared distance of so many numbers
KINDS: Mapping[str, int] = {
    "sums of two runs": 0,
    "squared distances, 100 numbers": 100,
    "squared distances, 3 numbers": 3,
}


def ends(n_runs: int) -> tuple[list[tuple[int, int]], Floats]:
    """All pairs, and as an array (pair, 2)."""
    pairs = list(combinations(range(n_runs), 2))
    return pairs, np.array(pairs)


def values_of(places: Floats, at: Floats, *, distances: bool) -> Floats:
    """One value a pair; places: (run, number)."""
    a, b = places[at[:, 0]], places[at[:, 1]]
    found: Floats = ((a - b) ** 2).mean(axis=1) if distances else (a + b)[:, 0]
    return found


def alone(
    rng: np.random.Generator, n_runs: int, numbers: int, documents: float
) -> tuple[tuple[float, float], tuple[float, float], float]:
    """Interval over runs, that with pairs as if independent, and the true mean; documents: their error, one for all pairs."""
    pairs, at = ends(n_runs)
    values = values_of(rng.normal(size=(n_runs, max(numbers, 1))), at, distances=numbers > 0)
    values = values + documents * rng.normal()
    _, *found = mean_over_pairs(pairs, values, np.full(len(pairs), documents))
    _, *naive = mean_interval(values)
    return (found[0], found[1]), (naive[0], naive[1]), 2.0 if numbers else 0.0


def crossed(
    rng: np.random.Generator, n: int, inits: float, orders: float, numbers: int
) -> tuple[tuple[float, float], tuple[float, float], float]:
    """Interval over seeds, that over runs, and the true mean over the pairs of such runs."""
    of_init, of_order = np.arange(n * n) // n, np.arange(n * n) % n
    pairs, at = ends(n * n)
    k = max(numbers, 1)
    places = inits * rng.normal(size=(n, k))[of_init] + orders * rng.normal(size=(n, k))[of_order]
    places += OWN * rng.normal(size=(n * n, k))
    values = values_of(places, at, distances=numbers > 0)
    apart = [float((of[at[:, 0]] != of[at[:, 1]]).mean()) for of in (of_init, of_order)]
    truth = 2 * (inits**2 * apart[0] + orders**2 * apart[1] + OWN**2) if numbers else 0.0
    errors = np.zeros(len(pairs))
    shared = [dict(enumerate(of.tolist())) for of in (of_init, of_order)]
    _, *by_seed = mean_over_pairs(pairs, values, errors, shared=shared)
    _, *by_run = mean_over_pairs(pairs, values, errors)
    return (by_seed[0], by_seed[1]), (by_run[0], by_run[1]), truth


def percent(found: list[tuple[tuple[float, float], tuple[float, float], float]]) -> str:
    """How often either interval holds the truth, and the middle width of the first."""
    held = [[low <= truth <= high for low, high in both] for *both, truth in found]
    first, second = 100 * np.mean(held, axis=0)
    return f"{first:.1f} ({second:.1f}) | {np.median([one[1] - one[0] for one, _, _ in found]):.2f}"


def independent(replicates: int) -> Lines:
    """Markdown: a row per number of runs and kind of values."""
    yield from [f"{replicates:,} replicates.", ""]
    yield from head(
        "runs", "values of pairs", "error of documents", "held (pairs taken for independent)", "width"
    )
    for n_runs in RUNS:
        for name, numbers in KINDS.items():
            for documents in (0.0, 0.5) if numbers == 100 else (0.0,):
                rng = np.random.default_rng(0)
                found = [alone(rng, n_runs, numbers, documents) for _ in range(replicates)]
                yield f"| {n_runs} | {name} | {documents:g} | {percent(found)} |"


def with_seeds(replicates: int) -> Lines:
    """Markdown: a row per number of seeds, effects of theirs and kind of values."""
    yield from [f"{replicates:,} replicates.", ""]
    yield from head("inits × orders", "effects", "values of pairs", "held by seed (by run)", "width by seed")
    for n in SEEDS:
        for orders in (0.0, 1.0):
            for name, numbers in KINDS.items():
                rng = np.random.default_rng(0)
                found = [crossed(rng, n, 1.0, orders, numbers) for _ in range(replicates)]
                which = "init and order" if orders else "init"
                yield f"| {n} × {n} | {which} | {name} | {percent(found)} |"


if __name__ == "__main__":
    make_tables(
        "Calibrates means over pairs of runs.", {"run-pairs": independent, "shared-run-pairs": with_seeds}
    )
