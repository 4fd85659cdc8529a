"""Gradients of the loss at a frozen checkpoint, which measures read and nothing follows."""

from collections.abc import Sequence

import torch
from jaxtyping import Float, Int
from torch import Tensor

from ingest.models.loaded import LoadedModel
from ingest.models.small import forward
from ingest.readings.answers import negative_log_likelihood
from ingest.readings.evaluation import WholeEvaluation
from ingest.task import TRAIN

# examples differentiated together: bounds memory
PIECE = 1024


def training_examples(
    evaluation: WholeEvaluation,
) -> tuple[Int[Tensor, "example position"], Int[Tensor, "example read"]]:
    """Tokens and targets of the evaluation examples that were trained on; all of them where the data are endless."""
    examples = evaluation.task.evaluation()
    inside = evaluation.splits.get(TRAIN)
    tokens, targets = torch.from_numpy(examples.tokens).long(), torch.from_numpy(examples.targets).long()
    return (tokens, targets) if inside is None else (tokens[inside], targets[inside])


def loss_gradients(
    model: LoadedModel,
    tokens: Int[Tensor, "example position"],
    targets: Int[Tensor, "example read"],
    read: Sequence[int],
) -> dict[str, Float[Tensor, "..."]]:
    """Gradient of the mean cross-entropy over examples and positions read, by tensor, in the model's precision.

    targets: one column for each of the positions `read`. The softmax is in float64, as in training by default.
    """
    weights = {name: tensor.detach().clone().requires_grad_() for name, tensor in model.weights.items()}
    device = next(iter(weights.values())).device
    gradients = {name: torch.zeros_like(tensor) for name, tensor in model.weights.items()}
    for start in range(0, len(tokens), PIECE):
        rows = slice(start, start + PIECE)
        with torch.enable_grad():
            stacked = {name: tensor[None] for name, tensor in weights.items()}
            logits = forward(model.layout, stacked, tokens[rows].to(device)[None], read)[0]
            loss = negative_log_likelihood(logits, targets[rows].to(device)).sum() / targets.numel()
            # a tensor that the answers do not depend on, such as the embedding of a later position, has none
            found = torch.autograd.grad(loss, list(weights.values()), allow_unused=True)
        for name, gradient in zip(weights, found, strict=True):
            if gradient is not None:
                gradients[name] += gradient
    return gradients
