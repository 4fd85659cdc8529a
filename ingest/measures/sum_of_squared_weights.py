"""B30: sum of squared weights, per tensor and total."""

from collections.abc import Mapping

import torch
from jaxtyping import Float
from torch import Tensor

from archive.records import WHOLE, Part
from ingest.measure import measure
from ingest.models.loaded import NamedWeights


@measure(
    "sum_of_squared_weights",
    scope="tensor",
    unit="1",
    bounds=(0.0, None),
    direction="neither",
    citation="Nanda et al. 2023, Progress measures for grokking via mechanistic interpretability",
)
def sum_of_squared_weights(model: NamedWeights) -> Mapping[Part, float]:
    """Sum of the squares of all weights, biases included, of each tensor and of the whole model."""
    squares = {
        Part(kind="tensor", name=name): sum_of_squares(tensor) for name, tensor in model.weights.items()
    }
    return {WHOLE: sum(squares.values()), **squares}


def sum_of_squares(tensor: Float[Tensor, "..."]) -> float:
    """Σ x², summed in float64, ≥ 0."""
    return float(tensor.to(torch.float64).square().sum())
