"""How often the interval of the time of an event holds it, of independent runs and of runs that share seeds.

    python -m tests.calibration.times [--replicates 1000] [--write]

Prints two tables (six minutes on one core; the second has half as many replicates); --write puts them into
docs/statistics.md. The tests of the suite run one cell of the second.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.special import ndtri

from queries.events.event_times import describe_times
from queries.stats.intervals import Bracket
from queries.stats.over_units import Shared
from tests.calibration.tables import Lines, head, make_tables

Floats = NDArray[np.float64]

MEDIAN = 10.0  # octaves
OWN = 0.3  # spread of runs that share both seeds, octaves
QUARTER = 0.25
# runs, spread and spacing of checkpoints in octaves, share that never gets there
ALONE = (
    (3, 0.3, 0.25, 0.0),
    (5, 0.3, 0.05, 0.0),
    (5, 0.3, 1.0, 0.0),
    (5, 0.05, 0.25, 0.0),
    (5, 1.0, 0.1, 1 / 3),
    (10, 1.0, 0.1, 0.0),
    (10, 0.5, 0.25, 1 / 3),
)
# inits and orders each, spread over inits and over orders, share that never gets there
CROSSED = (
    *((n, 1.0, orders, 0.0) for n in (3, 5, 8) for orders in (0.0, 1.0)),
    (8, 1.0, 1.0, 1 / 3),
)


@dataclass(frozen=True)
class Told:
    """What is said of one sample: whether the intervals hold the truth (None: there is none), and octaves of the median's."""

    median: bool
    spread: bool | None
    width: float


def measured(
    rng: np.random.Generator, octaves: Floats, spacing: float, last: float = math.inf
) -> list[Bracket]:
    """What checkpoints show of times: on a grid `spacing` octaves wide at a random place, no later than `last`."""
    offset = rng.random() * spacing
    below, end = (offset + np.floor((x - offset) / spacing) * spacing for x in (octaves, np.float64(last)))
    never = below + spacing > end + 1e-9
    low, high = 2.0 ** np.where(never, end, below), 2.0 ** np.where(never, math.inf, below + spacing)
    return [Bracket(a, b, 40) for a, b in zip(low.tolist(), high.tolist(), strict=True)]


def last_of(spread: float, never: float) -> float:
    """Where to stop so that this share of times comes later."""
    return MEDIAN + spread * float(ndtri(1 - never))


def told(known: Sequence[Bracket], spread: float, shared: Shared = ()) -> Told:
    """The 95 % intervals of the query, against the truth."""
    found = describe_times(known, 0.95, shared)
    low, high, sd_low, sd_high = (
        float("nan") if (x := found[name]) is None else float(x)  # type: ignore[arg-type]
        for name in ("median_low", "median_high", "sd_low", "sd_high")
    )
    width = math.log2(high / low) if low > 0 and math.isfinite(high) else math.inf
    return Told(low <= 2**MEDIAN <= high, None if math.isnan(sd_low) else sd_low <= spread <= sd_high, width)


def crossed(
    rng: np.random.Generator, n: int, inits: float, orders: float, never: float = 0.0
) -> tuple[list[Bracket], Shared]:
    """Brackets of n inits times n orders, and which runs share which."""
    of_init, of_order = np.arange(n * n) // n, np.arange(n * n) % n
    octaves = MEDIAN + inits * rng.normal(size=n)[of_init] + orders * rng.normal(size=n)[of_order]
    octaves += OWN * rng.normal(size=n * n)
    last = last_of(math.hypot(inits, orders, OWN), never)
    return measured(rng, octaves, QUARTER, last), [of_init, of_order]


def _cells(found: Sequence[Told]) -> str:
    """Held, without an end, and the middle width."""
    held, opened = (np.mean(x) for x in ([f.median for f in found], [math.isinf(f.width) for f in found]))
    width = float(np.median([f.width for f in found]))
    return f"{100 * held:.1f} | {100 * opened:.1f} | {'∞' if math.isinf(width) else f'{width:.2f}'}"


def alone(replicates: int) -> Lines:
    """Markdown: a row per number of runs, spread, schedule and share that never gets there."""
    yield from [f"{replicates:,} replicates.", ""]
    yield from head(
        "runs", "spread", "spacing", "never", "median held, %", "an end open, %", "width", "spread held, %"
    )
    for n, spread, spacing, never in ALONE:
        rng = np.random.default_rng(0)
        found = [
            told(measured(rng, MEDIAN + spread * rng.normal(size=n), spacing, last_of(spread, never)), spread)
            for _ in range(replicates)
        ]
        spreads = [f.spread for f in found if f.spread is not None]
        yield (
            f"| {n} | {spread:g} | {spacing:g} | {never:.0%} | {_cells(found)} | {100 * np.mean(spreads):.1f} |"
        )


def together(replicates: int) -> Lines:
    """Markdown: a row per number of seeds and effects of theirs; by seed, and with every run counted as one."""
    replicates //= 2
    yield from [f"{replicates:,} replicates.", ""]
    yield from head(
        "inits × orders",
        "spread over inits, orders",
        "never",
        *("by seed: held, %", "an end open, %", "width", "by run: held, %", "an end open, %", "width"),
    )
    for n, inits, orders, never in CROSSED:
        rng = np.random.default_rng(0)
        both = [crossed(rng, n, inits, orders, never) for _ in range(replicates)]
        by_seed = [told(known, math.nan, shared) for known, shared in both]
        by_run = [told(known, math.nan) for known, _ in both]
        yield (f"| {n} × {n} | {inits:g}, {orders:g} | {never:.0%} | {_cells(by_seed)} | {_cells(by_run)} |")


if __name__ == "__main__":
    make_tables("Calibrates intervals of times.", {"times": alone, "shared-times": together})
