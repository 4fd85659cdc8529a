"""B19: direct logit attribution: what every head and layer adds to the logit of the right answer over the wrong one."""

from collections.abc import Mapping

from archive.records import Part
from ingest.mathematics.clustered import Estimate, clustered_mean
from ingest.measure import measure
from ingest.readings.asked import sampled
from ingest.readings.interventions import Interventions

_CITATION = (
    "Elhage et al. 2021, A mathematical framework for transformer circuits (direct path to the logits)"
)


@measure(
    "head.logit_attribution",
    scope="head",
    unit="logits",
    bounds=(None, None),
    direction="neither",
    citation=_CITATION,
    schedule="sparse",
    of_task=sampled,
    taken_on="prompts",
)
def head_logit_attribution(interventions: Interventions) -> Estimate:
    """What a head writes at the position of the answer, as logits of the right answer minus the wrong one.

    The final LayerNorm divides by what it divides by in the full run; of models that differ in it compare shares of the
    total (`logit_attribution`, part total). It is the direct path only: what later layers make of a head is theirs. The
    bias of the projection is among `biases`. Of up to 8,192 tokens of prompts, drawn with a fixed seed.
    """
    # in this order a model without heads says so, and one without prompts too
    interventions.require_heads()
    return clustered_mean(interventions.attribution.heads, interventions.clusters(interventions.rows))


@measure(
    "logit_attribution",
    scope="part",
    unit="logits",
    bounds=(None, None),
    direction="neither",
    citation=_CITATION,
    schedule="sparse",
    of_task=sampled,
    taken_on="prompts",
)
def logit_attribution(interventions: Interventions) -> Mapping[Part, Estimate]:
    """What each component adds to the logit difference of prompts; `total` is that difference, the others add up to it.

    Components are `embedding` (with positions), `L0 attention` (all heads of the layer), `L0 mlp`, ..., and `biases`
    (output biases of all layers, the shift of the final LayerNorm and of the unembedding), as in
    `head.logit_attribution`. Every measurement checks that the sum is right, to 1e-4 of the sizes that are added up.
    """
    found = interventions.attribution
    named = {"embedding": found.embedding}
    for layer in range(interventions.shape.n_layers):
        if found.heads.shape[2]:
            named[f"L{layer} attention"] = found.heads[:, layer].sum(1)
        if interventions.shape.d_mlp:
            named[f"L{layer} mlp"] = found.mlp[:, layer]
    named |= {"biases": found.biases, "total": found.total}
    clusters = interventions.clusters(interventions.rows)
    return {
        Part(kind="component", name=name): clustered_mean(values, clusters) for name, values in named.items()
    }
