"""B31: size of the training loss's gradient at the checkpoint."""

import math
from collections.abc import Mapping

from archive.records import WHOLE, Part
from ingest.measure import measure
from ingest.measures.sum_of_squared_weights import sum_of_squares
from ingest.readings.evaluation import WholeEvaluation
from ingest.readings.gradients import loss_gradients, training_examples


@measure(
    "gradient_norm",
    scope="tensor",
    unit="nats",
    bounds=(0.0, None),
    direction="neither",
    citation="pathscope; the norm that training programs log, at the frozen checkpoint",
)
def gradient_norm(evaluation: WholeEvaluation) -> Mapping[Part, float]:
    """Euclidean norm of the gradient of the mean training loss, of each tensor and of the whole model.

    Over all training examples of the evaluation set at the frozen weights, without weight decay; for endless
    data over the whole evaluation set. The training log's gradient norm is that of its own batch.
    """
    tokens, targets = training_examples(evaluation)
    found = loss_gradients(evaluation.model, tokens, targets, evaluation.task.read_positions)
    squares = {Part(kind="tensor", name=name): sum_of_squares(gradient) for name, gradient in found.items()}
    return {part: math.sqrt(square) for part, square in {WHOLE: sum(squares.values()), **squares}.items()}
