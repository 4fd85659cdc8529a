"""How far results measured again lie from those that are stored, and how far they may. Pure."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from archive.records import Provenance
from archive.upkeep.sampled import Rows, StoredCell

# what changes rounding: with all of it equal, results are equal in their last bit
LIBRARIES = ("torch", "numpy", "transformers")
MACHINE = ("machine", "processor", "cpu_capability", "mkl_cbwr")
# float32 sums in another order: found on scores in [0, 1] and on losses between library versions and machines
SHARE_OF_RANGE = 2e-4
RELATIVE = 1e-3
# one answer that tips over between two nearly equal logits
COUNTED = frozenset({"accuracy", "position_accuracy", "task_accuracy", "top_accuracy"})
ANSWERS = 2.0
SAME = "the same versions, device and threads"


@dataclass(frozen=True)
class CellDrift:
    """One cell measured again.

    change: what is different from when it was stored, in words. largest_absolute, largest_relative: difference of
    one number, the latter over the largest stored number of its column. allowed: what `excess`, the largest
    difference over its tolerance, stands for. wrong: why it could not be compared; "" where it could.
    """

    cell: StoredCell
    change: str
    n_values: int = 0
    largest_absolute: float = 0.0
    largest_relative: float = 0.0
    excess: float = 0.0
    allowed: str = ""
    wrong: str = ""

    @property
    def beyond(self) -> bool:
        """True when it differs by more than it may."""
        return bool(self.wrong) or self.excess > 1


def describe_change(then: Provenance, now: Provenance) -> str:
    """What is different, such as `torch 2.12.0 -> 2.13.0, threads 1 -> 2`; SAME where nothing is."""
    changes: list[tuple[str, object, object]] = [
        (name, then.libraries.get(name, ""), now.libraries.get(name, ""))
        for name in LIBRARIES
        if name in then.libraries
    ]
    changes += [("device", then.device, now.device), ("threads", then.threads, now.threads)]
    changes += [
        (name.replace("_", " "), then.facts.get(name, ""), now.facts.get(name, "")) for name in MACHINE
    ]
    changes.append(("code", then.code_version, now.code_version))
    words = [f"{name} {a or 'unknown'} -> {b or 'unknown'}" for name, a, b in changes if a != b]
    return ", ".join(words) or SAME


def compare(cell: StoredCell, stored: Rows, fresh: Rows, now: Provenance) -> CellDrift:
    """The differences of one cell.

    Equal to the last bit is expected on a processor with the same versions and threads. Elsewhere: within 2e-4 of
    the range where the measure has one (two answers where it counts answers), else within 1e-3 of the largest
    stored value of the column.
    """
    change = describe_change(cell.provenance, now)
    if stored.keys() != fresh.keys():
        both = f"{len(stored)} row(s) are stored, {len(fresh)} were measured, {len(stored.keys() & fresh.keys())} match"
        return CellDrift(cell, change, wrong=f"other rows: {both}")
    exact = change == SAME and now.device == "cpu"
    drift = {"absolute": 0.0, "relative": 0.0, "excess": 0.0}
    n = 0
    for column in next(iter(stored.values()), {}):
        pairs = [_flat(stored[key][column], fresh[key][column]) for key in stored]
        if any(len(a) != len(b) for a, b in pairs):
            return CellDrift(cell, change, wrong=f"{column} has another length")
        old, new = (np.concatenate([pair[i] for pair in pairs]) for i in (0, 1))
        n += len(old)
        size = float(np.abs(old[np.isfinite(old)]).max(initial=0.0))
        difference = _differences(old, new)
        largest = float(difference.max(initial=0.0))
        tolerance = 0.0 if exact else _tolerance(cell, column, size, stored)
        drift["absolute"] = max(drift["absolute"], largest)
        drift["relative"] = max(drift["relative"], _ratio(largest, size))
        drift["excess"] = max(drift["excess"], _ratio(largest, tolerance))
    return CellDrift(
        cell,
        change,
        n_values=n,
        largest_absolute=drift["absolute"],
        largest_relative=drift["relative"],
        excess=drift["excess"],
        allowed="equal to the last bit" if exact else _allowed(cell),
    )


def _ratio(difference: float, size: float) -> float:
    if difference == 0:
        return 0.0
    return difference / size if size > 0 else np.inf


def _flat(stored: Any, fresh: Any) -> tuple[np.ndarray, np.ndarray]:
    """Both as float64 vectors; NULL becomes NaN."""

    def vector(value: Any) -> np.ndarray:
        return np.atleast_1d(np.array(value, dtype=np.float64))

    return vector(stored), vector(fresh)


def _differences(old: np.ndarray, new: np.ndarray) -> np.ndarray:
    """Absolute differences; 0 where both are NaN or the same infinity, infinite where one of them is."""
    with np.errstate(invalid="ignore"):
        found = np.where((old == new) | (np.isnan(old) & np.isnan(new)), 0.0, np.abs(old - new))
    result: np.ndarray = np.where(np.isnan(found), np.inf, found)
    return result


def _range(cell: StoredCell) -> float | None:
    low, high = cell.bounds
    return None if low is None or high is None else high - low


def _tolerance(cell: StoredCell, column: str, size: float, rows: Rows) -> float:
    width = _range(cell)
    if width is None or column not in ("value", "values", "chance", "baselines"):
        return RELATIVE * size
    if cell.measure in COUNTED:
        n_items = [row["n_items"] for row in rows.values() if row.get("n_items")]
        return ANSWERS * width / min(n_items, default=100)
    return SHARE_OF_RANGE * width


def _allowed(cell: StoredCell) -> str:
    width = _range(cell)
    if width is None:
        return f"within {RELATIVE:g} of the largest stored value"
    return f"within {ANSWERS:g} answers" if cell.measure in COUNTED else f"within {SHARE_OF_RANGE * width:g}"


@dataclass(frozen=True)
class DriftGroup:
    """All cells with the same change: how many, how many are equal to the last bit, the largest differences."""

    change: str
    n_cells: int
    n_equal: int
    largest_absolute: float
    largest_relative: float
    n_beyond: int


def grouped(cells: Sequence[CellDrift]) -> list[DriftGroup]:
    """Compared cells by what has changed since they were stored."""
    by_change: dict[str, list[CellDrift]] = {}
    for cell in cells:
        by_change.setdefault(cell.change, []).append(cell)
    return [
        DriftGroup(
            change,
            len(found),
            sum(not one.wrong and one.largest_absolute == 0 for one in found),
            max(one.largest_absolute for one in found),
            max(one.largest_relative for one in found),
            sum(one.beyond for one in found),
        )
        for change, found in by_change.items()
    ]
