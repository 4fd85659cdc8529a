"""B21: strength of every frequency in embedding, neuron-to-logit map and logits."""

from collections.abc import Mapping

from jaxtyping import Float
from torch import Tensor

from archive.records import Part
from ingest.measure import measure
from ingest.readings.addition_grid import addition_grid, matrix_part
from ingest.readings.evaluation import WholeEvaluation


@measure(
    "fourier_norm",
    scope="vector",
    unit="1",
    bounds=(None, None),
    direction="neither",
    citation="Nanda et al. 2023, Progress measures for grokking via mechanistic interpretability",
)
def fourier_norm(evaluation: WholeEvaluation) -> Mapping[Part, Float[Tensor, " frequency"]]:
    """Strength of frequencies 1 … (p − 1)/2, frequency k at index k − 1, in W_E, in W_L = W_out W_U and in the logits.

    For the matrices the norm of the cosine and sine components over numbers (W_E) or answers (W_L), ≥ 0; for
    the logits the signed coefficient of unit-norm cos(w_k (a + b − c)). Modular addition only; no W_L
    without an MLP.
    """
    spectra = addition_grid(evaluation).spectra
    return {matrix_part(name): strengths for name, strengths in spectra.items()}
