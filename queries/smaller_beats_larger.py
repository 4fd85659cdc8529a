"""Benchmarks and tokens on which a smaller model does better than a larger one, beyond what chance gives."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Annotated, Literal, Unpack

import numpy as np
import plotly.graph_objects as go
import pyarrow as pa
from pydantic import Field

from archive.errors import UsageError
from archive.store import Archive
from queries.parameters import IntervalLevel
from queries.reading.benchmark_pairs import SIDES, compare_pairs, pair_rows, pair_summary
from queries.reading.benchmarks import Metric, Series, Shots, Tasks, final_steps_note, read_benchmarks
from queries.reading.checkpoints import Step, find_left_out, pick_checkpoints
from queries.reading.delta_tables import table_of
from queries.reading.neuron_examples import read_texts
from queries.reading.quantities import Which, choose_quantity
from queries.reading.select import ALL_RUNS, Runs, RunSelection, select_runs
from queries.reading.size_losses import read_shared_losses, read_token_facts
from queries.reading.size_pairs import select_sizes, size_pairs
from queries.reading.sizes import SizesGiven, run_sizes
from queries.reading.tables import in_order, only_value
from queries.reading.token_categories import CATEGORIES, Category, sort_tokens
from queries.reading.token_sizes import (
    CATEGORY_ROWS,
    KIND_ROWS,
    PLACE_ROWS,
    SIZE_ROWS,
    chosen_kinds,
    compare_sizes,
    kind_rows,
    place_rows,
    summary_row,
    with_q,
    with_verdict,
)
from queries.reading.units import row_limits, units_by_group
from queries.registry import query
from queries.results import Answer, Provenance
from queries.stats.clustered_share import METHOD
from queries.stats.equal_truth import detectable
from queries.stats.multiple import Correction
from queries.stats.size_separation import MOST_RUNS
from queries.wording.sizes import clearest, size_limits, size_sentence
from queries.wording.token_sizes import in_few, token_limits, token_sentence

On = Literal["auto", "benchmarks", "tokens"]

NULL = "equal true scores"
# Holm's promise is nearly used up where tests are many: at 0.05 the expected share of archives of equal models with any find
# is 4.4 %, and of a thousand of them more than 5 % would show one every sixth time; at 0.03 it is 2.8 %
ALPHA = 0.03
FDR = 0.05

_TEXT, _WHOLE, _REAL = pa.string(), pa.int64(), pa.float64()
_TABLE = pa.schema(
    [
        ("task", _TEXT),
        *((name, kind) for side in SIDES for name, kind in ((side, _TEXT), (f"{side}_size", _REAL))),
        *((f"{side}_step", _WHOLE) for side in SIDES),
        *((f"{side}_value", _REAL) for side in SIDES),
        *((name, _REAL) for name in ("difference", "se", "null_se", "z", "p", "p_adjusted")),
        ("found", pa.bool_()),
    ]
)
_SUMMARY = pa.schema(
    [
        ("task", _TEXT),
        *((f"{side}_group", _TEXT) for side in SIDES),
        *((name, _WHOLE) for name in ("n_pairs", "n_ahead", "n_found")),
        *((name, _REAL) for name in ("mean_difference", "largest", "p_adjusted")),
    ]
)
# parameters that only one of the two forms takes, with what they are when nobody gives them
_OF_BENCHMARKS: Mapping[str, object] = {
    "tasks": ("*",),
    "metric": "acc",
    "shots": 0,
    "series": "",
    "correction": "holm",
    "alpha": ALPHA,
}
_OF_TOKENS: Mapping[str, object] = {
    "small": (),
    "large": (),
    "slices": CATEGORIES,
    "margin": 0.0,
    "top": 20,
    "window": 12,
    "fdr": FDR,
    "confidence": 0.95,
}
_HAS_BENCHMARKS_SQL = "SELECT 1 FROM v_quantity WHERE table_name = 'fact_benchmark' LIMIT 1"


@dataclass(frozen=True, kw_only=True, repr=False, eq=False)
class SmallerBeatsLarger(Answer):
    """Where smaller models are better than larger ones; above 0 is always the smaller one's lead.

    On benchmarks. table: a row per task and pair, clearest first: smaller and larger run, their sizes (parameters), steps and
    values; difference (above 0 where the smaller one is better, whichever way better lies), its standard error se, the same if
    both had one true score (null_se), z = difference / null_se, one-sided p, p_adjusted over all comparisons, found. summary:
    per task and pair of conditions, how many pairs of runs, in how many the smaller is ahead and is found to be better, mean
    and largest difference, smallest p_adjusted.

    On tokens (losses in nats). table: per pair of sizes and category (slice; "all" first) delta = mean loss of the large less
    that of the small runs with its interval, one-sided p, q over all categories, found; small_only: share of tokens at
    which every small run beats every large one by the margin, by_chance the same were any of the runs called small,
    large_only the reverse; last the tokens that all other runs chose, measured in two runs left out. summary: per pair of sizes
    those shares, excess = small_only − by_chance with intervals over documents, p over namings of the runs; runs_found and
    runs_held_out: delta of tokens in the runs that chose them and in those left out; kinds of token chosen and replicated, by
    chance, their mean delta where found and held out, slope of the latter on the former (1 lasts, 0 was luck). kinds: token
    ids with the largest delta in half of the documents: found, held_out in the other half with p and q, shrunk = what found lets
    expect. places: single tokens with the largest separation (best large run less worst small run) and the text around.
    """

    label: str
    alpha: float
    on: Literal["benchmarks", "tokens"]
    kinds: pa.Table | None = None
    places: pa.Table | None = None

    def overview(self) -> pa.Table | None:
        """The clearest comparisons in few columns."""
        if self.on == "benchmarks":
            return pa.Table.from_pylist([clearest(r) for r in self.table.slice(0, 20).to_pylist()])
        rows = sorted(self.table.to_pylist(), key=lambda r: math.inf if r["q"] is None else r["q"])
        return pa.Table.from_pylist([in_few(r) for r in rows[:20]])

    def plot(self) -> go.Figure:
        """Benchmarks: differences against standard errors. Tokens: categories, and found against held-out differences."""
        from queries.figures.benchmarks import smaller_against_larger
        from queries.figures.token_sizes import sizes_by_category

        return smaller_against_larger(self) if self.on == "benchmarks" else sizes_by_category(self)


@query(title="On which benchmarks or tokens does a smaller model beat a larger one?")
def smaller_beats_larger(
    archive: Archive,
    *,
    on: Annotated[
        On,
        Field(
            description="benchmarks, or losses of single tokens; auto: benchmarks where the archive has any, unless small "
            "and large are told"
        ),
    ] = "auto",
    runs: Runs = ALL_RUNS,
    small: Annotated[
        tuple[str, ...],
        Field(description="tokens: the small runs, names, patterns or condition:X; default: every two sizes"),
    ] = (),
    large: Annotated[
        tuple[str, ...], Field(description="tokens: the large runs, told together with small")
    ] = (),
    tasks: Tasks = ("*",),
    metric: Metric = "acc",
    shots: Shots = 0,
    series: Series = "",
    step: Step = "final",
    ratio: Annotated[
        float, Field(gt=1, description="how many times as many parameters make a model the larger one")
    ] = 1.25,
    correction: Annotated[
        Correction,
        Field(
            description="benchmarks: holm: chance of any wrong find at most alpha; bh: that share of the finds is expected to "
            "be wrong"
        ),
    ] = "holm",
    alpha: Annotated[float, Field(gt=0, lt=1, description="benchmarks: level of the correction")] = ALPHA,
    slices: Annotated[
        tuple[Category, ...],
        Field(
            description="tokens: categories to look at: class, rarity (unigram surprisal), position in the text, repeated in it"
        ),
    ] = CATEGORIES,
    margin: Annotated[
        float, Field(ge=0, description="tokens: nats by which every small run must beat every large one")
    ] = 0.0,
    top: Annotated[
        int, Field(ge=1, le=1000, description="tokens: how many kinds and places to list for each pair")
    ] = 20,
    window: Annotated[int, Field(ge=0, le=200, description="tokens of text either side of listed ones")] = 12,
    fdr: Annotated[
        float, Field(gt=0, lt=1, description="tokens: expected share of wrong finds among categories")
    ] = FDR,
    sizes: SizesGiven = (),
    confidence: IntervalLevel = 0.95,
    **which: Unpack[Which],
) -> SmallerBeatsLarger:
    """Benchmarks: all pairs of a smaller and a larger model on all tasks, tested one-sided and corrected for their number.

    Only results of one source, task version, number of shots and series are put side by side. Standard errors of the two
    are taken as independent, which is careful where both answered the same items. Where all models were equally good and
    standard errors are right, at most 3 % of archives would yield any find (Holm, whatever depends on what).
    Tokens: losses of repeated runs of two sizes at one checkpoint each. Verdict yes: the small are better in a category, or at
    tokens that other runs chose, with q over all of these, other runs and other documents counted; no: the large are better
    in every category, and at those tokens too (or they are fewer than 1 in 1,000). Both need 3 runs of each size.
    """
    given = {
        "small": small, "large": large, "tasks": tasks, "metric": metric, "shots": shots, "series": series,
        "correction": correction, "alpha": alpha, "slices": slices, "margin": margin, "top": top, "window": window,
        "fdr": fdr, "confidence": confidence,
    }  # fmt: skip
    form = _form(archive, on, given)
    if form == "benchmarks":
        return _on_benchmarks(
            archive, runs, tasks, metric, shots, series, step, ratio, correction, alpha, sizes, which
        )
    return _on_tokens(
        archive,
        runs,
        (small, large),
        step,
        ratio,
        slices,
        margin,
        (top, window),
        (fdr, confidence),
        sizes,
        which,
    )


def _form(archive: Archive, on: On, given: Mapping[str, object]) -> Literal["benchmarks", "tokens"]:
    """Which form is asked for. Raises UsageError for a parameter of the other one."""
    told = {
        form: next((name for name, value in usual.items() if given[name] != value), "")
        for form, usual in (("benchmarks", _OF_BENCHMARKS), ("tokens", _OF_TOKENS))
    }
    form: Literal["benchmarks", "tokens"]
    if on == "auto":
        if told["benchmarks"] or told["tokens"]:
            form = "benchmarks" if told["benchmarks"] else "tokens"
        else:
            form = "benchmarks" if archive.rows(_HAS_BENCHMARKS_SQL) else "tokens"
    else:
        form = on
    other: Literal["benchmarks", "tokens"] = "tokens" if form == "benchmarks" else "benchmarks"
    if told[other]:
        raise UsageError(
            f"{told[other]}={given[told[other]]!r} is of on='{other}', but this asks on='{form}'; leave it out, or ask with "
            f"on='{other}'."
        )
    return form


def _on_benchmarks(
    archive: Archive,
    runs: RunSelection | str | Sequence[str],
    tasks: tuple[str, ...],
    metric: str,
    shots: int | None,
    series: str,
    step: int | Literal["final"],
    ratio: float,
    correction: Correction,
    alpha: float,
    sizes: Sequence[str],
    which: Which,
) -> SmallerBeatsLarger:
    selected = select_runs(archive, runs)
    read = read_benchmarks(archive, selected, tasks, metric, which, shots=shots, series=series, at=step)
    read.refuse_without_better()
    known = run_sizes(read.selected, sizes)
    known.refuse_unknown("smaller and larger models are compared")
    pairs = compare_pairs(read, known, ratio, correction)
    rows = pair_rows(read, known, pairs, alpha)
    # no p is over runs
    provenance = replace(Provenance.of(archive, list(read.choices.values()), read.left_out), shared_seeds=())
    least = float(np.nanmin(pairs.p_adjusted)) if np.isfinite(pairs.p_adjusted).any() else math.nan
    return SmallerBeatsLarger(
        sentence=size_sentence(read.label, rows, alpha, correction),
        table=rows.select(_TABLE.names).cast(_TABLE),
        summary=pair_summary(rows).cast(_SUMMARY),
        on="benchmarks",
        label=read.label,
        alpha=alpha,
        n_runs=len(set(read.finite["run"].to_pylist())),
        n_items=only_value(read.finite, "n_items"),
        unit=read.quantity.shown_unit,
        null_name=NULL,
        p_value=least,
        mde=detectable(pairs.null_se, alpha),
        verdict="yes" if least < alpha else "unresolved",
        limits=(
            *provenance.limits,
            *read.limits,
            *known.limits,
            *final_steps_note(read.finite),
            *row_limits(
                units_by_group(read.selected, in_order(read.selected, set(read.finite["run_id"].to_pylist())))
            ),
            *size_limits(rows, read.selected, correction, alpha),
        ),
        provenance=provenance,
        sql=read.sql,
    )


def _on_tokens(
    archive: Archive,
    runs: RunSelection | str | Sequence[str],
    told: tuple[Sequence[str], Sequence[str]],
    step: int | Literal["final"],
    ratio: float,
    slices: Sequence[Category],
    margin: float,
    shown: tuple[int, int],
    levels: tuple[float, float],
    sizes: Sequence[str],
    which: Which,
) -> SmallerBeatsLarger:
    top, window = shown
    fdr, confidence = levels
    selected, named = select_sizes(archive, runs, *told)
    choice = choose_quantity(archive, selected, ["token_loss"], which, tables=("fact_token",))
    left_out = find_left_out(archive, choice, which)
    picked = pick_checkpoints(archive, choice.selected, choice.quantity, left_out, step)
    ordered = in_order(choice.selected, picked.at)
    pairs, size_notes = size_pairs(choice.selected, ordered, named, sizes, ratio)
    most = max(len(pair.small) + len(pair.large) for pair in pairs)
    if most > MOST_RUNS:
        raise UsageError(
            f"{most} runs of two sizes; expected at most {MOST_RUNS}, to count their namings; name fewer (--small, --large)."
        )
    losses = read_shared_losses(archive, choice, picked.at)
    tokens = sort_tokens(losses, read_token_facts(archive, choice, losses), slices)
    found = [compare_sizes(tokens, pair, margin, top, confidence) for pair in pairs]
    table = with_q(found, fdr)
    summary = [with_verdict(summary_row(one, tokens), one, table) for one in found]
    examples = [
        (int(tokens.losses.sequence[i]), int(tokens.losses.position[i])) for one in found for i in one.places
    ]
    ids = [int(one.kinds.names[k]) for one in found for k in chosen_kinds(one, top)]
    ids += [int(tokens.facts.token[i]) for one in found for i in one.places]
    windows, words = read_texts(archive, choice.quantity.quantity_id, examples, ids, window)
    only = summary[0] if len(summary) == 1 else None
    # shared seeds are taken into account here
    provenance = replace(Provenance.of(archive, [choice], left_out), shared_seeds=())
    q = [row["q"] for row in table if math.isfinite(row["q"])]
    return SmallerBeatsLarger(
        sentence=token_sentence(summary, table, picked.place, fdr),
        table=table_of(table, CATEGORY_ROWS),
        summary=table_of(summary, SIZE_ROWS),
        on="tokens",
        label=choice.quantity.measure,
        alpha=fdr,
        kinds=table_of([row for one in found for row in kind_rows(one, top, words)], KIND_ROWS),
        places=table_of(
            [row for one in found for row in place_rows(one, tokens, windows, words)], PLACE_ROWS
        ),
        n_runs=len({run for pair in pairs for run in (*pair.small, *pair.large)}),
        n_items=len(losses.sequence),
        unit="of tokens small-only" if only else "",
        estimate=only["small_only"] if only else math.nan,
        ci_low=only["small_only_low"] if only else math.nan,
        ci_high=only["small_only_high"] if only else math.nan,
        ci_level=confidence,
        ci_method=METHOD if only and math.isfinite(only["small_only_low"]) else "",
        null_name="any of the runs called small",
        null_mean=only["by_chance"] if only else math.nan,
        p_value=only["p"] if only else math.nan,
        q_value=min(q) if q else math.nan,
        verdict=only["verdict"] if only else None,
        limits=(
            *provenance.limits,
            *choice.notes,
            *left_out.limits,
            *size_notes,
            *token_limits(
                summary,
                absent=[r.run for r in choice.selected.runs if r.run_id not in picked.at],
                steps=picked.steps,
                known=list(tokens.cuts),
                asked=slices,
                words=bool(windows),
            ),
        ),
        provenance=provenance,
        sql=losses.sql,
    )
