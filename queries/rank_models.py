"""Models ranked on every benchmark task and over all of them, with what cannot be told apart."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Unpack

import numpy as np
import plotly.graph_objects as go
import pyarrow as pa
from numpy.typing import NDArray

from archive.errors import NotComparable
from archive.store import Archive
from queries.parameters import IntervalLevel
from queries.reading.benchmarks import (
    Benchmarks,
    Metric,
    Series,
    Shots,
    Tasks,
    final_steps_note,
    read_benchmarks,
)
from queries.reading.checkpoints import Step
from queries.reading.quantities import Which
from queries.reading.select import ALL_RUNS, Runs, select_runs
from queries.reading.sizes import Sizes, SizesGiven, run_sizes
from queries.reading.tables import floats, in_order, only_value
from queries.reading.units import row_limits, units_by_group
from queries.registry import query
from queries.render import interval, number
from queries.results import Answer, Provenance
from queries.stats.concordance import Concordance, concordance
from queries.stats.means import mean_interval
from queries.stats.ranks import TaskPairs, pairs_over_tasks, rank_bounds, rank_noise, ranks
from queries.wording.circuits import or_nan
from queries.wording.ranks import rank_limits, rank_sentence

NULL = "tasks that order models independently"

Floats = NDArray[np.float64]
_TEXT, _WHOLE, _REAL = pa.string(), pa.int64(), pa.float64()
_WHO = (("run", _TEXT), ("group", _TEXT), ("size", _REAL))
_TABLE = pa.schema(
    [
        *_WHO,
        ("task", _TEXT),
        ("step", _WHOLE),
        *((name, _REAL) for name in ("value", "se", "rank")),
        *((name, _WHOLE) for name in ("rank_low", "rank_high")),
    ]
)
_SUMMARY = pa.schema(
    [
        *_WHO,
        *((name, _REAL) for name in ("mean_rank", "low", "high", "item_sd")),
        *((name, _WHOLE) for name in ("n_tasks", "n_first")),
        ("not_told_from", pa.list_(_TEXT)),
    ]
)
_PAIRS = pa.schema(
    [
        *((name, _TEXT) for name in ("better", "worse")),
        ("difference", _REAL),
        *((name, _WHOLE) for name in ("n_ahead", "n_tied", "n_tasks")),
        *((name, _REAL) for name in ("p", "p_adjusted")),
        ("told_apart", pa.bool_()),
    ]
)


@dataclass(frozen=True)
class Scores:
    """Scores of models on the tasks that all of them have, larger better: arrays (task, model)."""

    run_ids: list[int]
    tasks: list[str]
    values: Floats
    errors: Floats
    shown: Floats
    steps: Floats
    dropped_runs: tuple[str, ...]
    dropped_tasks: tuple[str, ...]


@dataclass(frozen=True, kw_only=True, repr=False, eq=False)
class RankModels(Answer):
    """Models in order.

    table: run, group, size, task, step, value, se, rank (1 = best, equal scores share theirs), rank_low and rank_high: the
    true ranks of all models on a task lie within them together, as the published standard errors say.
    summary: per model the mean rank over tasks with its interval (Student t over tasks), item_sd (how much of it other items
    of the same tasks would change), tasks, on how many it is first, and the models it cannot be told from over these tasks.
    pairs: per two models the mean difference in rank, tasks on which the better one is ahead or equal, p of sign flips
    over tasks, p_adjusted (Holm), whether they are told apart.
    """

    label: str
    pairs: pa.Table

    def overview(self) -> pa.Table | None:
        """The order with the interval in one cell."""
        rows = self.summary.to_pylist() if self.summary is not None else []
        return pa.Table.from_pylist(
            [
                {
                    "run": r["run"],
                    "mean rank": number(r["mean_rank"], 3),
                    f"{self.ci_level:.0%} interval": interval(or_nan(r["low"]), or_nan(r["high"]), 3),
                    "first on": f"{r['n_first']} of {r['n_tasks']}",
                    "told from": f"{len(rows) - 1 - len(r['not_told_from'])} of {len(rows) - 1}",
                }
                for r in rows
            ]
        )

    def plot(self) -> go.Figure:
        """Mean ranks with intervals, the best on top."""
        from queries.figures.benchmarks import mean_ranks

        return mean_ranks(self)


@query(title="Which models rank best over benchmarks, and which cannot be told apart?")
def rank_models(
    archive: Archive,
    *,
    runs: Runs = ALL_RUNS,
    tasks: Tasks = ("*",),
    metric: Metric = "acc",
    shots: Shots = 0,
    series: Series = "",
    step: Step = "final",
    sizes: SizesGiven = (),
    confidence: IntervalLevel = 0.95,
    **which: Unpack[Which],
) -> RankModels:
    """Ranks of models on the tasks that all of them have, per task and as a mean over tasks.

    On one task items are the units: standard errors bound the true ranks of all models at once. Over tasks the task is the
    unit: sign flips of rank differences tell two models apart, and Kendall's W says whether tasks agree on an order at all.
    """
    selected = select_runs(archive, runs)
    read = read_benchmarks(archive, selected, tasks, metric, which, shots=shots, series=series, at=step)
    read.refuse_without_better()
    scores = _scores(read)
    known = run_sizes(read.selected, sizes)
    found = ranks(scores.values)
    low, high = rank_bounds(scores.values, scores.errors, confidence)
    pairs = pairs_over_tasks(found)
    agreement = concordance(found) if found.shape[0] > 1 and found.shape[1] > 1 else None
    names = [read.selected.by_id[run].run for run in scores.run_ids]
    pair_rows = _pair_rows(pairs, names, len(scores.tasks), 1 - confidence)
    order = sorted(range(len(names)), key=lambda k: (found[:, k].mean(), k))
    summary = [_summary_row(k, read, scores, known, found, pair_rows, confidence) for k in order]
    for row, noise in zip(summary, rank_noise(scores.values, scores.errors)[order].tolist(), strict=True):
        row["item_sd"] = noise if np.isfinite(scores.errors).all() else None
    table = [
        _table_row(k, t, read, scores, known, found, (low, high))
        for k in range(len(names))
        for t in range(len(scores.tasks))
    ]
    told = sum(r["told_apart"] for r in pair_rows)
    # no p or interval is over runs
    provenance = replace(Provenance.of(archive, list(read.choices.values()), read.left_out), shared_seeds=())
    return RankModels(
        sentence=rank_sentence(read.label, summary, told, len(pair_rows), agreement),
        table=pa.Table.from_pylist(table, schema=_TABLE),
        summary=pa.Table.from_pylist(summary, schema=_SUMMARY),
        pairs=pa.Table.from_pylist(pair_rows, schema=_PAIRS),
        label=read.label,
        n_runs=len(names),
        n_items=only_value(read.finite, "n_items"),
        ci_level=confidence,
        null_name=NULL if _known(agreement) else "",
        p_value=agreement.p if agreement else math.nan,
        verdict=None if told else "unresolved",
        limits=(
            *provenance.limits,
            *read.limits,
            *known.limits,
            *final_steps_note(read.finite),
            *row_limits(units_by_group(read.selected, scores.run_ids)),
            *rank_limits(scores.dropped_runs, scores.dropped_tasks, len(scores.tasks), pairs, read.selected),
        ),
        provenance=provenance,
        sql=read.sql,
    )


def _scores(read: Benchmarks) -> Scores:
    """The complete part of runs × tasks; raises NotComparable where nothing is complete.

    Runs with less than half as many tasks as the run with the most are dropped first, so that one of them does not
    take its missing tasks from everybody.
    """
    table = read.finite
    ids, tasks = in_order(read.selected, set(table["run_id"].to_pylist())), read.tasks
    shape = (len(tasks), len(ids))
    values, errors, steps = (np.full(shape, np.nan) for _ in range(3))
    at = (
        [tasks.index(t) for t in table["task"].to_pylist()],
        [ids.index(i) for i in table["run_id"].to_pylist()],
    )
    values[at], errors[at], steps[at] = (floats(table, name) for name in ("value", "se", "step"))
    there = np.isfinite(values)
    kept = there.sum(axis=0) >= there.sum(axis=0).max() / 2
    complete = there[:, kept].all(axis=1)
    if not complete.any():
        least = int(np.argmin(np.where(kept, there.sum(axis=0), shape[0] + 1)))
        raise NotComparable(
            f"no task has a value of {read.metric} for all {int(kept.sum())} runs; {read.selected.by_id[ids[least]].run} has "
            f"only {int(there[:, least].sum())} of {len(tasks)}: leave it out, or name the tasks."
        )
    rows = np.flatnonzero(complete)
    part = np.ix_(rows, np.flatnonzero(kept))
    return Scores(
        run_ids=[run for run, keep in zip(ids, kept, strict=True) if keep],
        tasks=[tasks[k] for k in rows],
        values=read.sign * values[part],
        errors=errors[part],
        shown=values[part],
        steps=steps[part],
        dropped_runs=tuple(
            read.selected.by_id[run].run for run, keep in zip(ids, kept, strict=True) if not keep
        ),
        dropped_tasks=tuple(t for t, whole in zip(tasks, complete, strict=True) if not whole),
    )


def _who(k: int, read: Benchmarks, scores: Scores, sizes: Sizes) -> dict[str, Any]:
    run = scores.run_ids[k]
    return {
        "run": read.selected.by_id[run].run,
        "group": read.selected.groups[run],
        "size": sizes.get(run),
    }


def _table_row(
    k: int,
    t: int,
    read: Benchmarks,
    scores: Scores,
    sizes: Sizes,
    found: Floats,
    bounds: tuple[NDArray[np.int64], NDArray[np.int64]],
) -> dict[str, Any]:
    se = float(scores.errors[t, k])
    # a task with an unknown error bounds nothing, and wide bounds would look like a result
    known = bool(np.isfinite(scores.errors[t]).all())
    return {
        **_who(k, read, scores, sizes),
        "task": scores.tasks[t],
        "step": int(scores.steps[t, k]),
        "value": float(scores.shown[t, k]),
        "se": se if math.isfinite(se) else None,
        "rank": float(found[t, k]),
        "rank_low": int(bounds[0][t, k]) if known else None,
        "rank_high": int(bounds[1][t, k]) if known else None,
    }


def _summary_row(
    k: int,
    read: Benchmarks,
    scores: Scores,
    sizes: Sizes,
    found: Floats,
    pairs: Sequence[Mapping[str, Any]],
    level: float,
) -> dict[str, Any]:
    who = _who(k, read, scores, sizes)
    mean, low, high = mean_interval(found[:, k], level, (1.0, float(found.shape[1])))
    return {
        **who,
        "mean_rank": mean,
        "low": low if math.isfinite(low) else None,
        "high": high if math.isfinite(high) else None,
        "n_tasks": found.shape[0],
        "n_first": int((found[:, k] == found.min(axis=1)).sum()),
        "not_told_from": [
            p["worse"] if p["better"] == who["run"] else p["better"]
            for p in pairs
            if who["run"] in (p["better"], p["worse"]) and not p["told_apart"]
        ],
    }


def _pair_rows(pairs: TaskPairs, names: Sequence[str], n_tasks: int, alpha: float) -> list[dict[str, Any]]:
    return [
        {
            "better": names[pairs.first[k]],
            "worse": names[pairs.second[k]],
            "difference": float(pairs.difference[k]),
            "n_ahead": int(pairs.ahead[k]),
            "n_tied": int(pairs.tied[k]),
            "n_tasks": n_tasks,
            "p": float(pairs.p[k]),
            "p_adjusted": float(pairs.p_adjusted[k]),
            "told_apart": bool(pairs.p_adjusted[k] < alpha),
        }
        for k in range(len(pairs.first))
    ]


def _known(agreement: Concordance | None) -> bool:
    return agreement is not None and math.isfinite(agreement.p)
