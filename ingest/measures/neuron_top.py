"""B11: the examples on which each neuron is most active."""

from collections.abc import Mapping
from typing import Any

import numpy as np

from archive.records import Part
from ingest.mathematics.top_examples import TopExamples
from ingest.measure import measure
from ingest.readings.units import NEURON_SITES, Units

K = 20


class _Top(TopExamples):
    """Rows of fact_neuron_top."""

    def rows(self) -> tuple[Mapping[str, Any], tuple[Part, ...]]:
        """Every unit with its best examples, best first."""
        table = self.table()
        columns = {
            "unit": np.arange(len(table.values)),
            "sequences": table.sequences.numpy(),
            "positions": table.positions.numpy(),
            "values": table.values.double().numpy(),
        }
        return columns, ()


def neuron_top(units: Units) -> _Top:
    """The 20 largest activations of every neuron with their places, at most one a document.

    Exact, whatever the batches and the order of documents. A larger corpus has larger maxima: compare neurons on the
    same eval set only.
    """
    return _Top(units.n_units, K)


for _variant, _site in NEURON_SITES.items():
    measure(
        "neuron.top",
        scope="unit top",
        unit="activation",
        bounds=(None, None),
        direction="neither",
        citation="Nanda 2022, Neuroscope (maximum activating dataset examples)",
        schedule="sparse",
        params={"k": K},
        variant=_variant,
        site=_site,
        taken_on="text",
    )(neuron_top)
