"""B1: cross-entropy on the frozen eval set, per split."""

import math

import torch
from jaxtyping import Float, Int
from torch import Tensor

from ingest.measure import measure
from ingest.models.loaded import Activations


@measure(
    "loss",
    scope="split",
    unit="nats",
    bounds=(0.0, None),
    direction="lower is better",
    citation="Nanda et al. 2023, Progress measures for grokking via mechanistic interpretability",
    chance=lambda task: math.log(task.n_outputs),
)
def loss(batch: Activations) -> Float[Tensor, " example"]:
    """Mean cross-entropy of the right answers at the positions the task reads.

    The softmax is over all outputs of the task (modular addition keeps the `=` class, as published), so
    chance is ln(n_outputs). se takes examples as independent.
    """
    return negative_log_likelihood(batch.logits, batch.targets).mean(-1)


def negative_log_likelihood(
    logits: Float[Tensor, "*batch output"], targets: Int[Tensor, "*batch"]
) -> Float[Tensor, "*batch"]:
    """−ln softmax(logits)[target] in nats, ≥ 0, float64.

    float64: a float32 log-softmax near zero can only return multiples of 1.2e-7, and grokked runs have
    losses around 1e-7.
    """
    log_probabilities = logits.to(torch.float64).log_softmax(-1)
    return -log_probabilities.gather(-1, targets[..., None])[..., 0]
