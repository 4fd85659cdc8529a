"""B2: the loss of every prediction of every sequence."""

import math

import torch
from jaxtyping import Float
from torch import Tensor

from ingest.measure import measure
from ingest.readings.evaluation import Predictions


@measure(
    "token_loss",
    scope="token",
    unit="nats",
    bounds=(0.0, None),
    direction="lower is better",
    citation="Olsson et al. 2022, In-context learning and induction heads (per-token losses)",
    schedule="sparse",
)
def token_loss(predictions: Predictions) -> Float[Tensor, "example position"]:
    """Loss of what the model predicts at each token of each evaluation sequence, NaN where the task reads nothing.

    The value at position i is the loss of the answer read there: for a task that predicts the next token, of
    token i + 1. On about a dozen checkpoints by default, because it is one number per token.
    """
    losses = predictions.answers.losses
    length = predictions.task.n_positions
    found = torch.full((len(losses), length), math.nan, dtype=torch.float64)
    found[:, list(predictions.task.read_positions)] = losses
    return found
