"""B16, B17: how much a later head reads of what an earlier head writes, from the weights alone."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

import torch
from jaxtyping import Float
from torch import Tensor

Mode = Literal["q", "k", "v"]
MODES: tuple[Mode, ...] = ("q", "k", "v")
# below this share of its largest possible value a variance is rounding: one factor is a multiple of a rotation
_NO_VARIANCE = 1e-12


@dataclass(frozen=True)
class LayerPair:
    """All heads of an earlier layer with all of a later one.

    scores: in [0, 1], NaN where a head is zero. baseline: what the root of the mean squared score is when a
    random rotation stands between the two heads. z: the squared score's distance from its mean under that null,
    in standard deviations; NaN where every rotation gives the same score.
    """

    source: int
    target: int
    scores: Float[Tensor, "source_head target_head"]
    baseline: float
    z: Float[Tensor, "source_head target_head"]


@dataclass(frozen=True)
class _Side:
    """One matrix of every head, as a product whose Frobenius norms are those of small matrices.

    factor: [head, d_head, d_model] for what writes, [head, d_model, d_head] for what reads; the other factor of
    the matrix has orthonormal columns and is left out, which changes no norm. norm: of the matrix. traceless: of
    its Gram matrix on the side of d_model, less its mean eigenvalue.
    """

    factor: Float[Tensor, "head ..."]
    norm: Float[Tensor, " head"]
    traceless: Float[Tensor, " head"]


def composition(
    layers: list[Mapping[str, Float[Tensor, "head ..."]]], mode: Mode, *, dimension: int | None = None
) -> list[LayerPair]:
    """Composition of every head with every head of a later layer, by layers: ‖M N‖ / (‖M‖ ‖N‖), Frobenius norms.

    layers: `W_Q`, `W_K`, `W_V` [head, d_model, d_head] and `W_O` [head, d_head, d_model] of each layer, row vectors
    times matrices. M = W_V W_O of the earlier head; N of the later one is W_Q W_K^T for mode "q", its transpose
    for "k", W_V W_O for "v". With M = (W_V's orthonormal factor) R_V W_O and likewise N, the norm is that of
    R_V W_O · W_Q R_K^T (for "v" W_V R_O^T), with R the triangular factors of QR decompositions: d_head × d_head
    numbers instead of d_model × d_model, exactly. In float64.

    Null: a random rotation (Haar) between M and N. The squared score then has mean 1/d whatever M and N are, and
    variance 2 ‖A₀‖² ‖B₀‖² / ((d - 1)(d + 2) (tr A tr B)²) with A = M^T M, B = N N^T and ₀ for the part without
    trace, both exact. The distribution is skewed to the right for few effective directions: z is a scale, not
    a p-value. dimension: d; by default d_model. After centring (`fold_ln_center`) every row of M and every column
    of N is orthogonal to (1, …, 1): rotations that keep it so live in d_model - 1 dimensions, so pass that.

    Sources: Elhage et al. 2021 for the score; the variance follows from Schur's lemma for symmetric traceless
    matrices. Ignores LayerNorm, positions, and MLPs between; a high score is neither necessary nor enough for two
    heads to work together.
    """
    d = dimension if dimension is not None else layers[0]["W_V"].shape[1] if layers else 0
    writes = [_writing(layer, d) for layer in layers[:-1]]
    pairs = []
    for target in range(1, len(layers)):
        read = _reading(layers[target], mode, d)
        for source in range(target):
            pairs.append(_pair(source, target, writes[source], read, d))
    return sorted(pairs, key=lambda pair: (pair.source, pair.target))


def _pair(source: int, target: int, write: _Side, read: _Side, d: int) -> LayerPair:
    (n_write, d_write, _), (n_read, _, d_read) = write.factor.shape, read.factor.shape
    # one product for all pairs of heads
    products = write.factor.flatten(0, 1) @ read.factor.movedim(0, 1).flatten(1)
    squares = products.view(n_write, d_write, n_read, d_read).square().sum((1, 3))
    scale = torch.outer(write.norm, read.norm)
    square_score = squares / scale.square()
    variance = 2 * torch.outer(write.traceless, read.traceless).square() / ((d - 1) * (d + 2)) / scale**4
    possible = 2 / ((d - 1) * (d + 2))
    variance = variance.masked_fill(variance <= _NO_VARIANCE * possible, torch.nan)
    return LayerPair(
        source=source,
        target=target,
        scores=square_score.sqrt(),
        baseline=d**-0.5,
        z=(square_score - 1 / d) / variance.sqrt(),
    )


def _writing(layer: Mapping[str, Tensor], d: int) -> _Side:
    """W_V W_O of every head, without W_V's orthonormal factor."""
    return _side(_triangular(layer["W_V"]) @ layer["W_O"].double(), d)


def _reading(layer: Mapping[str, Tensor], mode: Mode, d: int) -> _Side:
    """The matrix that reads, without the orthonormal factor of its right side."""
    left, right = {
        "q": ("W_Q", layer["W_K"]),
        "k": ("W_K", layer["W_Q"]),
        "v": ("W_V", layer["W_O"].mT),
    }[mode]
    factor = layer[left].double() @ _triangular(right).mT
    side = _side(factor.mT, d)
    return _Side(factor, side.norm, side.traceless)


def _side(factor: Float[Tensor, "head d_head d_model"], d: int) -> _Side:
    gram = factor @ factor.mT  # its squared entries sum as those of the d_model × d_model one do
    trace = gram.diagonal(dim1=1, dim2=2).sum(1)
    traceless = (gram.square().sum((1, 2)) - trace.square() / d).clamp_min(0).sqrt()
    return _Side(factor, trace.sqrt(), traceless)


def _triangular(tall: Float[Tensor, "head d_model d_head"]) -> Float[Tensor, "head d_head d_head"]:
    triangular: Tensor = torch.linalg.qr(tall.double(), mode="r").R
    return triangular
