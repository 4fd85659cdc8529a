"""B8: attention to the first token, where heads rest when they are off."""

from jaxtyping import Float
from torch import Tensor

from ingest.mathematics.attention_masks import patterns_with_a_past
from ingest.measure import measure
from ingest.measures.previous_token import uniform_chance
from ingest.models.loaded import Activations


@measure(
    "head.first_token",
    scope="head",
    unit="probability",
    bounds=(0.0, 1.0),
    direction="neither",
    citation="Xiao et al. 2023, Efficient streaming language models with attention sinks",
    chance=lambda task: uniform_chance(task.n_positions),
    traced=True,
)
def first_token(batch: Activations) -> Float[Tensor, "example layer head"]:
    """Mean attention from each token after the first to the first token.

    High values mean the head is off; read it beside the other attention scores. Whether the first token
    is a start token is part of the eval set (its BOS policy). Chance is attention spread evenly over the past.
    """
    return first_token_attention(patterns_with_a_past(batch))


def first_token_attention(
    pattern: Float[Tensor, "*batch query key"],
) -> Float[Tensor, "*batch"]:
    """Mean of pattern[q, 0] over queries q ≥ 1; in [0, 1]."""
    return pattern[..., 1:, 0].mean(-1)
