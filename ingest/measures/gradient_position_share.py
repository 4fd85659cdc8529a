"""B31: which of the answers the gradient comes from."""

from collections.abc import Mapping

import torch
from jaxtyping import Float
from torch import Tensor

from archive.records import WHOLE, Part
from ingest.measure import NotApplicable, measure
from ingest.measures.sum_of_squared_weights import sum_of_squares
from ingest.readings.evaluation import WholeEvaluation
from ingest.readings.gradients import loss_gradients, training_examples

# each position takes a pass of its own
MOST_POSITIONS = 32


@measure(
    "gradient_position_share",
    scope="vector",
    unit="share",
    bounds=(0.0, 1.0),
    direction="neither",
    citation="pathscope; after the question why digits of an addition are learned in their order",
    schedule="sparse",
    of_task=lambda task: {"labels": list(task.read_labels)},
)
def gradient_position_share(evaluation: WholeEvaluation) -> Mapping[Part, Float[Tensor, " read"]]:
    """Share of each position read in the gradient of the training loss: squared norm of its own gradient over their sum.

    In the order of the positions read, named in the parameter `labels`; the shares sum to 1. Gradients of
    different positions may cancel in their sum, which this does not show. Examples as in `gradient_norm`. Only
    for tasks that read between 2 and 32 positions.
    """
    read = evaluation.task.read_positions
    if not 2 <= len(read) <= MOST_POSITIONS:
        raise NotApplicable(
            f"{evaluation.task.name} reads {len(read)} position{'s' * (len(read) != 1)}; shares are taken of 2 to "
            f"{MOST_POSITIONS}"
        )
    tokens, targets = training_examples(evaluation)
    squares = [
        sum(
            sum_of_squares(g)
            for g in loss_gradients(evaluation.model, tokens, targets[:, [i]], [position]).values()
        )
        for i, position in enumerate(read)
    ]
    if sum(squares) == 0:
        raise NotApplicable("the gradient is 0: there is nothing to share")
    return {WHOLE: torch.tensor(squares, dtype=torch.float64) / sum(squares)}
