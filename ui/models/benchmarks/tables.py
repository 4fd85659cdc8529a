"""Small models ahead of large ones, and results worse at the end than before: as tables for people."""

from collections.abc import Mapping, Sequence
from typing import Any

import pyarrow as pa

from queries.benchmark_curves import BenchmarkCurves
from queries.smaller_beats_larger import SmallerBeatsLarger
from ui.models.text import count, plural

CORRECTIONS = ("holm", "bh")
MOST_ROWS = 200  # a browser sorts them at once, and nobody reads more
_TEXT, _WHOLE, _REAL = pa.string(), pa.int64(), pa.float64()

# what decides comes before the details: a narrow window shows the first of them
_BEATEN = pa.schema(
    [
        *((name, _TEXT) for name in ("task", "smaller", "larger")),
        *((name, _REAL) for name in ("difference", "p_adjusted")),
        ("found", pa.bool_()),
        *((name, _REAL) for name in ("smaller_value", "larger_value", "se", "z", "p")),
    ]
)
_CONDITIONS = pa.schema(
    [
        *((name, _TEXT) for name in ("task", "smaller_group", "larger_group")),
        *((name, _WHOLE) for name in ("n_pairs", "n_ahead", "n_found")),
        *((name, _REAL) for name in ("mean_difference", "largest", "p_adjusted")),
    ]
)
_DECLINES = pa.schema(
    [
        *((name, _TEXT) for name in ("task", "run")),
        ("best", _REAL),
        ("best_step", _WHOLE),
        ("final", _REAL),
        ("q", _REAL),
        ("declined", pa.bool_()),
        *((name, _REAL) for name in ("decline", "decline_in_se", "p", "best_se", "final_se")),
        ("final_step", _WHOLE),
    ]
)


def beaten(found: SmallerBeatsLarger) -> tuple[pa.Table, int]:
    """(comparisons in which the smaller model is ahead, clearest first and at most `MOST_ROWS`; how many there are)."""
    rows = [r for r in found.table.to_pylist() if r["difference"] > 0]
    return pa.Table.from_pylist(rows[:MOST_ROWS], schema=_BEATEN), len(rows)


def beaten_conditions(found: SmallerBeatsLarger) -> pa.Table:
    """The same by pairs of conditions, where any has several runs; no row where none has, for nothing is added then."""
    rows: Sequence[Mapping[str, Any]] = found.summary.to_pylist() if found.summary is not None else []
    if all(r["n_pairs"] == 1 for r in rows):
        rows = []
    ahead = [r for r in rows if r["n_ahead"]]
    return pa.Table.from_pylist([dict(r) for r in ahead[:MOST_ROWS]], schema=_CONDITIONS)


def beaten_key(found: SmallerBeatsLarger, correction: str, where: str) -> str:
    """What was found, what its last number means, and how many were compared. where: at which step, in words."""
    level = f"{found.alpha:g}"
    means = (
        f"If all models were equally good, at most {found.alpha:.0%} of archives would show any adjusted p below {level}"
        if correction == CORRECTIONS[0]
        else f"Of the rows with q below {level} about {found.alpha:.0%} are expected to be wrong"
    )
    return f"{found.sentence} {means}. Corrected for all {plural(found.table.num_rows, 'comparison')}, made {where}."


def beaten_in_words(shown: pa.Table, n_ahead: int) -> str:
    """The table as a sentence, for those who do not see it."""
    n_found = sum(bool(v) for v in shown["found"].to_pylist())
    return (
        f"Comparisons in which a smaller model is ahead of a larger one, the clearest first: {count(n_ahead)}, "
        f"{n_found} of them beyond chance."
    )


def declines(found: BenchmarkCurves) -> tuple[pa.Table, int]:
    """(curves that were better before their end, clearest first and at most `MOST_ROWS`; how many there are)."""
    rows = found.summary.to_pylist() if found.summary is not None else []
    fallen = [r for r in rows if r["decline"] is not None and r["decline"] > 0]
    # without a standard error nothing is judged: those come last, the largest first
    fallen.sort(key=lambda r: (r["p"] is None, r["p"] if r["p"] is not None else 0.0, -r["decline"]))
    return pa.Table.from_pylist(fallen[:MOST_ROWS], schema=_DECLINES), len(fallen)


def declines_in_words(shown: pa.Table, n_fallen: int) -> str:
    """The table as a sentence, for those who do not see it."""
    n_declined = sum(bool(v) for v in shown["declined"].to_pylist())
    return (
        f"Curves that were better before their end, the clearest first: {count(n_fallen)}, {n_declined} of them beyond "
        "chance (q below 0.05)."
    )
