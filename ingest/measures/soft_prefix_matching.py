"""B5 with classes of equivalent tokens: attention to what followed a token of the same meaning."""

from jaxtyping import Float
from torch import Tensor

from ingest.mathematics.prompt_attention import chance_of, score, soft_followers
from ingest.measure import measure
from ingest.readings.attended import AttendedPrompts


@measure(
    "head.soft_prefix_matching",
    scope="head",
    unit="probability",
    bounds=(0.0, 1.0),
    direction="neither",
    citation="Olsson et al. 2022, In-context learning and induction heads (translation heads)",
    chance=chance_of(soft_followers),
    traced=True,
)
def soft_prefix_matching(prompts: AttendedPrompts) -> Float[Tensor, "item head"]:
    """Mean attention from a word to the tokens that followed earlier words of the same meaning.

    An ideal head of soft induction scores 1. The eval set says which tokens mean the same (kind `translation`: a word and
    its translation, or a synonym); queries are tokens with an earlier other token of their class, targets follow each of
    these. The same token again does not count, so plain induction heads score at chance unless they also do this. Chance
    is attention spread evenly over the past of these very prompts; standard errors are clustered by template. Few pairs of
    words are single tokens in small vocabularies: that nothing is found there is weak evidence.
    """
    return score(prompts, soft_followers)
