"""What the trigonometric part of a modular adder's logits is worth: restricted and excluded loss, fve.

Logits are [p, p, p] over (a, b, c) without the `=` class, as in the published progress measures: chance is
ln p, not ln(p + 1). Right is c = (a + b) mod p. Everything is float64.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from ingest.mathematics.fourier import Variant, grid_transform, logit_coefficients, part_of_frequencies


def pair_losses(logits: Float[Tensor, "p p p"]) -> Float[Tensor, "p p"]:
    """Cross-entropy of each pair's right answer, in nats."""
    at = torch.arange(len(logits))
    right = (at[:, None] + at) % len(logits)
    return -logits.double().cpu().log_softmax(-1).gather(-1, right[..., None])[..., 0]


def restricted_losses(
    logits: Float[Tensor, "p p p"],
    frequencies: Sequence[int],
    variant: Variant,
    *,
    transformed: Float[Tensor, "p p p"] | None = None,
) -> Float[Tensor, "p p"]:
    """Loss of each pair when only the directions of these frequencies and each class's mean are kept.

    Low once the model computes with these frequencies, whatever else it has memorised. The mean is over the
    whole grid, so test pairs take part whichever pairs are looked at. transformed: the logits'
    `grid_transform`, where it is at hand.
    """
    logits = logits.double().cpu()
    transformed = grid_transform(logits) if transformed is None else transformed
    return pair_losses(part_of_frequencies(transformed, frequencies, variant) + logits.mean((0, 1)))


def excluded_losses(
    logits: Float[Tensor, "p p p"],
    frequencies: Sequence[int],
    variant: Variant,
    *,
    transformed: Float[Tensor, "p p p"] | None = None,
) -> Float[Tensor, "p p"]:
    """Loss of each pair when the directions of these frequencies are taken out; no mean is put back.

    High on training pairs once the model no longer relies on what it has memorised. transformed: as above.
    """
    logits = logits.double().cpu()
    transformed = grid_transform(logits) if transformed is None else transformed
    return pair_losses(logits - part_of_frequencies(transformed, frequencies, variant))


@dataclass(frozen=True)
class Explained:
    """A share of variance explained by a fit. n_values numbers, n_terms fitted coefficients besides the mean."""

    share: float
    n_values: int
    n_terms: int

    @property
    def chance(self) -> float:
        """What as many terms explain of unrelated numbers: n_terms / (n_values − 1)."""
        return self.n_terms / (self.n_values - 1)

    @property
    def adjusted(self) -> float:
        """1 − (1 − share)(n − 1)/(n − 1 − terms): 0 on average where there is nothing; can be negative."""
        return 1 - (1 - self.share) / (1 - self.chance)


def logits_explained(logits: Float[Tensor, "p p p"], frequencies: Sequence[int]) -> Explained:
    """Variance of all p³ logits explained by Σ α_k cos(w_k (a + b − c)), one α for each frequency.

    Around their overall mean. Raises ValueError where all logits are equal.
    """
    logits = logits.double().cpu()
    total = float((logits - logits.mean()).square().sum())
    if total == 0:
        raise ValueError("all logits are equal: there is no variance to explain")
    chosen = logit_coefficients(logits)[[k - 1 for k in dict.fromkeys(frequencies)]]
    return Explained(float(chosen.square().sum()) / total, logits.numel(), len(chosen))
