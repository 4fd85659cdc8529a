"""B20: how likely a model thinks the right answer, prompt by prompt."""

from jaxtyping import Float
from torch import Tensor

from ingest.mathematics.prompt_scores import PromptScores
from ingest.measure import measure


@measure(
    "target_prob",
    scope="item",
    unit="probability",
    bounds=(0.0, 1.0),
    direction="higher is better",
    citation="Wang et al. 2023, Interpretability in the wild: a circuit for indirect object identification",
)
def target_prob(scores: PromptScores) -> Float[Tensor, " prompt"]:
    """Probability of the right answer among all tokens, for each prompt."""
    return scores.target_prob
