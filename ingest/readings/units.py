"""One layer's units on their way through an eval set: what a measure of neurons is given, and what it gives back."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Protocol

from jaxtyping import Float, Int
from torch import Tensor

from archive.records import Part, Site

# MLP neurons after their nonlinearity, as the output matrix reads them: with SoLU after the LayerNorm that follows it
MLP_NEURONS = Site(name="mlp.hook_post", hook_point="mlp.hook_post", norm_stage="none")
# and before that LayerNorm; other models have no such place
SOLU_NEURONS = Site(name="mlp.hook_mid", hook_point="mlp.hook_mid", norm_stage="before")
# measures of neurons come at both sites: what to call them, and where they look
NEURON_SITES: dict[str, Site] = {"": MLP_NEURONS, "mid": SOLU_NEURONS}


@dataclass(frozen=True)
class Units:
    """The units of one layer, before the model has seen anything."""

    layer: int
    n_units: int


class UnitReducer(Protocol):
    """Takes in activations batch by batch and keeps a few numbers a unit."""

    def update(
        self,
        activations: Float[Tensor, "sequence position unit"],
        sequences: Int[Tensor, " sequence"],
        documents: Int[Tensor, " sequence"],
    ) -> None:
        """Take in whole sequences, with the numbers of each and of the document it comes from."""

    def rows(self) -> tuple[Mapping[str, Any], tuple[Part, ...]]:
        """Columns of the measure's table without `layer`, and the part of each row (none where the table has none)."""
