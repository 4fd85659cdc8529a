"""Refusing values that are no numbers, by name and place."""

from collections.abc import Mapping
from typing import Any

import numpy as np

from archive.records import Part

# columns that say where a row belongs, and what people call them
_PLACES = {
    "src_layer": "earlier layer",
    "dst_layer": "later layer",
    "layer": "layer",
    "head": "head",
    "unit": "unit",
    "item": "item",
    "sequence": "sequence",
    "position": "position",
}


def require_finite(
    name: str,
    columns: Mapping[str, Any],
    column: str,
    parts: tuple[Part, ...] = (),
    *,
    nan_allowed: bool = False,
) -> Mapping[str, Any]:
    """The columns as they are; raises FloatingPointError naming measure, value, row and place of the first other one.

    nan_allowed: only infinities are refused. Rows may be arrays; the index within one is named too.
    """
    if isinstance(columns[column], np.ndarray) and _fine(columns[column], nan_allowed).all():
        return columns  # without looking at a hundred thousand rows one by one
    for row, values in enumerate(columns[column]):
        wrong = ~_fine(np.asarray(values), nan_allowed)
        if np.any(wrong):
            at = tuple(np.argwhere(wrong)[0].tolist())
            raise FloatingPointError(
                f"{name} is {np.asarray(values)[at]} at {_place(columns, row, parts)}"
                f"{f' at index {at[0]}' if at else ''}; expected a finite number"
            )
    return columns


def _fine(values: np.ndarray, nan_allowed: bool) -> np.ndarray:
    fine: np.ndarray = ~np.isinf(values) if nan_allowed else np.isfinite(values)
    return fine


def _place(columns: Mapping[str, Any], row: int, parts: tuple[Part, ...]) -> str:
    words = [f"{parts[row].kind} {parts[row].name}"] if parts else []
    for column, called in _PLACES.items():
        if column in columns:
            value = columns[column]
            words.append(f"{called} {value[row] if np.ndim(value) else value}")
    return ", ".join(words) or f"row {row}"
