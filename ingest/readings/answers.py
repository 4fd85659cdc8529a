"""How good a model's answers are: the loss of the right one, and whether it came first."""

from dataclasses import dataclass

import torch
from jaxtyping import Float, Int
from torch import Tensor


@dataclass(frozen=True)
class Answers:
    """What is left of logits when nobody needs all of them, at the positions read.

    losses: −ln p(right answer) in nats, ≥ 0, float64. right: 1.0 where the right answer has the largest logit.
    """

    losses: Float[Tensor, "example read"]
    right: Float[Tensor, "example read"]

    @classmethod
    def of(
        cls, logits: Float[Tensor, "example read output"], targets: Int[Tensor, "example read"]
    ) -> "Answers":
        """Judge logits by the right answers."""
        return cls(negative_log_likelihood(logits, targets), is_right(logits, targets))


def negative_log_likelihood(
    logits: Float[Tensor, "*batch output"], targets: Int[Tensor, "*batch"]
) -> Float[Tensor, "*batch"]:
    """−ln softmax(logits)[target] in nats, ≥ 0, float64.

    float64: a float32 log-softmax near zero can only return multiples of 1.2e-7, and grokked runs have
    losses around 1e-7.
    """
    log_probabilities = logits.to(torch.float64).log_softmax(-1)
    return -log_probabilities.gather(-1, targets[..., None])[..., 0]


def is_right(
    logits: Float[Tensor, "*batch output"], targets: Int[Tensor, "*batch"]
) -> Float[Tensor, "*batch"]:
    """1.0 where the largest logit is the target's, else 0.0; the first of equals is the largest."""
    return (logits.argmax(-1) == targets).double()
