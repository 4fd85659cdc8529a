"""What an answer about phase transitions says, and what it cannot tell."""

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pyarrow.compute as pc

from queries.reading.series import OF_COMPONENTS, SeriesRead
from queries.reading.units import among
from queries.render import interval, number
from queries.stats.serial_noise import SHORT
from queries.stats.smooth_null import FEWEST_POINTS
from queries.stats.transition_verdict import CLASSES, FEWEST_CONTROLS
from queries.stats.transitions import MOST_POINTS, Found

_WORDS = {
    "major_transition": "a major transition",
    "minor_transition": "a minor one",
    "metric_only": "one in the discrete metric only",
    "axis_only": "one on the linear axis only",
    "none": "none",
    "unresolved": "cannot be told",
}
Member = tuple[Mapping[str, object], Found]


def answer_sentence(label: str, found: Sequence[Found], only: Mapping[str, Any] | None) -> str:
    """The headline: one series in full, several as counts by class."""
    if len(found) == 1:
        return f"{label}: {_of_one(found[0])}."
    count = Counter(f.kind for f in found)
    told = ", ".join(f"{count[kind]} {_WORDS[kind]}" for kind in CLASSES if count[kind])
    runs = ""
    if only is not None and only["n_runs"] != 1 and only["n_resolved"]:
        band = interval(only["share_low"], only["share_high"], 2)
        runs = f"; {only['n_major']} of {only['n_resolved']} resolved runs{among(only)} have a major one, share {band}"
    return f"{label}, {len(found)} series: {told}{runs}."


def _of_one(f: Found) -> str:
    t = f.tested
    where = f"between steps {number(t.start, 3)} and {number(t.end, 3)}"
    if f.kind in ("major_transition", "minor_transition"):
        name = f.kind.replace("_", " ")
        more = f"{number(t.excess, 2)} of the range more than a smooth curve (q = {number(t.q, 2)})"
        return f"{name} {where}: that octave holds {more}"
    return f"{f.kind.replace('_', ' ')}: {f.why}"


def answer_limits(members: Sequence[Member], read: SeriesRead, unreachable: str) -> list[str]:
    """Sentences; unreachable: the smallest q there can be where it is too large to find one series alone, else empty."""
    found = [f for _, f in members]
    measure = read.choice.quantity.measure
    source = read.choice.quantity.source
    lines = _unresolved(members, measure, "" if source == "pathscope" else source, items=read.items)
    there = [f for f in found if f.kind in ("major_transition", "minor_transition")]
    spacing = [f.tested.spacing for f in there]
    if spacing:
        lines.append(
            f"Checkpoints where transitions happen are {number(float(np.median(spacing)), 2)} octaves apart (median; at most "
            f"{number(max(spacing), 2)}): no smaller width can be claimed."
        )
    if there and all(f.controls < FEWEST_CONTROLS for f in there):
        lines.append(
            f"No series with a transition has the {FEWEST_CONTROLS} matched series of its run that a comparison needs: what "
            "all of a run does, such as a change of learning rate, is not ruled out (controls='required' refuses these)."
        )
    if pc.count_distinct(read.table["step"]).as_py() > MOST_POINTS:
        lines.append(
            f"Long series are read at {MOST_POINTS} points spread evenly over their octaves, not averaged."
        )
    if read.discrete and read.partner is None:
        lines.append(
            f"{measure} counts right answers and no continuous measure of the same answers is there: nothing is called a "
            "transition by it alone."
        )
    if read.items:
        lines.append(
            "Items of one task are learned by one run: the other items are its controls, and what they all do at once is not one "
            "item's own. They are no repeats; only other runs are."
        )
    if unreachable:
        lines.append(
            f"With so many series and draws the smallest q of one series alone is {unreachable}: only several at once can be "
            "found (more draws, or fewer series)."
        )
    if read.choice.quantity.table_name in OF_COMPONENTS:
        lines.append(
            "Heads that are looked at because they end high rise by that choice; all of a run are tested here unless you "
            "named some. The number of a head means the same only in runs that share their init."
        )
    lines.append(
        "Noise is taken as equally correlated all along a series; a smooth curve outside the families departs from them too, "
        "which is why an excess below 5% of the range is never a transition."
    )
    short = sum(f.tested.n_points < SHORT for f in found)
    if short:
        lines.append(
            f"{short} series have fewer than {SHORT} checkpoints: a transition is called only where a jump with noise of one "
            "size explains them better than a smooth curve with noise that changes its size."
        )
    if len({key["run"] for key, _ in members}) < 5:
        lines.append(
            "Fewer than 5 runs cannot show that more than half of such runs have a transition (5 of 5 can)."
        )
    return lines


def _unresolved(members: Sequence[Member], measure: str, imported: str, *, items: bool) -> list[str]:
    """A line per reason, with the first series it holds for and what to do next; imported: the source, where it is one."""
    by_reason: dict[str, list[Member]] = {}
    for key, f in members:
        if f.kind == "unresolved":
            by_reason.setdefault(_kind_of(f.why), []).append((key, f))
    lines = []
    for cases in by_reason.values():
        key, f = cases[0]
        name = " ".join(str(key[part]) for part in ("series", "run") if key[part])
        lines.append(
            f"{len(cases)} series cannot be judged (first: {name}: {f.why}){_next(f, measure, imported, items=items)}."
        )
    return lines


def _kind_of(why: str) -> str:
    """The reason without its numbers."""
    return "".join(c for c in why if not c.isdigit() and c != ".")


def _next(f: Found, measure: str, imported: str, *, items: bool) -> str:
    if imported:
        how = f"{imported} has no more of them"
    elif measure.startswith("log."):
        how = "log more often"
    else:
        how = f"`pathscope ingest STUDY.toml --fill {measure}` with more checkpoints kept"
    if f.needed:
        listed = ", ".join(f"{s:,}" for s in f.needed[:6]) + (" ..." if len(f.needed) > 6 else "")
        return f"; needed are steps {listed}: {how}"
    if f.tested.n_points < FEWEST_POINTS:
        return f"; {how}"
    if f.tested.q != f.tested.q or "no plateau" in f.why:
        return "; train longer or begin earlier" if "plateau" in f.why else ""
    if "noise" in f.why and not items:
        return "; a larger eval set has less noise"
    return ""
