"""How often answers about fine-tuning err: intervals over runs and documents, verdicts, and components called changed.

    python -m tests.calibration.finetuning [--replicates 1000] [--write]

Prints tables (a minute on one core); --write puts them into docs/statistics.md. The tests of the suite run some of the cells.
"""

import numpy as np

from queries.stats.component_categories import CATEGORIES, Thresholds, component_changes
from queries.stats.runs_and_clusters import TwoWayMean, signs, two_way_mean
from tests.calibration.tables import Lines, head, make_tables

MARGIN, N_SETS = 0.02, 4
RUNS, DOCUMENTS = (1, 2, 3, 5), (10, 40)
# sd of what is a run's own, of what all runs share at a document; half as much is a run's own at a document
SPREADS = {"runs": (0.05, 0.02), "documents": (0.01, 0.1)}
N_COMPONENTS = 40


def shift(
    rng: np.random.Generator, truth: float, n_runs: int, n_documents: int, spread: tuple[float, float]
) -> TwoWayMean:
    """The mean change of runs that change by `truth`, on documents of 5 to 40 tokens; one run has no spread of its own."""
    of_runs, of_documents = spread
    sizes = rng.integers(5, 40, n_documents).astype(float)
    moved = truth + (of_runs if n_runs > 1 else 0.0) * rng.normal(size=(n_runs, 1))
    moved = moved + of_documents * (rng.normal(size=n_documents) + rng.normal(size=(n_runs, n_documents)) / 2)
    sums = moved * sizes + 0.3 * np.sqrt(sizes) * rng.normal(size=(n_runs, n_documents))
    return two_way_mean(sums, np.tile(sizes, (n_runs, 1)))


def held(n_runs: int, n_documents: int, spread: tuple[float, float], replicates: int) -> float:
    """Share of 95 % intervals that hold the truth."""
    rng = np.random.default_rng(1)
    inside = 0
    for _ in range(replicates):
        low, high = shift(rng, 0.1, n_runs, n_documents, spread).interval(0.95)
        inside += low <= 0.1 <= high
    return inside / replicates


def wrong_verdicts(truth: float, n_runs: int, spread: tuple[float, float], replicates: int) -> float:
    """Share of answers on 4 eval sets with a wrong word: a yes where nothing changed, a no where all rose by the margin."""
    rng = np.random.default_rng(2)
    wrong = 0
    for _ in range(replicates):
        told = signs([shift(rng, truth, n_runs, 40, spread) for _ in range(N_SETS)], MARGIN, 0.95)
        wrong += any("yes" in pair for pair in told) if truth == 0 else any(up == "no" for up, _ in told)
    return wrong / replicates


def wrong_components(groups: int, shared: float, changed: float, replicates: int) -> float:
    """Share of answers with any component wrongly called changed, or, where all changed by the bar, unchanged.

    groups: items' independent groups behind each standard error. shared: correlation of errors at the two checkpoints.
    changed: true change of all but the largest effect, in bars.
    """
    rng = np.random.default_rng(3)
    wrong = 0
    word = "unchanged" if changed else "changed"
    for _ in range(replicates):
        effects = np.r_[3.0, rng.uniform(0, 1, N_COMPONENTS - 1)]
        move = np.r_[0.0, np.full(N_COMPONENTS - 1, 0.3 * changed)]
        se = rng.uniform(0.02, 0.2, N_COMPONENTS)
        common = rng.normal(size=N_COMPONENTS)
        noise = shared**0.5 * common + (1 - shared) ** 0.5 * rng.normal(size=(2, N_COMPONENTS))
        told = se * np.sqrt(rng.chisquare(groups - 1, (2, N_COMPONENTS)) / (groups - 1))
        found = component_changes(
            effects + se * noise[0],
            effects + move + se * noise[1],
            (told[0], told[1]),
            np.full(N_COMPONENTS, float(groups)),
            np.full(N_COMPONENTS, np.nan),
            Thresholds(),
        )
        names = [CATEGORIES[k] for k in found.category[1:]]
        wrong += word in names if changed else bool(found.changed.any())
    return wrong / replicates


def tables(replicates: int) -> Lines:
    """Markdown: intervals, verdicts, components."""
    columns = [(name, n) for name in SPREADS for n in DOCUMENTS]
    yield from [f"{replicates:,} replicates.", ""]
    yield from head("runs", *(f"mostly {name}, {n} documents" for name, n in columns))
    for n_runs in RUNS:
        cells = (held(n_runs, n, SPREADS[name], replicates) for name, n in columns)
        yield f"| {n_runs} | {' | '.join(f'{100 * share:.1f}' for share in cells)} |"
    yield ""
    yield from head("runs", "nothing changed: any yes", "all rose by the margin: any no")
    for n_runs in RUNS:
        cells = (wrong_verdicts(truth, n_runs, SPREADS["documents"], replicates) for truth in (0.0, MARGIN))
        yield f"| {n_runs} | {' | '.join(f'{100 * share:.1f}' for share in cells)} |"
    yield ""
    yield from head(
        "groups of items",
        "errors in common",
        "nothing changed: any changed",
        "all changed by the bar: any unchanged",
    )
    for groups in (8, 20, 100):
        for shared in (0.0, 0.5):
            cells = (wrong_components(groups, shared, changed, replicates) for changed in (0.0, 1.0))
            yield f"| {groups} | {shared:g} | {' | '.join(f'{100 * share:.1f}' for share in cells)} |"


if __name__ == "__main__":
    make_tables("Calibrates the statistics of fine-tuning.", {"fine-tuning": tables})
