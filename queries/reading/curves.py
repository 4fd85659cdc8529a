"""Reading one scalar over training for several runs: shared by every question about curves."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Literal

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from archive.errors import UnknownName, UsageError
from archive.store import Archive
from queries.reading.checkpoints import LeftOuts, find_left_out
from queries.reading.quantities import Choice, Which, choose_quantity
from queries.reading.select import Selected
from queries.reading.tables import floats, stretches, with_groups
from queries.results import readable_sql

Axis = Literal["step", "tokens"]
Origin = Literal["auto", "checkpoint", "log"]
Floats = NDArray[np.float64]

AXIS_COLUMN: dict[Axis, str] = {"step": "step", "tokens": "tokens_seen"}

_LOG_SQL = """\
SELECT run_id, run, step, tokens_seen, value, NULL::DOUBLE AS se, NULL::INTEGER AS n_items
FROM v_log
WHERE quantity_id = $quantity_id AND run_id IN (SELECT unnest($run_ids)) AND part = $part"""

_CHECKPOINT_SQL = """\
SELECT run_id, run, step, tokens_seen, value, se, n_items
FROM v_scalar
WHERE quantity_id = $quantity_id AND run_id IN (SELECT unnest($run_ids)) AND part = $part
  AND checkpoint_id NOT IN (SELECT unnest($left_out))"""

# half of the kept steps are spread evenly, half logarithmically, so that either axis looks right; the same
# steps are kept in every run, so means over runs stay means over runs
_THIN_SQL = """\
WITH curve AS (
{curve}
), ranked AS (
  SELECT step, row_number() OVER (ORDER BY step) - 1 AS k, count(*) OVER () AS n_steps
  FROM (SELECT DISTINCT step FROM curve)
), kept AS (
  SELECT step, n_steps FROM ranked
  WHERE n_steps <= $max_points OR k IN (0, n_steps - 1)
     OR k % ceil(2 * n_steps / $max_points)::BIGINT = 0
     OR floor(log2(k + 1) * $max_points / (2 * log2(n_steps))) > floor(log2(k) * $max_points / (2 * log2(n_steps)))
)
SELECT c.*, k.n_steps FROM curve c JOIN kept k ON k.step = c.step
ORDER BY run_id, c.step"""

_PARTS_SQL = """\
SELECT DISTINCT p.name AS part FROM part p
WHERE p.id IN (SELECT part_id FROM {table} WHERE quantity_id = $quantity_id AND run_id = $run_id)
ORDER BY part"""


@dataclass(frozen=True)
class Curves:
    """One scalar over training, in rows sorted by run and step.

    table: run_id, run, group, step, tokens_seen, value, se, n_items. n_steps: distinct steps before thinning.
    """

    table: pa.Table
    choice: Choice
    left_out: LeftOuts
    part: str
    sql: str
    n_steps: int
    thinned: bool

    @property
    def selected(self) -> Selected:
        """The runs that have a curve."""
        return self.choice.selected

    @cached_property
    def group_of(self) -> Mapping[int, str]:
        """run_id -> group of every run that has a value."""
        starts, _ = stretches(self.table, ["run_id"])
        groups = self.selected.groups
        return {run: groups[run] for run in self.table["run_id"].take(pa.array(starts)).to_pylist()}

    @property
    def label(self) -> str:
        """The measure with its part, such as `accuracy (test)`."""
        return self.choice.quantity.measure + (f" ({self.part})" if self.part else "")

    def column(self, name: str) -> Floats:
        """A numeric column as float64; NULL becomes NaN."""
        return floats(self.table, name)

    def runs(self, axis: Axis) -> Iterator[tuple[int, Floats, Floats]]:
        """(run_id, times, values) of every run, in order."""
        ids = self.table.column("run_id").to_numpy()
        times, values = self.column(AXIS_COLUMN[axis]), self.column("value")
        for a, b in zip(*stretches(self.table, ["run_id"]), strict=True):
            yield int(ids[a]), times[a:b], values[a:b]

    @property
    def limits(self) -> tuple[str, ...]:
        """What every answer from these curves has to say about them."""
        found = [*self.choice.notes, *self.left_out.limits]
        empty = [r.run for r in self.selected.runs if r.run_id not in self.group_of]
        if empty:
            found.append(f"{len(empty)} run(s) have no value of {self.label} (first: {empty[0]}).")
        n_bad = int((~np.isfinite(self.column("value"))).sum())
        if n_bad:
            found.append(f"{n_bad} value(s) are not finite (a run that diverged?) and count as not measured.")
        if self.thinned:
            kept = pc.count_distinct(self.table["step"]).as_py()
            found.append(f"Thinned on request to {kept} of {self.n_steps} steps (max_points).")
        return tuple(found)


def read_curves(
    archive: Archive,
    selected: Selected,
    measure: str,
    part: str,
    which: Which,
    *,
    origin: Origin = "auto",
    axis: Axis = "step",
    max_points: int | None = None,
) -> Curves:
    """Read one scalar of the selected runs.

    measure: a name such as `loss`: what was measured at checkpoints is preferred, the training log's
    `log.loss` used where only that is there for all runs; a `log.` name or `origin` decides.
    part: a split, tensor or class; "auto" = test where there is one, else the only part.
    Raises as `choose_quantity` does, and UnknownName for a part that is not there.
    """
    choice = choose_quantity(
        archive, selected, measure_names(measure, origin), which, tables=("fact_scalar", "fact_log")
    )
    part = choose_part(archive, choice, part)
    left_out = find_left_out(archive, choice, which)
    parameters: dict[str, object] = {
        "quantity_id": choice.quantity.quantity_id,
        "run_ids": choice.selected.ids,
        "part": part,
    }
    if choice.quantity.origin == "checkpoint":
        parameters["left_out"] = left_out.ids
    curve = _LOG_SQL if choice.quantity.origin == "log" else _CHECKPOINT_SQL
    if max_points is None:
        sql = curve + "\nORDER BY run_id, step"
    else:
        parameters["max_points"] = max_points
        sql = _THIN_SQL.format(curve="  " + curve.replace("\n", "\n  "))
    table = archive.query(sql, parameters)
    if not table.num_rows:
        raise no_such_part(archive, choice, part)
    n_steps = pc.count_distinct(table["step"]).as_py()
    thinned = False
    if max_points is not None:
        kept, n_steps = n_steps, int(table.column("n_steps")[0].as_py())
        thinned = kept < n_steps
        table = table.drop_columns(["n_steps"])
    if axis == "tokens" and table.column("tokens_seen").null_count:
        raise UsageError(
            f"tokens_seen is not known for every run of {choice.quantity.measure}; ask with axis='step', or for "
            "runs whose tokens per step are recorded."
        )
    table = with_groups(table, choice.selected)
    return Curves(table, choice, left_out, part, readable_sql(sql, parameters), n_steps, thinned)


def measure_names(measure: str, origin: Origin) -> Sequence[str]:
    """Names to look for, best first: a bare name means the measured one, then the training log's."""
    bare = measure.removeprefix("log.")
    if origin == "log":
        return (f"log.{bare}",)
    if origin == "checkpoint" or bare != measure:
        return (bare if origin == "checkpoint" else measure,)
    return (bare, f"log.{bare}")


def choose_part(archive: Archive, choice: Choice, part: str) -> str:
    """The part to read: as asked, or for "auto" the test split, the whole, or the only part there is."""
    if part != "auto":
        return part
    known = _parts(archive, choice)
    if "test" in known:
        return "test"
    if "" in known or len(known) == 1:
        return "" if "" in known else known[0]
    raise UsageError(
        f"{choice.quantity.measure} has several parts: choose part={' or part='.join(map(repr, known))}."
    )


def _parts(archive: Archive, choice: Choice) -> list[str]:
    table = choice.quantity.table_name
    found = archive.query(
        _PARTS_SQL.format(table=table),
        {"quantity_id": choice.quantity.quantity_id, "run_id": choice.selected.ids[0]},
    )
    parts: list[str] = found.column("part").to_pylist()
    return parts


def no_such_part(archive: Archive, choice: Choice, part: str) -> UsageError:
    """Why a question found no row: the part does not exist, or everything in it is left out."""
    known = _parts(archive, choice)
    measure = choice.quantity.measure
    if part in known:
        return UsageError(
            f"{measure} ({part}) has no usable value: every checkpoint of these runs is left out."
        )
    listing = f"`pathscope sql \"SELECT DISTINCT part FROM v_curve WHERE measure = '{measure}'\"`"
    return UnknownName.of(f"part of {measure}", part, known, listing=listing)
