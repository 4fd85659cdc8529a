"""B28: inner products of a run's checkpoints as vectors, exact or from random projections.

With the matrix G of all of them, the principal components of the trajectory follow from the eigenvectors of
the centred G alone, so the vectors themselves (all weights, all logits) need not be kept.
"""

from collections.abc import Iterable, Sequence

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from ingest.readings.history import BLOCK
from ingest.streams import stream

# coordinates of a sketch: relative error of a norm or distance sqrt(2/4096) = 2.2%, 32 KiB a checkpoint
SKETCH_DIMENSION = 4096
SKETCH_SEED = 0


def product_rows(
    blocks: Iterable[Float[Tensor, "checkpoint number"]], wanted: Sequence[int]
) -> list[Float[Tensor, " earlier"]]:
    """For each wanted checkpoint i the inner products with checkpoints 0 … i, in one pass over the blocks.

    blocks: the vectors cut into pieces, each with a row for every checkpoint; wanted: indices of rows. One
    entry is the same in its last bit whichever other checkpoints there are, so that a run can be trained on
    and only new rows be added.
    """
    rows = [np.zeros(i + 1) for i in wanted]
    for block in blocks:
        numbers = np.ascontiguousarray(block.numpy())
        for row, i in zip(rows, wanted, strict=True):
            # not a matrix product: those round differently for another number of rows
            row += np.einsum("kn,n->k", numbers[: i + 1], numbers[i])
    return [torch.from_numpy(row) for row in rows]


def sketch(
    named: Iterable[tuple[str, Tensor]], *, dimension: int = SKETCH_DIMENSION, seed: int = SKETCH_SEED
) -> Float[Tensor, " coordinate"]:
    """A random linear image of a long vector whose inner products are right on average.

    named: the vector in named pieces of any shape. Every number is added, with a random sign, to a random
    coordinate; sign and coordinate depend on the seed, the piece's name and the place in it only. For vectors
    x and y the product of their sketches has mean x·y and variance (|x|²|y|² + (x·y)² − 2 Σ x_i² y_i²) /
    dimension, so a standard deviation of at most |x||y| sqrt(2 / dimension). Sketches are linear: the squared
    distance of two checkpoints comes out within a relative standard deviation of sqrt(2 / dimension), however
    small it is beside the vectors. Float64. Source: Weinberger et al. 2009, Feature hashing for large scale
    multitask learning.
    """
    made = np.zeros(dimension)
    for name, tensor in named:
        for number, piece in enumerate(torch.split(tensor.detach().cpu().reshape(-1), BLOCK)):
            draws = stream(seed, f"sketch.{name}", number).randint(0, 2 * dimension, len(piece))
            signed = piece.double().numpy() * (1 - 2 * (draws & 1))
            made += np.bincount(draws >> 1, weights=signed, minlength=dimension)
    return torch.from_numpy(made)
