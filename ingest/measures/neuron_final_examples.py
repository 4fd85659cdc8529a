"""B11 over training: activations on what each neuron will respond to at the end, and on what it is compared with."""

from collections.abc import Mapping
from dataclasses import asdict
from typing import Any

import numpy as np
from jaxtyping import Float, Int
from torch import Tensor

from archive.records import Part
from ingest.mathematics.places import PlaceMeans
from ingest.measure import measure
from ingest.readings.final_places import Choosing, FinalPlaces
from ingest.readings.units import MLP_NEURONS, Units


class _Means:
    """Rows of fact_neuron."""

    def __init__(self, units: Units, places: FinalPlaces) -> None:
        self._means = {
            "top": PlaceMeans(places.top),
            "held_out": PlaceMeans(places.held_out),
            "other_neuron": PlaceMeans(places.other),
            "random": PlaceMeans(places.random),
            "direction": PlaceMeans(places.direction, places.directions, n_rows=units.n_units),
        }

    def update(
        self,
        activations: Float[Tensor, "sequence position unit"],
        sequences: Int[Tensor, " sequence"],
        documents: Int[Tensor, " sequence"],
    ) -> None:
        """Take in a batch; documents do not matter any more."""
        for mean in self._means.values():
            mean.update(activations, sequences)

    def rows(self) -> tuple[Mapping[str, Any], tuple[Part, ...]]:
        """One row for each kind of place, with one value a unit."""
        values = np.stack([mean.means.numpy() for mean in self._means.values()])
        return {"values": values}, tuple(Part(kind="statistic", name=name) for name in self._means)


@measure(
    "neuron.final_examples",
    scope="unit",
    unit="activation",
    bounds=(None, None),
    direction="neither",
    citation="Olah et al. 2020, Zoom In (features as what a neuron responds to); pathscope (places and controls)",
    params=asdict(Choosing()),
    site=MLP_NEURONS,
    taken_on="text",
)
def neuron_final_examples(units: Units, places: FinalPlaces) -> _Means:
    """Mean activation of every neuron on the 20 examples that activate it most at the run's final checkpoint.

    Row `top`: those examples, one a document. They are chosen by the end of training, so a rise to them is bound to be
    seen; the other rows say how much of it. `held_out`: places in half of the documents, with the tokens of the 20
    largest activations in the other half (NaN where those tokens do not come). `other_neuron`: the examples of another
    neuron of the layer. `random`: 20 places, the same for all neurons. `direction`: of a random direction over the
    layer's neurons (up to 128 of them, NaN beyond) on its own 20 final examples: chosen as `top` is.
    Knows the future: no predictor. Two passes over the eval set instead of one.
    """
    return _Means(units, places)
