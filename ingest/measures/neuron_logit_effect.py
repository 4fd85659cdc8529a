"""Which tokens each neuron speaks for and against directly."""

from collections.abc import Mapping
from dataclasses import asdict

import torch
from jaxtyping import Float
from torch import Tensor

from archive.records import Part
from ingest.applicable import NotApplicable
from ingest.mathematics.direct_logit_effect import direct_logit_effect
from ingest.measure import measure
from ingest.readings.circuit import CircuitWeights
from ingest.readings.units import MLP_NEURONS

K = 10


@measure(
    "neuron.logit_effect",
    scope="unit vector",
    unit="logits",
    bounds=(None, None),
    direction="neither",
    citation="Geva et al. 2022, Transformer feed-forward layers build predictions by promoting concepts in the vocabulary space",
    schedule="sparse",
    params={"k": K},
    processing="fold_ln_center",
    site=MLP_NEURONS,
)
def neuron_logit_effect(circuit: CircuitWeights) -> Mapping[Part, Float[Tensor, "layer unit k"]]:
    """The 10 tokens whose logits each neuron raises most and the 10 it lowers most, and by how much.

    What one unit of activation adds through W_out and the unembedding, less its mean over all tokens, without
    passing through later layers; `top_tokens` go with `top_values`, the furthest first, `bottom_*` likewise. The
    division by the final LayerNorm is left out: effects compare between neurons of a model, not between models.
    """
    shape = circuit.shape
    if not (shape.n_layers and shape.d_mlp):
        raise NotApplicable("the model has no MLP neurons")
    unembedding = circuit.unembedding
    k = min(K, unembedding.shape[1])
    effects = [
        asdict(direct_logit_effect(circuit.neuron_outputs(layer), unembedding, k))
        for layer in range(shape.n_layers)
    ]
    return {
        Part(kind="logit effect", name=name): torch.stack([effect[name].double() for effect in effects])
        for name in effects[0]
    }
