"""The sentence and the limits of an answer about the steps of single tokens."""

import math
from collections.abc import Mapping, Sequence
from typing import Any

from queries.reading.tables import shared_words
from queries.reading.token_curves import Sampled
from queries.reading.units import among
from queries.render import interval, number

Row = Mapping[str, Any]


def percent(value: float | None, digits: int = 2) -> str:
    """12.34%, or nothing where there is no number."""
    return "" if value is None or math.isnan(value) else f"{value:.{digits}%}"


def quanta_sentence(rows: Sequence[Row], summary: Sequence[Row]) -> str:
    """One sentence per condition, without the words that all conditions share."""
    cut = len(shared_words(group["group"] for group in summary))
    return " ".join(
        _of_group(group, [r for r in rows if r["group"] == group["group"]], group["group"][cut:])
        if len(summary) > 1
        else _of_group(group, rows, "")
        for group in summary
    )


def _of_group(group: Row, rows: Sequence[Row], name: str) -> str:
    if not group["n_runs"]:
        return f"{name + ': ' if name else ''}No run can be tested: {rows[0]['why']} ({rows[0]['run']})."
    rows = [row for row in rows if not row["why"]]
    only = rows[0] if len(rows) == 1 else None
    within = interval((only or group)["low"], (only or group)["high"], 2)
    over = "documents of the one run" if only else f"{len(rows)} runs{among(group)}"
    called = group["major"] + group["minor"]
    text = (
        f"{name + ': ' if name else ''}{group['excess_fraction']:.2%} of tokens {within} over {over} change more in one octave "
        f"than the 99th percentile of smooth curves (1% by chance); {called:.2%} have a transition"
    )
    if called:
        text += f", whose steps make {group['share_of_change']:.0%} of the change of the mean loss (R² {number(group['r2'], 2)})"
    return f"{text}, {group['unresolved']:.0%} cannot be judged."


def quanta_limits(
    rows: Sequence[Row], sampled: Sampled, measure: str, *, max_tokens: int, seed: int
) -> list[str]:
    """What the answer rests on and cannot tell."""
    n = sampled.tokens.num_rows
    lines = []
    if n < sampled.n_tokens:
        lines.append(
            f"A sample of {n:,} of {sampled.n_tokens:,} tokens (max_tokens={max_tokens}, seed={seed}): the same ones in every "
            "run and every time."
        )
    if sampled.n_broken:
        lines.append(
            f"{sampled.n_broken:,} curves of a token in a run have a checkpoint without a finite value and are left out."
        )
    refused = [row for row in rows if row["why"]]
    if refused:
        first = refused[0]
        lines.append(
            f"{len(refused)} run(s) cannot be tested (first: {first['run']}: {first['why']}); `pathscope ingest STUDY.toml "
            f"--fill {measure}` with more checkpoints kept, and in measures.schedule."
        )
    rows = [row for row in rows if not row["why"]]
    lines += _of_runs(rows)
    hidden = max((row["unresolved"] for row in rows), default=0.0)
    if hidden > 0:
        lines.append(
            f"For up to {hidden:.0%} of a run's tokens noise or checkpoints hide whether there is a transition; these may have "
            "one. What their excess adds to the 1% of chance is seen in the mean all the same."
        )
    known = [row for row in rows if row["busiest_share"] > 0]
    busiest = max(known, key=lambda row: row["busiest_share"]) if known else None
    lines += [
        "A token whose loss several circuits lower looks smooth even if each of them comes suddenly: few sharp tokens are no "
        "evidence that circuits form smoothly.",
        f"In {busiest['run']} {busiest['busiest_share']:.0%} of the tokens beyond smooth curves are so in the octave from step "
        f"{busiest['busiest_step']:,.0f}: what comes at once in many tokens may be one thing the run does, such as its warm-up "
        "(`after` leaves checkpoints out). Tokens are not held against other tokens of the run, which may have the same step."
        if busiest
        else "",
        "Noise is taken to change slowly along training: some loud checkpoints among calm ones can pass for a step.",
        "Smooth curves go one way: a loss that falls and rises again departs from them without any sudden step.",
        f"Uncorrected, {_range([row['uncorrected_null'] for row in rows])} of smooth curves with the tokens' noise would be "
        "beyond their 99th percentile; p are corrected by that on average, not for every kind of token. Shares of the range "
        "above a half are what noise has as well: compare monogenic with null_monogenic."
        if rows
        else "",
    ]
    return [line for line in lines if line]


def _range(values: Sequence[float]) -> str:
    low, high = f"{min(values):.1%}", f"{max(values):.1%}"
    return low if low == high else f"{low} to {high}"


def _of_runs(rows: Sequence[Row]) -> list[str]:
    lines = []
    if len({row["n_checkpoints"] for row in rows}) > 1:
        counts = [row["n_checkpoints"] for row in rows]
        lines.append(
            f"Runs have {min(counts)} to {max(counts)} checkpoints: more of them find smaller and narrower steps, so their "
            "shares do not compare."
        )
    groups = [row["group"] for row in rows]
    alone = [group for group in dict.fromkeys(groups) if groups.count(group) == 1]
    if alone:
        lines.append(
            f"{alone[0]} has one run: the interval is over its documents and says nothing about other runs, so there is no "
            "verdict."
        )
    if any(row["n_documents"] < 20 for row in rows):
        lines.append("Fewer than 20 documents: intervals over them are rough.")
    return lines
