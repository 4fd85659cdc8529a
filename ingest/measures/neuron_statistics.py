"""B12: how the activations of each neuron are spread, in five numbers."""

from collections.abc import Mapping
from typing import Any

import numpy as np
from jaxtyping import Float, Int
from torch import Tensor

from archive.records import Part
from ingest.mathematics.unit_moments import UnitMoments
from ingest.measure import measure
from ingest.readings.units import NEURON_SITES, Units

STATISTICS = ("mean", "variance", "skew", "kurtosis", "firing_rate")


class _Statistics:
    """Rows of fact_neuron."""

    def __init__(self, n_units: int) -> None:
        self._moments = UnitMoments(n_units)

    def update(
        self,
        activations: Float[Tensor, "sequence position unit"],
        sequences: Int[Tensor, " sequence"],
        documents: Int[Tensor, " sequence"],
    ) -> None:
        """Take in a batch; which sequences and documents does not matter."""
        self._moments.update(activations)

    def rows(self) -> tuple[Mapping[str, Any], tuple[Part, ...]]:
        """One row for each statistic, with one value a unit."""
        values = np.stack([getattr(self._moments, name).numpy() for name in STATISTICS])
        return {"values": values}, tuple(Part(kind="statistic", name=name) for name in STATISTICS)


def neuron_statistics(units: Units) -> _Statistics:
    """Mean, variance, skew, kurtosis and firing rate of every neuron's activation over all tokens.

    Exact, from one pass. Variance is in squared units of the activation and divides by the number of tokens; skew
    (0 for a Gaussian) and kurtosis (3 for a Gaussian, at least 1 + skew²) are standardised and NaN for a neuron that
    does not vary; the firing rate is the share of tokens where it is above 0. Tokens of one document are not
    independent. The published moments of universal neurons are of pre-activations and do not compare.
    """
    return _Statistics(units.n_units)


for _variant, _site in NEURON_SITES.items():
    measure(
        "neuron.statistics",
        scope="unit",
        unit="activation",
        bounds=(None, None),
        direction="neither",
        citation="Gurnee et al. 2024, Universal neurons in GPT2 language models (moments of activations)",
        schedule="sparse",
        variant=_variant,
        site=_site,
        taken_on="text",
    )(neuron_statistics)
