"""What a comparison of two sizes of models token by token says and cannot say, in words."""

import math
from collections.abc import Mapping, Sequence
from typing import Any

from queries.reading.size_losses import REPEATS
from queries.render import interval, number
from queries.stats.size_categories import FEWEST_RUNS

Rows = Sequence[Mapping[str, Any]]


def token_sentence(summary: Rows, table: Rows, place: str, fdr: float) -> str:
    """How many tokens are the small ones' alone, by chance, and what of it holds; for the first pairs."""
    told = [_told(row, [r for r in table if _of(r, row)], fdr) for row in summary[:3]]
    more = f"; and {len(summary) - 3} more pairs" if len(summary) > 3 else ""
    return f"token_loss at {place}: {'; '.join(told)}{more}."


def _of(row: Mapping[str, Any], pair: Mapping[str, Any]) -> bool:
    return (row["small"], row["large"]) == (pair["small"], pair["large"])


def _told(row: Mapping[str, Any], parts: Rows, fdr: float) -> str:
    start = (
        f"all {row['n_small']} runs of {row['small']} beat all {row['n_large']} of {row['large']} at {_share(row['small_only'])} "
        f"of {row['n_tokens']:,} tokens ({_share(row['by_chance'])} if sizes are alike, the reverse {_share(row['large_only'])})"
    )
    kinds = [r["slice"] for r in parts if r["found"] and r["slice_by"] not in ("", "runs")]
    told = f"better at {len(kinds)} of {row['n_slices']} categories (q < {fdr:g})"
    if kinds:
        told += f": {', '.join(kinds[:3])}"
    held_out = ""
    if math.isfinite(row["runs_held_out"]):
        band = interval(row["runs_low"], row["runs_high"], 2)
        held_out = (
            f"; tokens so chosen by other runs differ by {number(row['runs_found'], 2)} nats there and "
            f"{number(row['runs_held_out'], 2)} {band}".rstrip()
            + " in runs that chose none"
        )
    again = ""
    if row["n_chosen"]:
        again = (
            f"; of {row['n_chosen']} kinds of token found in half of the documents {row['n_replicated']} hold in the other, "
            f"{number(row['kinds_found'], 2)} nats where they were found and {number(row['kinds_held_out'], 2)} there"
        )
    return f"{start}; {told}{held_out}{again}"


def _share(value: float) -> str:
    return f"{100 * value:.3g}%"


def token_limits(
    summary: Rows,
    *,
    absent: Sequence[str],
    steps: Sequence[int],
    known: Sequence[str],
    asked: Sequence[str],
    words: bool,
) -> list[str]:
    """What such comparisons cannot tell."""
    lines = []
    if absent:
        lines.append(f"{len(absent)} run(s) have no value at that step (first: {absent[0]}).")
    fewest = min(summary, key=lambda row: (min(row["n_small"], row["n_large"]), -row["smallest_p"]))
    p = number(fewest["smallest_p"], 2)
    lines.append(
        f"No single token is tested: {fewest['n_small']} against {fewest['n_large']} runs can be named in so few ways that p of "
        f"a token is at least {p} (2/252 two-sided for 5 against 5), so that none of many would survive a correction for "
        "their number; categories, kinds of token and tokens that other runs chose are tested instead."
    )
    if min(fewest["n_small"], fewest["n_large"]) < FEWEST_RUNS:
        lines.append(
            f"Fewer than {FEWEST_RUNS} runs of a size: intervals and q are over documents, of these runs. Of the sizes nothing "
            f"can be said, and the verdict is open; {FEWEST_RUNS} seeds of each would tell."
        )
    else:
        lines.append(
            "Intervals and q of categories add what other runs and what other documents would change; how much runs of a size "
            "vary is hardly known from so few."
        )
    if any(row["large_only"] > row["small_only"] for row in summary):
        lines.append(
            "Chance is that of sizes which are alike. Where the large runs are better on the whole fewer tokens than that are "
            "the small ones' by luck, so a share below chance does not show that none are: see runs_held_out."
        )
    lines.append(
        "The listed tokens and kinds were chosen for their difference, which is partly luck: found is where they were chosen, "
        "held_out where they were not, shrunk what found lets expect; slope says how much of a difference lasts."
    )
    lines.append(
        "A kind of token that holds in both halves of the documents is so of these runs; replicated_by_chance and p_replicated "
        "say how often other namings of the runs find as many."
    )
    unknown = [by for by in asked if by not in known]
    if unknown:
        lines.append(f"The archive cannot sort these tokens by {', '.join(unknown)}.")
    if len(known) > 1:
        lines.append("Categories overlap: the same tokens may make several of them differ.")
    if "repeated" in known:
        lines.append(
            f"Repeated means within the sequence that the model sees ({', '.join(REPEATS)}), not in its training data."
        )
    if not words:
        lines.append(
            "The archive holds no texts of this eval set, so that tokens are numbers without context."
        )
    if len(summary) > 1:
        lines.append(f"{len(summary)} pairs of sizes share runs: q counts all of their categories together.")
    if len(steps) > 1:
        lines.append("Runs end at different steps: part of what differs is the length of training.")
    if min(row["n_documents"] for row in summary) < 10:
        lines.append("Fewer than 10 documents: intervals over so few are themselves hardly known.")
    return lines


def in_few(row: Mapping[str, Any]) -> dict[str, str]:
    """A category in few cells."""
    low, high = (math.nan if row[k] is None else row[k] for k in ("ci_low", "ci_high"))
    return {
        "sizes": f"{row['small']} against {row['large']}",
        "category": row["slice"],
        "smaller better by": f"{number(row['delta'], 3)} {interval(low, high, 3)}".rstrip(),
        "q": number(row["q"], 2),
        "found": "yes" if row["found"] else "",
        "small only": number(row["small_only"], 2),
        "by chance": number(row["by_chance"], 2),
    }
