"""From tensors by layer and head or unit to rows of a fact table."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from archive.records import Part
from ingest.mathematics.composition import LayerPair


def places(n_layers: int, n_units: int) -> tuple[np.ndarray, np.ndarray]:
    """Layer and unit of every row, layers outermost."""
    layer, unit = np.divmod(np.arange(n_layers * n_units), max(1, n_units))
    return layer, unit


def vector_rows(by_part: Mapping[Part, Float[Tensor, "layer unit number"]]) -> dict[str, Any]:
    """Columns of fact_vector without the part: all units of all layers, part after part."""
    columns = []
    for values in by_part.values():
        layer, unit = places(*values.shape[:2])
        flat = values.double().cpu().numpy().reshape(len(layer), -1)
        columns.append({"layer": layer, "unit": unit, "values": flat})
    return _joined(columns)


def pair_rows(pairs: Sequence[LayerPair]) -> dict[str, Any]:
    """Columns of fact_head_pair: heads x heads of every pair of layers, row-major by source head."""

    def flat(values: Float[Tensor, "source target"]) -> np.ndarray:
        return values.double().cpu().numpy().reshape(-1)

    return {
        "src_layer": np.array([pair.source for pair in pairs]),
        "dst_layer": np.array([pair.target for pair in pairs]),
        "values": [flat(pair.scores) for pair in pairs],
        "baselines": [flat(torch.full_like(pair.scores, pair.baseline)) for pair in pairs],
        "z": [flat(pair.z) for pair in pairs],
    }


def head_rows(values: Float[Tensor, "layer head"]) -> dict[str, Any]:
    """Columns of fact_head for one number a head."""
    layer, head = places(*values.shape)
    return {"layer": layer, "head": head, "value": values.double().cpu().numpy().reshape(-1)}


def layers_together(by_layer: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """Rows of each layer one after the other, with the column `layer`."""
    return _joined([{**columns, "layer": layer} for layer, columns in enumerate(by_layer)])


def _joined(pieces: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """Columns of several pieces as one; a single value stands for all rows of its piece."""
    lengths = [
        max(len(np.asarray(column)) for column in piece.values() if np.ndim(column)) for piece in pieces
    ]
    return {
        name: np.concatenate(
            [
                np.asarray(piece[name]) if np.ndim(piece[name]) else np.full(n, piece[name])
                for piece, n in zip(pieces, lengths, strict=True)
            ]
        )
        for name in (pieces[0] if pieces else ())
    }
