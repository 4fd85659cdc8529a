"""What answers about neurons of several models say, and what matching them cannot tell."""

from collections.abc import Mapping, Sequence
from typing import Any

from queries.render import interval, number
from queries.stats.universal import highest_by_chance
from queries.wording.circuits import or_nan, plural
from queries.wording.head_matches import NEGLIGIBLE as NEGLIGIBLE

Rows = Sequence[Mapping[str, Any]]

# p below which so many equal numbers are told; every pair is looked at
ODD = 0.001

SPARSE = (
    "Neurons that seldom fire coincide by chance more often than rotated ones, which are sums of many: with nothing in common "
    "they have an excess above 0, the more the fewer tokens they fire on (docs/statistics.md). Only more tokens help."
)


def neuron_match_sentence(summary: Rows, n_runs: int, place: str, threshold: float, level: float) -> str:
    """The answer in one sentence."""
    told = []
    for r in summary:
        band = interval(or_nan(r["low"]), or_nan(r["high"]), 2)
        whose = "neurons of runs that share a start" if r["start"] == "shared" else "neurons"
        told.append(
            f"{whose} correlate by {number(r['similarity'], 2)} with the most similar neuron of another run, "
            f"{number(r['excess'], 2)} more than with its layers rotated{f' ({level:.0%} interval {band})' if band else ''}, and "
            f"{share_words(r['share_above'])} have an excess above {threshold:g} ({plural(r['n_pairs'], 'ordered pair')})"
        )
    words = "; ".join(told)
    return f"{words[0].upper()}{words[1:]}, {plural(n_runs, 'run')} at {place}."


def neuron_match_limits(summary: Rows, pairs: Rows, n_tokens: int, top: int) -> list[str]:
    """What an answer about matched neurons cannot tell."""
    return [
        *_about_first(summary),
        *_about_starts(summary, pairs),
        *about_runs(summary[0]["n_runs"] if len(summary) == 1 else 0, pairs),
        about_tokens(n_tokens, max((r["n_neurons"] for r in pairs), default=0)),
        SPARSE,
        f"Only the {top} best neurons of each pair are listed: the best of many are better than they will be on other tokens.",
        "Many neurons may have one match, and one that is spread over several neurons of the other model has none.",
    ]


def about_tokens(n_tokens: int, n_candidates: int) -> str:
    """How high the highest correlation is by chance alone."""
    if not n_tokens:
        return "How many tokens correlations are over is not recorded, so no verdict can be yes."
    high = number(highest_by_chance(n_tokens, n_candidates), 2)
    return (
        f"Correlations are over {n_tokens:,} tokens, not independent within a text: the highest of {n_candidates:,} is about "
        f"{high} by chance alone, or more, which the baseline takes off on average and not for a single neuron."
    )


def about_runs(n_runs: int, pairs: Rows) -> list[str]:
    """Few runs, orders that are missing, steps that differ. n_runs: 0 where there is no one number to be careful about."""
    lines = []
    if 0 < n_runs < 3:
        lines.append(f"{plural(n_runs, 'run')}: nothing is said of other seeds; an interval needs 3 runs.")
    elif len(pairs) > 1:
        lines.append(
            f"{len(pairs)} ordered pairs are not {len(pairs)} independent observations: intervals leave out runs, not pairs."
        )
    there = {(r["run_a"], r["run_b"]) for r in pairs}
    alone = [pair for pair in sorted(there) if pair[::-1] not in there]
    if alone:
        lines.append(
            f"{len(alone)} pair(s) are compared in one order only (first: {alone[0][0]} with {alone[0][1]}), so neurons of the "
            "second run were not matched; both_orders = true under [compare] adds them."
        )
    if len({r["step_a"] for r in pairs} | {r["step_b"] for r in pairs}) > 1:
        lines.append(
            "Checkpoints of different steps are compared: part of what differs is the length of training."
        )
    return lines


def _about_first(summary: Rows) -> list[str]:
    lines = []
    for r in summary:
        if r["start"] == "shared":
            continue
        if r["first_excess"] is None:
            lines.append(
                "No earlier checkpoints of these runs are compared, so what untrained neurons have in common is not taken off "
                "and no verdict can be yes: load.checkpoints with 0 among them compares step 0 too."
            )
        else:
            band = interval(or_nan(r["above_first_low"]), or_nan(r["above_first_high"]), 2)
            lines.append(
                f"At the first checkpoints compared the same runs have an excess of {number(r['first_excess'], 2)}; the "
                f"difference since then is {number(r['above_first'], 2)} {band}".rstrip()
                + ", and only more than 0 can be learned."
            )
    return lines


def _about_starts(summary: Rows, pairs: Rows) -> list[str]:
    lines = []
    shared = [r for r in pairs if r["start"] == "shared"]
    if shared:
        (row,) = [r for r in summary if r["start"] == "shared"]
        lines.append(
            f"{plural(len(shared), 'pair')} share a start (first: {shared[0]['run_a']} and {shared[0]['run_b']}: "
            f"{shared[0]['why']}): there matching makes models look more alike than comparing by number would, and gets no "
            f"verdict. The match is the neuron of the same number for {share_words(row['same_number'])} of neurons, "
            f"{share_words(row['same_number_chance'])} by chance."
        )
    elif any("nobody recorded" in r["why"] for r in pairs):
        lines.append(
            "Nobody recorded whether these runs began from the same weights: same_number beside its chance shows it."
        )
    odd = [
        r
        for r in pairs
        if r["start"] != "shared" and r["same_number_p"] is not None and r["same_number_p"] < ODD
    ]
    if odd:
        lines.append(
            f"In {plural(len(odd), 'pair')} that share no known start matches are neurons of the same number too often for "
            f"chance (first: {odd[0]['run_a']} and {odd[0]['run_b']}, {share_words(odd[0]['same_number'])}): part of their "
            "init may be the same."
        )
    if len(summary) > 1:
        lines.append(
            "Pairs that share a start and others are never averaged; fewer runs (--runs) give one estimate."
        )
    return lines


def share_words(value: float | None) -> str:
    """A share in %, with enough digits that little is not none."""
    if value is None:
        return "–"
    return f"{value:.0%}" if value == 0 or value >= 0.1 else f"{100 * value:.2g}%"
