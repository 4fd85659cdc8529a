"""B22: how few frequencies carry embedding, neuron-to-logit map and logits."""

from collections.abc import Mapping

from archive.records import Part
from ingest.mathematics.fourier import gini
from ingest.measure import measure
from ingest.readings.addition_grid import addition_grid, matrix_part
from ingest.readings.evaluation import WholeEvaluation


@measure(
    "fourier_gini",
    scope="part",
    unit="1",
    bounds=(0.0, 1.0),
    direction="neither",
    citation="Hurley & Rickard 2009, Comparing measures of sparsity; on Fourier norms by Nanda et al. 2023",
)
def fourier_gini(evaluation: WholeEvaluation) -> Mapping[Part, float]:
    """Gini coefficient of the strengths that `fourier_norm` stores, of W_E, W_L and the logits.

    0: all frequencies alike, 1 − 2/(p − 1): one alone. The constant is not among them, cosine and sine of a
    frequency are one. A random W_E does not give 0 but about 0.28/sqrt(d_model): 0.025 for d_model = 128.
    What has no frequency at all is left out. Modular addition only.
    """
    spectra = addition_grid(evaluation).spectra
    return {matrix_part(name): gini(strengths) for name, strengths in spectra.items() if strengths.any()}
