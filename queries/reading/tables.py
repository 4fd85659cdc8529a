"""Small things done to Arrow tables by every query."""

import re
from collections.abc import Iterable, Sequence

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from archive.errors import UsageError
from queries.reading.select import Selected

Floats = NDArray[np.float64]


def floats(table: pa.Table, name: str) -> Floats:
    """A numeric column as float64, NULL as NaN."""
    values: Floats = table[name].cast(pa.float64()).to_numpy()
    return values


def with_groups(table: pa.Table, selected: Selected) -> pa.Table:
    """The table with a column `group` after `run`, and its runs in the order people count: s2 before s10.

    Rows of one run must lie together in `table`; they are not copied.
    """
    groups = selected.groups
    starts, ends = stretches(table, ["run_id"])
    ids, runs = (table[c].take(pa.array(starts)).to_pylist() for c in ("run_id", "run"))
    names = [groups[i] for i in ids]
    column = pa.array(names, pa.string()).take(pa.array(np.repeat(np.arange(len(names)), ends - starts)))
    grouped = table.add_column(table.column_names.index("run") + 1, "group", column)
    keys = [(counting(group), counting(run)) for group, run in zip(names, runs, strict=True)]
    order = sorted(range(len(keys)), key=lambda k: keys[k])
    if order == list(range(len(order))):
        return grouped
    return pa.concat_tables([grouped.slice(int(starts[k]), int(ends[k] - starts[k])) for k in order])


def in_order(selected: Selected, run_ids: Iterable[int]) -> list[int]:
    """The runs as `with_groups` sorts them: by group, then in the order people count."""
    groups, by_id = selected.groups, selected.by_id
    return sorted(run_ids, key=lambda run: (counting(groups[run]), counting(by_id[run].run)))


def counting(name: str) -> list[tuple[float, str]]:
    """A sort key under which numbers inside names count as numbers: s2 before s10, 0.35 before 0.4."""
    return [(float(d), "") if d else (-1, text) for d, text in re.findall(r"(\d+(?:\.\d+)?)|(\D+)", name)]


def stretches(table: pa.Table, columns: Sequence[str]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """First and past-the-last row of every stretch of rows that agree in `columns`."""
    if not table.num_rows:
        return np.empty(0, np.int64), np.empty(0, np.int64)
    changes = np.zeros(table.num_rows - 1, dtype=bool)
    for name in columns:
        column = table[name]
        # in Arrow: a million names as Python objects would take longer than the question
        changes |= pc.not_equal(column.slice(1), column.slice(0, len(column) - 1)).to_numpy()
    starts = np.r_[0, np.flatnonzero(changes) + 1]
    return starts, np.r_[starts[1:], table.num_rows]


def finite_rows(table: pa.Table, measure: str) -> tuple[pa.Table, list[str]]:
    """Rows whose `value` is a finite number, and what to say about the others.

    Raises UsageError when none is left.
    """
    known = np.isfinite(floats(table, "value"))
    if not known.any():
        raise UsageError(
            f"{measure} has no finite value in these runs; `pathscope status` shows what each has."
        )
    if known.all():
        return table, []
    kept = table.filter(pa.array(known))
    lost = sorted(set(table["run"].unique().to_pylist()) - set(kept["run"].unique().to_pylist()))
    lines = [
        f"{int((~known).sum())} value(s) are not finite (a run that diverged?) and count as not measured."
    ]
    if lost:
        lines.append(f"{len(lost)} run(s) have no finite value and are not in the answer (first: {lost[0]}).")
    return kept, lines


def only_value(table: pa.Table, name: str) -> int | None:
    """The integer that all rows share, where they do: the number of items of an answer."""
    found = set(table[name].unique().to_pylist()) - {None}
    return int(found.pop()) if len(found) == 1 else None


def shared_folder(names: Iterable[str]) -> str:
    """The leading part up to a slash that all names share, which labels can do without."""
    known = sorted(set(names))
    if not known:
        return ""
    first, last = known[0], known[-1]
    same = next((i for i, (a, b) in enumerate(zip(first, last, strict=False)) if a != b), len(first))
    return first[: first.rfind("/", 0, same) + 1]


def shared_words(names: Iterable[str]) -> str:
    """The leading words (up to a space or slash) that all names share; nothing where there is only one name."""
    known = sorted(set(names))
    if len(known) < 2:
        return ""
    first, last = known[0], known[-1]
    same = next((i for i, (a, b) in enumerate(zip(first, last, strict=False)) if a != b), len(first))
    return first[: max(first.rfind(end, 0, same) for end in " /") + 1]
