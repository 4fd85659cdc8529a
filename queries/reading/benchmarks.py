"""Results of several benchmark tasks at once: a quantity per task, all values with one statement."""

from collections.abc import Mapping
from dataclasses import dataclass
from fnmatch import fnmatchcase
from functools import partial
from typing import Annotated, Literal

import pyarrow as pa
from pydantic import BeforeValidator, Field

from archive.errors import NotComparable, UnknownName, UsageError
from archive.store import Archive
from queries.reading.checkpoints import LeftOuts, find_left_outs
from queries.reading.quantities import Choice, Quantity, Want, Which, choose_quantities
from queries.reading.select import Selected
from queries.reading.sizes import Sizes
from queries.reading.tables import finite_rows, floats, with_groups
from queries.results import readable_sql

_TASKS_SQL = """\
SELECT DISTINCT eval_set AS task, measure, table_name FROM v_quantity
WHERE table_name = 'fact_benchmark' OR (table_name = 'fact_scalar' AND measure IN (SELECT unnest($measures)))
ORDER BY ALL"""

_LIST_SQL = "SELECT DISTINCT task FROM v_benchmark"

# a curve of a published task may also be a scalar of its checkpoints, such as a logit difference
_SQL = """\
WITH wanted AS (SELECT unnest($quantities) AS quantity_id, unnest($tasks) AS task),
measured AS (
  SELECT run_id, run, quantity_id, step, tokens_seen, value, se, n_items FROM v_benchmark
  WHERE quantity_id IN (SELECT unnest($quantities)) AND run_id IN (SELECT unnest($run_ids))
    AND checkpoint_id NOT IN (SELECT unnest($left_out))
  UNION ALL
  SELECT run_id, run, quantity_id, step, tokens_seen, value, se, n_items FROM v_scalar
  WHERE quantity_id IN (SELECT unnest($quantities)) AND run_id IN (SELECT unnest($run_ids)) AND part = ''
    AND checkpoint_id NOT IN (SELECT unnest($left_out))
)
SELECT m.run_id, m.run, w.task, m.step, m.tokens_seen, m.value, m.se, m.n_items
FROM measured m JOIN wanted w ON w.quantity_id = m.quantity_id
WHERE $step IS NULL OR m.step = $step
QUALIFY NOT $last OR m.step = max(CASE WHEN isfinite(m.value) THEN m.step END) OVER (PARTITION BY m.run_id, w.task)
ORDER BY m.run_id, w.task, m.step"""


def _one_or_several(tasks: object) -> object:
    return (tasks,) if isinstance(tasks, str) else tasks


Tasks = Annotated[
    tuple[str, ...],
    BeforeValidator(_one_or_several),
    Field(description="names or patterns of benchmark tasks, such as lambada_openai or 'arc_*'"),
]
Metric = Annotated[
    str, Field(description="acc, acc_norm, ppl, ..., or a scalar such as logit_difference", min_length=1)
]
Shots = Annotated[int | None, Field(description="number of examples in the prompt; none = not recorded")]
Series = Annotated[str, Field(description="a series that the source keeps apart; empty = the main one")]


@dataclass(frozen=True)
class Benchmarks:
    """Values of one metric on some tasks. table: run_id, run, group, task, step, tokens_seen, value, se, n_items.

    Rows are sorted by run, task and step; finite are those whose value is. choices: the quantity of each task.
    selected: runs with any of them. skipped: tasks that match a pattern but cannot be read, with the reason. notes:
    what else to say.
    """

    table: pa.Table
    finite: pa.Table
    choices: Mapping[str, Choice]
    selected: Selected
    left_out: LeftOuts
    skipped: Mapping[str, str]
    notes: tuple[str, ...]
    metric: str
    shots: int | None
    series: str
    sql: str

    @property
    def quantity(self) -> Quantity:
        """That of the first task: unit and direction are those of the metric, whatever the task."""
        return next(iter(self.choices.values())).quantity

    @property
    def tasks(self) -> list[str]:
        """Tasks that have a value, in the order of their names."""
        return sorted(set(self.finite["task"].unique().to_pylist()))

    @property
    def sign(self) -> int:
        """+1 where higher is better, −1 where lower is, 0 where the metric has no better."""
        return {"higher is better": 1, "lower is better": -1}.get(self.quantity.direction, 0)

    def refuse_without_better(self) -> None:
        """Raise NotComparable for a metric in which no model is better than another."""
        if not self.sign:
            raise NotComparable(
                f"{self.metric} has no better and worse ({self.quantity.direction}), so no model is better than another in it; "
                "ask with metric='acc' or another that has."
            )

    @property
    def label(self) -> str:
        """Task (or how many), metric, shots and series in words."""
        tasks = self.tasks
        named = tasks[0] if len(tasks) == 1 else f"{len(tasks)} tasks"
        shots = (
            "" if self.shots is None or self.quantity.table_name == "fact_scalar" else f", {self.shots}-shot"
        )
        return f"{named} {self.metric}{shots}{', ' + self.series if self.series else ''}"

    @property
    def limits(self) -> tuple[str, ...]:
        """What every answer from these values has to say about them."""
        lines = [*dict.fromkeys(n for c in self.choices.values() for n in c.notes), *self.left_out.limits]
        if self.skipped:
            task, why = next(iter(self.skipped.items()))
            lines.append(f"{len(self.skipped)} task(s) asked for cannot be read (first: {task}: {why}).")
        return (*lines, *self.notes)


def read_benchmarks(
    archive: Archive,
    selected: Selected,
    tasks: tuple[str, ...],
    metric: str,
    which: Which,
    *,
    shots: int | None,
    series: str,
    at: int | Literal["all", "final"] = "all",
) -> Benchmarks:
    """Read a metric of every task asked for, whatever their number with at most five statements.

    at: "all" checkpoints, the "final" one = the last of each run and task with a finite value, or a step.
    Raises UnknownName for a task the archive lacks, UsageError or NotComparable as `choose_quantity` does for a
    task named in full, or where no task can be read; tasks that only match a pattern are skipped with the reason.
    """
    bare = metric.removeprefix("benchmark.")
    names = (f"benchmark.{bare}", bare)
    known = archive.rows(_TASKS_SQL, {"measures": list(names)})
    wanted = _matching(tasks, {row["task"] for row in known})
    having = {row["task"]: row["table_name"] for row in known if row["measure"] in names}
    asked = {t: exact for t, exact in wanted.items() if exact or t in having} or wanted
    found = choose_quantities(
        archive, selected, [_want(task, names, having.get(task), shots, series) for task in asked], which
    )
    choices = {t: c for t, c in zip(asked, found, strict=True) if isinstance(c, Choice)}
    refused = {t: c for t, c in zip(asked, found, strict=True) if not isinstance(c, Choice)}
    for task, error in refused.items():
        if asked[task] or not choices:
            raise error
    left_out = find_left_outs(archive, choices.values(), which)
    ids = sorted({i for c in choices.values() for i in c.selected.ids})
    parameters: dict[str, object] = {
        "quantities": [c.quantity.quantity_id for c in choices.values()],
        "tasks": list(choices),
        "run_ids": ids,
        "left_out": left_out.ids,
        "step": at if isinstance(at, int) else None,
        "last": at == "final",
    }
    rows = archive.query(_SQL, parameters)
    if not rows.num_rows:
        place = f"at step {at}" if isinstance(at, int) else "outside the checkpoints that are left out"
        raise UsageError(
            f"no run has {bare} of {', '.join(list(choices)[:3])} {place}; `pathscope query benchmark_curves` shows the "
            "steps there are (with_suspect=True uses suspect ones)."
        )
    some = selected.only(ids)
    table = with_groups(rows, some)
    finite, notes = finite_rows(table, bare)
    lacking = {t: "no such metric" for t in wanted if t not in asked}
    skipped = lacking | {t: _short(error) for t, error in refused.items()}
    return Benchmarks(
        table=table,
        finite=finite,
        choices=choices,
        selected=some,
        left_out=left_out,
        skipped=skipped,
        notes=tuple(notes),
        metric=bare,
        shots=shots,
        series=series,
        sql=readable_sql(_SQL, parameters),
    )


def with_sizes(table: pa.Table, sizes: Sizes) -> pa.Table:
    """The table with `size` (parameters of the model, NULL where not known) after `group`."""
    runs = table["run_id"].combine_chunks().dictionary_encode()
    found = pa.array([sizes.get(run) for run in runs.dictionary.to_pylist()], pa.float64())
    at = table.column_names.index("group") + 1
    return table.add_column(at, "size", found.take(runs.indices))


def final_steps_note(table: pa.Table) -> list[str]:
    """A line where values of one question are from different steps."""
    steps = floats(table, "step")
    first, last = int(steps.min()), int(steps.max())
    if first == last:
        return []
    return [f"Values are from different steps ({first:,} to {last:,}): the last of each run and task."]


def _want(task: str, names: tuple[str, str], table: str | None, shots: int | None, series: str) -> Want:
    # shots and series are parameters of harness results only
    params = {} if table == "fact_scalar" else {"num_fewshot": shots, "series": series}
    return Want(names, ("fact_benchmark", "fact_scalar"), params, fits=partial(_is_of, task))


def _is_of(task: str, quantity: Quantity) -> bool:
    return quantity.eval_set == task


def _matching(asked: tuple[str, ...], known: set[str]) -> dict[str, bool]:
    """Tasks asked for, and whether they were named in full."""
    if not asked:
        raise UsageError("no task asked for: '*' means all of them.")
    found: dict[str, bool] = {}
    for term in asked:
        matches = [term] if term in known else sorted(t for t in known if fnmatchcase(t, term))
        if not matches:
            raise UnknownName.of("benchmark task", term, known, listing=f'`pathscope sql "{_LIST_SQL}"`')
        for task in matches:
            found[task] = found.get(task, False) or task == term
    return found


def _short(error: UsageError | NotComparable) -> str:
    """The first line of why a task cannot be read, as part of a sentence."""
    return str(error).split("\n")[0].rstrip(".:; ")
