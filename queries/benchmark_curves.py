"""Benchmark metrics over training, with their standard errors: best, final, when half was there, late declines."""

import math
from dataclasses import dataclass, replace
from typing import Any, Literal, Unpack

import numpy as np
import plotly.graph_objects as go
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from archive.store import Archive
from queries.parameters import IntervalLevel
from queries.reading.benchmarks import Benchmarks, Metric, Series, Shots, Tasks, read_benchmarks, with_sizes
from queries.reading.quantities import Which
from queries.reading.select import ALL_RUNS, Runs, select_runs
from queries.reading.sizes import Sizes, SizesGiven, run_sizes
from queries.reading.tables import Floats, floats, only_value, stretches
from queries.reading.units import units_by_group, units_limits
from queries.registry import query
from queries.render import number
from queries.results import Answer, Provenance
from queries.stats.decline import declines
from queries.stats.multiple import benjamini_hochberg
from queries.stats.over_units import detectable_between, mean_over_units, method_over
from queries.wording.benchmarks import curve_limits, curve_sentence

NULL = "no checkpoint truly better than the last"
ALPHA = 0.05

_TEXT, _WHOLE, _REAL = pa.string(), pa.int64(), pa.float64()
_SUMMARY = pa.schema(
    [
        ("run", _TEXT),
        ("group", _TEXT),
        ("size", _REAL),
        ("task", _TEXT),
        ("n_checkpoints", _WHOLE),
        ("first", _REAL),
        ("final", _REAL),
        ("final_se", _REAL),
        ("final_step", _WHOLE),
        ("best", _REAL),
        ("best_se", _REAL),
        ("best_step", _WHOLE),
        ("half_after", _WHOLE),
        ("half_step", _WHOLE),
        ("halfway_after", _WHOLE),
        ("halfway_step", _WHOLE),
        *((name, _REAL) for name in ("decline", "decline_se", "decline_in_se", "p", "q")),
        ("declined", pa.bool_()),
    ]
)


@dataclass(frozen=True, kw_only=True, repr=False, eq=False)
class BenchmarkCurves(Answer):
    """One metric of one or several tasks over training.

    table: run, group, size (parameters of the model, where known), task, step, tokens_seen, value, se, n_items.
    summary: per run and task the first, final and best value with standard errors and steps; half_step, the first at
    which the value is at least half of the final value (half_after: the last checkpoint before it), and halfway_step, the
    first at least halfway from the first to the final value: for an accuracy with a chance level that is the one to
    read, half of the final value being there before training. decline: best − final, positive where the end is
    worse; decline_se its standard error if errors were independent, p against "no checkpoint truly better than the last" with
    the choice of the best paid for, q over all curves of the answer (Benjamini-Hochberg), declined: q < 0.05.
    Empty where the metric has no better (such as a share of stereotypes) or a standard error is not known.
    """

    label: str

    def overview(self) -> pa.Table | None:
        """The summary in fewer columns, what declined first."""
        rows = sorted(self.summary.to_pylist() if self.summary is not None else [], key=_by_decline)
        several = len({r["task"] for r in rows}) > 1
        return pa.Table.from_pylist(
            [
                {
                    "run": r["run"],
                    **({"task": r["task"]} if several else {}),
                    "final": _with_error(r["final"], r["final_se"]),
                    "best": number(r["best"]),
                    "best_step": r["best_step"],
                    "half_step": r["half_step"],
                    "halfway_step": r["halfway_step"],
                    "decline_in_se": number(r["decline_in_se"], 3),
                    "q": number(r["q"], 2),
                }
                for r in rows
            ]
        )

    def plot(self, *, x_scale: Literal["log", "linear"] = "log") -> go.Figure:
        """A line per run and task with ± one standard error."""
        from queries.figures.benchmarks import benchmark

        return benchmark(self, x_scale=x_scale)


@query(title="How does a benchmark result change over training?")
def benchmark_curves(
    archive: Archive,
    *,
    runs: Runs = ALL_RUNS,
    task: Tasks = ("lambada_openai",),
    metric: Metric = "acc",
    shots: Shots = 0,
    series: Series = "",
    sizes: SizesGiven = (),
    confidence: IntervalLevel = 0.95,
    **which: Unpack[Which],
) -> BenchmarkCurves:
    """Values of one metric at every usable checkpoint, on one or many tasks, with the published standard errors.

    The direction (higher or lower is better) comes with the metric. A standard error is over the task's
    items; it says nothing about other seeds. A scalar of checkpoints, such as an imported logit_difference, is read the
    same way, its eval set being the task.
    """
    selected = select_runs(archive, runs)
    read = read_benchmarks(archive, selected, task, metric, which, shots=shots, series=series)
    known = run_sizes(read.selected, sizes)
    summary = _summary(read, known)
    curves, finals = summary.to_pylist(), summary["final"].to_numpy()
    one_task, one_group = len(read.tasks) == 1, len({curve["group"] for curve in curves}) == 1
    repeated = one_task and one_group and len(finals) > 1
    bounds = read.quantity.bounds
    ids = {run.run: run.run_id for run in read.selected.runs}
    units = units_by_group(read.selected, dict.fromkeys(ids[curve["run"]] for curve in curves))
    shared = next(iter(units.values())).of() if repeated else []
    mean, low, high = mean_over_units(finals, shared, confidence, bounds) if repeated else (math.nan,) * 3
    alone = curves[0] if len(curves) == 1 else None
    # shared seeds are taken into account here
    provenance = replace(Provenance.of(archive, list(read.choices.values()), read.left_out), shared_seeds=())
    rows = with_sizes(read.table, known)
    return BenchmarkCurves(
        sentence=curve_sentence(read.label, curves, (mean, low, high)),
        table=rows.drop_columns(["run_id"]),
        summary=summary,
        label=read.label,
        n_runs=len({curve["run"] for curve in curves}),
        n_items=only_value(rows, "n_items"),
        unit=read.quantity.shown_unit,
        estimate=mean if repeated else float(finals[0]) if alone else math.nan,
        ci_low=low,
        ci_high=high,
        ci_level=confidence,
        ci_method=f"final value, {method_over(shared)}" if repeated else "",
        null_name=NULL if alone and alone["p"] is not None else "",
        p_value=alone["p"] if alone and alone["p"] is not None else math.nan,
        mde=detectable_between(finals, shared) if repeated else math.nan,
        limits=(
            *provenance.limits,
            *read.limits,
            *known.limits,
            *units_limits(units, ""),
            *curve_limits(curves, read),
        ),
        provenance=provenance,
        sql=read.sql,
    )


def _summary(read: Benchmarks, sizes: Sizes) -> pa.Table:
    """One row a run and task; their rows lie together, sorted by step."""
    table = read.finite
    steps, values, errors = (floats(table, name) for name in ("step", "value", "se"))
    firsts, ends = stretches(table, ["run_id", "task"])
    lengths = ends - firsts
    heads = with_sizes(table.take(pa.array(firsts)), sizes)
    columns: dict[str, Floats] = {"n_checkpoints": lengths.astype(float)}
    for length in np.unique(lengths):
        those = np.flatnonzero(lengths == length)
        rows = firsts[those, None] + np.arange(length)
        for name, found in _curves(steps[rows], values[rows], errors[rows], read.sign).items():
            columns.setdefault(name, np.full(len(firsts), np.nan))[those] = found
    columns["q"] = benjamini_hochberg(columns["p"])
    arrays = {name: pa.array(found, from_pandas=True) for name, found in columns.items()}
    arrays["declined"] = pc.less(arrays["q"], ALPHA)
    arrays |= {name: heads[name] for name in ("run", "group", "size", "task")}
    unknown = pa.nulls(len(firsts))
    return pa.table([arrays.get(field.name, unknown).cast(field.type) for field in _SUMMARY], schema=_SUMMARY)


def _curves(steps: Floats, values: Floats, errors: Floats, sign: int) -> dict[str, Floats]:
    """What there is to say of curves with as many checkpoints: columns of the summary, from (curve, checkpoint)."""
    columns = {
        "first": values[:, 0],
        "final": values[:, -1],
        "final_se": errors[:, -1],
        "final_step": steps[:, -1],
        "p": np.full(len(values), np.nan),
    }
    if not sign:
        return columns
    better = sign * values
    first, final = better[:, 0], better[:, -1]
    found = declines(better, errors)
    best = np.arange(len(values)), found.best
    half_after, half_step = _reached(steps, better, final / 2, (final > 0) & (sign > 0))
    halfway_after, halfway_step = _reached(steps, better, (first + final) / 2, final > first)
    return columns | {
        "best": values[best],
        "best_se": errors[best],
        "best_step": steps[best],
        "half_after": half_after,
        "half_step": half_step,
        "halfway_after": halfway_after,
        "halfway_step": halfway_step,
        "decline": found.lost,
        "decline_se": found.se,
        "decline_in_se": np.divide(
            found.lost, found.se, out=np.full(len(values), np.nan), where=found.se > 0
        ),
        "p": found.p,
    }


def _reached(steps: Floats, values: Floats, level: Floats, asked: NDArray[np.bool_]) -> tuple[Floats, Floats]:
    """The last checkpoint before a level that each curve gets to, and the first at it; NaN where it is not asked for."""
    curve, at = np.arange(len(values)), (values >= level[:, None]).argmax(axis=1)
    before = np.where(asked & (at > 0), steps[curve, at - 1], np.nan)
    return before, np.where(asked, steps[curve, at], np.nan)


def _with_error(value: float, se: float | None) -> str:
    return number(value) if se is None else f"{number(value)} ± {number(se, 2)}"


def _by_decline(row: dict[str, Any]) -> tuple[bool, float]:
    return row["q"] is None, row["q"] if row["q"] is not None else 0.0
