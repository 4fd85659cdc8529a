"""Runs × items tables, per condition: the same items in every run, in the same order."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import reduce
from typing import Literal

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from archive.errors import NotComparable
from archive.store import Archive
from queries.reading.checkpoints import LeftOuts, Picked, find_left_out, pick_checkpoints
from queries.reading.heads import index_limits
from queries.reading.quantities import Choice, Which
from queries.results import readable_sql

Floats = NDArray[np.float64]

_WHERE = """\
WHERE quantity_id = $quantity_id AND run_id IN (SELECT unnest($run_ids))
  AND checkpoint_id IN (SELECT unnest($checkpoint_ids))"""

# two integers name an item; tokens come from the fact table because a row there holds a whole sequence
_SQL = {
    "fact_item": f"SELECT run_id, item AS a, 0 AS b, value FROM v_item\n{_WHERE}\nORDER BY run_id, a",
    "fact_head": f"SELECT run_id, layer AS a, head AS b, value FROM v_head_score\n{_WHERE}\nORDER BY run_id, a, b",
    "fact_token": (
        'SELECT run_id, sequence AS a, generate_subscripts("values", 1) - 1 AS b, unnest("values") AS value\n'
        f"FROM fact_token\n{_WHERE}\nORDER BY run_id, a, b"
    ),
}


@dataclass(frozen=True)
class ItemTable:
    """tables: per condition an array (n_runs, n_items), complete and finite, neighbours in their order."""

    tables: dict[str, Floats]
    choice: Choice
    left_out: LeftOuts
    picked: Picked
    sql: str
    n_incomplete: int

    @property
    def label(self) -> str:
        """The measure."""
        return self.choice.quantity.measure

    @property
    def place(self) -> str:
        """Where the values are from, in words."""
        return self.picked.place

    @property
    def limits(self) -> tuple[str, ...]:
        """What to say about the choice of items."""
        lines = [*self.choice.notes, *self.left_out.limits]
        if self.n_incomplete:
            lines.append(
                f"{self.n_incomplete} item(s) lack a finite value in some run of their condition: left out."
            )
        if len(self.picked.steps) > 1:
            lines.append(
                "Runs end at different steps: part of what is the run's own is the length of training."
            )
        return tuple(lines)


def read_items(archive: Archive, choice: Choice, step: int | Literal["final"], which: Which) -> ItemTable:
    """Read one checkpoint of each run as runs × items, per condition.

    Raises NotComparable for heads of runs that do not share their init, and as `pick_checkpoints` does.
    """
    quantity = choice.quantity
    if quantity.table_name == "fact_head" and index_limits(choice.selected):
        raise NotComparable(
            f"{quantity.measure} cannot be compared head by head between runs with different or unknown inits: head "
            "numbers mean nothing across them. Ask `head_scores` for the best heads, or choose runs with one init_hash."
        )
    left_out = find_left_out(archive, choice, which)
    picked = pick_checkpoints(archive, choice.selected, quantity, left_out, step)
    parameters = {
        "quantity_id": quantity.quantity_id,
        "run_ids": list(picked.at),
        "checkpoint_ids": picked.ids,
    }
    sql = _SQL[quantity.table_name]
    rows = archive.query(sql, parameters)
    ids = rows["run_id"].to_numpy()
    keys = rows["a"].to_numpy().astype(np.int64) * 2**32 + rows["b"].to_numpy()
    values = rows["value"].cast(pa.float64()).to_numpy()
    groups = choice.selected.groups
    tables, n_incomplete = {}, 0
    for group in dict.fromkeys(groups[i] for i in np.unique(ids).tolist()):
        members = [i for i in np.unique(ids).tolist() if groups[i] == group]
        mine = [ids == i for i in members]
        if _same_items([keys[rows] for rows in mine], [values[rows] for rows in mine]):
            tables[group] = np.stack([values[rows] for rows in mine])
            continue
        finite = [rows & np.isfinite(values) for rows in mine]
        common = reduce(np.intersect1d, [keys[mask] for mask in finite])
        everything = np.unique(keys[np.isin(ids, members)])
        n_incomplete += len(everything) - len(common)
        tables[group] = np.stack([values[mask][np.isin(keys[mask], common)] for mask in finite])
    return ItemTable(tables, choice, left_out, picked, readable_sql(sql, parameters), n_incomplete)


def _same_items(keys: Sequence[NDArray[np.int64]], values: Sequence[NDArray[np.float64]]) -> bool:
    """Whether every run has the same items in the same order, all finite: then no sets are needed, which take far longer."""
    return all(np.isfinite(v).all() for v in values) and all(np.array_equal(k, keys[0]) for k in keys[1:])
