"""B7: attention to earlier occurrences of the current token."""

from jaxtyping import Float
from torch import Tensor

from ingest.mathematics.attention_masks import chance_of, duplicates, mask_score, patterns_of_copies
from ingest.measure import measure
from ingest.models.loaded import Activations


@measure(
    "head.duplicate_token",
    scope="head",
    unit="probability",
    bounds=(0.0, 1.0),
    direction="neither",
    citation="Wang et al. 2022, Interpretability in the wild (duplicate-token heads)",
    chance=chance_of(duplicates),
    traced=True,
    taken_on="repeats",
)
def duplicate_token(batch: Activations) -> Float[Tensor, "example layer head"]:
    """Mean attention from each token of a repeated copy to earlier occurrences of the same token, summed over them.

    Queries are the tokens of second and later copies. Chance is attention spread evenly over the past.
    """
    return mask_score(*patterns_of_copies(batch, duplicates))
