"""One checkpoint on its whole evaluation set at once, for measures that no mean over examples can give."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, TypeVar

import numpy as np
import torch
from jaxtyping import Bool, Float
from torch import Tensor

from archive.records import Part
from ingest.models.loaded import LoadedModel
from ingest.readings.answers import Answers
from ingest.task import Task

T = TypeVar("T")


@dataclass(frozen=True, eq=False)
class Predictions:
    """How a model of any kind answers all examples of an evaluation set, in the order of `task.evaluation()`.

    splits: which examples are in which part. answers: at the positions read.
    """

    task: Task
    splits: Mapping[Part, Bool[Tensor, " example"]]
    answers: Answers


@dataclass(frozen=True, eq=False)
class WholeEvaluation:
    """What all examples of the evaluation set do in the model, in the order of `task.evaluation()`.

    splits: which examples are in which part. logits: at the positions read. neurons: MLP activations there,
    after the nonlinearity; no layers where the model has no MLP or no measure asked for activations.
    """

    model: LoadedModel
    task: Task
    splits: Mapping[Part, Bool[Tensor, " example"]]
    logits: Float[Tensor, "example read output"]
    neurons: Float[Tensor, "example layer read neuron"]
    _made: dict[Callable[..., Any], Any] = field(default_factory=dict, repr=False)

    def once(self, make: "Callable[[WholeEvaluation], T]") -> T:
        """`make(self)`, made on the first call and shared by all measures of the checkpoint."""
        if make not in self._made:
            self._made[make] = make(self)
        made: T = self._made[make]
        return made

    @cached_property
    def predictions(self) -> Predictions:
        """The answers, for measures that need no more than these."""
        targets = torch.from_numpy(self.task.evaluation().targets.astype(np.int64))
        return Predictions(self.task, self.splits, Answers.of(self.logits, targets))
