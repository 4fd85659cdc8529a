"""B15: how much of what heads write is written by each of them."""

import torch
from jaxtyping import Float
from torch import Tensor

from ingest.applicable import NotApplicable
from ingest.mathematics.clustered import Estimate, clustered_ratio
from ingest.mathematics.head_signature import output_norms
from ingest.measure import measure
from ingest.models.interventions import CleanRun
from ingest.readings.asked import MOST_TOKENS, SEED
from ingest.readings.interventions import Interventions


@measure(
    "head.output_share",
    scope="head",
    unit="share",
    bounds=(0.0, 1.0),
    direction="neither",
    citation="pathscope; norms of head outputs as in Kobayashi et al. 2020, Attention is not only a weight",
    schedule="sparse",
    of_task=lambda task: {"most_tokens": MOST_TOKENS, "seed": SEED},
)
def output_share(interventions: Interventions) -> Estimate:
    """Norm of what a head writes, meaned over positions, as a share of the sum over all heads of the model.

    The heads of a model add up to 1; a head that is off, or attends to a token that says nothing, has a small share.
    The part of a head's signature (`head.signature`) that attention patterns do not show: it takes a pass of its own, over
    up to 8,192 tokens drawn with a fixed seed. The bias of the projection belongs to no head; nothing is folded.
    """
    interventions.require_heads()
    norms = _norms(interventions)
    of_row = norms.sum((1, 2))
    if not bool(of_row.any()):
        raise NotApplicable("no head writes anything")
    return clustered_ratio(norms, of_row, interventions.clusters(interventions.rows))


def _norms(interventions: Interventions) -> Float[Tensor, "row layer head"]:
    """Sums over positions."""
    shape = interventions.shape
    found = torch.zeros(len(interventions.rows), shape.n_layers, shape.n_heads, dtype=torch.float64)

    def look(run: CleanRun, chosen: list[int]) -> None:
        for layer, mixed in enumerate(run.heads):
            outputs = interventions.model.model.weight(f"blocks.{layer}.attn.W_O")
            found[chosen, layer] = output_norms(mixed, outputs).sum(1).cpu()

    interventions.each_clean(interventions.rows, look)
    return found
