"""Every series of one measure over training: a scalar, each head, pair of heads or position, a benchmark, a task, a question."""

from collections.abc import Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from archive.errors import UnknownName, UsageError
from archive.store import Archive
from queries.reading.benchmarks import read_benchmarks
from queries.reading.checkpoints import LeftOuts, find_left_outs
from queries.reading.curves import choose_part, measure_names, no_such_part
from queries.reading.quantities import Choice, Want, Which, choose_quantities
from queries.reading.select import Selected
from queries.reading.tables import with_groups
from queries.results import readable_sql

# what counts right answers, and the measure of the same answers that does not jump where an answer turns right
CONTINUOUS = {
    "accuracy": "loss",
    "log.accuracy": "log.loss",
    "position_accuracy": "position_loss",
    "task_accuracy": "logit_difference",
    "top_accuracy": "target_prob",
}
DISCRETE = {continuous: discrete for discrete, continuous in CONTINUOUS.items()}
# of published benchmarks
DISCRETE_BENCHMARKS = tuple(
    f"{source}.{metric}"
    for source in ("benchmark", "benchmark_item")
    for metric in ("acc", "acc_norm", "em", "exact_match")
)
# with these a number in one run is not the same thing as in another
OF_COMPONENTS = ("fact_head", "fact_head_pair")

_HEADS = 'coalesce(r.n_heads, round(sqrt(len(f."values")))::INTEGER)'

# table -> rows run_id, run, place (for the order), series, step, value
_SQL = {
    "fact_log": """\
SELECT run_id, run, 0 AS place, part AS series, step, value
FROM v_log
WHERE quantity_id = $quantity_id AND run_id IN (SELECT unnest($run_ids)) AND ($part IS NULL OR part = $part)""",
    "fact_scalar": """\
SELECT run_id, run, 0 AS place, part AS series, step, value
FROM v_scalar
WHERE quantity_id = $quantity_id AND run_id IN (SELECT unnest($run_ids)) AND ($part IS NULL OR part = $part)
  AND checkpoint_id NOT IN (SELECT unnest($left_out))""",
    "fact_position": """\
SELECT run_id, run, position AS place, coalesce(nullif($labels[position + 1], ''), 'p' || position) AS series, step, value
FROM v_position
WHERE quantity_id = $quantity_id AND run_id IN (SELECT unnest($run_ids)) AND part = $part
  AND checkpoint_id NOT IN (SELECT unnest($left_out))""",
    "fact_head": """\
SELECT f.run_id, r.name AS run, f.layer * 10000 + f.head AS place, 'L' || f.layer || 'H' || f.head AS series, c.step, f.value
FROM fact_head f JOIN checkpoint c ON c.id = f.checkpoint_id JOIN run r ON r.id = f.run_id
WHERE f.quantity_id = $quantity_id AND f.run_id IN (SELECT unnest($run_ids))
  AND f.checkpoint_id NOT IN (SELECT unnest($left_out))""",
    "fact_head_pair": f"""\
SELECT run_id, run, (src_layer * 1000 + dst_layer) * 1000000 + cell AS place,
       'L' || src_layer || 'H' || cell // n || '>L' || dst_layer || 'H' || cell % n AS series, step, value
FROM (
  SELECT f.run_id, r.name AS run, f.src_layer::BIGINT AS src_layer, f.dst_layer, c.step, {_HEADS} AS n,
         unnest(f.z)::DOUBLE AS value, generate_subscripts(f.z, 1) - 1 AS cell
  FROM fact_head_pair f JOIN checkpoint c ON c.id = f.checkpoint_id JOIN run r ON r.id = f.run_id
  WHERE f.quantity_id = $quantity_id AND f.run_id IN (SELECT unnest($run_ids))
    AND f.checkpoint_id NOT IN (SELECT unnest($left_out))
)""",
    "fact_benchmark": """\
SELECT run_id, run, 0 AS place, task AS series, step, value
FROM v_benchmark
WHERE quantity_id = $quantity_id AND run_id IN (SELECT unnest($run_ids))
  AND checkpoint_id NOT IN (SELECT unnest($left_out))""",
    # the mean over the items of a task
    "fact_item": """\
SELECT f.run_id, r.name AS run, 0 AS place, '' AS series, c.step, avg(f.value) AS value
FROM fact_item f JOIN checkpoint c ON c.id = f.checkpoint_id JOIN run r ON r.id = f.run_id
WHERE f.quantity_id = $quantity_id AND f.run_id IN (SELECT unnest($run_ids))
  AND f.checkpoint_id NOT IN (SELECT unnest($left_out))
GROUP BY ALL""",
}
_ITEMS_SQL = """\
SELECT f.run_id, r.name AS run, f.item AS place, 'item ' || f.item AS series, c.step, f.value
FROM fact_item f JOIN checkpoint c ON c.id = f.checkpoint_id JOIN run r ON r.id = f.run_id
WHERE f.quantity_id = $quantity_id AND f.run_id IN (SELECT unnest($run_ids))
  AND f.checkpoint_id NOT IN (SELECT unnest($left_out))"""
_ORDER = "\nORDER BY run_id, place, series, step"
_WITH_PARTS = ("fact_log", "fact_scalar", "fact_position")


@dataclass(frozen=True)
class SeriesRead:
    """Series of one measure, and of the other member of its metric pair where it is stored for the same eval set.

    table, partner: run_id, run, group, place, series, step, value; rows of one series lie together, sorted by step.
    choices: the measure asked for and its partner, or of published benchmarks one per task. selected: runs that have it.
    skipped: what was asked for and cannot be read, in sentences. items: each item of a task is a series.
    """

    table: pa.Table
    partner: pa.Table | None
    choices: tuple[Choice, ...]
    selected: Selected
    left_out: LeftOuts
    part: str
    sql: str
    skipped: tuple[str, ...] = ()
    items: bool = False

    @property
    def choice(self) -> Choice:
        """Of the measure asked for."""
        return self.choices[0]

    @property
    def discrete(self) -> bool:
        """Whether the measure asked for counts right answers."""
        return self.choice.quantity.measure in (*CONTINUOUS, *DISCRETE_BENCHMARKS)

    @property
    def label(self) -> str:
        """The measure with its part."""
        return self.choice.quantity.measure + (f" ({self.part})" if self.part else "")


def read_series(
    archive: Archive,
    selected: Selected,
    measure: str,
    part: str,
    which: Which,
    *,
    paired: bool,
    items: bool = False,
) -> SeriesRead:
    """Read every series of a measure for the runs that have it.

    part: as in `read_curves`; "all" makes every part a series. paired: also read the other member of the metric pair.
    items: every item of a task is a series, else their mean. Raises UsageError where there are none, and as
    `choose_quantity` and `choose_part` do.
    """
    names = measure_names(measure, "auto")
    others = tuple(o for name in names if (o := CONTINUOUS.get(name) or DISCRETE.get(name)))
    wants = [Want(tuple(names), tuple(_SQL))]
    if paired and others:
        wants.append(Want(others, tuple(_SQL)))
    found = choose_quantities(archive, selected, wants, which)
    if not isinstance(found[0], Choice):
        raise found[0]
    choices = [found[0], *(c for c in found[1:] if isinstance(c, Choice) and _belong(found[0], c))]
    table_name = choices[0].quantity.table_name
    if items and table_name != "fact_item":
        raise UsageError(
            f"{measure} has no items: it is in {table_name}, expected fact_item. Leave items out."
        )
    part = (
        ""
        if table_name not in _WITH_PARTS
        else part
        if part == "all"
        else choose_part(archive, choices[0], part)
    )
    left_out = find_left_outs(archive, choices, which)
    tables = [_read(archive, choice, part, left_out, items) for choice in choices]
    if not tables[0][0].num_rows:
        raise no_such_part(archive, choices[0], part)
    return SeriesRead(
        table=with_groups(tables[0][0], choices[0].selected),
        partner=tables[1][0] if len(tables) > 1 and tables[1][0].num_rows else None,
        choices=tuple(choices),
        selected=choices[0].selected,
        left_out=left_out,
        part=part,
        sql=tables[0][1],
        items=items,
    )


def read_task_series(
    archive: Archive,
    selected: Selected,
    tasks: tuple[str, ...],
    measure: str,
    which: Which,
    *,
    shots: int | None,
) -> SeriesRead:
    """Read a metric of every benchmark asked for, each task a series. Raises as `read_benchmarks` does."""
    read = read_benchmarks(archive, selected, tasks, measure, which, shots=shots, series="")
    rows = read.finite.append_column("place", pa.array(np.zeros(read.finite.num_rows, np.int64)))
    return SeriesRead(
        table=rows.rename_columns([{"task": "series"}.get(name, name) for name in rows.column_names]),
        partner=None,
        choices=tuple(read.choices.values()),
        selected=read.selected,
        left_out=read.left_out,
        part="",
        sql=read.sql,
        skipped=read.limits,
    )


def matching(names: Sequence[str], asked: Sequence[str], measure: str) -> set[str]:
    """Names of series asked for by name or pattern; all where nothing is. Raises UnknownName for one that is not there."""
    for term in asked:
        if term not in names and not any(fnmatchcase(name, term) for name in names):
            listing = f"`pathscope query phase_transitions --measure {measure}`"
            raise UnknownName.of(f"series of {measure}", term, sorted(names), listing=listing)
    return {n for n in names if not asked or any(n == term or fnmatchcase(n, term) for term in asked)}


def refuse_too_many(n_series: int, most: int) -> None:
    """Raise UsageError where testing would take long by surprise."""
    if n_series > most:
        raise UsageError(
            f"{n_series:,} series, more than most={most:,}: ask for fewer runs, name some (series='L0H*'), or raise most."
        )


def _belong(main: Choice, other: Choice) -> bool:
    """Whether the two are a metric pair of the same answers."""
    a, b = main.quantity, other.quantity
    return (CONTINUOUS.get(a.measure) or DISCRETE.get(a.measure)) == b.measure and (
        a.table_name,
        a.encoding_hash,
        a.source,
    ) == (b.table_name, b.encoding_hash, b.source)


def _read(
    archive: Archive, choice: Choice, part: str, left_out: LeftOuts, items: bool
) -> tuple[pa.Table, str]:
    q = choice.quantity
    sql = (_ITEMS_SQL if items else _SQL[q.table_name]) + _ORDER
    parameters: dict[str, object] = {"quantity_id": q.quantity_id, "run_ids": choice.selected.ids}
    if q.table_name in _WITH_PARTS:
        parameters["part"] = None if part == "all" else part
    if q.table_name == "fact_position":
        labels = q.params.get("labels")
        parameters["labels"] = [str(name) for name in labels] if isinstance(labels, list) else [""]
    if q.table_name != "fact_log":
        parameters["left_out"] = left_out.ids
    rows = archive.query(sql, parameters)
    return rows.set_column(
        rows.column_names.index("value"), "value", pc.cast(rows["value"], pa.float64())
    ), readable_sql(sql, parameters)
