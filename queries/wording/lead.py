"""What leads of measures over an event say and cannot say, in words."""

from collections.abc import Mapping, Sequence
from typing import Any

from queries.reading.units import among
from queries.render import interval, number
from queries.stats.intervals import Rule

# decided runs below which an exact two-sided sign test cannot reach 5 %
FEWEST_DECIDED = 6
# checkpoints wider apart than this at the event resolve no transition
WIDE = 2 / 3


def lead_sentence(summary: Sequence[Mapping[str, Any]], event: str) -> str:
    """Runs, octaves and verdict of the only row, or how many measures lead."""
    if not summary:
        return f"No run has the data for {event}."
    if len(summary) > 1:
        counts = {
            word: sum(r["verdict"] == word for r in summary) for word in ("leads", "follows", "together")
        }
        best = max(summary, key=lambda r: (r["verdict"] == "leads", r["n_leading"] - r["n_following"]))
        groups = len({r["group"] for r in summary})
        what = "measures" if groups == 1 else f"answers of {groups} groups"
        return (
            f"Of {len(summary)} {what} {counts['leads']} lead {event}, {counts['together']} change together with it, "
            f"{counts['follows']} follow; most often first is {best['measure']} ({best['n_leading']} of {best['n_runs']} runs)."
        )
    r = summary[0]
    counted = (
        f"{r['measure']} comes before {event} in {r['n_leading']} of {r['n_runs']} runs{among(r)} and after it in "
        f"{r['n_following']}"
    )
    if r["lead_octaves"] is not None:
        ends = (
            -float("inf") if r["low"] is None else r["low"],
            float("inf") if r["high"] is None else r["high"],
        )
        lead = f", by {number(r['lead_octaves'], 2)} octaves {interval(*ends, 2)} on average"
    else:
        lead = ""
    return f"{counted}{lead}: {_in_words(r)}."


def _in_words(r: Mapping[str, Any]) -> str:
    p = f"p = {number(r['p_adjusted'], 2)}"
    never = r["n_measure_never"]
    if r["verdict"] == "follows" and never == r["n_following"]:
        return f"the event comes without it, which no run passes by its last checkpoint ({p})"
    return {
        "leads": f"it leads ({p})",
        "follows": f"it follows ({p})"
        if not never
        else f"it follows, or does not come in {never} of them ({p})",
        "together": f"the two come together, within half a spacing of checkpoints ({number(r['spacing'], 2)} octaves)",
    }.get(r["verdict"], f"unresolved ({p})" if r["p_adjusted"] is not None else "unresolved")


def lead_limits(
    summary: Sequence[Mapping[str, Any]],
    table: Sequence[Mapping[str, Any]],
    rule: Rule,
    event: str,
    n_pooled: int,
) -> list[str]:
    """What every answer about leads has to say. n_pooled: how many conditions are one group."""
    lines = [
        "A lead is one of these two levels: a lower level is passed earlier, without any change of the order in which things "
        "form; and a measure that is first causes nothing by that.",
        "Levels are absolute; a share of the final value would use the future and make leads of its own.",
    ]
    for name, words in (
        (
            "n_untold",
            "have overlapping brackets: which came first is unknown there, and they are not in the sign test",
        ),
        (
            "n_event_never",
            f"pass the level but never have {event}: they count as leading, and may as well be false alarms",
        ),
        (
            "n_measure_never",
            f"have {event} without passing the level by the last checkpoint: they count as following",
        ),
        ("n_neither", "reach neither and are left out"),
        (
            "n_from_start",
            "are there at the first checkpoint with one of the two, which tells no time, and are left out",
        ),
        ("n_no_data", "lack one of the two and are left out"),
    ):
        total = sum(r[name] for r in summary)
        if total:
            first = next(r["measure"] for r in summary if r[name])
            lines.append(f"{total} run(s) {words} (first: {first}).")
    lines += _few_and_wide(summary)
    other = [r for r in table if r["first_there"] and r["first_there"] != r["best_at_end"]]
    if other:
        n = sum(r["first_there"] is not None for r in table)
        lines.append(
            f"In {len(other)} of {n} curves of heads or pairs the first one there is not the best one at the end (first: "
            f"{other[0]['first_there']}, then {other[0]['best_at_end']} in {other[0]['run']}): many candidates pass a level "
            "early that the one in the end has no part in. A higher level, or one head or pair by name, asks about fewer."
        )
    if n_pooled > 1:
        lines.append(f"Runs of {n_pooled} conditions are pooled: the lead may be that of some of them only.")
    again = [r for r in table if (r["times_crossed"] or 0) > 1]
    if again and rule == "first":
        lines.append(
            f"{len(again)} curve(s) pass the level more than once (first: {again[0]['measure']} in {again[0]['run']}): a noisy "
            "measure reaches any level early by chance; rule='stays' asks for every later point too, which uses the future."
        )
    if rule == "stays":
        lines.append(
            "rule='stays' knows all later points: it describes, and could not have foretold the event."
        )
    return lines


def _few_and_wide(summary: Sequence[Mapping[str, Any]]) -> list[str]:
    lines = []
    if any(r["n_leading"] + r["n_following"] < FEWEST_DECIDED for r in summary):
        lines.append(
            f"Fewer than {FEWEST_DECIDED} runs are decided for some measure: 5 of 5 on one side is p = 0.06, so neither leads "
            "nor follows can be said of it."
        )
    wide = [r["spacing"] for r in summary if (r["spacing"] or 0) > WIDE]
    if wide:
        lines.append(
            f"Checkpoints lie up to {number(max(wide), 2)} octaves apart at these times: leads shorter than that are not seen. "
            "`pathscope ingest STUDY --fill MEASURE` after a denser schedule measures more."
        )
    return lines
