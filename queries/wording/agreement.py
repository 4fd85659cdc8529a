"""What agreement by class of difficulty says and cannot say, in words."""

import math
from collections.abc import Mapping, Sequence
from typing import Any

from queries.reading.checkpoints import Picked
from queries.reading.select import Selected
from queries.reading.tables import shared_words
from queries.reading.units import independent
from queries.render import interval, number

SURPRISALS = {"bigram": "surprisal given the token before", "unigram": "surprisal by frequency"}
FEWEST_RUNS = 3

Rows = Sequence[Mapping[str, Any]]


def difficulty_sentence(summary: Rows, source: str, picked: Picked, level: float) -> str:
    """From the easiest class to the hardest, and the slope."""
    cut = len(shared_words(str(row["group"]) for row in summary))
    told = []
    for row in summary[:3]:
        slope = number(row["slope"], 2)
        band = interval(row["low"], row["high"], 2)
        tested = (
            f"{level:.0%} interval {band}, p = {number(row['p'], 2)}"
            if math.isfinite(row["p"])
            else "not tested"
        )
        name = f"{row['group'][cut:]} " if len(summary) > 1 else ""
        told_of = f"{found}, " if (found := independent(row)) else ""
        told.append(
            f"{name}{number(row['easiest'], 2)} on the easiest to {number(row['hardest'], 2)} on the hardest, "
            f"slope {slope} per class ({row['n_runs']} runs, {told_of}{tested})"
        )
    more = f" and {len(summary) - 3} more" if len(summary) > 3 else ""
    what = source.replace("run:", "loss of ")
    return (
        f"Path-dependence index at {picked.place} by difficulty ({what}; 0: the same on every token, 1: chance): "
        f"{'; '.join(told)}{more}."
    )


def difficulty_limits(
    summary: Rows,
    *,
    source: str,
    n_unknown: int,
    steps: Sequence[int],
    strata: tuple[int, int],
    same_condition: Sequence[str],
) -> list[str]:
    """What such a slope cannot tell. strata: classes asked for and found. same_condition: other seeds that say what is hard."""
    lines = []
    few = [row for row in summary if row["n_units"] < FEWEST_RUNS]
    if few:
        has = independent(few[0]) or f"{few[0]['n_units']} runs"
        lines.append(f"A test takes {FEWEST_RUNS} runs that share no seed; {few[0]['group']} has {has}.")
    for row in summary:
        if row["without_least"] is not None:
            lines.append(
                f"The test rests on {row['n_runs']} runs ({row['n_units'] - 1} degrees of freedom), not on tokens or pairs: "
                f"leaving one out moves the slope between {number(row['without_least'], 2)} and "
                f"{number(row['without_most'], 2)}."
            )
            break
    turned = [
        row for row in summary if abs(row["coarser"] - row["slope"]) > max(0.5 * abs(row["slope"]), 1e-12)
    ]
    if turned:
        lines.append(
            f"Without finer classes of difficulty within each class the slope is {number(turned[0]['coarser'], 2)}: much "
            "of it is a matter of how difficulty is cut."
        )
    if len(summary) > 1:
        lines.append(f"{len(summary)} groups are tested: p_adjusted counts them (Holm).")
    if n_unknown:
        lines.append(f"{n_unknown:,} prediction(s) have no known difficulty: left out.")
    asked, found = strata
    if found < asked:
        lines.append(f"Difficulty has too many equal values for {asked} classes: {found} were made.")
    if same_condition:
        lines.append(
            f"Difficulty is the loss of another seed of the group ({same_condition[0]}), which shares what seeds of this "
            "condition find hard: a run of another size or condition would be farther from circular."
        )
    elif not source.startswith("run:"):
        lines.append(
            "Surprisal by counts is only part of what makes a token hard for a model: what is hard in its context stays in every "
            "class."
        )
    if len(steps) > 1:
        lines.append("Runs end at different steps: part of what differs is the length of training.")
    lines.append(
        "sd and agreement on the most likely token change with difficulty by arithmetic alone: only the index, kappa and "
        "same_wrong beside wrong_chance are held against that. Outputs that agree need not come from the same mechanism."
    )
    return lines


def absent_limits(
    having: Selected, picked: Picked, ordered: Sequence[int], compared: Sequence[int]
) -> list[str]:
    """Runs that were asked for and are not in the answer."""
    lines = []
    alone = [having.by_id[run].run for run in ordered if run not in compared]
    if alone:
        lines.append(f"{len(alone)} run(s) repeat no other and are not in the answer (first: {alone[0]}).")
    absent = [run.run for run in having.runs if run.run_id not in picked.at]
    if absent:
        lines.append(f"{len(absent)} run(s) have no value at that step (first: {absent[0]}).")
    return lines
