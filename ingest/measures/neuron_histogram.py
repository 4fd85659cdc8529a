"""B12: how the activations of each neuron are spread, counted in bins."""

from collections.abc import Mapping
from typing import Any

import numpy as np
from jaxtyping import Float, Int
from torch import Tensor

from archive.records import Part
from ingest.mathematics.unit_histogram import UnitHistogram
from ingest.measure import measure
from ingest.readings.units import NEURON_SITES, Units

LOWER, UPPER, BINS, EVERY = -10.0, 15.0, 256, 16


class _Histogram:
    """Rows of fact_histogram."""

    def __init__(self, n_units: int) -> None:
        self._histogram = UnitHistogram(n_units, lower=LOWER, upper=UPPER, bins=BINS, every=EVERY)

    def update(
        self,
        activations: Float[Tensor, "sequence position unit"],
        sequences: Int[Tensor, " sequence"],
        documents: Int[Tensor, " sequence"],
    ) -> None:
        """Count a batch; documents do not matter."""
        self._histogram.update(activations, sequences)

    def rows(self) -> tuple[Mapping[str, Any], tuple[Part, ...]]:
        """Every unit with its counts."""
        counts = self._histogram.counts.cpu().numpy()
        return {"unit": np.arange(len(counts)), "lower": LOWER, "upper": UPPER, "counts": counts}, ()


def neuron_histogram(units: Units) -> _Histogram:
    """How many of a fixed sample of tokens activate each neuron so much, in 256 equal bins from -10 to 15.

    The first and the last bin also take what lies beyond. The sample is one position in 16 of every sequence (at
    least one), drawn once for all models, so histograms of one eval set compare count by count.
    """
    return _Histogram(units.n_units)


for _variant, _site in NEURON_SITES.items():
    measure(
        "neuron.histogram",
        scope="unit histogram",
        unit="count",
        bounds=(0.0, None),
        direction="neither",
        citation="Gurnee et al. 2024, Universal neurons in GPT2 language models (histograms of activations)",
        schedule="sparse",
        params={"lower": LOWER, "upper": UPPER, "bins": BINS, "every": EVERY},
        variant=_variant,
        site=_site,
        taken_on="text",
    )(neuron_histogram)
