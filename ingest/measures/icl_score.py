"""B3: how much better a late token is predicted than an early one."""

from collections.abc import Mapping
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from archive.records import WHOLE, Part
from ingest.measure import NotApplicable, measure
from ingest.readings.evaluation import Predictions
from ingest.task import Task

LATE, EARLY = 500, 50


def late_and_early(task: Task) -> dict[str, Any]:
    """Which of the positions read are compared, counted from 1: 500 and 50, in shorter sequences the last and a tenth of it."""
    n = len(task.read_positions)
    late, early = (LATE, EARLY) if n >= LATE else (n, max(1, round(n / 10)))
    return {"late": late, "early": early}


@measure(
    "icl_score",
    scope="part",
    unit="nats",
    bounds=(None, None),
    direction="lower is better",
    citation="Olsson et al. 2022, In-context learning and induction heads (in-context learning score)",
    of_task=late_and_early,
    taken_on="text",
)
def icl_score(predictions: Predictions) -> Mapping[Part, Float[Tensor, " example"]]:
    """Mean loss at a late position minus mean loss at an early one, of each split and of all examples: negative is better.

    Positions are counted from 1 among those read: `late` and `early`, by default 500 and 50, in shorter
    sequences the last and a tenth of it; numbers of different positions do not compare. A loss of
    c − a ln(position) gives −a ln(late/early). It does not tell induction from other use of the context.
    Only for tasks that predict every next token.
    """
    task = predictions.task
    if len(task.read_positions) < max(2, task.n_positions - 1):
        raise NotApplicable(
            f"{task.name} reads {len(task.read_positions)} of {task.n_positions} positions; loss by position in the context "
            "takes a task that predicts every next token"
        )
    at = late_and_early(task)
    losses = predictions.answers.losses
    differences = losses[:, at["late"] - 1] - losses[:, at["early"] - 1]
    splits = {**predictions.splits, WHOLE: torch.ones(len(losses), dtype=torch.bool)}
    return {part: differences[inside] for part, inside in splits.items()}
