"""B5 with the other offset: attention to what preceded the current token last time."""

from jaxtyping import Float
from torch import Tensor

from ingest.mathematics.attention_masks import chance_of, mask_score, patterns_of_copies, predecessors
from ingest.measure import measure
from ingest.models.loaded import Activations


@measure(
    "head.preceding_token",
    scope="head",
    unit="probability",
    bounds=(0.0, 1.0),
    direction="neither",
    citation="Olsson et al. 2022, In-context learning and induction heads (the appendix' wording of prefix matching)",
    chance=chance_of(predecessors),
    traced=True,
    taken_on="repeats",
)
def preceding_token(batch: Activations) -> Float[Tensor, "example layer head"]:
    """Mean attention from each token of a repeated copy to the tokens that preceded its earlier occurrences.

    Queries as in `head.prefix_matching`, summed over targets. It says nothing of induction; it is there to
    tell the two readings of the published definition apart.
    """
    return mask_score(*patterns_of_copies(batch, predecessors))
