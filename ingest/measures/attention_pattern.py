"""Attention patterns of a few sequences as they are, to look at."""

from jaxtyping import Float
from torch import Tensor

from ingest.mathematics.attention_masks import patterns_with_a_past
from ingest.measure import measure
from ingest.models.loaded import Activations

ITEMS, POSITIONS = 4, 64


@measure(
    "attention_pattern",
    scope="attention",
    unit="probability",
    bounds=(0.0, 1.0),
    direction="neither",
    citation="Vaswani et al. 2017, Attention is all you need",
    traced=True,
    schedule="sparse",
    params={"items": ITEMS, "positions": POSITIONS},
    taken_on="text",
)
def attention_pattern(batch: Activations) -> Float[Tensor, "example layer head query key"]:
    """How much each head looks from each token at each earlier one, in the first 4 sequences up to token 64.

    Rows are queries and add up to 1 over keys; nothing is lost by the cut, as no token looks at later ones.
    """
    return patterns_with_a_past(batch)[..., :POSITIONS, :POSITIONS]
