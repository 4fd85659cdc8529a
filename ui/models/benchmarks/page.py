"""Benchmark results: which sets of numbers there are, what was chosen, and the models from small to large."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from archive.store import Archive
from queries.reading.quantities import Which
from queries.reading.select import RunSelection, select_runs
from queries.reading.sizes import run_sizes

TABLE = "fact_benchmark"
MAIN = "(main)"  # the series without a name: an empty word has no place in an address
NOT_RECORDED = "not recorded"
FINAL = "final"
MOST_TASKS = 4  # panels of curves
MOST_COMPARISONS = 50_000  # more take many seconds and are made only when somebody wants them
FIRST_TASK, FIRST_METRIC = "lambada_openai", "acc"

# of the ledger, so that no fact is read; one row per quantity with a result
_SETS_SQL = """\
WITH done AS (
  SELECT l.quantity_id, count(DISTINCT c.run_id) AS n_runs
  FROM cell l JOIN checkpoint c ON c.id = l.subject_id
  WHERE l.subject_kind = 1 AND l.state = 1
  GROUP BY l.quantity_id
)
SELECT q.quantity_id, q.measure, q.unit, q.direction, q.lower_bound, q.upper_bound, q.eval_set AS task,
       coalesce(q.params_json->>'num_fewshot', '') AS shots, coalesce(q.params_json->>'series', '') AS series,
       q.source, q.dtype, d.n_runs
FROM v_quantity q JOIN done d ON d.quantity_id = q.quantity_id
WHERE q.table_name = 'fact_benchmark'
ORDER BY q.measure, q.eval_set, q.quantity_id"""

_STEPS_SQL = """\
SELECT DISTINCT c.step FROM cell l JOIN checkpoint c ON c.id = l.subject_id
WHERE l.subject_kind = 1 AND l.state = 1 AND l.quantity_id IN (SELECT unnest($quantity_ids))
  AND c.run_id IN (SELECT unnest($run_ids)) AND ($with_suspect OR c.integrity = 'ok')
ORDER BY c.step"""


@dataclass(frozen=True)
class BenchmarkSet:
    """Results that may stand side by side: one metric, number of shots, series, source and number type.

    tasks: their names; quantity_ids: what has their values. n_runs: runs with the task that most have.
    """

    metric: str
    shots: str
    series: str
    source: str
    dtype: str
    unit: str
    direction: str
    bounds: tuple[float | None, float | None]
    tasks: tuple[str, ...]
    quantity_ids: tuple[int, ...]
    n_runs: int

    @property
    def n_shots(self) -> int | None:
        """Number of examples in the prompt; None where it is not recorded."""
        return int(self.shots) if self.shots.isdigit() else None

    @property
    def series_asked(self) -> str:
        """The series as queries know it."""
        return "" if self.series == MAIN else self.series

    @property
    def label(self) -> str:
        """Such as `acc, 0-shot, series baseline`."""
        words = [self.metric, f"{self.shots}-shot" if self.shots.isdigit() else ""]
        return ", ".join([w for w in words if w] + ([f"series {self.series}"] if self.series != MAIN else []))

    @property
    def every_task(self) -> tuple[str, ...]:
        """How to ask for all tasks: as a pattern, so that one that cannot be read does not refuse the others."""
        return self.tasks if len(self.tasks) == 1 else ("*",)

    @property
    def which(self) -> Which:
        """How to ask a query for these numbers."""
        return Which(source=self.source, dtype=self.dtype)


@dataclass(frozen=True)
class BenchmarkChoices:
    """Everything that was chosen on the page beside the runs; the fields' names are the address's."""

    metric: str
    shots: str
    series: str
    source: str
    dtype: str
    task: tuple[str, ...]
    lines: str = "run"
    x_scale: str = "linear"
    y_scale: str = "auto"
    step: str = FINAL
    colours: str = "value"
    order: str = "largest spread first"
    like: str = ""
    correction: str = "holm"
    compare_all: bool = False


@dataclass(frozen=True)
class Models:
    """Runs that have the numbers, from small to large by their parameters; those of unknown size come last."""

    run_ids: tuple[int, ...]
    names: tuple[str, ...]
    sizes: tuple[float | None, ...]


def benchmark_sets(archive: Archive) -> list[BenchmarkSet]:
    """Every set, by metric, the one with most tasks on most runs first."""
    grouped: dict[tuple[str, ...], list[dict[str, Any]]] = {}
    for row in archive.rows(_SETS_SQL):
        row["metric"] = row["measure"].removeprefix("benchmark.")
        row["shots"] = row["shots"] or NOT_RECORDED
        row["series"] = row["series"] or MAIN
        key = tuple(row[f] for f in ("metric", "shots", "series", "source", "dtype"))
        grouped.setdefault(key, []).append(row)
    found = [_set(key, rows) for key, rows in grouped.items()]
    return sorted(found, key=lambda s: (s.metric, -len(s.tasks) * s.n_runs, s.shots, s.series, s.source))


def options(sets: Sequence[BenchmarkSet], field: str, first: str = "") -> list[str]:
    """The values of a field, in order; `first` to the front where it is one of them."""
    known = list(dict.fromkeys(str(getattr(s, field)) for s in sets))
    return sorted(known, key=lambda value: value != first)


def opening_tasks(found: BenchmarkSet) -> list[str]:
    """What to open with: the task that everybody knows where it is there, else the first."""
    return [FIRST_TASK] if FIRST_TASK in found.tasks else list(found.tasks[:1])


def models(archive: Archive, *, selection: RunSelection, quantity_ids: Sequence[int]) -> Models:
    """Runs of a selection with any of these quantities; raises what `select_runs` does."""
    selected = select_runs(archive, selection)
    having = archive.query(
        "SELECT DISTINCT run_id FROM fact_benchmark WHERE quantity_id IN (SELECT unnest($ids))",
        {"ids": list(quantity_ids)},
    )["run_id"].to_pylist()
    mine = selected.only(having)
    sizes = run_sizes(mine)
    rows = sorted(mine.runs, key=lambda r: (sizes.get(r.run_id) or math.inf, r.run))
    return Models(
        tuple(r.run_id for r in rows), tuple(r.run for r in rows), tuple(sizes.get(r.run_id) for r in rows)
    )


def n_comparisons(found: Models, n_tasks: int) -> int:
    """At most how many pairs of a smaller and a larger model there are over all tasks."""
    sizes = np.array([s for s in found.sizes if s is not None])
    return n_tasks * int((sizes[None, :] > sizes[:, None]).sum())


def steps_of(
    archive: Archive, *, quantity_ids: Sequence[int], run_ids: Sequence[int], suspect: bool
) -> list[int]:
    """Steps at which any of the runs has any of the quantities, ascending."""
    asked = {"quantity_ids": list(quantity_ids), "run_ids": list(run_ids), "with_suspect": suspect}
    return [int(row["step"]) for row in archive.rows(_STEPS_SQL, asked)]


def _set(key: tuple[str, ...], rows: Sequence[Mapping[str, Any]]) -> BenchmarkSet:
    metric, shots, series, source, dtype = key
    last = rows[-1]
    return BenchmarkSet(
        metric=metric,
        shots=shots,
        series=series,
        source=source,
        dtype=dtype,
        unit="" if last["unit"] in ("1", "unknown", metric) else last["unit"],
        direction=last["direction"],
        bounds=(last["lower_bound"], last["upper_bound"]),
        tasks=tuple(sorted({row["task"] for row in rows})),
        quantity_ids=tuple(row["quantity_id"] for row in rows),
        n_runs=max(row["n_runs"] for row in rows),
    )
