"""One checkpoint on its whole evaluation set at once, for measures that no mean over examples can give."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, TypeVar

from jaxtyping import Bool, Float
from torch import Tensor

from archive.records import Part
from ingest.models.loaded import LoadedModel
from ingest.task import Task

T = TypeVar("T")


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
