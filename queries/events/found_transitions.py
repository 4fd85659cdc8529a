"""Transitions that were found, as rows: one a series, and per condition how many runs have which class."""

import math
from collections import Counter
from collections.abc import Mapping, Sequence

import numpy as np
import pyarrow as pa

from queries.events.event_times import finite_or_none
from queries.reading.select import Selected
from queries.reading.series import OF_COMPONENTS
from queries.reading.units import units_by_group
from queries.results import Verdict
from queries.stats.over_units import share_over_units
from queries.stats.transition_verdict import CLASSES, Class
from queries.stats.transitions import Found

_TEXT, _WHOLE, _REAL, _STEPS = pa.string(), pa.int64(), pa.float64(), pa.list_(pa.int64())
TABLE = pa.schema(
    [
        # on a narrow terminal the first ones are shown
        *((name, _TEXT) for name in ("run", "series", "class")),
        *((name, _REAL) for name in ("q", "excess", "event_start", "event_end", "spacing", "share")),
        *((name, _TEXT) for name in ("why", "group")),
        *((name, _REAL) for name in ("p", "native_excess", "half_share", "two_share")),
        *((name, _REAL) for name in ("linear_share", "excess_linear", "p_linear", "q_linear", "steepness")),
        *((name, _REAL) for name in ("t10_after", "t10", "t50_after", "t50", "t90_after", "t90")),
        *((name, _REAL) for name in ("width_low", "width_high", "share_low", "share_high")),
        *((name, _REAL) for name in ("w", "w_low", "w_high", "sigmoid_gain", "sigmoid_gain_linear")),
        ("smooth_curve", _TEXT),
        *((name, _REAL) for name in ("sigma", "rho", "detectable_w", "beyond")),
        *((name, _REAL) for name in ("p_discrete", "q_discrete", "excess_discrete", "share_discrete")),
        *((name, _WHOLE) for name in ("controls", "n_points", "n_inside", "n_draws")),
        ("needed", _STEPS),
    ]
)
# columns that are called as in `Tested`
_SAME = (
    *("q", "p", "excess", "native_excess", "spacing", "share", "half_share", "two_share", "linear_share"),
    *("excess_linear", "p_linear", "q_linear", "steepness", "sigma", "rho"),
)
_COUNTED: dict[str, Class] = {
    "n_major": "major_transition",
    "n_minor": "minor_transition",
    "n_metric_only": "metric_only",
    "n_axis_only": "axis_only",
    "n_none": "none",
    "n_unresolved": "unresolved",
}
SUMMARY = pa.schema(
    [
        ("group", _TEXT),
        ("series", _TEXT),
        *((name, _WHOLE) for name in ("n_runs", "n_resolved", "n_units", *_COUNTED)),
        ("unit", _TEXT),
        *((name, _REAL) for name in ("share_low", "share_high", "median_t50")),
        ("verdict", _TEXT),
    ]
)

Member = tuple[dict[str, object], Found]


def transition_row(key: Mapping[str, object], f: Found) -> dict[str, object]:
    """The row of TABLE of one series; key: its run, group and series."""
    t, d, shape = f.tested, f.discrete, f.shape
    least = t.spacing / 2
    row: dict[str, object] = {
        **key,
        "class": f.kind,
        "why": f.why,
        "event_start": finite_or_none(t.start),
        "event_end": finite_or_none(t.end),
        # below half the spacing a width is a bound, never a number
        "w": finite_or_none(t.w) if t.w >= least else None,
        "w_low": finite_or_none(t.w_low) if t.w_low >= least else None,
        "w_high": finite_or_none(max(t.w_high, least)),
        "sigmoid_gain": finite_or_none(t.gain),
        "sigmoid_gain_linear": finite_or_none(t.linear_gain),
        "smooth_curve": t.family or None,
        "detectable_w": t.detectable_w or None,
        "controls": f.controls,
        "beyond": finite_or_none(f.beyond),
        "n_points": t.n_points,
        "n_draws": t.n_draws,
        "needed": list(f.needed),
    }
    row |= {name: finite_or_none(getattr(t, name)) for name in _SAME}
    if d is not None:
        row |= {
            f"{name}_discrete": finite_or_none(getattr(d, name)) for name in ("p", "q", "excess", "share")
        }
    if shape is not None:
        for name, bracket in (("t10", shape.t10), ("t50", shape.t50), ("t90", shape.t90)):
            row |= {f"{name}_after": finite_or_none(bracket.low), name: finite_or_none(bracket.high)}
        for name, (low, high) in (("width", shape.width), ("share", shape.share)):
            row |= {f"{name}_low": finite_or_none(low), f"{name}_high": finite_or_none(high)}
        row["n_inside"] = shape.n_inside
    return row


def settings(members: Sequence[Member], selected: Selected, table_name: str, level: float) -> pa.Table:
    """Rows of SUMMARY: per condition and series the classes of its runs, n_units of those resolved independent of one another.

    Heads and pairs of heads are not the same thing in another run, so all of a run's count as one there: the run has a
    transition where any of them has one, and is resolved where one has or all are resolved.
    """
    together = table_name in OF_COMPONENTS
    cells: dict[tuple[str, object], dict[int, list[Found]]] = {}
    ids = {run.run: run.run_id for run in selected.runs}
    for key, f in members:
        name = "any of them" if together else key["series"]
        cells.setdefault((str(key["group"]), name), {}).setdefault(ids[str(key["run"])], []).append(f)
    units = units_by_group(selected, dict.fromkeys(run for runs in cells.values() for run in runs))
    rows = []
    for (group, name), runs in cells.items():
        kinds = {run: min((f.kind for f in found), key=_rank) for run, found in runs.items()}
        count = Counter(kinds.values())
        resolved = {run: kind == "major_transition" for run, kind in kinds.items() if kind != "unresolved"}
        major, shared = list(resolved.values()), units[group].of(resolved)
        share = share_over_units(major, shared, level)
        times = [
            f.shape.t50.high
            for found in runs.values()
            for f in found
            if f.kind == "major_transition" and f.shape is not None and math.isfinite(f.shape.t50.high)
        ]
        rows.append(
            {
                "group": group,
                "series": name,
                "n_runs": len(kinds),
                "n_resolved": len(resolved),
                **units[group].columns(resolved),
                **{column: count[kind] for column, kind in _COUNTED.items()},
                "share_low": share[1],
                "share_high": share[2],
                "median_t50": float(np.median(times)) if times else None,
                "verdict": _verdict(share_over_units(major, shared, 0.9)),
            }
        )
    return pa.Table.from_pylist(rows, schema=SUMMARY)


def _rank(kind: str) -> int:
    """Which class a run with several series has: a transition before an open question before everything else."""
    order = (
        "major_transition",
        "unresolved",
        *(k for k in CLASSES if k not in ("major_transition", "unresolved")),
    )
    return order.index(kind)


def _verdict(share: tuple[float, float, float]) -> Verdict:
    """Whether more than half of such runs have a major one: one-sided bounds at 95 %: 5 of 5 independent ones at least."""
    _, low, high = share
    if low > 0.5:
        return "yes"
    return "no" if high < 0.5 else "unresolved"
