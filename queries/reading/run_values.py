"""One value per run at one checkpoint, grouped by condition."""

from dataclasses import dataclass
from typing import Literal

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from archive.errors import UsageError
from archive.store import Archive
from queries.reading.checkpoints import LeftOuts, find_left_out, pick_checkpoints
from queries.reading.curves import choose_part, measure_names, no_such_part
from queries.reading.quantities import Choice, Which, choose_quantity
from queries.reading.select import Selected
from queries.reading.tables import floats, only_value, with_groups
from queries.results import readable_sql

Floats = NDArray[np.float64]

_CHECKPOINT_SQL = """\
SELECT run_id, run, step, value, se, n_items
FROM v_scalar
WHERE quantity_id = $quantity_id AND run_id IN (SELECT unnest($run_ids)) AND part = $part
  AND checkpoint_id IN (SELECT unnest($checkpoint_ids))
ORDER BY run_id"""

_LOG_SQL = """\
SELECT run_id, run, step, value, NULL::DOUBLE AS se, NULL::INTEGER AS n_items
FROM v_log
WHERE quantity_id = $quantity_id AND run_id IN (SELECT unnest($run_ids)) AND part = $part
  AND ($step IS NULL OR step = $step)
QUALIFY row_number() OVER (PARTITION BY run_id ORDER BY step DESC) = 1
ORDER BY run_id"""

# tables with one number per item of a run; heads are items only where runs share their init
ITEM_TABLES = ("fact_item", "fact_token", "fact_head")


@dataclass(frozen=True)
class RunValues:
    """One finite value per run. table: run_id, run, group, step, value, se, n_items."""

    table: pa.Table
    choice: Choice
    left_out: LeftOuts
    part: str
    sql: str
    n_not_finite: int
    absent: tuple[str, ...]

    @property
    def label(self) -> str:
        """The measure with its part."""
        return self.choice.quantity.measure + (f" ({self.part})" if self.part else "")

    @property
    def unit(self) -> str:
        """Unit of the values."""
        return self.choice.quantity.shown_unit

    @property
    def n_items(self) -> int | None:
        """Items behind each value, where all have as many."""
        return only_value(self.table, "n_items")

    @property
    def groups(self) -> dict[str, Floats]:
        """Values by condition."""
        return self._by_group("value")

    @property
    def errors(self) -> dict[str, Floats]:
        """Standard errors by condition; NaN where there is none."""
        return self._by_group("se")

    def _by_group(self, column: str) -> dict[str, Floats]:
        names = np.array(self.table["group"].to_pylist())
        values = floats(self.table, column)
        return {g: values[names == g] for g in dict.fromkeys(names.tolist())}

    @property
    def place(self) -> str:
        """Where the values are from, in words."""
        steps = self.table["step"].to_numpy()
        first, last = int(steps.min()), int(steps.max())
        return f"step {first:,}" if first == last else f"each run's last step ({first:,} to {last:,})"

    @property
    def limits(self) -> tuple[str, ...]:
        """What to say about the choice of values."""
        lines = [*self.choice.notes, *self.left_out.limits]
        if self.absent:
            lines.append(f"{len(self.absent)} run(s) have no value there (first: {self.absent[0]}).")
        if self.n_not_finite:
            lines.append(
                f"{self.n_not_finite} run(s) have a value that is not finite (diverged?) and are left out: the spread is "
                "that of the runs that did not."
            )
        if self.place.startswith("each"):
            lines.append("Runs end at different steps: part of the spread is the length of training.")
        return tuple(lines)


def read_run_values(
    archive: Archive,
    selected: Selected,
    measure: str,
    part: str,
    step: int | Literal["final"],
    which: Which,
) -> RunValues | Choice:
    """One value per run at a step; for a measure with one number per item only the choice of quantity.

    Raises as `choose_quantity` and `pick_checkpoints` do.
    """
    tables = ("fact_scalar", "fact_log", *ITEM_TABLES)
    choice = choose_quantity(archive, selected, measure_names(measure, "auto"), which, tables=tables)
    if choice.quantity.table_name in ITEM_TABLES:
        return choice
    part = choose_part(archive, choice, part)
    left_out = find_left_out(archive, choice, which)
    parameters: dict[str, object] = {
        "quantity_id": choice.quantity.quantity_id,
        "run_ids": choice.selected.ids,
        "part": part,
    }
    if choice.quantity.origin == "log":
        sql = _LOG_SQL
        parameters["step"] = None if step == "final" else step
    else:
        sql = _CHECKPOINT_SQL
        picked = pick_checkpoints(archive, choice.selected, choice.quantity, left_out, step)
        parameters["checkpoint_ids"] = picked.ids
    rows = archive.query(sql, parameters)
    if not rows.num_rows:
        raise no_such_part(archive, choice, part)
    present = set(rows["run_id"].to_pylist())
    finite = pa.array(np.isfinite(floats(rows, "value")))
    table = with_groups(rows.filter(finite), choice.selected)
    if not table.num_rows:
        raise UsageError(f"{choice.quantity.measure} is not finite in any of these runs at that step.")
    return RunValues(
        table=table,
        choice=choice,
        left_out=left_out,
        part=part,
        sql=readable_sql(sql, parameters),
        n_not_finite=rows.num_rows - table.num_rows,
        absent=tuple(r.run for r in choice.selected.runs if r.run_id not in present),
    )
