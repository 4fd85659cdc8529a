"""Times of groups of runs against one another: a row per pair of groups, tested exactly."""

import math
from collections.abc import Mapping, Sequence
from itertools import combinations
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from archive.errors import UsageError
from queries.events.event_times import finite_or_none
from queries.reading.select import RunRow, Selected
from queries.reading.units import Units
from queries.stats.few_runs import detectable_difference, detectable_paired_difference, pooled_sd
from queries.stats.intervals import Bracket
from queries.stats.multiple import Correction, adjusted
from queries.stats.over_units import apart
from queries.stats.permutation import Shift, mid_ranks, sign_flips, two_groups

Floats = NDArray[np.float64]
Seed = Literal["init", "order", "split"]
Test = Literal["exact", "ranks"]

ALPHA = 0.05
SEED_FIELDS: dict[str, str] = {"init": "init_seed", "order": "data_order_seed", "split": "split_seed"}


def compare_groups(
    selected: Selected,
    brackets: Mapping[int, Bracket],
    units: Mapping[str, Units],
    paired_on: Sequence[Seed],
    test: Test,
    level: float,
) -> tuple[list[dict[str, object]], int]:
    """A row per pair of groups, the earlier one first, and how many runs found no partner.

    units: runs by the name of their group, with the seeds they share. paired_on: seeds that make a pair; empty for
    independent groups. Runs, or pairs, are compared of which no two of a group share a seed: only those may be exchanged.
    Raises UsageError where two runs of a group share the seeds of a pair.
    """
    rows, paired = [], set[int]()
    for a, b in combinations(units, 2):
        runs = [list(units[g].runs) for g in (a, b)]
        if paired_on:
            first, second = (_by_seeds(selected, units[g].runs, paired_on, g) for g in (a, b))
            keys = [key for key in first if key in second]
            runs = [[side[key] for key in keys] for side in (first, second)]
            paired.update(*runs)
            if not keys:
                continue
            pairs = apart(
                [of for g, side in zip((a, b), runs, strict=True) for of in units[g].of(side)], len(keys)
            )
            tested = [[side[k] for k in pairs] for side in runs]
        else:
            tested = [units[g].apart() for g in (a, b)]
        times = [np.array([octaves(brackets[run]) for run in side]) for side in tested]
        numbers = [len(side) for side in runs]
        if not _is_later(times[0], times[1]):
            a, b, times, numbers = b, a, times[::-1], numbers[::-1]
        rows.append({"n_a": numbers[0], "n_b": numbers[1], **_row(a, b, times, bool(paired_on), test, level)})
    alone = {run for of in units.values() for run in of.runs} - paired if paired_on else set()
    return rows, len(alone)


def with_correction(rows: list[dict[str, object]], correction: Correction) -> list[dict[str, object]]:
    """The rows with p values adjusted for how many there are, and a verdict from those."""
    values = adjusted(np.array([real(r["p"]) for r in rows]), correction) if rows else np.empty(0)
    return [
        {**r, "p_adjusted": float(p), "verdict": "yes" if p < ALPHA else "unresolved"}
        for r, p in zip(rows, values, strict=True)
    ]


def octaves(bracket: Bracket) -> float:
    """log2 of the time: the middle of its bracket, or its end where it may be as early as 0; ±inf where censored."""
    if bracket.kind != "observed":
        return math.inf if bracket.kind == "never" else -math.inf
    if bracket.low <= 0:
        return math.log2(bracket.high)
    return (math.log2(bracket.low) + math.log2(bracket.high)) / 2


def real(value: object) -> float:
    """The number in a cell of a row; NaN where there is none."""
    return value if isinstance(value, float) else math.nan


def _by_seeds(
    selected: Selected, runs: Sequence[int], paired_on: Sequence[Seed], group: str
) -> dict[tuple[int, ...], int]:
    found: dict[tuple[int, ...], int] = {}
    for run in runs:
        row: RunRow = selected.by_id[run]
        seeds = [getattr(row, SEED_FIELDS[name]) for name in paired_on]
        if None in seeds:
            continue
        key = tuple(int(s) for s in seeds)
        if key in found:
            other = selected.by_id[found[key]].run
            raise UsageError(
                f"{group} has two runs with {row.seeds!r} ({other}, {row.run}), so pairs are not defined: add the seed in "
                "which they differ to paired_on, or ask for fewer runs."
            )
        found[key] = run
    return found


def _is_later(a: Floats, b: Floats) -> bool:
    """Whether b is the later group, by mean rank."""
    ranks = mid_ranks(np.concatenate([a, b]))
    return bool(ranks[len(a) :].mean() >= ranks[: len(a)].mean())


def _row(
    a: str, b: str, times: Sequence[Floats], paired: bool, test: Test, level: float
) -> dict[str, object]:
    n_a, n_b = len(times[0]), len(times[1])
    finite = [t[np.isfinite(t)] for t in times]
    if paired:
        both = np.isfinite(times[0]) & np.isfinite(times[1])
        with np.errstate(invalid="ignore"):
            differences = np.nan_to_num(times[1] - times[0], nan=0.0, posinf=math.inf, neginf=-math.inf)
        found = sign_flips(differences, level=level, by_ranks=test == "ranks")
        sd = float(differences[both].std(ddof=1)) if both.sum() > 1 else math.nan
        mde = detectable_paired_difference(n_a) * sd
    else:
        found = two_groups(times[0], times[1], level=level, by_ranks=test == "ranks")
        mde = detectable_difference(n_a, n_b) * pooled_sd(finite)[0]
    return {
        "earlier_group": a,
        "later_group": b,
        "units_a": n_a,
        "units_b": n_b,
        "n_censored": int(sum((~np.isfinite(t)).sum() for t in times)),
        "ratio_octaves": finite_or_none(found.difference),
        "low": found.low,
        "high": found.high,
        "ratio": finite_or_none(2.0**found.difference) if math.isfinite(found.difference) else None,
        "p": found.p,
        "smallest_p": found.smallest_p,
        "mde_octaves": finite_or_none(mde),
        "test": _test_name(found, paired),
    }


def _test_name(found: Shift, paired: bool) -> str:
    kind = "exact" if found.exact else "sampled"
    if paired:
        return f"{kind} sign-flip" + (" (signed ranks)" if found.ranks else " (means)")
    return f"{kind} permutation" + (" (ranks)" if found.ranks else " (medians)")
