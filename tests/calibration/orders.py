"""How often runs with orders at random are said to agree on one, and how often a planted order is found.

    python -m tests.calibration.orders [--replicates 1000] [--write]

Prints two tables (three minutes on one core; the second has a quarter as many replicates); --write puts them into
docs/statistics.md. The tests of the suite run one cell of the second.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from queries.events.orders import ALPHA, find_order
from queries.reading.units import Units
from queries.stats.concordance import concordance
from queries.stats.intervals import Bracket
from queries.stats.precedence import interval_ranks, precedence
from tests.calibration.tables import Lines, head, make_tables

Floats = NDArray[np.float64]

# runs and events
SHAPES = ((3, 3), (5, 3), (5, 5), (8, 6))
# widths of brackets; times of an event have sd 1 over runs
WIDTHS = (0.01, 1.0)
# octaves from one event to the next
GAPS = (0.0, 1.0)
CROSSED_EVENTS = 3
OWN = 0.3


@dataclass(frozen=True)
class Found:
    """Whether runs are said to agree on an order, and whether the first two events are said to have one."""

    order: bool
    pair: bool


def bracketed(times: Floats, width: float) -> tuple[Floats, Floats]:
    """Ends of brackets on one grid for all."""
    low: Floats = np.floor(times / width) * width
    return low, low + width


def alone(rng: np.random.Generator, n_runs: int, n_events: int, width: float, gap: float) -> Found:
    """Independent runs."""
    low, high = bracketed(gap * np.arange(n_events) + rng.normal(size=(n_runs, n_events)), width)
    found = concordance(interval_ranks(low, high), seed=int(rng.integers(2**31)))
    return Found(found.p < ALPHA, precedence(low, high, 0, 1).p < ALPHA)


def crossed(
    rng: np.random.Generator, n: int, inits: float, orders: float, gap: float, *, by_seed: bool
) -> Found:
    """Runs of n inits times n orders, which each draw times of the events that all of their runs share."""
    of_init, of_order = np.arange(n * n) // n, np.arange(n * n) % n
    effects = rng.normal(size=(2, n, CROSSED_EVENTS))
    times = gap * np.arange(CROSSED_EVENTS) + OWN * rng.normal(size=(n * n, CROSSED_EVENTS))
    times += inits * effects[0][of_init] + orders * effects[1][of_order]
    low, high = bracketed(times, 0.1)
    rows = {
        k: [Bracket(a, b, 9) for a, b in zip(*ends, strict=True)]
        for k, ends in enumerate(zip(low.tolist(), high.tolist(), strict=True))
    }
    shared = {"init": tuple(of_init.tolist()), "order": tuple(of_order.tolist())} if by_seed else {}
    names = [f"event {k}" for k in range(CROSSED_EVENTS)]
    found = find_order(names, rows, 0.95, Units(tuple(rows), shared))
    if found is None:
        raise AssertionError("every run knows every event")
    return Found(found.verdict == "yes", found.pairs[names[0], names[1]].p < ALPHA)


def percent(found: list[Found]) -> str:
    """Of orders, and in brackets of the pair."""
    return f"{100 * np.mean([f.order for f in found]):.1f} ({100 * np.mean([f.pair for f in found]):.1f})"


def independent(replicates: int) -> Lines:
    """Markdown: a row per number of runs and events and width of brackets."""
    yield from [f"{replicates:,} replicates.", ""]
    yield from head("runs", "events", "brackets", "no order", "one sd from event to event")
    for n_runs, n_events in SHAPES:
        for width in WIDTHS:
            cells = []
            for gap in GAPS:
                rng = np.random.default_rng(0)
                cells.append(percent([alone(rng, n_runs, n_events, width, gap) for _ in range(replicates)]))
            yield f"| {n_runs} | {n_events} | {width:g} sd | {' | '.join(cells)} |"


def with_seeds(replicates: int) -> Lines:
    """Markdown: a row per number of seeds and effects of theirs."""
    replicates //= 4
    yield from [f"{replicates:,} replicates.", ""]
    yield from head(
        "inits × orders", "effects", "no order: by seed", "by run", "planted, two sd apart: by seed"
    )
    for n in (3, 4, 6):
        for orders in (0.0, 1.0):
            gap = 2 * float(np.sqrt(1 + orders**2 + OWN**2))
            cells = []
            for planted, by_seed in ((0.0, True), (0.0, False), (gap, True)):
                rng = np.random.default_rng(0)
                found = [crossed(rng, n, 1.0, orders, planted, by_seed=by_seed) for _ in range(replicates)]
                cells.append(percent(found))
            which = "init and order" if orders else "init"
            yield f"| {n} × {n} | {which} | {' | '.join(cells)} |"


if __name__ == "__main__":
    make_tables("Calibrates Kendall's W.", {"orders": independent, "shared-orders": with_seeds})
