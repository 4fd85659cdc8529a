"""What answers about fine-tuning have to say: sentences, and what changes of the loss cannot tell."""

import math
from collections.abc import Mapping, Sequence
from typing import Any

import pyarrow as pa

from queries.reading.finetuned_tables import Shift, lost_places
from queries.reading.units import among
from queries.render import interval, number
from queries.stats.component_categories import CATEGORIES
from queries.wording.circuits import or_nan, plural
from queries.wording.component_change import counted

FEW_DOCUMENTS = 10
# eval sets told in the sentence
_TOLD = 3


def shift_sentence(
    summary: Sequence[Mapping[str, Any]],
    table: Sequence[Mapping[str, Any]],
    inside: Sequence[Mapping[str, Any]],
    margin: float,
) -> str:
    """The answer in one sentence. inside: components by category, one row a tuned run and eval set of effects."""
    several = len({row["group"] for row in summary}) > 1
    told = []
    for row in sorted(summary, key=lambda r: -abs(r["mean_delta"]))[:_TOLD]:
        rise = row["mean_delta"]
        band = interval(or_nan(row["ci_low"]), or_nan(row["ci_high"]), 3)
        group = f" of {row['group']}" if several else ""
        moved = "rises" if rise > 0 else "falls" if rise < 0 else "stays"
        by = f" by {number(abs(rise), 3)} nats" if rise else ""
        told.append(
            f"on {row['eval_set']}{group} the loss {moved}{by} {f'(change {band})' if band else ''}".rstrip()
            + f", {judged(row, margin)}"
        )
    more = f"; {len(summary) - _TOLD} more in the summary" if len(summary) > _TOLD else ""
    runs = len({row["run_b"] for row in table})
    first = table[0]
    who = (
        f"{first['run_b']} at step {first['step_b']:,} against {first['run_a']} at step {first['step_a']:,}"
        if runs == 1
        else f"{runs} tuned runs"
    )
    return f"{who}: {'; '.join(told)}{more}{_inside(inside)}."


def _inside(inside: Sequence[Mapping[str, Any]]) -> str:
    """What became of components, by the effects that most runs have, the first of them where several are as many."""
    if not inside:
        return ""
    sets = [row["eval_set"] for row in inside]
    mine = [row for row in inside if row["eval_set"] == max(sets, key=sets.count)]
    total = sum(row["n_components"] for row in mine)
    runs = f" of {len(mine)} runs" if len(mine) > 1 else ""
    counts = {name: sum(row[name] for row in mine) for name in CATEGORIES}
    return f"; of {plural(total, 'component')}{runs} (effects on {mine[0]['eval_set']}) {counted(counts)}"


def judged(row: Mapping[str, Any], margin: float) -> str:
    """The two verdicts in a word or two."""
    if row["forgets"] == "yes":
        return "forgotten"
    if row["transfers"] == "yes":
        return "gained"
    if row["forgets"] == "no" and row["transfers"] == "no":
        return f"the same within {margin:g}"
    if row["forgets"] == "no":
        return "not forgotten, a gain unresolved"
    if row["transfers"] == "no":
        return "not gained, forgetting unresolved"
    return "unresolved"


def overview_rows(summary: pa.Table | None) -> list[dict[str, Any]]:
    """A row per eval set and condition."""
    rows = summary.to_pylist() if summary is not None else []
    return [
        {
            "eval set": r["eval_set"],
            "group": r["group"],
            "runs": f"{r['n_runs']}{among(r)}",
            "change of loss": f"{number(r['mean_delta'], 3)} {interval(or_nan(r['ci_low']), or_nan(r['ci_high']), 3)}".rstrip(),
            "forgets": r["forgets"],
            "transfers": r["transfers"],
            "gini": number(r["gini"], 3),
            "late gini": number(r["near_gini"], 3),
            "top 1 %": number(r["share_top1pct"], 2),
            "late top 1 %": number(r["near_share_top1pct"], 2),
        }
        for r in rows
    ]


def shift_limits(
    shifts: Sequence[Shift], summary: Sequence[Mapping[str, Any]], margin: float, *, inside: bool
) -> list[str]:
    """What an answer about fine-tuning cannot tell."""
    return [
        *_about_starts(shifts),
        *_about_runs(summary),
        *_about_yardsticks(shifts),
        *_about_tokens(shifts),
        f"No change means less than {margin:g} nats (margin), a convention; verdicts hold for all rows of the summary together "
        "(intervals for them are wider than those shown).",
        *(
            [
                "Components are sorted with the default thresholds of component_change, which has each of them and a yardstick."
            ]
            if inside
            else []
        ),
        "A loss that rises can be masked ability or lost ability: what still lies in the weights is not seen in losses.",
    ]


def _about_starts(shifts: Sequence[Shift]) -> list[str]:
    lines = []
    for why in dict.fromkeys(s.began.why for s in shifts):
        mine = [s for s in shifts if s.began.why == why]
        runs = len({s.run_id for s in mine})
        starts = {s.began.pair.a.checkpoint_id for s in mine}
        where = (
            mine[0].began.pair.a.place
            if len(starts) == 1
            else f"{len(starts)} checkpoints (first: {mine[0].began.pair.a.place})"
        )
        lines.append(f"{plural(runs, 'tuned run')} compared with {where}: {why}.")
    doubts = {p.checkpoint_id: p for s in shifts for p in (s.began.pair.a, s.began.pair.b) if p.doubt}
    return [*lines, *(f"{p.place} is a suspect checkpoint ({p.doubt})." for p in doubts.values())]


def _about_runs(summary: Sequence[Mapping[str, Any]]) -> list[str]:
    lines = []
    if any(row["n_runs"] == 1 for row in summary):
        lines.append(
            "Where one run was tuned the interval is over documents and says nothing of tuning again: two tuned seeds would."
        )
    shared = [row for row in summary if row["n_runs"] > 1 and row["n_bases"] == 1]
    if shared:
        lines.append(
            f"The {shared[0]['n_runs']} tuned runs of {shared[0]['group']} go on from one base: nothing is said of other bases."
        )
    if any(row["n_documents"] < FEW_DOCUMENTS for row in summary):
        few = min(row["n_documents"] for row in summary)
        lines.append(f"Only {plural(few, 'document')}: intervals over so few are themselves hardly known.")
    undecided = [row for row in summary if "unresolved" in (row["forgets"], row["transfers"])]
    known = [row["detectable"] for row in undecided if math.isfinite(or_nan(row["detectable"]))]
    if known:
        lines.append(
            f"Where it is unresolved, runs and documents like these would show a change of {number(max(known), 2)} nats or more "
            "(80 % power)."
        )
    return lines


def _about_yardsticks(shifts: Sequence[Shift]) -> list[str]:
    without = {s.began.tuned.base.run for s in shifts if s.began.near is None}
    if without:
        return [
            f"{plural(len(without), 'base')} without two adjacent checkpoints with token_loss (first: {sorted(without)[0]}): how "
            "concentrated the changes of further training alone are is not known, and gini cannot be judged."
        ]
    near = shifts[0].began.near
    assert near is not None  # none is without
    return [
        f"The yardstick of concentration is the base between steps {near.a.step:,} and {near.b.step:,} (first: {near.b.run}): a "
        "gini like its own is what any training does; a constant shift has 0, normal noise 0.41."
    ]


def _about_tokens(shifts: Sequence[Shift]) -> list[str]:
    lost = [(s, place) for s in shifts for place in lost_places(s)]
    if not lost:
        return []
    s, place = lost[0]
    return [
        f"{plural(len(lost), 'checkpoint')} of curves left out, with finite losses of other tokens than at the start (first: "
        f"{place.point.place} on {s.eval_set})."
    ]
