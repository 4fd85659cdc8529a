"""How often intervals of variance components hold what was planted, and how often seeds that do nothing are said to differ.

    python -m tests.calibration.variances [--replicates 1000] [--write]

Prints four tables (three minutes on one core); --write puts them into docs/statistics.md. The tests of the suite simulate the
same with fewer replicates (tests/queries/stats/test_calibration.py and test_crossed.py).
"""

import math
from collections.abc import Mapping, Sequence
from itertools import combinations

import numpy as np
from numpy.typing import NDArray

from queries.stats.components import excess_spread_p, one_way, two_way
from queries.stats.crossed import crossed_components
from tests.calibration.tables import Lines, head, make_tables

Floats = NDArray[np.float64]

N_ITEMS = 150
# conditions, runs of each, standard deviation between conditions; 1 within
GROUPS = (
    *((5, 5, between) for between in (0.0, 0.5, 1.0, 2.0)),
    (3, 3, 0.0),
    (3, 3, 2.0),
    (10, 5, 0.0),
    (10, 5, 0.5),
)
# of runs × items tables: name -> standard deviations of items, of runs and of runs' own pattern, and traits behind that
TABLES: Mapping[str, tuple[float, float, float, int]] = {
    "independent": (1.0, 0.3, 0.5, 0),
    "three traits": (1.0, 0.3, 0.5, 3),
    "offsets dominate": (1.0, 1.0, 0.3, 0),
}
FACTORS = ("init", "order", "split")
# levels of each factor -> sd of the first, of the others, of interactions of two and of three
DESIGNS: Mapping[tuple[int, ...], Sequence[tuple[float, ...]]] = {
    **dict.fromkeys(((3, 3), (5, 5), (10, 10)), ((0, 1, 1), (1, 0.5, 0.5), (2, 0.5, 0.5))),
    **dict.fromkeys(
        ((3, 3, 3), (4, 4, 4)), ((0, 1, 0.5, 1), (1, 0.5, 0.5, 0.5), (2, 0.5, 0.5, 0.5), (1, 0.5, 0, 0.5))
    ),
}
# of seeds, in standard errors of the evaluation
EXCESS = (0.0, 1.0, 2.0)


def percent(hits: Sequence[Sequence[bool]]) -> str:
    """Cells of how often each is true."""
    return " | ".join(f"{100 * share:.1f}" for share in np.mean(hits, axis=0))


def conditions(replicates: int) -> Lines:
    """Markdown: a row per design of conditions and repeats."""
    yield from [f"{replicates:,} replicates.", ""]
    yield from head("conditions × runs", "sd between", "condition held", "seed held", "condition above 0")
    for k, n, between in GROUPS:
        rng = np.random.default_rng(0)
        hits = []
        for _ in range(replicates):
            a, b = one_way(list(between * rng.normal(size=(k, 1)) + rng.normal(size=(k, n))))
            hits.append((a.low <= between**2 <= a.high, b.low <= 1 <= b.high, a.low > 0))
        yield f"| {k} × {n} | {between:g} | {percent(hits)} |"


def table_of(
    rng: np.random.Generator, n_runs: int, item: float, seed: float, own: float, traits: int
) -> Floats:
    """(run, item); a run's own pattern is independent from item to item, or carried by traits that many items have."""
    pattern = rng.normal(size=(n_runs, N_ITEMS))
    if traits:
        pattern = rng.normal(size=(n_runs, traits)) @ rng.normal(size=(traits, N_ITEMS)) / math.sqrt(traits)
    return item * rng.normal(size=(1, N_ITEMS)) + seed * rng.normal(size=(n_runs, 1)) + own * pattern


def items(replicates: int) -> Lines:
    """Markdown: a row per number of runs and what makes them differ."""
    yield from [f"{replicates:,} replicates.", ""]
    yield from head("runs", "own patterns", "item", "seed", "seed:item", "share of runs' own")
    for name, (item, seed, own, traits) in TABLES.items():
        truth = (item**2, seed**2, own**2)
        share = 1 - item**2 / sum(truth)
        for n_runs in (3, 5, 10):
            rng = np.random.default_rng(0)
            hits = []
            for _ in range(replicates):
                found = two_way(table_of(rng, n_runs, item, seed, own, traits))
                held = [c.low <= t <= c.high for c, t in zip(found.components, truth, strict=True)]
                hits.append([*held, found.idiosyncratic_low <= share <= found.idiosyncratic_high])
            yield f"| {n_runs} | {name} | {percent(hits)} |"


def planted(
    rng: np.random.Generator, levels: tuple[int, ...], sds: tuple[float, ...]
) -> tuple[Floats, Floats]:
    """A table with one run a cell, and the variance of each effect in the order of `crossed_components`."""
    axes = range(len(levels))
    y, variances = np.zeros(levels), []
    for effect in (e for r in range(1, len(levels) + 1) for e in combinations(axes, r)):
        sd = sds[0] if effect == (0,) else sds[len(effect)]
        y += sd * rng.normal(size=[n if k in effect else 1 for k, n in enumerate(levels)])
        variances.append(sd**2)
    return y, np.array(variances)


def crossed(replicates: int) -> Lines:
    """Markdown: a row per design and effects; coverage is that of the component that is held least often."""
    yield from [f"{replicates:,} replicates.", ""]
    yield from head(
        "levels", "sd of init, others, interactions of two, of three", "components", "shares", "init above 0"
    )
    for levels, effects in DESIGNS.items():
        for sds in effects:
            rng = np.random.default_rng(0)
            held: list[list[list[bool]]] = [[], []]
            above = []
            for _ in range(replicates):
                y, truth = planted(rng, levels, sds)
                found = crossed_components(y[..., None], FACTORS[: len(levels)])
                shares = truth / truth.sum()
                held[0].append([c.low <= t <= c.high for c, t in zip(found, truth, strict=True)])
                held[1].append([c.share_low <= t <= c.share_high for c, t in zip(found, shares, strict=True)])
                above.append(found[0].low > 0)
            least = [f"{100 * float(np.mean(hits, axis=0).min()):.1f}" for hits in held]
            design = f"{' × '.join(map(str, levels))} | {', '.join(f'{sd:g}' for sd in sds)}"
            yield f"| {design} | {' | '.join(least)} | {100 * np.mean(above):.1f} |"


def noise(replicates: int) -> Lines:
    """Markdown: runs said to differ by more than their standard errors, p ≤ 5 %."""
    yield from [f"{replicates:,} replicates.", ""]
    yield from head("runs", *(f"seeds' sd {excess:g}" for excess in EXCESS))
    for n in (3, 5, 10):
        cells = []
        for excess in EXCESS:
            rng = np.random.default_rng(0)
            errors = np.linspace(0.5, 1, n)
            spread = np.hypot(errors, excess)
            p = [excess_spread_p([(spread * rng.normal(size=n), errors)]) for _ in range(replicates)]
            cells.append(f"{100 * np.mean(np.array(p) <= 0.05):.1f}")
        yield f"| {n} | {' | '.join(cells)} |"


if __name__ == "__main__":
    make_tables(
        "Calibrates variance components.",
        {
            "one-way": conditions,
            "two-way": items,
            "crossed-components": crossed,
            "excess-spread": noise,
        },
    )
