"""B1: share of right answers on the frozen eval set, per split."""

from jaxtyping import Float
from torch import Tensor

from ingest.measure import measure
from ingest.models.loaded import Activations


@measure(
    "accuracy",
    scope="split",
    unit="share",
    bounds=(0.0, 1.0),
    direction="higher is better",
    citation="Nanda et al. 2023, Progress measures for grokking via mechanistic interpretability",
    chance=lambda task: 1 / task.n_outputs,
)
def accuracy(batch: Activations) -> Float[Tensor, " example"]:
    """Share of answers whose largest logit is the right one, over the positions the task reads.

    Chance is 1 / n_outputs. Of equal largest logits the one with the lowest index counts.
    """
    return batch.answers.right.mean(-1)
