"""B20: how often a model prefers the right answer to the wrong one, prompt by prompt."""

from jaxtyping import Float
from torch import Tensor

from ingest.mathematics.prompt_scores import PromptScores
from ingest.measure import measure


@measure(
    "task_accuracy",
    scope="item",
    unit="accuracy",
    bounds=(0.0, 1.0),
    direction="higher is better",
    citation="Wang et al. 2023, Interpretability in the wild: a circuit for indirect object identification",
    chance=lambda task: 0.5,
)
def task_accuracy(scores: PromptScores) -> Float[Tensor, " prompt"]:
    """Whether the right answer is more likely than the wrong one, for each prompt: 1, or 1/2 where they are equal, else 0.

    Chance is 1/2. Another token may be more likely than both: `top_accuracy` asks for that.
    """
    return scores.preferred
