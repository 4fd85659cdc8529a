"""What fine-tuning did to the loss on every eval set: forgotten, gained or neither, how concentrated, and what changed inside."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Annotated, Any, Literal, Unpack

import plotly.graph_objects as go
import pyarrow as pa
from pydantic import Field

from archive.errors import NotComparable, UsageError
from archive.store import Archive
from queries.parameters import IntervalLevel
from queries.reading.checkpoints import Step, find_left_outs
from queries.reading.component_effects import BESIDE, EFFECTS
from queries.reading.delta_tables import table_of
from queries.reading.finetuned import Began, Place, Tuned, begin, choose_losses, find_tuned, read_places
from queries.reading.finetuned_inside import TOPS, components_of, neurons_of
from queries.reading.finetuned_tables import Shift, curve_rows, group_rows, pairs_to_read, shape_of, shift_row
from queries.reading.quantities import Choice, Which, choose_quantities
from queries.reading.select import ALL_RUNS, Runs
from queries.reading.tables import only_value
from queries.reading.token_deltas import read_deltas
from queries.reading.units import units_by_group, units_limits
from queries.registry import query
from queries.results import Answer, Provenance, Verdict
from queries.stats.component_categories import CATEGORIES
from queries.wording.finetune_shift import overview_rows, shift_limits, shift_sentence

LOSSES = "token_loss"

_TEXT, _WHOLE, _REAL = pa.string(), pa.int64(), pa.float64()
_TABLE = pa.schema(
    [
        *((name, _TEXT) for name in ("eval_set", "run_b")),
        *((name, _REAL) for name in ("mean_delta", "ci_low", "ci_high", "gini", "share_top1pct")),
        *((name, _REAL) for name in ("near_mean_delta", "near_gini", "near_share_top1pct")),
        *((name, _REAL) for name in ("loss_before", "loss_after", "median_delta", "near_median_delta")),
        *((name, _REAL) for name in ("worse", "better")),
        *((name, _WHOLE) for name in ("n_tokens", "n_documents", "near_step_a", "near_step_b")),
        *((name, _TEXT) for name in ("base", "began", "run_a")),
        *((name, _WHOLE) for name in ("step_a", "step_b")),
        ("group", _TEXT),
    ]
)
_SUMMARY = pa.schema(
    [
        *((name, _TEXT) for name in ("eval_set", "group")),
        *((name, _REAL) for name in ("mean_delta", "ci_low", "ci_high")),
        *((name, _TEXT) for name in ("forgets", "transfers")),
        *((name, _WHOLE) for name in ("n_runs", "n_units", "n_bases", "n_documents")),
        ("unit", _TEXT),
        *(
            (name, _REAL)
            for name in ("gini", "near_gini", "gini_beyond", "gini_beyond_low", "gini_beyond_high")
        ),
        *((name, _REAL) for name in ("share_top1pct", "near_share_top1pct", "near_mean_delta")),
        *((name, _REAL) for name in ("se_runs", "se_documents", "detectable")),
        ("method", _TEXT),
    ]
)
_CURVE = pa.schema(
    [
        *((name, _TEXT) for name in ("eval_set", "run")),
        ("at", _WHOLE),
        *((name, _REAL) for name in ("mean_delta", "ci_low", "ci_high")),
        ("group", _TEXT),
    ]
)
_INSIDE = pa.schema(
    [
        *((name, _TEXT) for name in ("run", "eval_set", "what")),
        ("n_components", _WHOLE),
        *((name, _WHOLE) for name in CATEGORIES),
        *((name, _REAL) for name in ("participation", "kept_share")),
        ("top", _TEXT),
        ("n_neurons", _WHOLE),
        *((name, _REAL) for name in ("neurons_kept", "neurons_replaced", "mean_overlap")),
        *((name, _WHOLE) for name in ("step_a", "step_b")),
    ]
)


@dataclass(frozen=True, kw_only=True, repr=False, eq=False)
class FinetuneShift(Answer):
    """Losses of tuned runs less those where they began, in nats: above 0 where the tuned run is worse.

    table: per eval set and tuned run (run_b at step_b, against run_a at step_a; began says why there) mean_delta with its
    interval over documents, gini and share_top1pct of the sizes of differences token by token (0 and 0.01 where all
    tokens shift alike), near_*: the same between two adjacent checkpoints of the base before that; mean losses, shares of
    tokens that got worse and better.
    summary: per eval set and condition of the tuned runs the mean over runs, its interval over runs, n_units of which share no
    seed (`unit`), and documents (of one run over documents), forgets and transfers (yes: the loss surely rose, fell; no: surely
    by less than the margin; unresolved), gini_beyond (gini less that of the yardstick) with its interval over runs, detectable
    (the smallest mean that would be found with 80 % power).
    curve: the same mean difference at every checkpoint of every tuned run (at: its step). inside: per tuned run and eval set
    of effects (what) how many components are of which category, as component_change has them, and how many neurons keep or
    lose their top examples.
    """

    margin: float
    curve: pa.Table
    inside: pa.Table

    def overview(self) -> pa.Table | None:
        """A row per eval set and condition, intervals in one cell."""
        return pa.Table.from_pylist(overview_rows(self.summary))

    def plot(self) -> go.Figure:
        """The mean change of the loss over fine-tuning, a colour an eval set, a line a run."""
        from queries.figures.finetuning import shift_curves

        return shift_curves(self)


@query(title="What did fine-tuning forget, and what did it gain?")
def finetune_shift(
    archive: Archive,
    *,
    runs: Runs = ALL_RUNS,
    base: Annotated[str, Field(description="only runs that go on from this one; default: from any")] = "",
    base_step: Annotated[
        int | Literal["auto", "final"],
        Field(
            union_mode="left_to_right",
            description="checkpoint of the base to start from; auto = the one whose weights the tuned run began with",
        ),
    ] = "auto",
    step: Step = "final",
    eval_sets: Annotated[
        tuple[str, ...], Field(description="names of eval sets with token_loss; default: all there are")
    ] = (),
    original: Annotated[
        tuple[str, ...],
        Field(
            description="which of them are like the base's data: the verdict says whether these are forgotten"
        ),
    ] = (),
    margin: Annotated[
        float, Field(gt=0, description="a change of the mean loss by less than this (nats) counts as none")
    ] = 0.02,
    components: Annotated[
        bool, Field(description="count changed heads and layers where they are measured")
    ] = True,
    neurons: Annotated[
        bool, Field(description="count neurons that keep their top examples; reads those of every neuron")
    ] = False,
    confidence: IntervalLevel = 0.95,
    **which: Unpack[Which],
) -> FinetuneShift:
    """Change of the loss from where a run began to where it ended, on every eval set that it and its base have.

    Every run asked for that goes on from another one (parent_run) is compared with it; the base need not be asked for.
    Verdicts hold for all eval sets together. The gini of the differences stands beside that of further training of
    the base alone: a constant shift has none, heavy tails have much, and so has noise.
    """
    selected, tuned, notes = find_tuned(archive, runs, base)
    wanted = (*eval_sets, *([which["eval_set"]] if "eval_set" in which else []))
    free = which.copy()
    free.pop("eval_set", None)
    measures = [LOSSES, *((*EFFECTS, *BESIDE) if components else ()), *([TOPS] if neurons else ())]
    found = choose_quantities(archive, selected, [], free, each_variant_of=measures)
    losses, more = choose_losses(_losses(found), tuned, (*wanted, *(original if wanted else ())))
    left_out = find_left_outs(archive, losses.values(), which)
    places, sql = read_places(archive, list(losses.values()), tuned, left_out)
    shifts, missing = _shifts(archive, losses, places, tuned, (base_step, step))
    groups = selected.groups
    table = [shift_row(s, groups[s.run_id], confidence) for s in shifts]
    units = units_by_group(selected, dict.fromkeys(s.run_id for s in shifts))
    summary = group_rows(shifts, units, margin, confidence)
    pairs = list(dict.fromkeys(s.began.pair for s in shifts))
    # effects on the base's data first: the sentence tells of these
    there = sorted(
        (c for c in found if isinstance(c, Choice)),
        key=lambda c: not any(c.quantity.is_on(name) for name in original),
    )
    counted, used, about = components_of(archive, there, pairs) if components else ([], [], [])
    kept, read, about_neurons = neurons_of(archive, there, pairs) if neurons else ([], [], [])
    choices = list({c.quantity.quantity_id: c for c in (*losses.values(), *used, *read)}.values())
    only = summary[0] if len(summary) == 1 else None
    # shared seeds are taken into account here
    provenance = replace(Provenance.of(archive, choices, left_out), shared_seeds=())
    return FinetuneShift(
        sentence=shift_sentence(summary, table, counted, margin),
        table=table_of(table, _TABLE),
        summary=table_of(summary, _SUMMARY),
        margin=margin,
        curve=table_of([row for s in shifts for row in curve_rows(s, groups[s.run_id], confidence)], _CURVE),
        inside=table_of([*counted, *kept], _INSIDE),
        n_runs=len({run for s in shifts for run in (s.run_id, s.began.tuned.base.run_id)}),
        n_items=only_value(table_of(table, _TABLE), "n_tokens"),
        unit="nats",
        estimate=only["mean_delta"] if only else math.nan,
        ci_low=only["ci_low"] if only else math.nan,
        ci_high=only["ci_high"] if only else math.nan,
        ci_level=confidence,
        ci_method=only["method"] if only else "",
        mde=only["detectable"] if only else math.nan,
        verdict=_verdict(summary, losses, original),
        limits=(
            *provenance.limits,
            *(note for c in choices for note in c.notes),
            *left_out.limits,
            *notes,
            *more,
            *missing,
            *units_limits(units, ""),
            *about,
            *about_neurons,
            *shift_limits(shifts, summary, margin, inside=bool(counted)),
        ),
        provenance=provenance,
        sql=sql,
    )


def _losses(found: Sequence[Choice | UsageError | NotComparable]) -> list[Choice]:
    """Choices of token losses. Raises the reason where there is none."""
    losses = [c for c in found if isinstance(c, Choice) and c.quantity.measure == LOSSES]
    if losses:
        return losses
    reason = next((c for c in found if not isinstance(c, Choice) and LOSSES in str(c)), None)
    raise reason or UsageError(
        "none of these runs has token_loss; `pathscope ingest STUDY.toml --fill token_loss` measures kept checkpoints."
    )


def _shifts(
    archive: Archive,
    losses: Mapping[str, Choice],
    places: Mapping[int, Mapping[int, Mapping[int, Place]]],
    tuned: Sequence[Tuned],
    steps: tuple[int | str, int | str],
) -> tuple[list[Shift], list[str]]:
    """Every tuned run on every eval set, one statement an eval set, and what to say of those that cannot be compared."""
    shifts, missing = [], []
    for name, choice in losses.items():
        there = places.get(choice.quantity.quantity_id, {})
        started = [begin(t, there, *steps) for t in tuned]
        missing += [f"Not compared on {name}: {why}." for why in started if isinstance(why, str)]
        known = [b for b in started if isinstance(b, Began)]
        if not known:
            continue
        pairs = pairs_to_read(known)
        deltas = dict(zip(pairs, read_deltas(archive, choice, pairs)[0], strict=True))
        missing += [
            f"{b.pair.place}: no token of {name} has a finite loss at both."
            for b in known
            if not len(deltas[b.pair])
        ]
        shapes = {pair: shape_of(found) for pair, found in deltas.items() if len(found)}
        shifts += [
            Shift(name, b, deltas[b.pair], shapes[b.pair], shapes.get(b.near) if b.near else None)
            for b in known
            if b.pair in shapes
        ]
    if not shifts:
        raise UsageError(
            f"no tuned run can be compared: {' '.join(dict.fromkeys(missing))} `pathscope status` shows what each run has."
        )
    return shifts, list(dict.fromkeys(missing))


def _verdict(
    summary: Sequence[Mapping[str, Any]], losses: Mapping[str, Choice], original: Sequence[str]
) -> Verdict | None:
    """Whether the eval sets that were said to be like the base's data are forgotten; None where none was said to be."""
    mine = [
        row["forgets"]
        for row in summary
        if any(losses[row["eval_set"]].quantity.is_on(name) for name in original)
    ]
    if not mine:
        return "unresolved" if original else None
    if "yes" in mine:
        return "yes"
    return "no" if set(mine) == {"no"} else "unresolved"
