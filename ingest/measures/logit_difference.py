"""B20: how well a model does a task, prompt by prompt."""

from jaxtyping import Float
from torch import Tensor

from ingest.mathematics.prompt_scores import PromptScores
from ingest.measure import measure

_CITATION = "Wang et al. 2023, Interpretability in the wild: a circuit for indirect object identification"


@measure(
    "logit_difference",
    scope="item",
    unit="logits",
    bounds=(None, None),
    direction="higher is better",
    citation=_CITATION,
)
def logit_difference(scores: PromptScores) -> Float[Tensor, " prompt"]:
    """Logit of the right answer minus that of the wrong one, for each prompt.

    It is also their difference in log-probability.
    """
    return scores.logit_difference
