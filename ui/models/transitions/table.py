"""Detected changes as a table: when a series changes, how wide, how much within an octave, and what the test says."""

import math
from collections.abc import Mapping, Sequence
from typing import Any

import pyarrow as pa

from queries.phase_transitions import PhaseTransitions
from queries.stats.transition_verdict import CLASSES
from ui.models.text import distinguish, number, plural

MOST_ROWS = 500
CLASS_WORDS = {kind: kind.replace("_", " ") for kind in CLASSES}
# what people look for comes first
_RANK = {
    "major_transition": 0,
    "minor_transition": 1,
    "metric_only": 2,
    "axis_only": 3,
    "unresolved": 4,
    "none": 5,
}
_SAID = ("class", "why", "q", "q_linear", "q_discrete", "excess", "controls", "beyond", "needed", "n_draws")

Row = dict[str, Any]


def joined(described: Mapping[str, PhaseTransitions], tested: Mapping[str, PhaseTransitions]) -> list[Row]:
    """A row per series: its own shape, and what the test says of it where it was made.

    The shape is of the measure itself; the test of a discrete measure with a continuous partner is of that partner.
    Sorted by class, then by the least share that one octave holds.
    """
    rows = []
    for label, answer in described.items():
        said = {
            (r["run"], r["series"]): {k: r[k] for k in _SAID}
            for r in (tested[label].table.to_pylist() if label in tested else [])
        }
        for row in answer.table.to_pylist():
            mine = said.get((row["run"], row["series"]))
            kept = {k: v for k, v in row.items() if k not in _SAID}
            kept |= mine if mine is not None else dict.fromkeys(_SAID)
            octaves = _octaves(row["t50_after"], row["t50"])
            rows.append({"measure": label, **kept, "midpoint_octaves": octaves, "tested": mine is not None})
    return sorted(rows, key=lambda r: (_RANK.get(r["class"], 6), -(r["share_low"] or 0.0)))


def shown_table(rows: Sequence[Row], most: int = MOST_ROWS) -> pa.Table:
    """The first rows as people read them: brackets in words, shares in per cent."""
    runs = list(dict.fromkeys(r["run"] for r in rows))
    short = dict(zip(runs, distinguish(runs, 40), strict=True)) if runs else {}
    return pa.Table.from_pylist(
        [
            {
                "measure": r["measure"],
                "series": r["series"] or "whole",
                "run": short[r["run"]],
                "onset": r["t10"],
                "midpoint": r["t50"],
                "between": bracket(r["t50_after"], r["t50"]),
                "width": width(r),
                "share": r["share_low"],
                "share_most": r["share_high"],
                "class": CLASS_WORDS.get(r["class"], "not tested"),
                "q": r["q"],
                "q_discrete": r["q_discrete"],
                "q_linear": r["q_linear"],
                "why": r["why"] or "",
                "spacing": r["spacing"],
                "n_points": r["n_points"],
            }
            for r in rows[:most]
        ],
        schema=_SHOWN,
    )


_TEXT, _REAL = pa.string(), pa.float64()
_SHOWN = pa.schema(
    [
        *((n, _TEXT) for n in ("measure", "series", "run")),
        *((n, _REAL) for n in ("onset", "midpoint")),
        *((n, _TEXT) for n in ("between", "width")),
        *((n, _REAL) for n in ("share", "share_most")),
        ("class", _TEXT),
        *((n, _REAL) for n in ("q", "q_discrete", "q_linear")),
        ("why", _TEXT),
        ("spacing", _REAL),
        ("n_points", pa.int64()),
    ]
)


def bracket(after: float | None, by: float | None) -> str:
    """When something happened, between two checkpoints: `200–320`, `by 16`, `> 1 400`; empty where nothing did."""
    if by is None:
        return "" if after is None else f"> {step(after)}"
    return f"by {step(by)}" if after is None else f"{step(after)}–{step(by)}"


def width(row: Mapping[str, Any]) -> str:
    """Octaves from 10 to 90 %, as bounds; empty where checkpoints are too far apart to say."""
    low, high = row["width_low"], row["width_high"]
    return "" if low is None or high is None else f"{low:.1f}–{high:.1f}"


def _octaves(after: float | None, by: float | None) -> float | None:
    """How wide a bracket is; None where it has no two ends after step 0."""
    return math.log2(by / after) if after and by else None


def step(value: float) -> str:
    """A step with thin spaces between thousands."""
    return f"{value:,.0f}".replace(",", "\u202f")


def headline_of(rows: Sequence[Row]) -> str:
    """How many series have which class, over how many runs."""
    n_runs = len({r["run"] for r in rows})
    start = f"{plural(len(rows), 'series', 'series')} of {plural(n_runs, 'run')}"
    if not any(r["tested"] for r in rows):
        return f"{start}, described but not tested: a narrow width or a full octave is no phase transition by itself."
    told = [f"{n} {CLASS_WORDS[kind]}" for kind in CLASSES if (n := sum(r["class"] == kind for r in rows))]
    return f"{start}: {', '.join(told)}."


def row_in_words(row: Row) -> str:
    """One series in sentences: when, how wide, how sudden, and what the test says."""
    lines = []
    onset, middle = bracket(row["t10_after"], row["t10"]), bracket(row["t50_after"], row["t50"])
    if middle:
        lines.append(f"10% of the change is done at step {onset or '?'}, half of it at step {middle}.")
    else:
        lines.append("It does not change.")
    if width(row):
        lines.append(f"From 10 to 90% takes {width(row)} octaves of training.")
    elif middle:
        lines.append("Checkpoints around its ends are too far apart to give a width.")
    if row["share_low"] is not None:
        low, high = row["share_low"], row["share_high"]
        ends = list(dict.fromkeys((f"{low:.0%}", f"{high:.0%}")))
        lines.append(
            f"One octave holds {' to '.join(ends)} of the change; a power of −0.5 has 29%, an exponential 25%."
        )
    if row["spacing"] is not None:
        lines.append(
            f"Checkpoints there are {number(row['spacing'])} octaves apart: no smaller width can be claimed."
        )
    if row["tested"]:
        why = f": {row['why']}" if row["why"] else ""
        lines.append(f"Test: {CLASS_WORDS[row['class']]}{why}.")
        if row["needed"]:
            lines.append(f"Needed are steps {', '.join(step(s) for s in row['needed'][:8])}.")
    return " ".join(lines)
