"""B12: how the activations of every unit of a layer are spread, counted on a fixed sample of positions."""

from functools import lru_cache

import torch
from jaxtyping import Float, Int
from torch import Tensor

from ingest.streams import stream

SAMPLE_SEED = 0


@lru_cache(maxsize=4096)  # every layer asks for the same sequences
def sampled_positions(sequence: int, n_positions: int, every: int) -> tuple[int, ...]:
    """One position in `every` of a sequence (at least one), increasing, drawn once for all models."""
    n = max(1, n_positions // every)
    order = stream(SAMPLE_SEED, "unit_histogram", sequence).permutation(n_positions)
    return tuple(sorted(order[:n].tolist()))


class UnitHistogram:
    """Counts of every unit's activations in equal bins, over one position in `every`.

    A bin is [lower + i · width, lower + (i + 1) · width); the first and the last also take what lies beyond.
    The sample depends on the numbers of the sequences and their length alone, so counts are the same whatever
    the batches and their order, and for all models on the same text. Bins by default as in the published
    statistics of universal neurons (Gurnee et al. 2024): 256 on [-10, 15].
    """

    def __init__(
        self, n_units: int, *, lower: float = -10.0, upper: float = 15.0, bins: int = 256, every: int = 16
    ) -> None:
        """Nothing counted yet. Raises ValueError for an empty range, no bins, or every < 1."""
        if not lower < upper or bins < 1 or every < 1:
            raise ValueError(
                f"{bins} bins on [{lower}, {upper}] for one position in {every}; expected at least one bin, "
                "lower < upper, every >= 1"
            )
        self.lower, self.upper, self.bins, self.every = lower, upper, bins, every
        self.counts: Int[Tensor, "unit bin"] = torch.zeros(n_units, bins, dtype=torch.int64)

    def update(
        self, activations: Float[Tensor, "sequence position unit"], sequences: Int[Tensor, " sequence"]
    ) -> None:
        """Take in whole sequences with their numbers; raises ValueError for a NaN among those counted."""
        n_units, n_bins = self.counts.shape
        if activations.shape[2] != n_units:
            raise ValueError(f"activations of {activations.shape[2]} units; expected {n_units}")
        self.counts = self.counts.to(activations.device)
        first = torch.arange(n_units, device=activations.device) * n_bins
        found = []
        for sequence, values in zip(sequences.tolist(), activations, strict=True):
            at = torch.tensor(sampled_positions(sequence, len(values), self.every), device=values.device)
            # float64: a number right on an edge must not depend on the precision of the scale
            scaled = (values[at].double() - self.lower) * (n_bins / (self.upper - self.lower))
            if scaled.isnan().any():
                raise ValueError(f"sequence {sequence} has activations that are NaN")
            found.append((scaled.floor().clamp(0, n_bins - 1).long() + first).flatten())
        if found:
            # all at once: a batch that fails is not half counted
            cells = torch.cat(found)
            self.counts.view(-1).scatter_add_(0, cells, torch.ones_like(cells))
