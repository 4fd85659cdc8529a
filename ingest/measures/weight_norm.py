"""B30: Euclidean norm of the weights, per tensor and total."""

import math
from collections.abc import Mapping

from archive.records import WHOLE, Part
from ingest.measure import measure
from ingest.measures.sum_of_squared_weights import sum_of_squares
from ingest.models.loaded import NamedWeights


@measure(
    "weight_norm",
    scope="tensor",
    unit="1",
    bounds=(0.0, None),
    direction="neither",
    citation="Nanda et al. 2023, Progress measures for grokking via mechanistic interpretability",
)
def weight_norm(model: NamedWeights) -> Mapping[Part, float]:
    """Euclidean norm of all weights, biases included, of each tensor and of the whole model.

    Norms of models with folded and with unfolded LayerNorm do not compare.
    """
    squares = {
        Part(kind="tensor", name=name): sum_of_squares(tensor) for name, tensor in model.weights.items()
    }
    return {part: math.sqrt(square) for part, square in {WHOLE: sum(squares.values()), **squares}.items()}
