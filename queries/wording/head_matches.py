"""What answers about heads of several runs have to say: sentences, and what matchings cannot tell."""

from collections.abc import Mapping, Sequence
from typing import Any

from queries.reading.signatures import SignatureReadings
from queries.render import interval, number
from queries.wording.circuits import or_nan, plural

# less excess than this is called none: a convention
NEGLIGIBLE = 0.05


def match_sentence(summary: Sequence[Mapping[str, Any]], n_runs: int, level: float) -> str:
    """The answer in one sentence."""
    told = []
    for r in summary:
        band = interval(or_nan(r["low"]), or_nan(r["high"]), 2)
        how = "heads of one number" if r["align"] == "index" else "matched heads"
        told.append(
            f"{how} correlate by {number(r['similarity'], 2)} over {plural(r['n_pairs'], 'pair')} of runs, "
            f"{number(r['excess'], 2)} more than {'permuted numbers' if r['align'] == 'index' else 'rotated signatures'}"
            f"{f' ({level:.0%} interval {band})' if band else ''}, and {r['n_beyond']} of {r['n_heads']} are beyond the 99th "
            f"percentile of that null"
        )
    words = "; ".join(told)
    return f"{words[0].upper()}{words[1:]} ({plural(n_runs, 'run')})."


def match_limits(
    summary: Sequence[Mapping[str, Any]],
    pairs: Sequence[Mapping[str, Any]],
    readings: SignatureReadings,
    eval_sets: Sequence[str],
) -> list[str]:
    """What an answer about matched heads cannot tell."""
    return [
        *_about_nulls(summary),
        *_about_numbers(pairs),
        *_about_runs(pairs, readings),
        _about_eval_sets(pairs, eval_sets),
        "Signatures say where heads look, not what they write or matter: the same implementation needs matched causal effects.",
    ]


def _about_nulls(summary: Sequence[Mapping[str, Any]]) -> list[str]:
    lines = []
    for r in summary:
        if r["align"] == "matched":
            lines.append(
                "Matching finds likeness between any heads, so read the excess. Rotated signatures vary in all directions, those "
                "of heads along few: heads of any two models are beyond that null, with a counterpart each or not."
            )
            if r["first_similarity"] is None:
                lines.append(
                    "No signatures of an earlier checkpoint are there for all runs, so what untrained heads have in common is "
                    "not taken off and no verdict can be yes (`pathscope ingest STUDY.toml --fill head.signature` measures step "
                    "0 where the schedule names it)."
                )
            else:
                band = interval(or_nan(r["above_first_low"]), or_nan(r["above_first_high"]), 2)
                lines.append(
                    f"At their first checkpoints the same runs match by {number(r['first_similarity'], 2)}; the difference since "
                    f"then is {number(r['above_first'], 2)} {band}".rstrip()
                    + ", and only more than 0 can be learned."
                )
        if r["n_runs"] < 3:
            lines.append(
                f"{plural(r['n_runs'], 'run')}: p is about these models, not about other seeds; an interval needs 3 runs."
            )
        elif r["n_pairs"] > 1:
            lines.append(
                f"{r['n_pairs']} pairs of {r['n_runs']} runs are not {r['n_pairs']} independent observations: intervals leave "
                "out runs, not pairs."
            )
    if len(summary) > 1:
        lines.append(
            "Some pairs share an init and are compared by number, others are matched: the two are never averaged; "
            "align='matched' or fewer runs give one estimate."
        )
    return lines


def _about_numbers(pairs: Sequence[Mapping[str, Any]]) -> list[str]:
    lines = []
    forced = [r for r in pairs if r["align"] == "matched" and r.get("identity") is not None]
    if forced:
        lines.append(
            f"{plural(len(forced), 'pair')} of runs share an init but are matched: where numbers mean the same, matching makes "
            "heads look more alike than they are."
        )
    shown = [r for r in pairs if "at step 0" in r["why"] and r["align"] == "index"]
    if shown:
        lines.append(
            f"{plural(len(shown), 'pair')} of runs are compared by number only in layers whose heads measure the same at step 0: "
            "that shows a shared init, no record says it."
        )
    lost = [r for r in pairs if (r.get("gap_p") or 0.0) >= 0.05]
    if lost:
        known = sum(r.get("gap_p") is not None for r in pairs)
        lines.append(
            f"In {len(lost)} of {known} pairs that share an init, heads of one number are no more alike than at permuted "
            f"numbers (first: {lost[0]['run_a']} and {lost[0]['run_b']}): heads have drifted, or those of a layer are all "
            "alike."
        )
    return lines


def _about_runs(pairs: Sequence[Mapping[str, Any]], readings: SignatureReadings) -> list[str]:
    lines = []
    alone = sum(r["n_alone"] for r in pairs)
    if alone:
        lines.append(
            f"{plural(alone, 'head')} of these pairs have no partner: numbers of heads or layers differ."
        )
    steps = {s.step for s in readings.at.values()}
    if len(steps) > 1:
        lines.append("Runs are at different steps: part of what differs is the length of training.")
    return lines


def _about_eval_sets(pairs: Sequence[Mapping[str, Any]], eval_sets: Sequence[str]) -> str:
    if len(eval_sets) < 2:
        return f"Signatures on one eval set only ({eval_sets[0]}): how stable partners are under other prompts is not known."
    known = [r for r in pairs if r.get("stability") is not None]
    if not known:
        return f"Signatures on {' and '.join(eval_sets)} are put side by side."
    share = sum(r["stability"] for r in known) / len(known)
    chance = sum(r["stability_chance"] for r in known) / len(known)
    return (
        f"Matched on {eval_sets[0]} alone and on {eval_sets[1]} alone, {share:.0%} of heads get the same partner ({chance:.0%} "
        "by chance): partners beyond that are not to be relied on."
    )
