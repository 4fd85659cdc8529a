"""How often times of groups that do not differ are said to, and how often their intervals hold the shift that was planted.

    python -m tests.calibration.time_groups [--replicates 1000] [--write]

Prints two tables (four minutes on one core); --write puts them into docs/statistics.md. The tests of the suite run two cells of
the second, and of the first the same with fewer replicates (tests/queries/stats/test_permutation.py).
"""

import math
from collections.abc import Callable, Mapping
from functools import cache
from itertools import product

import numpy as np
from numpy.typing import NDArray
from scipy.stats import mannwhitneyu, wilcoxon

from queries.events.time_comparisons import compare_groups, octaves
from queries.reading.select import RunRow, Selected
from queries.reading.units import units_of
from queries.stats.intervals import Bracket
from queries.stats.permutation import Shift, sign_flips, two_groups
from tests.calibration.tables import Lines, head, make_tables

Floats = NDArray[np.float64]
Draw = Callable[[np.random.Generator, float], Shift]

LEVEL = 0.05
SHIFTS = (0.0, 2.0)  # in standard deviations of a group, or of the differences of pairs
OWN = 0.3
NEVER = 0.43  # sd above the median, from where a third of the times is


def normal(n_a: int, n_b: int) -> Draw:
    """Two groups of normal octaves."""
    return lambda rng, shift: two_groups(rng.normal(size=n_a), shift + rng.normal(size=n_b))


def skewed(n: int) -> Draw:
    """Two groups of exponential octaves."""
    return lambda rng, shift: two_groups(rng.exponential(size=n), shift + rng.exponential(size=n))


def coarse(n: int) -> Draw:
    """Times rounded to a standard deviation, so that many are equal."""
    return lambda rng, shift: two_groups(np.round(rng.normal(size=n)), np.round(shift + rng.normal(size=n)))


def censored(n: int) -> Draw:
    """A third of the runs of the first group, and more of a later one, never get there."""

    def one(rng: np.random.Generator, shift: float) -> Shift:
        a, b = rng.normal(size=n), shift + rng.normal(size=n)
        return two_groups(*(np.where(x > NEVER, math.inf, x) for x in (a, b)))

    return one


def pairs(n: int) -> Draw:
    """Differences of n pairs."""
    return lambda rng, shift: sign_flips(shift + rng.normal(size=n))


DRAWS: Mapping[str, Draw] = {
    "5 against 5": normal(5, 5),
    "5 against 5, skewed": skewed(5),
    "4 against 8": normal(4, 8),
    "6 against 6, equal times": coarse(6),
    "6 against 6, a third never there": censored(6),
    "6 pairs": pairs(6),
    "8 pairs": pairs(8),
    "12 pairs": pairs(12),
}


def plain(replicates: int) -> Lines:
    """Markdown: a row per kind of groups; rejected at 5 % and, in brackets, intervals that hold the shift, in %."""
    yield from [f"{replicates:,} replicates.", ""]
    yield from head("groups", *("no shift" if not s else f"{s:g} sd" for s in SHIFTS))
    for name, draw in DRAWS.items():
        cells = []
        for shift in SHIFTS:
            rng = np.random.default_rng(0)
            found = [draw(rng, shift) for _ in range(replicates)]
            rejected, held = (
                100 * np.mean(x)
                for x in ([f.p <= LEVEL for f in found], [f.low <= shift <= f.high for f in found])
            )
            cells.append(f"{rejected:.1f} ({held:.1f})")
        yield f"| {name} | {' | '.join(cells)} |"


@cache
def conditions(n: int) -> Selected:
    """Two conditions of n inits × n orders, the seeds of both the same."""
    runs = [
        RunRow(
            run_id=k,
            run=f"{condition} {init} {order}",
            family="family",
            source="source",
            condition=condition,
            init_seed=init,
            data_order_seed=order,
            split_seed=None,
            init_hash="",
            tags=(),
            excluded=False,
            exclusion_reason=None,
            excluded_by=None,
            names=(),
        )
        for k, (condition, init, order) in enumerate(product(("fast", "slow"), range(n), range(n)))
    ]
    return Selected(tuple(runs), ())


def crossed(
    rng: np.random.Generator, inits: float, orders: float, shift: float, *, paired: bool, n: int = 6
) -> tuple[float, float]:
    """p by runs that share no seed, and p with every run, or pair, counted as one (Mann-Whitney, or Wilcoxon).

    Each init and order has its own effect in each of the conditions; shift: by how much the second is later, in octaves.
    """
    selected, brackets = conditions(n), dict[int, Bracket]()
    for later in (0.0, shift):
        at = inits * rng.normal(size=(n, 1)) + orders * rng.normal(size=(1, n)) + later
        at += OWN * rng.normal(size=(n, n))
        above = 10 + np.ceil(8 * at.ravel()) / 8
        brackets |= {
            len(brackets) + k: Bracket(2 ** (a - 1 / 8), 2**a, 40) for k, a in enumerate(above.tolist())
        }
    ids = selected.ids
    groups = {"fast": ids[: len(ids) // 2], "slow": ids[len(ids) // 2 :]}
    units = {name: units_of(selected, runs) for name, runs in groups.items()}
    rows, _ = compare_groups(selected, brackets, units, ("init", "order") if paired else (), "exact", 0.95)
    fast, slow = (np.array([octaves(brackets[run]) for run in runs]) for runs in groups.values())
    by_run = wilcoxon(fast, slow).pvalue if paired else mannwhitneyu(fast, slow).pvalue
    return float(rows[0]["p"]), float(by_run)  # type: ignore[arg-type]


def with_seeds(replicates: int) -> Lines:
    """Markdown: a row per test and effects of seeds."""
    yield from [f"{replicates:,} replicates.", ""]
    yield from head("6 × 6 against 6 × 6", "effects", "no shift: by seed", "by run", "2 sd: by seed")
    for paired, orders in product((False, True), (0.0, 1.0)):
        # of a group, or of the differences of pairs
        sd = math.sqrt((1 + paired) * (1 + orders**2 + OWN**2))
        found = []
        for shift in (0.0, 2 * sd):
            rng = np.random.default_rng(0)
            p = [crossed(rng, 1.0, orders, shift, paired=paired) for _ in range(replicates)]
            found.append(100 * np.mean(np.array(p) <= LEVEL, axis=0))
        which = "init and order" if orders else "init"
        yield (
            f"| {'pairs' if paired else 'groups'} | {which} | {found[0][0]:.1f} | {found[0][1]:.1f} | {found[1][0]:.1f} |"
        )


if __name__ == "__main__":
    make_tables(
        "Calibrates tests of times of groups.", {"time-groups": plain, "shared-time-groups": with_seeds}
    )
