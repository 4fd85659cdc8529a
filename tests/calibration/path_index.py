"""How near the path-dependence index comes to what was planted, and how often its interval holds it.

    python -m tests.calibration.path_index [--replicates 1000] [--write]

Prints a table (minutes on one core); --write puts it into docs/statistics.md. The tests of the suite run four of its cells.
"""

import numpy as np

from queries.stats.path_index import path_index, strata_of
from tests.calibration.tables import Lines, head, make_tables

N_DOCUMENTS, PER_DOCUMENT = 20, 60
N = N_DOCUMENTS * PER_DOCUMENT
N_STRATA = 40
RUNS = (3, 5, 10)
SHARES = (0.01, 0.1, 0.4, 0.9)


def planted(rng: np.random.Generator, n_runs: int, share: float) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Values, difficulty and documents; `share` of what difficulty leaves open is each run's own, alike within documents."""

    def noise(*shape: int) -> np.ndarray:
        of_documents = rng.normal(size=(*shape[:-1], N_DOCUMENTS)).repeat(PER_DOCUMENT, -1)
        mixed: np.ndarray = (rng.normal(size=shape) + 0.5 * of_documents) / 1.25**0.5
        return mixed

    difficulty = rng.normal(size=N)
    own = noise(n_runs, N) * np.sqrt(rng.gamma(20, 1 / 20, size=(n_runs, 1)))
    values = difficulty + (1 - share) ** 0.5 * noise(N) + share**0.5 * own + rng.normal(size=(n_runs, 1))
    return values, difficulty, np.arange(N_DOCUMENTS).repeat(PER_DOCUMENT)


def held(n_runs: int, share: float, replicates: int) -> tuple[float, float]:
    """Mean index, and the share of intervals that hold the planted one; no lower end counts as 0."""
    rng = np.random.default_rng(2)
    found = []
    for _ in range(replicates):
        values, difficulty, documents = planted(rng, n_runs, share)
        found.append(path_index(values, strata_of(difficulty, N_STRATA), documents))
    inside = [np.nan_to_num(one.low) <= share <= one.high for one in found]
    return float(np.mean([one.pattern for one in found])), float(np.mean(inside))


def table(replicates: int) -> Lines:
    """Markdown: a row per number of runs, a column per planted index."""
    yield from [f"{replicates:,} replicates.", ""]
    yield from head("runs", *(f"{share:g}" for share in SHARES))
    for n_runs in RUNS:
        cells = [held(n_runs, share, replicates) for share in SHARES]
        yield f"| {n_runs} | {' | '.join(f'{mean:.3f}, {100 * share:.1f}' for mean, share in cells)} |"


if __name__ == "__main__":
    make_tables("Calibrates the path-dependence index.", {"path-index": table})
