"""One benchmark metric over training, with its standard error."""

import math
from dataclasses import dataclass
from typing import Annotated, Literal, Unpack

import numpy as np
import plotly.graph_objects as go
import pyarrow as pa
from pydantic import Field

from archive.errors import UnknownName
from archive.store import Archive
from queries.parameters import IntervalLevel
from queries.reading.checkpoints import find_left_out
from queries.reading.quantities import Which, choose_quantity
from queries.reading.select import ALL_RUNS, Runs, Selected, select_runs
from queries.reading.tables import finite_rows, floats, only_value, stretches, with_groups
from queries.registry import query
from queries.render import interval, number
from queries.results import Answer, Provenance, readable_sql
from queries.stats.few_runs import detectable_difference
from queries.stats.means import METHOD, mean_interval

_SQL = """\
SELECT run_id, run, step, tokens_seen, value, se, n_items
FROM v_benchmark
WHERE quantity_id = $quantity_id AND run_id IN (SELECT unnest($run_ids))
  AND checkpoint_id NOT IN (SELECT unnest($left_out))
ORDER BY run_id, step"""

_TASKS_SQL = "SELECT DISTINCT eval_set AS task FROM v_quantity WHERE table_name = 'fact_benchmark'"


@dataclass(frozen=True, kw_only=True, repr=False, eq=False)
class BenchmarkCurves(Answer):
    """One metric of one task over training.

    table: run, group, step, tokens_seen, value, se, n_items. summary: per run the final value with its se,
    the best value and where, and best − final in units of se (the two share items, so that is a guide only).
    """

    label: str

    def plot(self, *, x_scale: Literal["log", "linear"] = "log") -> go.Figure:
        """A line per run with ± one standard error."""
        from queries.figures.plots import benchmark

        return benchmark(self, x_scale=x_scale)


@query(title="How does a benchmark result change over training?")
def benchmark_curves(
    archive: Archive,
    *,
    runs: Runs = ALL_RUNS,
    task: Annotated[str, Field(description="name of the task, such as lambada_openai")] = "lambada_openai",
    metric: Annotated[str, Field(description="acc, acc_norm, ppl, ...")] = "acc",
    shots: Annotated[
        int | None, Field(description="number of examples in the prompt; none = not recorded")
    ] = 0,
    series: Annotated[
        str, Field(description="a series that the source keeps apart; empty = the main one")
    ] = "",
    confidence: IntervalLevel = 0.95,
    **which: Unpack[Which],
) -> BenchmarkCurves:
    """Values of one benchmark metric at every usable checkpoint, with the published standard errors.

    The direction (higher or lower is better) comes with the metric. A standard error is over the task's
    items; it says nothing about other seeds.
    """
    selected = select_runs(archive, runs)
    tasks = [row["task"] for row in archive.rows(_TASKS_SQL)]
    if task not in tasks:
        raise UnknownName.of("benchmark task", task, tasks, listing=f'`pathscope sql "{_TASKS_SQL}"`')
    which["eval_set"] = task
    choice = choose_quantity(
        archive,
        selected,
        [metric if metric.startswith("benchmark.") else f"benchmark.{metric}"],
        which,
        tables=("fact_benchmark",),
        params={"num_fewshot": shots, "series": series},
    )
    quantity = choice.quantity
    left_out = find_left_out(archive, choice, which)
    parameters = {
        "quantity_id": quantity.quantity_id,
        "run_ids": choice.selected.ids,
        "left_out": left_out.ids,
    }
    rows = archive.query(_SQL, parameters)
    table = with_groups(rows, choice.selected)
    lower_is_better = quantity.direction == "lower is better"
    finite, notes = finite_rows(table, quantity.measure)
    summary = _summary(finite, lower_is_better)
    finals = summary["final"].to_numpy()
    repeated = len(set(choice.selected.groups.values())) == 1 and len(finals) > 1
    mean, low, high = mean_interval(finals, confidence, quantity.bounds) if repeated else (math.nan,) * 3
    provenance = Provenance.of(archive, [choice], left_out)
    shot_words = "" if shots is None else f", {shots}-shot"
    label = (
        f"{task} {quantity.measure.removeprefix('benchmark.')}{shot_words}{', ' + series if series else ''}"
    )
    return BenchmarkCurves(
        sentence=_sentence(label, summary, (mean, low, high)),
        table=table.drop_columns(["run_id"]),
        summary=summary,
        label=label,
        n_runs=summary.num_rows,
        n_items=only_value(table, "n_items"),
        unit=quantity.shown_unit,
        estimate=mean if repeated else float(finals[0]) if len(finals) == 1 else math.nan,
        ci_low=low,
        ci_high=high,
        ci_level=confidence,
        ci_method=f"final value, {METHOD}" if repeated else "",
        mde=detectable_difference(len(finals), len(finals)) * float(finals.std(ddof=1))
        if repeated
        else math.nan,
        limits=(
            *provenance.limits,
            *choice.notes,
            *left_out.limits,
            *notes,
            *_limits(summary, choice.selected),
        ),
        provenance=provenance,
        sql=readable_sql(_SQL, parameters),
    )


def _summary(table: pa.Table, lower_is_better: bool) -> pa.Table:
    """One row a run; rows of one run lie together, sorted by step."""
    starts, ends = stretches(table, ["run_id"])
    values, errors = floats(table, "value"), floats(table, "se")
    steps = table["step"].to_numpy()
    signed = -values if lower_is_better else values
    best = np.array([a + int(np.argmax(signed[a:b])) for a, b in zip(starts, ends, strict=True)])
    last = ends - 1
    with np.errstate(divide="ignore", invalid="ignore"):
        behind = (signed[best] - signed[last]) / np.where(errors[last] > 0, errors[last], np.nan)
    summary = table.take(pa.array(starts)).select(["run", "group"])
    for name, column in {
        "final": values[last],
        "final_se": errors[last],
        "final_step": steps[last],
        "best": values[best],
        "best_step": steps[best],
        "behind_best_in_se": behind,
        "n_checkpoints": ends - starts,
    }.items():
        summary = summary.append_column(name, pa.array(column, from_pandas=True))
    return summary


def _sentence(label: str, summary: pa.Table, mean: tuple[float, float, float]) -> str:
    rows = summary.to_pylist()
    if len(rows) == 1:
        r = rows[0]
        error = f" ± {number(r['final_se'], 2)}" if r["final_se"] is not None else ""
        return (
            f"{label} of {r['run']}: {number(r['final'])}{error} at step {r['final_step']:,}; its best is "
            f"{number(r['best'])} at step {r['best_step']:,}."
        )
    average = f", mean {number(mean[0])} {interval(*mean[1:])}" if math.isfinite(mean[0]) else ""
    finals = [r["final"] for r in rows]
    worse = [r for r in rows if (r["behind_best_in_se"] or 0) > 2]
    return (
        f"{label} of {len(rows)} runs ends between {number(min(finals))} and {number(max(finals))}{average}; "
        f"{len(worse)} of them end more than 2 standard errors behind their own best checkpoint."
    )


def _limits(summary: pa.Table, selected: Selected) -> list[str]:
    lines = [
        "The best of several noisy checkpoints is biased: it looks better than that checkpoint would again."
    ]
    sizes = list(selected.groups.values())
    alone = sum(sizes.count(group) == 1 for group in set(sizes))
    if alone:
        lines.append(
            f"{alone} condition(s) have a single run: standard errors are over items, not over seeds."
        )
    if summary["final_se"].null_count:
        lines.append(
            f"{summary['final_se'].null_count} run(s) have no standard error at their final checkpoint."
        )
    return lines
