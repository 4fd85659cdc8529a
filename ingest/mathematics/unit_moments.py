"""B12: mean, variance, skew, kurtosis and firing rate of every unit of a layer, from a stream of batches."""

from dataclasses import dataclass, fields

import torch
from jaxtyping import Float
from torch import Tensor

# positions summed in float32 at a time: 2 MB at 2048 units, so that the passes over them stay in the cache
_BLOCK = 256
# a standard deviation below this share of the mean is rounding of float32, not spread
_NO_SPREAD = 2.0**-20


@dataclass
class _Sums:
    """Sums over positions, about the mean: of powers 2, 3 and 4; and of how many are positive. Float64."""

    n: Float[Tensor, "..."]
    mean: Float[Tensor, "... unit"]
    second: Float[Tensor, "... unit"]
    third: Float[Tensor, "... unit"]
    fourth: Float[Tensor, "... unit"]
    positive: Float[Tensor, "... unit"]


class UnitMoments:
    """Moments of every unit over all positions seen, without keeping any of them.

    Within 256 positions of a sequence sums are in the activations' own precision, about the mean of those
    positions; across them in float64 by the formulas for merging central moments (Pébay 2008), so a large mean
    beside a small spread costs no digits. Batches and the order of sequences change a result by float64
    rounding only, about 1e-13 of it.
    """

    def __init__(self, n_units: int) -> None:
        """Nothing seen yet."""
        zeros = torch.zeros(n_units, dtype=torch.float64)
        self._sums = _Sums(torch.zeros((), dtype=torch.float64), *(zeros.clone() for _ in range(5)))
        self._room: tuple[Tensor, Tensor] | None = None

    @property
    def n_positions(self) -> int:
        """Positions seen."""
        return int(self._sums.n)

    def update(self, activations: Float[Tensor, "sequence position unit"]) -> None:
        """Take in whole sequences; half precision is raised to float32. Raises ValueError for NaN or infinity."""
        if activations.shape[2] != len(self._sums.mean):
            raise ValueError(f"activations of {activations.shape[2]} units; expected {len(self._sums.mean)}")
        if activations.dtype in (torch.float16, torch.bfloat16):
            activations = activations.float()
        blocks = [self._sums_of(block) for sequence in activations for block in torch.split(sequence, _BLOCK)]
        if blocks:
            found = _merged(blocks)
            if not found.mean.isfinite().all():
                unit = int((~found.mean.isfinite()).nonzero()[0])
                raise ValueError(f"unit {unit} has activations that are NaN or infinite")
            self._sums = _merged([self._sums, found])

    def merge(self, other: "UnitMoments") -> None:
        """Take in what another one has seen of the same units."""
        self._sums = _merged([self._sums, other._sums])

    @property
    def mean(self) -> Float[Tensor, " unit"]:
        """Mean activation; NaN before anything was seen."""
        return torch.where(self._sums.n > 0, self._sums.mean, torch.nan)

    @property
    def variance(self) -> Float[Tensor, " unit"]:
        """Mean squared deviation from the mean (divided by the number of positions, not one less)."""
        return self._sums.second / self._sums.n

    @property
    def skew(self) -> Float[Tensor, " unit"]:
        """Third standardised moment, 0 for a Gaussian; NaN for a unit that does not vary."""
        return self._sums.third / self._sums.n / self._spread**1.5

    @property
    def kurtosis(self) -> Float[Tensor, " unit"]:
        """Fourth standardised moment, 3 for a Gaussian, at least 1 + skew²; NaN for a unit that does not vary."""
        return self._sums.fourth / self._sums.n / self._spread**2

    @property
    def firing_rate(self) -> Float[Tensor, " unit"]:
        """Share of positions where the unit is above 0."""
        return self._sums.positive / self._sums.n

    @property
    def _spread(self) -> Float[Tensor, " unit"]:
        """The variance, NaN where it is none."""
        none = self.variance.sqrt() <= _NO_SPREAD * self.mean.abs()
        return self.variance.masked_fill(none, torch.nan)

    def _sums_of(self, block: Float[Tensor, "position unit"]) -> _Sums:
        if self._room is None or self._room[0].shape[0] < len(block) or self._room[0].dtype != block.dtype:
            self._room = (torch.empty_like(block), torch.empty_like(block))
        # room that is used again: allocating it costs as much as the sums
        powers, squares = (part[: len(block)] for part in self._room)
        positive = torch.gt(block, 0, out=powers).sum(0)
        mean = block.mean(0)
        torch.sub(block, mean, out=powers)
        torch.mul(powers, powers, out=squares)
        second = squares.sum(0)
        third = torch.mul(powers, squares, out=powers).sum(0)
        fourth = torch.mul(squares, squares, out=squares).sum(0)
        n = block.new_tensor(len(block))
        return _Sums(*(part.double() for part in (n, mean, second, third, fourth, positive)))


def _merged(pieces: list[_Sums]) -> _Sums:
    """Sums over all pieces about their common mean."""
    # on the CPU that has float64; a layer's sums are small
    n, mean, second, third, fourth, positive = (
        torch.stack([getattr(piece, field.name).cpu() for piece in pieces]) for field in fields(_Sums)
    )
    total = n.sum()
    weight = n[:, None]
    common = (weight * mean).sum(0) / total.clamp_min(1)
    shift = mean - common
    square = shift.square()
    return _Sums(
        n=total,
        mean=common,
        second=(second + weight * square).sum(0),
        third=(third + shift * (3 * second + weight * square)).sum(0),
        fourth=(fourth + 4 * shift * third + square * (6 * second + weight * square)).sum(0),
        positive=positive.sum(0),
    )
