"""B20: how often the right answer is a model's first choice, prompt by prompt."""

from jaxtyping import Float
from torch import Tensor

from ingest.mathematics.prompt_scores import PromptScores
from ingest.measure import measure


@measure(
    "top_accuracy",
    scope="item",
    unit="accuracy",
    bounds=(0.0, 1.0),
    direction="higher is better",
    citation="Paperno et al. 2016, The LAMBADA dataset: word prediction requiring a broad discourse context",
)
def top_accuracy(scores: PromptScores) -> Float[Tensor, " prompt"]:
    """Whether no token is more likely than the right answer, for each prompt: 1, or 1/n where n tokens are, else 0.

    Chance is one over the size of the vocabulary.
    """
    return scores.top
