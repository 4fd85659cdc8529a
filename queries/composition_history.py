"""How strongly pairs of heads compose over training: named pairs, or those with the largest final z of each run."""

import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Annotated, Literal, Unpack

import numpy as np
import plotly.graph_objects as go
import pyarrow as pa
from pydantic import Field

from archive.errors import UsageError
from archive.store import Archive
from queries.reading.checkpoints import LeftOuts, find_left_out, pick_checkpoints
from queries.reading.heads import index_limits, parse_head
from queries.reading.quantities import Choice, Which, choose_quantity
from queries.reading.select import ALL_RUNS, Runs, select_runs
from queries.reading.tables import floats, stretches, with_groups
from queries.reading.units import row_limits, units_by_group
from queries.registry import query
from queries.render import number
from queries.results import Answer, Provenance, Verdict, readable_sql
from queries.stats.composition_null import composition_p

Mode = Literal["q", "k", "v"]
Pair = tuple[int, int, int, int]  # source layer and head, destination layer and head
Ranked = tuple[int, int, int, int, int, int, int]  # run_id, rank, the pair, and how many pairs had a z

ALPHA = 0.05

# one row holds the heads × heads matrix of two layers, row by source head; layers have one number of heads
_HEADS = 'coalesce(r.n_heads, round(sqrt(len(f."values")))::INTEGER)'

_TOP_SQL = f"""\
WITH pairs AS (
  SELECT f.run_id, f.src_layer, f.dst_layer, {_HEADS} AS n, unnest(f.z) AS z,
         generate_subscripts(f.z, 1) - 1 AS cell
  FROM fact_head_pair f JOIN run r ON r.id = f.run_id
  WHERE f.quantity_id = $quantity_id AND f.run_id IN (SELECT unnest($run_ids))
    AND f.checkpoint_id IN (SELECT unnest($checkpoint_ids))
)
SELECT run_id, row_number() OVER (PARTITION BY run_id ORDER BY z DESC, src_layer, dst_layer, cell) AS rank,
       src_layer, (cell // n)::INTEGER AS src_head, dst_layer, (cell % n)::INTEGER AS dst_head,
       count(*) OVER (PARTITION BY run_id) AS n_pairs
FROM pairs WHERE isfinite(z)
QUALIFY rank <= $top
ORDER BY run_id, rank"""

_SQL = f"""\
WITH asked AS (
  SELECT unnest($runs) AS run_id, unnest($ranks) AS rank, unnest($src_layers) AS src_layer,
         unnest($src_heads) AS src_head, unnest($dst_layers) AS dst_layer, unnest($dst_heads) AS dst_head
), found AS (
  SELECT f.run_id, r.name AS run, a.rank, a.src_layer, a.src_head, a.dst_layer, a.dst_head, c.step,
         a.src_head * {_HEADS} + a.dst_head + 1 AS cell, {_HEADS} AS n, f."values", f.baselines, f.z
  FROM fact_head_pair f
  JOIN asked a ON a.run_id = f.run_id AND a.src_layer = f.src_layer AND a.dst_layer = f.dst_layer
  JOIN checkpoint c ON c.id = f.checkpoint_id
  JOIN run r ON r.id = f.run_id
  WHERE f.quantity_id = $quantity_id AND f.run_id IN (SELECT unnest($run_ids))
    AND f.checkpoint_id NOT IN (SELECT unnest($left_out))
)
SELECT run_id, run, rank, 'L' || src_layer || 'H' || src_head AS src, 'L' || dst_layer || 'H' || dst_head AS dst, step,
       "values"[cell]::DOUBLE AS score, baselines[cell]::DOUBLE AS baseline, z[cell]::DOUBLE AS z
FROM found
WHERE src_head < n AND dst_head < n
ORDER BY run_id, rank, src_layer, src_head, dst_layer, dst_head, step"""


@dataclass(frozen=True, kw_only=True, repr=False, eq=False)
class CompositionHistory(Answer):
    """Composition scores of pairs of heads over training.

    table: run, group, rank (1 = largest final z; 0 = named), src, dst (L0H3, L1H2), step, score (0 to 1), baseline
    (what randomly rotated weights give, root mean square), z (distance of the squared score from their mean in their
    standard deviations; a scale, not a p value).
    summary: per run and pair first and last score and z, the largest z and where it is, the number of
    checkpoints, p: how often rotated weights reach the last score, p_adjusted: that for any of the run's pairs
    (Bonferroni), and whether that is below 1 − confidence.
    """

    mode: Mode

    def plot(
        self, *, of: Literal["z", "score"] = "z", x_scale: Literal["log", "linear"] = "log"
    ) -> go.Figure:
        """A line per run and pair."""
        from queries.figures.language import composition_curves

        return composition_curves(self, of, x_scale=x_scale)


@query(title="Which pairs of heads compose, and since when?")
def composition_history(
    archive: Archive,
    *,
    runs: Runs = ALL_RUNS,
    mode: Annotated[
        Mode, Field(description="what the earlier head's output feeds: q = queries, k = keys, v = values")
    ] = "k",
    pairs: Annotated[
        tuple[str, ...],
        Field(description="pairs such as 'L0H3>L1H2'; default: those with the largest final z of each run"),
    ] = (),
    top: Annotated[int, Field(ge=1, le=1000, description="how many pairs per run")] = 10,
    confidence: Annotated[
        float, Field(gt=0, lt=1, description="1 − chance of any false pair among all of a run")
    ] = 1 - ALPHA,
    **which: Unpack[Which],
) -> CompositionHistory:
    """Composition score, its baseline and its z for pairs of heads, at every usable checkpoint.

    Layers and heads count from 0. Nothing is averaged over runs: a head number means the same head only in
    runs that share their init. The verdict is about weights: whether the pairs compose more than rotated weights do,
    corrected for choosing among all pairs; a head may compose without mattering.
    """
    choice = choose_quantity(
        archive, select_runs(archive, runs), [f"{mode}_composition"], which, tables=("fact_head_pair",)
    )
    quantity = choice.quantity
    left_out = find_left_out(archive, choice, which)
    named = [parse_pair(pair) for pair in pairs]
    ranked = _ranked(archive, choice, left_out, top, named)
    columns = [list(column) for column in zip(*(r[:6] for r in ranked), strict=True)]
    keys = ("runs", "ranks", "src_layers", "src_heads", "dst_layers", "dst_heads")
    parameters: dict[str, object] = {
        **dict(zip(keys, columns, strict=True)),
        "quantity_id": quantity.quantity_id,
        "run_ids": choice.selected.ids,
        "left_out": left_out.ids,
    }
    rows = archive.query(_SQL, parameters)
    if not rows.num_rows:
        raise UsageError(
            f"no run has {quantity.measure} of {', '.join(pairs)}: the first head must lie in an earlier layer than the second "
            "(layers and heads count from 0)."
        )
    present = set(rows["run_id"].unique().to_pylist())
    table = with_groups(rows, choice.selected)
    n_pairs = {r[0]: r[6] for r in ranked}
    summary = _summary(table, n_pairs, confidence)
    verdicts = summary["verdict"].to_pylist()
    # no p or interval is over runs
    provenance = replace(Provenance.of(archive, [choice], left_out), shared_seeds=())
    return CompositionHistory(
        sentence=_sentence(mode, summary, len(present)),
        table=table.drop_columns(["run_id"]),
        summary=summary,
        mode=mode,
        n_runs=len(present),
        n_items=max(n_pairs.values()) if not named else None,
        unit=quantity.shown_unit,
        null_name="weights rotated at random between the two heads",
        p_value=float(floats(summary, "p")[0]) if summary.num_rows == 1 else math.nan,
        q_value=float(floats(summary, "p_adjusted")[0]) if summary.num_rows == 1 else math.nan,
        verdict=_overall(verdicts),
        limits=(
            *provenance.limits,
            *choice.notes,
            *left_out.limits,
            *row_limits(units_by_group(choice.selected, choice.selected.only(present).ids)),
            *_limits(choice, present, bool(named)),
        ),
        provenance=provenance,
        sql=readable_sql(_SQL, parameters),
    )


def parse_pair(text: str) -> Pair:
    """(source layer, source head, destination layer, destination head) of `L0H3>L1H2` or `0.3-1.2`.

    Raises UsageError for anything else, and for a source that is not in an earlier layer.
    """
    ends = re.split(r"\s*(?:->|>|-|→)\s*", text.strip())
    if len(ends) != 2:
        raise UsageError(f"{text!r} is not a pair of heads: write 'L0H3>L1H2', the earlier head first.")
    (src_layer, src_head), (dst_layer, dst_head) = (parse_head(end) for end in ends)
    if src_layer >= dst_layer:
        raise UsageError(
            f"{text!r}: layer {src_layer} does not come before layer {dst_layer}; heads compose with heads of later layers."
        )
    return src_layer, src_head, dst_layer, dst_head


def _ranked(
    archive: Archive, choice: Choice, left_out: LeftOuts, top: int, named: Sequence[Pair]
) -> list[Ranked]:
    if named:
        return [(run, 0, *pair, len(named)) for run in choice.selected.ids for pair in named]
    picked = pick_checkpoints(archive, choice.selected, choice.quantity, left_out, "final")
    found = archive.query(
        _TOP_SQL,
        {
            "quantity_id": choice.quantity.quantity_id,
            "run_ids": choice.selected.ids,
            "checkpoint_ids": picked.ids,
            "top": top,
        },
    )
    if not found.num_rows:
        raise UsageError(
            f"no pair has a finite z of {choice.quantity.measure} at the last checkpoint; name pairs to see their scores "
            "(--pairs 'L0H0>L1H0')."
        )
    return list(zip(*(column.to_pylist() for column in found.columns), strict=True))


def _summary(table: pa.Table, n_pairs: Mapping[int, int], confidence: float) -> pa.Table:
    """One row per run and pair; rows of one pair lie together, sorted by step."""
    starts, ends = stretches(table, ["run_id", "rank", "src", "dst"])
    score, z, steps = floats(table, "score"), floats(table, "z"), table["step"].to_numpy()
    runs = table["run_id"].to_numpy()
    peaks = [
        a + int(np.argmax(np.nan_to_num(z[a:b], nan=-math.inf))) for a, b in zip(starts, ends, strict=True)
    ]
    p = composition_p(score[ends - 1], floats(table, "baseline")[ends - 1], z[ends - 1])
    adjusted = np.minimum(1.0, p * np.array([n_pairs[int(r)] for r in runs[starts]]))
    named = table.take(pa.array(starts)).select(["run", "group", "rank", "src", "dst"])
    columns: dict[str, object] = {
        "first_score": score[starts],
        "last_score": score[ends - 1],
        "first_z": z[starts],
        "last_z": z[ends - 1],
        "largest_z": z[peaks],
        "largest_z_at": steps[peaks],
        "n_checkpoints": ends - starts,
        "p": p,
        "p_adjusted": adjusted,
        "verdict": ["yes" if q < 1 - confidence else "unresolved" for q in adjusted],
    }
    for name, column in columns.items():
        named = named.append_column(name, pa.array(column))
    return named


def _overall(verdicts: Sequence[str]) -> Verdict | None:
    """Yes where every pair composes, unresolved where none is shown to; None where pairs differ."""
    if len(set(verdicts)) > 1:
        return None
    return "yes" if verdicts[0] == "yes" else "unresolved"


def _sentence(mode: Mode, summary: pa.Table, n_runs: int) -> str:
    rows = summary.to_pylist()
    composing = sum(r["verdict"] == "yes" for r in rows)
    best = max(rows, key=lambda r: r["last_z"] if math.isfinite(r["last_z"]) else -math.inf)
    return (
        f"{mode.upper()}-composition: {composing} of {len(rows)} pairs in {n_runs} run{'s' if n_runs != 1 else ''} exceed what "
        f"rotated weights reach; the largest last z is {number(best['last_z'], 3)} ({best['src']} to {best['dst']} in "
        f"{best['run']}, score {number(best['last_score'], 3)})."
    )


def _limits(choice: Choice, present: set[int], named: bool) -> list[str]:
    lines = []
    absent = [r.run for r in choice.selected.runs if r.run_id not in present]
    if absent:
        lines.append(f"{len(absent)} run(s) have no such pair (first: {absent[0]}).")
    if not named:
        lines.append(
            "Pairs were chosen by their final z: that they rise is partly guaranteed by the choice; p_adjusted is "
            "corrected for it, the shape of the curve is not."
        )
    lines.append(
        "The score is one of weights alone: it leaves out LayerNorm's scaling, MLPs between the layers and positions, and is "
        "neither needed nor enough for a pair to matter; ablation decides that."
    )
    return [*lines, *index_limits(choice.selected.only(present))]
