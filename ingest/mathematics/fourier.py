"""Fourier analysis modulo an odd prime p: what a model of modular addition computes with.

Frequency k = 1 … (p − 1)/2 stands for cos and sin of w_k x with w_k = 2πk/p; k and p − k are one frequency.
A vector over frequencies has k at index k − 1. Everything is float64.
"""

import math
from collections.abc import Sequence
from functools import cache
from typing import Literal

import torch
from jaxtyping import Float
from torch import Tensor

# what counts as "of frequency k" on the grid of (a, b); the constant belongs to no frequency
Variant = Literal["sum_directions", "block_2x2", "block_3x3"]
VARIANTS: tuple[Variant, ...] = ("sum_directions", "block_2x2", "block_3x3")
CLUSTER_LEVEL = 0.85


@cache
def fourier_basis(p: int) -> Float[Tensor, "p p"]:
    """Orthonormal real Fourier basis modulo p; rows const, cos 1, sin 1, …, cos (p − 1)/2, sin (p − 1)/2.

    Do not write into it: it is made once for each p. Raises ValueError for an even or too small p.
    """
    if p < 3 or p % 2 == 0:
        raise ValueError(f"p = {p}: the basis of pairs of cosine and sine needs an odd p of at least 3")
    angles = 2 * math.pi / p * torch.arange(p, dtype=torch.float64)
    rows = [torch.full((p,), 1 / math.sqrt(p), dtype=torch.float64)]
    for k in range(1, (p + 1) // 2):
        rows += [math.sqrt(2 / p) * (k * angles).cos(), math.sqrt(2 / p) * (k * angles).sin()]
    return torch.stack(rows)


def frequency_norms(matrix: Float[Tensor, "p column"]) -> Float[Tensor, " frequency"]:
    """Norm of each frequency along the rows: sqrt(‖cos_k M‖² + ‖sin_k M‖²), with unit cos_k and sin_k.

    matrix: W_E of the p numbers, or any other whose rows are residues. Source: measures B21.
    """
    squares = (fourier_basis(len(matrix)) @ matrix.double().cpu()).square().sum(1)
    return (squares[1::2] + squares[2::2]).sqrt()


def grid_transform(values: Float[Tensor, "p p column"]) -> Float[Tensor, "p p column"]:
    """Coefficients over a ⊗ b of functions on the grid, in the order of the basis."""
    basis = fourier_basis(len(values))
    # two products with a matrix each, not one with four indices
    over_a: Tensor = torch.tensordot(basis, values.double().cpu(), ([1], [0]))
    return basis @ over_a


def logit_coefficients(logits: Float[Tensor, "p p p"]) -> Float[Tensor, " frequency"]:
    """Coefficient of the unit-norm cos(w_k (a + b − c)) in logits[a, b, c], signed.

    A model that adds by frequency k has a large positive one. The sign and the norm √(p³/2) are those of
    the published analysis (Nanda et al. 2023).
    """
    p = len(logits)
    at = torch.arange(p)
    offset = (at[:, None, None] + at[:, None] - at) % p
    by_offset = torch.zeros(p, dtype=torch.float64)
    by_offset.index_add_(0, offset.flatten(), logits.double().cpu().flatten())
    # the basis has unit cosines over p residues, each reached by p² of the p³ logits
    return (fourier_basis(p) @ by_offset)[1::2] / p


def neuron_fractions(activations: Float[Tensor, "p p neuron"]) -> Float[Tensor, "frequency neuron"]:
    """Share of each neuron's variance over the grid that one frequency explains, in [0, 1].

    Linear and quadratic terms: the eight products of {1, cos_k, sin_k} over a and over b but the constant.
    0 for a neuron that never changes.
    """
    squares = grid_transform(activations).square()
    squares[0, 0] = 0  # the mean explains nothing
    total = squares.sum((0, 1))
    explained = torch.stack([_block(squares, k).sum((0, 1)) for k in _frequencies(len(activations))])
    # what is left of a constant after rounding is no variance
    floor = 1e-24 * activations.double().cpu().square().sum((0, 1))
    return torch.where(total > floor, explained / total.clamp_min(torch.finfo().tiny), 0.0)


def gini(values: Float[Tensor, " value"]) -> float:
    """Gini coefficient of |values|: 0 where all are equal, 1 − 1/N where all but one are 0.

    1 − 2 Σ (x_(i)/‖x‖₁)(N − i + ½)/N with x ascending, i from 1. Raises ValueError where all are 0.
    Source: Hurley & Rickard 2009, Comparing measures of sparsity.
    """
    ascending = values.double().cpu().abs().sort().values
    total, n = float(ascending.sum()), len(ascending)
    if total == 0:
        raise ValueError(f"all {n} values are 0: a share of nothing is not defined")
    weights = (n - torch.arange(1, n + 1, dtype=torch.float64) + 0.5) / n
    return 1 - 2 * float(ascending @ weights) / total


def above_quarter(strengths: Float[Tensor, " frequency"]) -> tuple[int, ...]:
    """Key frequencies by the rule "stronger than a quarter of the strongest", on |strengths|; may be none.

    The rule of TransformerLens' grokking demo, there on norms of W_E.
    """
    strong = strengths.abs()
    return tuple((torch.nonzero(strong > strong.max() / 4)[:, 0] + 1).tolist())


def clustered(fractions: Float[Tensor, "frequency neuron"], level: float = CLUSTER_LEVEL) -> dict[int, int]:
    """Key frequencies by neuron clusters: frequency -> neurons of whose variance it alone explains `level`.

    Only each neuron's best frequency counts. Frequencies without a neuron are left out. Unlike the published
    program's, the search includes k = (p − 1)/2, and neurons that no frequency explains choose none.
    """
    best = fractions.max(0)
    chosen = best.indices[best.values >= level] + 1
    return {k: int((chosen == k).sum()) for k in sorted(set(chosen.tolist()))}


def part_of_frequencies(
    transformed: Float[Tensor, "p p column"], frequencies: Sequence[int], variant: Variant
) -> Float[Tensor, "p p column"]:
    """The part of functions on the grid that lies in the directions of these frequencies.

    transformed: their `grid_transform`. sum_directions: cos and sin of w_k (a + b), 2 directions each;
    block_2x2: products of cos or sin over a and over b, 4; block_3x3: linear terms too, 8. The mean over the
    grid is in none of them. Raises ValueError for a frequency outside 1 … (p − 1)/2.
    """
    p = len(transformed)
    if wrong := sorted(set(frequencies) - set(_frequencies(p))):
        raise ValueError(f"frequency {wrong[0]} modulo {p}: expected 1 … {(p - 1) // 2}")
    part = torch.zeros_like(transformed)
    for k in dict.fromkeys(frequencies):
        rows = fourier_basis(p)[[0, 2 * k - 1, 2 * k]]
        kept = _directions(_block(transformed, k), variant)
        over_a = torch.tensordot(rows, kept, ([0], [0]))
        part += torch.einsum("jb,ajc->abc", rows, over_a)
    return part


def _directions(block: Tensor, variant: Variant) -> Tensor:
    """Of the 3 × 3 coefficients over {1, cos, sin} ⊗ {1, cos, sin}, those in the directions of the variant."""
    kept = block.clone()
    kept[0, 0] = 0
    if variant == "block_3x3":
        return kept
    kept[0], kept[:, 0] = 0, 0
    if variant == "sum_directions":
        # cos w(a+b) = cos cos − sin sin and sin w(a+b) = sin cos + cos sin, each with unit factor 1/√2
        cosine, sine = (block[1, 1] - block[2, 2]) / 2, (block[2, 1] + block[1, 2]) / 2
        kept[1, 1], kept[2, 2], kept[2, 1], kept[1, 2] = cosine, -cosine, sine, sine
    return kept


def _block(transformed: Tensor, k: int) -> Tensor:
    """Coefficients over {1, cos_k, sin_k} ⊗ {1, cos_k, sin_k}."""
    at = torch.tensor([0, 2 * k - 1, 2 * k])
    return transformed[at[:, None], at]


def _frequencies(p: int) -> range:
    return range(1, (p + 1) // 2)
