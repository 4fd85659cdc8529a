"""How many rows a measure writes for one checkpoint, by what its rows are of. Imports no torch."""

from collections.abc import Mapping
from typing import Any, Protocol


class Sizes(Protocol):
    """What rows depend on of a model."""

    @property
    def n_layers(self) -> int:
        """Blocks."""

    @property
    def n_heads(self) -> int:
        """Attention heads of a layer."""

    @property
    def d_mlp(self) -> int:
        """Neurons of a layer."""


def rows_of_cell(
    scope: str,
    sizes: Sizes,
    params: Mapping[str, Any],
    *,
    n_sequences: int = 0,
    n_tokens: int = 0,
    n_items: int = 0,
) -> tuple[int, int]:
    """Rows that a measure of that scope writes for one checkpoint, and bytes of all of them, before compression.

    params: the measure's, for how many entries a row has. Exact but for scopes that have a row for each split or
    tensor, which are counted as ten.
    """
    layers, heads, units = sizes.n_layers, sizes.n_heads, sizes.d_mlp
    k, items, positions = (int(params.get(name, 0)) for name in ("k", "items", "positions"))
    match scope:
        case "head":
            rows, width = layers * heads, 40
        case "head vector":
            rows, width = layers * heads, 200
        case "head pair":
            rows, width = layers * (layers - 1) // 2, 12 * heads**2
        case "token":
            rows, width = n_sequences, 4 * n_tokens // max(1, n_sequences)
        case "token top":
            rows, width = n_tokens - n_sequences, 8 * (k + 1)
        case "unit":
            rows, width = 5 * layers, 4 * units
        case "unit top":
            rows, width = layers * units, 12 * k
        case "unit histogram":
            rows, width = layers * units, 512
        case "unit vector":
            rows, width = 4 * layers * units, 80
        case "attention":
            rows, width = min(items, n_sequences) * layers * heads, 4 * positions**2
        case "item":
            rows, width = n_items, 40
        case _:
            rows, width = 10, 100
    return rows, rows * width
