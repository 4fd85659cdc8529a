"""How often questions about initial weights are wrong where these tell nothing, and how well they find what is planted.

    python -m tests.calibration.initial_weights [--replicates 1000] [--write]

Prints two tables (minutes on one core); --write puts them into docs/statistics.md. The tests of the suite run the nulls with
100 replicates.
"""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import partial

import numpy as np
from numpy.typing import NDArray

from queries.stats.choice_shares import ChoiceShare, choice_shares
from queries.stats.relabelling import relabellings
from queries.stats.stratified_auc import Separation, Stratum, separation
from queries.stats.winner_percentile import Winner, WinnerPercentile, winner_percentile
from tests.calibration.tables import Lines, head, make_tables

Floats = NDArray[np.float64]
Found = Separation | WinnerPercentile

LEVEL = 0.05
DRAWS = 999
N_FREQUENCIES, N_KEY = 23, 3


@dataclass(frozen=True)
class Design:
    """Inits, and runs of each; what makes a run choose is `shared` by the runs of an init to that part of its variance."""

    n_inits: int
    n_runs: int
    shared: float = 0.8

    @property
    def start_of(self) -> dict[int, int]:
        """Run -> init."""
        return {init * self.n_runs + run: init for init in range(self.n_inits) for run in range(self.n_runs)}

    def traits(self, rng: np.random.Generator, of_init: Floats) -> Iterator[tuple[int, int, Floats]]:
        """(run, init, what decides in it), from what decides in each init (init, ...)."""
        for run, init in self.start_of.items():
            own = rng.normal(size=of_init.shape[1:])
            yield run, init, self.shared**0.5 * of_init[init] + (1 - self.shared) ** 0.5 * own


def heads(
    rng: np.random.Generator, design: Design, strength: float, *, together: bool = True, n_heads: int = 8
) -> Separation:
    """Two of 8 heads of each of two layers get a role; scores tell `strength` of what decides. together: as it should be."""
    score = rng.normal(size=(design.n_inits, 2, n_heads))
    decides = strength**0.5 * score + (1 - strength) ** 0.5 * rng.normal(size=score.shape)
    strata = []
    for run, init, trait in design.traits(rng, decides):
        for layer in range(2):
            has = np.argsort(np.argsort(-trait[layer])) < 2
            cluster = (init if together else run, layer)
            strata.append(Stratum(run, cluster, score[init, layer], has, ~has))
    starts = design.start_of if together else {run: run for run in design.start_of}
    found = separation(strata, starts, n_permuted=DRAWS, seed=int(rng.integers(2**32)))
    assert found is not None
    return found


def pairs(
    rng: np.random.Generator, design: Design, strength: float, *, together: bool = True
) -> WinnerPercentile:
    """Of 8 × 8 pairs of heads one wins; z before tells `strength` of what decides."""
    before = rng.normal(size=(design.n_inits, 8, 8))
    decides = strength**0.5 * before + (1 - strength) ** 0.5 * rng.normal(size=before.shape)
    winners = []
    for run, init, trait in design.traits(rng, decides):
        source, destination = np.unravel_index(int(trait.argmax()), trait.shape)
        name = init if together else run
        winners.append(Winner(run, before[init], ((int(source), int(destination)),), (name, 0), (name, 1)))
    starts = design.start_of if together else {run: run for run in design.start_of}
    return winner_percentile(winners, starts, n_permuted=DRAWS, seed=int(rng.integers(2**32)))


def choices(
    rng: np.random.Generator, design: Design, by_init: float, by_split: float, strength: float = 0.0
) -> tuple[Floats, NDArray[np.bool_]]:
    """Spectra (init, frequency) and keys (init, split, frequency), every init with every split."""
    spectra = rng.gamma(2, size=(design.n_inits, N_FREQUENCIES))
    hidden = rng.normal(size=spectra.shape)
    standard = (spectra - 2) / 2**0.5
    init = strength**0.5 * standard + (1 - strength) ** 0.5 * hidden
    split = rng.normal(size=(design.n_runs, N_FREQUENCIES))
    rest = rng.normal(size=(design.n_inits, design.n_runs, N_FREQUENCIES))
    y = by_init**0.5 * init[:, None] + by_split**0.5 * split + (1 - by_init - by_split) ** 0.5 * rest
    return spectra, np.argsort(np.argsort(-y, axis=-1), axis=-1) < N_KEY


def frequencies(
    rng: np.random.Generator, design: Design, strength: float, *, together: bool = True
) -> Separation:
    """Inits crossed with splits: the init decides half of what is chosen, the split a fifth, spectra `strength` of the init."""
    spectra, keys = choices(rng, design, 0.5, 0.2, strength)
    group = relabellings(N_FREQUENCIES)
    strata = []
    for run, init in design.start_of.items():
        has = keys[init, run % design.n_runs]
        strata.append(Stratum(run, init if together else run, spectra[init], has, ~has))
    starts = design.start_of if together else {run: run for run in design.start_of}
    moves = {s.cluster: group for s in strata}
    found = separation(strata, starts, moves=moves, n_permuted=DRAWS, seed=int(rng.integers(2**32)))
    assert found is not None
    return found


SIMULATED: Mapping[str, tuple[Callable[..., Found], Design]] = {
    "role, 5 inits": (heads, Design(5, 1)),
    "role, 3 inits × 4 runs": (heads, Design(3, 4)),
    "role, 10 inits × 3 runs": (heads, Design(10, 3)),
    "winner, 5 inits": (pairs, Design(5, 1)),
    "winner, 3 inits × 4 runs": (pairs, Design(3, 4)),
    "winner, 20 inits": (pairs, Design(20, 1)),
    "frequencies, 4 inits × 4 splits": (frequencies, Design(4, 4)),
    "frequencies, 10 inits × 3 splits": (frequencies, Design(10, 3)),
}
PLANTED = 0.3


def middle(found: Found) -> float:
    """The AUC or mean percentile."""
    return found.auc if isinstance(found, Separation) else found.mean


def held(found: list[Found], truth: float) -> float:
    """Share of intervals that hold the truth."""
    return float(np.mean([f.low <= truth <= f.high for f in found]))


def rejected(found: list[Found]) -> float:
    """Share of tests that reject at 5 %."""
    return float(np.mean([f.p <= LEVEL for f in found]))


def table(replicates: int) -> Lines:
    """Markdown: rejected and held under the null, rejected when every run is its own init, and planted."""
    yield from [f"{replicates:,} replicates, %.", ""]
    yield from head(
        "what",
        "null: rejected",
        "interval holds 0.5",
        "rejected, runs taken for inits",
        "planted",
        "found",
        "interval holds it",
    )
    for name, (simulate, design) in SIMULATED.items():
        draw = partial(simulate, np.random.default_rng(1))
        null = [draw(design, 0.0) for _ in range(replicates)]
        apart = [draw(design, 0.0, together=False) for _ in range(replicates)]
        planted = [draw(design, PLANTED) for _ in range(replicates)]
        truth = float(np.mean([middle(f) for f in planted]))
        numbers = [rejected(null), held(null, 0.5), rejected(apart)]
        cells = [f"{100 * x:.1f}" for x in numbers]
        cells += [f"{truth:.2f}", f"{100 * rejected(planted):.0f}", f"{100 * held(planted, truth):.1f}"]
        yield f"| {name} | {' | '.join(cells)} |"


def shares(replicates: int) -> Lines:
    """Markdown: mean of the shares of init and split, and how often their intervals hold the truth."""
    yield from [f"{replicates:,} replicates.", ""]
    yield from head("inits × splits", "init: true", "mean", "held, %", "split: true", "mean", "held, %")
    for n_inits, n_splits in ((3, 3), (4, 4), (10, 3)):
        for by_init, by_split in ((0.0, 0.0), (0.3, 0.0), (0.5, 0.2)):
            rng = np.random.default_rng(2)
            large = [_shares(rng, Design(20, 20), by_init, by_split) for _ in range(20)]
            found = [_shares(rng, Design(n_inits, n_splits), by_init, by_split) for _ in range(replicates)]
            cells = []
            for name in ("init", "split"):
                planted = {"init": by_init, "split": by_split}[name]
                true = float(np.mean([f[name].share for f in large])) if planted else 0.0
                mean = np.mean([f[name].share for f in found])
                inside = np.mean([f[name].low <= true <= f[name].high for f in found])
                cells.append(f"{true:.2f} | {mean:.2f} | {100 * inside:.1f}")
            yield f"| {n_inits} × {n_splits} | {' | '.join(cells)} |"


def _shares(
    rng: np.random.Generator, design: Design, by_init: float, by_split: float
) -> dict[str, ChoiceShare]:
    _, keys = choices(rng, design, by_init, by_split)
    chosen = [np.flatnonzero(row).tolist() for row in keys.reshape(-1, N_FREQUENCIES)]
    cells = [(i, s) for i in range(design.n_inits) for s in range(design.n_runs)]
    seeds = {"init": [i for i, _ in cells], "split": [s for _, s in cells]}
    return choice_shares(chosen, seeds, [0] * len(cells))


if __name__ == "__main__":
    make_tables(
        "Calibrates questions about initial weights.", {"initial-weights": table, "choice-shares": shares}
    )
