"""How often leads, directions and explanations of components are found where there are none, and where there are.

    python -m tests.calibration.trajectories [--replicates 1000] [--write]

Prints three tables (minutes on one core); --write puts them into docs/statistics.md. The suite repeats parts of each.
"""

import math
from collections.abc import Callable
from itertools import combinations

import numpy as np

from queries.stats.displacement import displacements
from queries.stats.held_out import held_out, standardised
from queries.stats.intervals import Bracket
from queries.stats.lead import lead_over_runs, run_lead
from queries.stats.means import mean_interval
from queries.stats.shared_direction import shared_direction
from queries.stats.smooth_regression import fit_curve
from tests.calibration.tables import Lines, head, make_tables

Curves = Callable[[np.random.Generator, int], np.ndarray]
SPACING = 0.5
N = 40
EVEN = np.full(N, 1 / N)
AT = np.linspace(-3, 3, N)


def share(found: list[bool]) -> str:
    """In percent."""
    return f"{100 * np.mean(found):.1f}"


def bracket(time: float) -> Bracket:
    """Of a time in octaves, on checkpoints SPACING apart."""
    k = math.floor(time / SPACING)
    return Bracket(2 ** (k * SPACING), 2 ** ((k + 1) * SPACING), 9)


def leads(replicates: int) -> Lines:
    """Percent called leading or following, called together, and covered by both intervals."""
    rng = np.random.default_rng(0)
    yield from [f"{replicates:,} replicates.", ""]
    yield from head(
        "runs",
        "lead, sd over runs",
        "leads or follows",
        "together",
        "bracket interval covers",
        "even interval covers",
    )
    for n in (6, 10):
        for lead, sd in ((0.0, 0.0), (0.0, 0.5), (0.25, 0.0), (0.5, 0.25), (1.0, 0.25)):
            found = []
            for _ in range(replicates):
                times = 10 + rng.normal(0, 1.5, n)
                found.append(
                    lead_over_runs(
                        [run_lead(bracket(t), bracket(t + lead + sd * rng.normal())) for t in times]
                    )
                )
            words = [f.verdict(f.p, 0.05) for f in found]
            cells = (
                share([w in ("leads", "follows") for w in words]),
                share([w == "together" for w in words]),
                share([f.low <= lead <= f.high for f in found]),
                share([f.even_low <= lead <= f.even_high for f in found]),
            )
            yield f"| {n} | {lead:g}, {sd:g} | {' | '.join(cells)} |"


def directions(replicates: int) -> Lines:
    """Percent of walks called directed, one by one and over runs, and of independent runs said to go the same way."""
    rng = np.random.default_rng(1)
    times = np.array([0, *sorted({round(2 ** (k / 2)) for k in range(2, 23)})], dtype=float)
    yield from [f"{replicates:,} replicates.", ""]
    yield from head(
        "runs",
        "dimensions",
        "a run, p ≤ 0.05",
        "directed",
        "same way",
        "signs, p ≤ 0.05",
    )
    for n, dimensions in ((3, 1000), (5, 1000), (8, 1000), (5, 10)):
        single, directed, alike, signs = [], [], [], []
        for k in range(replicates):
            points = [walk(rng, rng.gamma(2, size=len(times) - 1), dimensions) for _ in range(n)]
            found = [
                displacements(times, x @ x.T, n_walks=99, dimensions=dimensions, seed=k)["all"]
                for x in points
            ]
            single += [f.p <= 0.05 for f in found]
            directed.append(mean_interval([f.directedness for f in found])[1] > 0)
        for _ in range(replicates):
            ways = rng.normal(size=(n, dimensions))
            ways /= np.linalg.norm(ways, axis=1, keepdims=True)
            pairs = list(combinations(range(n), 2))
            s = shared_direction(
                pairs, np.array([ways[a] @ ways[b] for a, b in pairs]), dimensions=dimensions
            )
            alike.append(s.low > 0 and s.p_random < 0.05)
            signs.append(s.p_signs <= 0.05)
        yield (
            f"| {n} | {dimensions:,} | {share(single)} | {share(directed)} | {share(alike)} | {share(signs)} |"
        )


def walk(rng: np.random.Generator, lengths: np.ndarray, dimensions: int) -> np.ndarray:
    """Points of a walk with steps of these lengths."""
    ways = rng.normal(size=(len(lengths), dimensions))
    ways *= (lengths / np.linalg.norm(ways, axis=1))[:, None]
    return np.vstack([np.zeros(dimensions), ways.cumsum(axis=0)])


def walks(rng: np.random.Generator, n: int) -> np.ndarray:
    return rng.normal(size=(n, N)).cumsum(axis=1)


def returning(rng: np.random.Generator, n: int) -> np.ndarray:
    """Ornstein-Uhlenbeck: 0.95 of the last value and noise."""
    found = rng.normal(size=(n, N))
    for k in range(1, N):
        found[:, k] += 0.95 * found[:, k - 1]
    return found


def monotone(rng: np.random.Generator, n: int) -> np.ndarray:
    """Sigmoids, each at a time and with a width of its own."""
    return 1 / (1 + np.exp(-(AT - rng.normal(size=(n, 1))) * rng.uniform(1, 3, size=(n, 1))))


def one_trend(rng: np.random.Generator, n: int) -> np.ndarray:
    """The same curve in all runs, with drifts of their own."""
    return np.tanh(AT) + 0.05 * walks(rng, n)


NULLS: dict[str, Curves] = {
    "random walks": walks,
    "Ornstein-Uhlenbeck": returning,
    "monotone, each at its own time": monotone,
    "one trend in all runs": one_trend,
}


def explanations(replicates: int) -> Lines:
    """Percent called explained, of curves without connection and of one that its regressor drives."""
    rng = np.random.default_rng(2)
    yield from [f"{replicates:,} replicates.", ""]
    yield from head(
        "curves, two regressors",
        "R² within",
        "within, p against walks ≤ 0.05",
        "R² left out",
        "4 runs",
        "5 runs",
        "8 runs",
    )
    for name, curves in NULLS.items():
        inside: list[bool] = []
        r2: list[float] = []
        rejected: dict[int, list[bool]] = {}
        left_out: list[float] = []
        for n in (4, 5, 8):
            rejected[n] = []
            for k in range(replicates):
                y, x = standardised(curves(rng, n), EVEN), np.stack([curves(rng, n), curves(rng, n)], axis=2)
                found = held_out(y, x, EVEN, seed=k)
                rejected[n].append(found.p <= 0.05)
                if n == 5:
                    left_out.append(found.mean)
                    if k < replicates // 4:
                        fit = fit_curve(y[0], x[0], EVEN, n_boot=19, n_walks=99, seed=k)
                        inside.append(fit.p <= 0.05)
                        r2.append(fit.r2)
        yield (
            f"| {name} | {np.mean(r2):.2f} | {share(inside)} | {np.mean(left_out):.2f} | "
            f"{' | '.join(share(r) for r in rejected.values())} |"
        )
    for noise in (0.03, 0.1):
        rejected = {}
        for n in (4, 5, 8):
            rejected[n] = []
            for k in range(replicates // 4):
                x = monotone(rng, n)
                y = standardised(x + noise * walks(rng, n), EVEN)
                rejected[n].append(
                    held_out(y, np.stack([x, monotone(rng, n)], axis=2), EVEN, seed=k).p <= 0.05
                )
        yield (
            f"| the first drives it, and a walk of {noise:g} a step | | | | {' | '.join(share(r) for r in rejected.values())} |"
        )


TABLES = {"leads": leads, "directions": directions, "explanations": explanations}


if __name__ == "__main__":
    make_tables(
        "Calibrates questions about order and trajectories.",
        {"leads": leads, "directions": directions, "explanations": explanations},
    )
