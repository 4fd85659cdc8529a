"""What changed in the loss of every token between two checkpoints, on the whole and by kind of token."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Annotated, Any, Unpack

import plotly.graph_objects as go
import pyarrow as pa
from pydantic import Field

from archive.errors import UsageError
from archive.store import Archive
from queries.parameters import IntervalLevel
from queries.reading.checkpoint_pairs import RunA, RunB, StepA, StepB, pick_pairs, select_ends
from queries.reading.checkpoints import find_left_out
from queries.reading.delta_tables import (
    PAIR,
    TokenChange,
    change_of,
    histogram_rows,
    largest_rows,
    sequence_rows,
    table_of,
    text_rows,
)
from queries.reading.neuron_examples import read_texts
from queries.reading.quantities import Which, choose_quantity
from queries.reading.select import ALL_RUNS, Runs, RunSelection
from queries.reading.tables import floats, only_value
from queries.reading.token_deltas import SliceBy, TokenDeltas, class_names, read_deltas, read_sequence
from queries.reading.units import units_by_group, units_limits
from queries.registry import query
from queries.render import interval, number
from queries.results import Answer, Provenance
from queries.stats import clusters
from queries.stats.over_units import Shared, mean_over_units, method_over

FALSE_SHARE = 0.05  # of the slices called different, at most this share is expected to be wrong

# what a narrow terminal shows comes first
_SLICES = pa.schema(
    [
        ("slice", pa.string()),
        ("run_b", pa.string()),
        *((name, pa.float64()) for name in ("mean_delta", "ci_low", "ci_high", "beyond", "beyond_q")),
        *((name, pa.int64()) for name in ("n_tokens", "n_documents")),
        ("slice_by", pa.string()),
        *(column for column in PAIR if column[0] != "run_b"),
        *((name, pa.float64()) for name in ("p_value", "q_value", "beyond_p")),
        *((name, pa.float64()) for name in ("loss_a", "loss_b", "worse", "better")),
    ]
)
_SUMMARY = pa.schema(
    [
        *PAIR,
        *(
            (name, pa.float64())
            for name in ("mean_delta", "ci_low", "ci_high", "median_delta", "worse", "better")
        ),
        *((name, pa.float64()) for name in ("loss_a", "loss_b", "share_top1pct", "spread95")),
        *((name, pa.int64()) for name in ("n_tokens", "n_documents", "n_slices", "n_differ", "n_beyond")),
    ]
)


@dataclass(frozen=True, kw_only=True, repr=False, eq=False)
class PerTokenDelta(Answer):
    """Differences of token losses, B − A in nats: above 0 where B is worse.

    table: per pair (run_a, step_a, run_b, step_b, group of B) and slice its tokens, documents, mean_delta with its
    interval over documents (for slices by leaving out one document at a time), p_value and q_value against 0; beyond:
    mean_delta less that of all other tokens, with beyond_p and beyond_q; mean losses; worse, better: shares of tokens.
    The first row of a pair is the slice "all".
    summary: per pair the same of all tokens, median_delta, share_top1pct (of the sum of absolute differences, by the
    1 % largest), spread95 (95 % of absolute differences are smaller), numbers of slices, of those that differ
    from 0 (n_differ) and from the other tokens (n_beyond).
    largest: per pair, direction (worse, better) and rank a token with its losses, document and the text around.
    histogram: counts of differences in equal bins; the outer ones take what lies beyond. sequences: mean_delta by sequence.
    text: the sequence asked for, token by token: loss_a, loss_b and delta belong to the token in that row.
    """

    largest: pa.Table
    histogram: pa.Table
    sequences: pa.Table
    text: pa.Table

    def plot(self) -> go.Figure:
        """Mean difference of every slice with its interval."""
        from queries.figures.compare import slice_dots

        return slice_dots(self)


@query(title="How did the loss of each token change between two checkpoints?")
def per_token_delta(
    archive: Archive,
    *,
    runs: Runs = ALL_RUNS,
    run_a: RunA = "",
    step_a: StepA = "auto",
    run_b: RunB = "",
    step_b: StepB = "final",
    slices: Annotated[
        tuple[SliceBy, ...],
        Field(description="what to slice tokens by: class, rarity (unigram surprisal), position in the text"),
    ] = ("class",),
    sequence: Annotated[int | None, Field(ge=0, description="also give this sequence token by token")] = None,
    top: Annotated[
        int, Field(ge=1, le=1000, description="how many of the largest differences either way")
    ] = 20,
    window: Annotated[int, Field(ge=0, le=200, description="tokens of text either side of them")] = 12,
    confidence: IntervalLevel = 0.95,
    **which: Unpack[Which],
) -> PerTokenDelta:
    """Difference of the loss, B − A, token by token: its mean, by kind of token, and the tokens with the largest.

    Without run_a and run_b every one of the runs is compared with itself, its last checkpoint with its first. With
    run_b, `runs` only says whether excluded ones count. Different eval sets, tokenizers and measure versions are refused.
    """
    selected, ends = select_ends(archive, runs, run_a, run_b)
    choice = choose_quantity(archive, selected, ["token_loss"], which, tables=("fact_token",))
    left_out = find_left_out(archive, choice, which)
    picked = pick_pairs(archive, choice, ends, (step_a, step_b), left_out)
    every, sql = read_deltas(archive, choice, picked.pairs)
    deltas = [d for d in every if len(d)]
    if not deltas:
        raise UsageError(
            f"{picked.pairs[0].place}: no token has a finite loss at both; `pathscope verify` checks the archive."
        )
    kinds = class_names(archive, choice) if "class" in slices else {}
    changes = [change_of(d, dict.fromkeys(slices), kinds, selected.groups, confidence) for d in deltas]
    table = table_of([row for c in changes for row in c.slices], _SLICES)
    summary = table_of([_summary(c) for c in changes], _SUMMARY)
    chosen = [c.extremes(top) for c in changes]
    examples = [place for c in chosen for place in c.places]
    named = [i for c in chosen for i in c.tokens]
    if sequence is not None:
        named += [i for d in deltas for i in d.token[d.sequence == sequence].tolist()]
    windows, words = read_texts(archive, choice.quantity.quantity_id, examples, named, window)
    tokens = [] if sequence is None else read_sequence(archive, choice, sequence)
    used = selected.only({p.run_id for d in deltas for p in (d.pair.a, d.pair.b)})
    units = units_by_group(selected, [d.pair.b.run_id for d in deltas])
    shared = next(iter(units.values())).of()
    estimate, low, high = _estimate(summary, shared, confidence)
    # shared seeds are taken into account here
    provenance = replace(Provenance.of(archive, [choice], left_out), shared_seeds=())
    return PerTokenDelta(
        sentence=_sentence(deltas, summary, estimate, (low, high)),
        table=table,
        summary=summary,
        largest=largest_rows(chosen, windows, words),
        histogram=histogram_rows(changes),
        sequences=sequence_rows(changes),
        text=text_rows(deltas, sequence, tokens, words),
        n_runs=len(used.runs),
        n_items=only_value(summary, "n_tokens"),
        unit="nats",
        estimate=estimate,
        ci_low=low,
        ci_high=high,
        ci_level=confidence,
        ci_method=_method(summary, shared, low),
        limits=(
            *provenance.limits,
            *choice.notes,
            *left_out.limits,
            *picked.notes,
            *picked.doubts,
            *units_limits(units, ""),
            *_limits(deltas, every, summary, slices, sequence, bool(tokens)),
        ),
        provenance=provenance,
        sql=sql,
    )


def sequence_text(
    archive: Archive,
    *,
    runs: RunSelection,
    ends: tuple[str, int, str, int],
    sequence: int,
    which: Which,
) -> pa.Table:
    """The `text` of `per_token_delta` without the rest: one sequence is read, so that going through them is quick.

    ends: run and step of A, run and step of B.
    """
    run_a, step_a, run_b, step_b = ends
    selected, pairs = select_ends(archive, runs, run_a, run_b)
    choice = choose_quantity(archive, selected, ["token_loss"], which, tables=("fact_token",))
    left_out = find_left_out(archive, choice, which)
    picked = pick_pairs(archive, choice, pairs, (step_a, step_b), left_out)
    deltas, _ = read_deltas(archive, choice, picked.pairs, sequence)
    ids = [i for d in deltas for i in d.token.tolist()]
    _, words = read_texts(archive, choice.quantity.quantity_id, [], ids, 0)
    return text_rows(deltas, sequence, read_sequence(archive, choice, sequence), words)


def _summary(change: TokenChange) -> dict[str, Any]:
    first, rest = change.slices[0], change.slices[1:]

    def below(name: str) -> int:
        return sum(row[name] < FALSE_SHARE for row in rest)

    names = (
        "mean_delta",
        "ci_low",
        "ci_high",
        "worse",
        "better",
        "loss_a",
        "loss_b",
        "n_tokens",
        "n_documents",
    )
    return {
        **change.columns,
        **{name: first[name] for name in names},
        "median_delta": change.median,
        "share_top1pct": change.top_share,
        "spread95": change.spread95,
        "n_slices": len(rest),
        "n_differ": below("q_value"),
        "n_beyond": below("beyond_q"),
    }


def _estimate(summary: pa.Table, shared: Shared, level: float) -> tuple[float, float, float]:
    """Of one pair over documents; of several over runs where they repeat one another."""
    changes = floats(summary, "mean_delta")
    if len(changes) == 1:
        return float(changes[0]), float(floats(summary, "ci_low")[0]), float(floats(summary, "ci_high")[0])
    if len(set(summary["group"].to_pylist())) > 1:
        return math.nan, math.nan, math.nan
    return mean_over_units(changes, shared, level)


def _method(summary: pa.Table, shared: Shared, low: float) -> str:
    if not math.isfinite(low):
        return ""
    return clusters.METHOD if summary.num_rows == 1 else method_over(shared)


def _sentence(
    deltas: Sequence[TokenDeltas], summary: pa.Table, estimate: float, ends: tuple[float, float]
) -> str:
    rows = summary.to_pylist()
    if len(rows) == 1:
        (r,) = rows
        told = ""
        if r["n_slices"]:
            told = f"; {r['n_beyond']} of {r['n_slices']} kinds of token differ from the rest (q < {FALSE_SHARE})"
        return (
            f"{deltas[0].pair.place}: the loss changes by {number(r['mean_delta'], 3)} nats {interval(*ends, 3)}".rstrip()
            + f", worse at {r['worse']:.0%} and better at {r['better']:.0%} of {r['n_tokens']:,} tokens{told}."
        )
    changes = [r["mean_delta"] for r in rows]
    average = f", mean {number(estimate, 3)} {interval(*ends, 3)}".rstrip() if math.isfinite(estimate) else ""
    return (
        f"{len(rows)} pairs of checkpoints: the mean loss changes by {number(min(changes), 3)} to "
        f"{number(max(changes), 3)} nats{average}."
    )


def _limits(
    deltas: Sequence[TokenDeltas],
    every: Sequence[TokenDeltas],
    summary: pa.Table,
    slices: Sequence[str],
    sequence: int | None,
    texts: bool,
) -> list[str]:
    rows: list[Mapping[str, Any]] = summary.to_pylist()
    lines = []
    if len(every) > len(deltas):
        lines.append(f"{len(every) - len(deltas)} pair(s) have no token with a finite loss at both ends.")
    if any(len({p.run_id for p in (d.pair.a, d.pair.b)}) > 1 or len(rows) == 1 for d in deltas):
        lines.append("Intervals and q values are over documents: they say nothing of other seeds.")
    if len(deltas) > 1 and len({d.pair.a.checkpoint_id for d in deltas}) < len(deltas):
        lines.append(
            "Pairs share their checkpoint A: an interval over runs says nothing of another choice of A."
        )
    if any(r["n_documents"] < 10 for r in rows):
        lines.append("Fewer than 10 documents: intervals over so few are themselves hardly known.")
    if slices and not any(r["n_slices"] for r in rows):
        lines.append("The archive knows no kind of token for this eval set, so nothing is sliced.")
    if len(slices) > 1:
        lines.append(
            "Slices by class, rarity and position overlap: the same tokens may make several of them differ."
        )
    if sequence is not None and not texts:
        lines.append(
            f"The archive holds no tokens of sequence {sequence}, so its losses are places without text."
        )
    lines.append(
        "The largest differences are chosen from all tokens for being large: they show what is possible, not what is usual."
    )
    lines.append(
        "A constant shift and a few heavy tails may have one mean: read share_top1pct beside it, and against two "
        "checkpoints that lie close together."
    )
    return lines
