"""What became of each component of a model between two checkpoints: its effect before and after, and what it looks at."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Annotated, Any, Unpack

import numpy as np
import plotly.graph_objects as go
import pyarrow as pa
from pydantic import Field

from archive.errors import UsageError
from archive.store import Archive
from queries.parameters import IntervalLevel
from queries.reading.checkpoint_pairs import Pair, RunA, RunB, StepA, StepB, pick_pairs, select_ends
from queries.reading.checkpoints import find_left_outs
from queries.reading.component_effects import EffectKind, choose_components, read_components
from queries.reading.component_tables import (
    COMPONENTS,
    Compared,
    compare_pairs,
    component_rows,
    pair_summary,
    yardstick_pair,
)
from queries.reading.delta_tables import PAIR, table_of
from queries.reading.lineage import refuse_other_lineage
from queries.reading.quantities import Which
from queries.reading.select import ALL_RUNS, Runs
from queries.reading.tables import floats, only_value
from queries.reading.units import units_by_group, units_limits
from queries.registry import query
from queries.results import Answer, Provenance, Verdict
from queries.stats.component_categories import CATEGORIES, Thresholds
from queries.stats.over_units import Shared, mean_over_units, method_over
from queries.wording.component_change import change_limits, change_sentence, overview_rows

_DEFAULT = Thresholds()

_TABLE = pa.schema([*COMPONENTS, *PAIR])
_SUMMARY = pa.schema(
    [
        ("run_b", pa.string()),
        ("n_components", pa.int64()),
        *((name, pa.int64()) for name in CATEGORIES),
        ("top", pa.string()),
        *(
            (name, pa.float64())
            for name in ("participation", "noise_participation", "spearman", "kept_share")
        ),
        *((name, pa.float64()) for name in ("rms_change", "bar", "median_similarity", "least_similarity")),
        *((name, pa.float64()) for name in ("total_before", "total_after")),
        *((name, pa.int64()) for name in ("near_step_a", "near_step_b", "near_changed")),
        *((name, pa.float64()) for name in ("near_participation", "near_rms_change", "near_spearman")),
        *((name, pa.float64()) for name in ("near_median_similarity", "near_least_similarity")),
        ("verdict", pa.string()),
        *(column for column in PAIR if column[0] != "run_b"),
    ]
)


@dataclass(frozen=True, kw_only=True, repr=False, eq=False)
class ComponentChange(Answer):
    """What became of every head and layer, by its effect and by what it looks at.

    table: per pair (run_a, step_a before; run_b, step_b after) and component (L1H3, `L0 mlp`) its kind, category, effect_before,
    effect_after and change in `unit`, se of the change, q of no change (over the components of the pair), similarity of
    the head's signatures (−1 to 1), share_before and share_after of the total that direct effects add up to, se_before,
    se_after, p, q_small (of the test of a change as large as the bar), n groups of items, counted: false for a layer's
    attention, which is the sum of its heads.
    category: reweighted (effect changed, signatures alike), rewired (signatures unlike, or the effect turned its
    sign), new and lost (next to nothing before, after), changed (no signature to tell which), unchanged (shown to have
    changed by less than the bar), unresolved.
    summary: per pair how many components are of each category, the top ones by size of change, participation (number of
    components that take part in the change: (Σ|change|)² / Σ change², none where it is no larger than its errors) and
    noise_participation (were changes their errors and nothing else), spearman (of sizes of effects before and after),
    kept_share (share of the squared change of heads, errors taken off, in heads whose signatures stayed alike), rms_change,
    bar, similarities, totals, verdict (has any effect changed);
    near_*: the same between two adjacent late checkpoints of the run of A, a yardstick.
    yardstick: the rows of those pairs, as in table.
    """

    label: str
    eval_set: str
    same: float
    yardstick: pa.Table

    def overview(self) -> pa.Table | None:
        """Categories that occur, and the participation ratios, a row a pair."""
        return pa.Table.from_pylist(overview_rows(self.summary))

    def plot(self) -> go.Figure:
        """Effects before against after; categories by symbol and colour, errors as bars."""
        from queries.figures.finetuning import before_after

        return before_after(self)


@query(title="What became of each head and layer between two checkpoints?")
def component_change(
    archive: Archive,
    *,
    runs: Runs = ALL_RUNS,
    run_a: RunA = "",
    step_a: StepA = "auto",
    run_b: RunB = "",
    step_b: StepB = "final",
    effect: EffectKind = "auto",
    least: Annotated[
        float,
        Field(gt=0, lt=1, description="share of the largest effect from which an effect or a change counts"),
    ] = _DEFAULT.least,
    gone: Annotated[
        float,
        Field(gt=0, lt=1, description="an effect of at most this share of the other counts as not there"),
    ] = _DEFAULT.gone,
    same: Annotated[
        float, Field(gt=0, le=1, description="likeness of signatures from which a head does the same")
    ] = _DEFAULT.same,
    fdr: Annotated[
        float, Field(gt=0, lt=1, description="expected share of wrong ones among components called changed")
    ] = _DEFAULT.fdr,
    confidence: IntervalLevel = 0.95,
    **which: Unpack[Which],
) -> ComponentChange:
    """Effects of heads and layers at two checkpoints of one lineage: reweighted, rewired, new, lost, unchanged or unresolved.

    Components are compared by number, so only within a run, between runs that go on from one another, or share their init;
    others are refused, and match_heads pairs their heads. Without run_a and run_b every run is compared with itself, its
    last checkpoint with its first; with run_b, `runs` only says whether excluded ones count. Changes count by their
    standard errors, corrected over components; beside them stands the change between adjacent late checkpoints.
    """
    thresholds = Thresholds(least, gone, same, fdr)
    selected, ends = select_ends(archive, runs, run_a, run_b)
    choices = choose_components(archive, selected, effect, which)
    left_out = find_left_outs(archive, choices.every, which)
    picked = pick_pairs(archive, choices.effect, ends, (step_a, step_b), left_out)
    reasons = refuse_other_lineage(archive, selected.by_id, picked.pairs)
    near = [yardstick_pair(pair, picked.points) for pair in picked.pairs]
    points = [p for pair in (*picked.pairs, *near) if pair for p in (pair.a, pair.b)]
    known, sql = read_components(
        archive, choices, {p.run_id for p in points}, {p.checkpoint_id for p in points}
    )
    compared, beside = compare_pairs(picked.pairs, near, known, thresholds)
    if not compared:
        raise UsageError(
            f"{picked.pairs[0].place}: no component has a finite effect at both; `pathscope verify` checks the archive."
        )
    summary = [
        {**pair_summary(c, beside.get(c.pair)), "group": selected.groups[c.pair.b.run_id]} for c in compared
    ]
    table = table_of(
        [
            {**row, "group": s["group"]}
            for c, s in zip(compared, summary, strict=True)
            for row in component_rows(c)
        ],
        _TABLE,
    )
    used = selected.only({p.run_id for c in compared for p in (c.pair.a, c.pair.b)})
    told = table_of(summary, _SUMMARY)
    units = units_by_group(selected, [c.pair.b.run_id for c in compared])
    shared = next(iter(units.values())).of()
    estimate, low, high = _estimate(told, shared, confidence)
    # shared seeds are taken into account here
    provenance = replace(Provenance.of(archive, choices.every, left_out), shared_seeds=())
    quantity = choices.effect.quantity
    return ComponentChange(
        sentence=change_sentence(summary, [c.pair for c in compared], choices, (estimate, low, high)),
        table=table,
        summary=told,
        yardstick=table_of(
            [{**row, "group": ""} for c in _each_once(beside) for row in component_rows(c)], _TABLE
        ),
        label=_label(quantity.measure, quantity.params, quantity.shown_unit),
        eval_set=quantity.eval_set,
        same=same,
        n_runs=len(used.runs),
        n_items=only_value(table, "n_items"),
        unit="components",
        estimate=estimate,
        ci_low=low,
        ci_high=high,
        ci_level=confidence,
        ci_method=method_over(shared) if math.isfinite(low) else "",
        null_name="adjacent late checkpoints" if beside else "",
        null_mean=_mean(floats(told, "near_participation")),
        verdict=_shared([s["verdict"] for s in summary]),
        limits=(
            *provenance.limits,
            *choices.effect.notes,
            *choices.notes,
            *left_out.limits,
            *picked.notes,
            *picked.doubts,
            *units_limits(units, ""),
            *reasons,
            *change_limits(compared, summary, choices, thresholds),
        ),
        provenance=provenance,
        sql=sql,
    )


def _label(measure: str, params: Mapping[str, object], unit: str) -> str:
    if measure.endswith("logit_attribution"):
        return "direct effect on the logit difference [logits]"
    metric = params.get("metric", "")
    shown = {
        "logit_difference": "logit difference [logits]",
        "later_copies_loss": "loss on later copies [nats]",
        "loss": "loss [nats]",
    }.get(str(metric))
    return f"change of the {shown} by mean ablation" if shown else f"effect of mean ablation [{unit}]"


def _estimate(summary: pa.Table, shared: Shared, level: float) -> tuple[float, float, float]:
    """Participation ratio, over runs where they repeat one another."""
    if len(set(summary["group"].to_pylist())) > 1:
        return math.nan, math.nan, math.nan
    return mean_over_units(floats(summary, "participation"), shared, level, (1.0, None))


def _shared(verdicts: Sequence[Verdict]) -> Verdict:
    """That of all pairs; unresolved where they differ."""
    return verdicts[0] if len(set(verdicts)) == 1 else "unresolved"


def _each_once(beside: Mapping[Pair, Compared]) -> list[Compared]:
    return list({c.pair: c for c in beside.values()}.values())


def _mean(values: "np.ndarray[Any, np.dtype[np.float64]]") -> float:
    known = values[np.isfinite(values)]
    return float(known.mean()) if len(known) else math.nan
