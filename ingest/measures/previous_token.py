"""B6: attention to the token just before."""

from jaxtyping import Float
from torch import Tensor

from ingest.mathematics.attention_masks import patterns_with_a_past
from ingest.measure import measure
from ingest.models.loaded import Activations


def uniform_chance(n_positions: int) -> float:
    """Score of attention spread evenly over all earlier positions and the own: (H_T − 1) / (T − 1)."""
    return sum(1 / (query + 1) for query in range(1, n_positions)) / (n_positions - 1)


@measure(
    "head.previous_token",
    scope="head",
    unit="probability",
    bounds=(0.0, 1.0),
    direction="neither",
    citation="Olsson et al. 2022, In-context learning and induction heads (previous-token heads)",
    chance=lambda task: uniform_chance(task.n_positions),
    traced=True,
)
def previous_token(batch: Activations) -> Float[Tensor, "example layer head"]:
    """Mean attention from each token after the first to the token just before it.

    1: the head always looks one back. Chance is what attention spread evenly over the past would score.
    TransformerLens' detector differs: it divides by the attention of all rows, (T − 1) / T at best.
    """
    return previous_token_score(patterns_with_a_past(batch))


def previous_token_score(
    pattern: Float[Tensor, "*batch query key"],
) -> Float[Tensor, "*batch"]:
    """Mean of pattern[q, q − 1] over queries q ≥ 1; in [0, 1]."""
    return pattern.diagonal(-1, dim1=-2, dim2=-1).mean(-1)
