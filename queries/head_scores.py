"""Scores of all attention heads at one checkpoint per run."""

import math
from dataclasses import dataclass, replace
from typing import Annotated, Unpack

import numpy as np
import plotly.graph_objects as go
import pyarrow as pa
from pydantic import Field

from archive.store import Archive
from queries.parameters import IntervalLevel
from queries.reading.checkpoints import Picked, Step, find_left_out, pick_checkpoints
from queries.reading.heads import index_limits
from queries.reading.quantities import Which, choose_quantity
from queries.reading.select import ALL_RUNS, Runs, Selected, select_runs
from queries.reading.tables import finite_rows, floats, only_value, stretches, with_groups
from queries.reading.units import units_by_group, units_limits
from queries.registry import query
from queries.render import interval, number
from queries.results import Answer, Provenance, readable_sql
from queries.stats.over_units import detectable_between, mean_over_units, method_over

_SQL = """\
SELECT run_id, run, step, 'L' || layer || 'H' || head AS name, layer, head, value, chance,
       (value - chance) / nullif(se, 0) AS z, se, n_items
FROM v_head_score
WHERE quantity_id = $quantity_id AND run_id IN (SELECT unnest($run_ids))
  AND checkpoint_id IN (SELECT unnest($checkpoint_ids))
ORDER BY run_id, isfinite(value) DESC, value DESC, layer, head"""


@dataclass(frozen=True, kw_only=True, repr=False, eq=False)
class HeadScores(Answer):
    """Every head's score at one checkpoint per run, best first within a run.

    table: run, group, step, name (L2H3), layer, head, value, chance, z = (value − chance) / se, se, n_items.
    summary: per run its best head and score, the median over heads, and the number of heads.
    estimate: mean over runs of the best head's score.
    """

    label: str

    def plot(self) -> go.Figure:
        """Layer × head grid of one run, with a menu of runs."""
        from queries.figures.plots import head_grid

        return head_grid(self)


@query(title="Which heads score high at this checkpoint?")
def head_scores(
    archive: Archive,
    *,
    runs: Runs = ALL_RUNS,
    measure: Annotated[str, Field(description="a measure per head")] = "head.previous_token",
    step: Step = "final",
    confidence: IntervalLevel = 0.95,
    **which: Unpack[Which],
) -> HeadScores:
    """Score of every attention head at one checkpoint of each run, best first.

    Layers and heads count from 0. Across runs only the best head's score is averaged, never a head number.
    """
    choice = choose_quantity(archive, select_runs(archive, runs), [measure], which, tables=("fact_head",))
    quantity = choice.quantity
    left_out = find_left_out(archive, choice, which)
    picked = pick_checkpoints(archive, choice.selected, quantity, left_out, step)
    used = choice.selected.only(picked.at)
    parameters = {"quantity_id": quantity.quantity_id, "run_ids": used.ids, "checkpoint_ids": picked.ids}
    rows = archive.query(_SQL, parameters)
    table = with_groups(rows, used)
    finite, notes = finite_rows(table, quantity.measure)
    summary = _summary(finite)
    best = summary["best_value"].to_numpy()
    one_group = len(set(used.groups.values())) == 1
    ids = {run.run: run.run_id for run in used.runs}
    units = units_by_group(used, [ids[run] for run in summary["run"].to_pylist()])
    shared = next(iter(units.values())).of() if one_group and units else []
    mean, low, high = (
        mean_over_units(best, shared, confidence, quantity.bounds) if one_group else (math.nan,) * 3
    )
    # shared seeds are taken into account here
    provenance = replace(Provenance.of(archive, [choice], left_out), shared_seeds=())
    return HeadScores(
        sentence=_sentence(quantity.measure, summary, picked, (mean, low, high)),
        table=table.drop_columns(["run_id"]),
        summary=summary,
        label=f"{quantity.measure} at {picked.place}",
        n_runs=summary.num_rows,
        n_items=only_value(table, "n_items"),
        unit=quantity.shown_unit,
        estimate=mean,
        ci_low=low,
        ci_high=high,
        ci_level=confidence,
        ci_method=f"best head, {method_over(shared)}" if np.isfinite(low) else "",
        mde=detectable_between(best, shared) if one_group else math.nan,
        limits=(
            *provenance.limits,
            *choice.notes,
            *left_out.limits,
            *notes,
            *units_limits(units, ""),
            *_limits(choice.selected, picked, table),
        ),
        provenance=provenance,
        sql=readable_sql(_SQL, parameters),
    )


def _summary(table: pa.Table) -> pa.Table:
    """One row a run; the table is sorted best first, so the first row of a run is its best head."""
    first, ends = stretches(table, ["run_id"])
    values = floats(table, "value")
    best = table.take(pa.array(first)).select(["run", "group", "step", "name", "value"])
    medians = [float(np.median(v)) for v in np.split(values, ends[:-1])]
    return (
        best.rename_columns(["run", "group", "step", "best", "best_value"])
        .append_column("median_value", pa.array(medians, pa.float64()))
        .append_column("n_heads", pa.array((ends - first).tolist(), pa.int64()))
    )


def _sentence(measure: str, summary: pa.Table, picked: Picked, mean: tuple[float, float, float]) -> str:
    rows = summary.to_pylist()
    if len(rows) == 1:
        r = rows[0]
        return (
            f"At {picked.place} of {r['run']} the highest {measure} is {number(r['best_value'])} ({r['best']}), the "
            f"median of {r['n_heads']} heads {number(r['median_value'])}."
        )
    best = [r["best_value"] for r in rows]
    average = f", mean {number(mean[0])} {interval(*mean[1:])}" if math.isfinite(mean[0]) else ""
    return (
        f"At {picked.place} the best head of each of {len(rows)} runs has {measure} between {number(min(best))} and "
        f"{number(max(best))}{average}."
    )


def _limits(selected: Selected, picked: Picked, table: pa.Table) -> list[str]:
    lines = []
    absent = [r.run for r in selected.runs if r.run_id not in picked.at]
    if absent:
        lines.append(f"{len(absent)} run(s) have no value at that step (first: {absent[0]}).")
    if len(picked.steps) > 1:
        lines.append("The last checkpoints of these runs are at different steps.")
    lines.append("The best of many heads is chosen by its score, which biases that score upward.")
    lines += index_limits(selected.only(picked.at))
    if table["chance"].null_count == table.num_rows:
        lines.append("No chance level is stored with these scores, so none is compared with chance.")
    return lines
