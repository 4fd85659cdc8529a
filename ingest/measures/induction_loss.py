"""B4: loss on the first and on later copies of a repeated block."""

from collections.abc import Mapping

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from archive.records import Part
from ingest.mathematics.attention_masks import NOTHING_REPEATS
from ingest.measure import NotApplicable, measure
from ingest.readings.evaluation import Predictions

FIRST, LATER = Part(kind="copy", name="first"), Part(kind="copy", name="later")
GAIN = Part(kind="copy", name="gain")


@measure(
    "induction_loss",
    scope="part",
    unit="nats",
    bounds=(None, None),
    direction="neither",
    citation="TransformerLens, evals.induction_loss; Olsson et al. 2022, In-context learning and induction heads",
    taken_on="repeats",
)
def induction_loss(predictions: Predictions) -> Mapping[Part, Float[Tensor, " example"]]:
    """Mean loss on the tokens of the first copy of a repeated block (`first`) and of later ones (`later`), and the `gain`.

    gain = first − later. The first token of each copy is left out, because what stands before it does not tell
    it even to a perfect copier, who scores later = 0; knowing nothing costs ln(n_outputs). TransformerLens
    counts that token, so its numbers are larger. Only for tasks with repeated blocks that read every token
    but the last.
    """
    task = predictions.task
    copies = task.copies()
    if copies is None:
        raise NotApplicable(NOTHING_REPEATS)
    if task.read_positions != tuple(range(task.n_positions - 1)):
        raise NotApplicable(f"{task.name} does not read every position but the last")
    inside = copied(torch.from_numpy(copies).long())
    losses = predictions.answers.losses
    first = _mean_where(losses, inside == 1)
    later = _mean_where(losses, inside > 1)
    return {FIRST: first, LATER: later, GAIN: first - later}


def copied(copies: Int[Tensor, "example position"]) -> Int[Tensor, "example read"]:
    """For the prediction made at each position but the last: the copy both it and the next token are in, else 0."""
    return torch.where(copies[:, :-1] == copies[:, 1:], copies[:, 1:], 0)


def _mean_where(
    losses: Float[Tensor, "example read"], chosen: Bool[Tensor, "example read"]
) -> Float[Tensor, " example"]:
    counts = chosen.sum(1)
    if (counts == 0).any():
        row = int((counts == 0).nonzero()[0])
        raise ValueError(f"example {row} has no token in a copy that follows one of the same copy")
    return torch.where(chosen, losses, 0.0).sum(1) / counts
