"""B1: share of right answers on the frozen eval set, per split."""

from jaxtyping import Float, Int
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
    return is_right(batch.logits, batch.targets).mean(-1)


def is_right(
    logits: Float[Tensor, "*batch output"], targets: Int[Tensor, "*batch"]
) -> Float[Tensor, "*batch"]:
    """1.0 where the largest logit is the target's, else 0.0; the first of equals is the largest."""
    return (logits.argmax(-1) == targets).double()
