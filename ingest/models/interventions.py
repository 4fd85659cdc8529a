"""Running a model from the middle, with what a head or a layer says replaced: what causal measures are made of.

    model = intervening(hooked_model)
    run = model.clean(tokens)                                   # an undisturbed pass, kept
    final = model.resume(run, Change(3, "heads", without_head)) # from layer 3 on, not from the embedding

Nothing is folded or centred, and no weight is changed. Tensors may need gradients where the caller turns them on.
"""

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import torch
from jaxtyping import Float, Int
from torch import Tensor

from ingest.applicable import NotApplicable
from ingest.mathematics.logit_attribution import FinalNorm
from ingest.models.hooked import HookedModel

Place = Literal["heads", "attention", "mlp", "residual"]
Residual = Float[Tensor, "example position d_model"]
ByHead = Float[Tensor, "example position head d_head"]


@dataclass(frozen=True)
class Change:
    """What is different in a run: `make` gets what a place says and returns what it shall say instead.

    place: "heads", the mixtures that go into the layer's output projection [example, position, head, d_head];
    "attention" and "mlp", what the layer adds to the residual stream, biases included; "residual", the stream that
    the layer leaves [example, position, d_model].
    """

    layer: int
    place: Place
    make: Callable[[Tensor], Tensor]


@dataclass(frozen=True, eq=False)
class CleanRun:
    """What an undisturbed pass leaves behind.

    final: what `HookedModel.unembed` reads. residual: the stream before each layer, and after the last one. heads,
    attention, mlp: by layer, as `Change` has them; empty where the model has none. patterns: those that every layer is
    held to in this run and in all that resume it; empty where they are computed anew. calls: how the model calls each
    layer besides the stream.
    """

    tokens: Int[Tensor, "example position"]
    final: Float[Tensor, "example position width"]
    residual: Sequence[Residual]
    heads: Sequence[ByHead]
    attention: Sequence[Residual]
    mlp: Sequence[Residual]
    patterns: Sequence[Float[Tensor, "example head query key"]] = ()
    calls: Sequence[Any] = ()


class Intervening(ABC):
    """A model whose parts can be replaced."""

    def __init__(self, model: HookedModel) -> None:
        """Shares the weights."""
        self.model = model
        self.shape = model.shape

    def clean(self, tokens: Int[Tensor, "example position"], *, frozen: bool = False) -> CleanRun:
        """An undisturbed pass; frozen: with its attention patterns held fixed, which takes a second pass.

        Both give the same numbers up to rounding; only runs that resume a frozen one differ.
        """
        patterns: list[Tensor] = []
        if frozen:
            self.model.trunk(tokens, attention=lambda _, pattern: patterns.append(pattern.clone()))
        return self._clean(tokens, patterns)

    def resume(self, run: CleanRun, *changes: Change) -> Float[Tensor, "example position width"]:
        """What `unembed` reads after the same pass with changes; layers before the first of them are not run again.

        A change of the residual stream can only come alone.
        """
        first = min(change.layer for change in changes)
        if changes[0].place != "residual":
            return self._resume(run, first, run.residual[first], changes)
        [change] = changes
        return self._resume(run, first + 1, change.make(run.residual[first + 1]), ())

    @abstractmethod
    def _clean(
        self,
        tokens: Int[Tensor, "example position"],
        patterns: Sequence[Float[Tensor, "example head query key"]],
    ) -> CleanRun:
        """A pass that keeps everything, held to these patterns where there are any."""

    @abstractmethod
    def _resume(
        self, run: CleanRun, first: int, x: Residual, changes: Sequence[Change]
    ) -> Float[Tensor, "example position width"]:
        """The pass from a layer on, with this stream."""

    @property
    @abstractmethod
    def final_norm(self) -> FinalNorm | None:
        """The norm that the residual stream ends in; None for a model without."""

    def answer_direction(
        self, correct: Int[Tensor, " row"], distractor: Int[Tensor, " row"]
    ) -> Float[Tensor, "row d_model"]:
        """What `CleanRun.final` is multiplied by to give the logit of one token minus that of another, biases left out."""
        columns = self.model.weight("unembed.W_U").T
        return columns[correct] - columns[distractor]

    def answer_bias(
        self, correct: Int[Tensor, " row"], distractor: Int[Tensor, " row"]
    ) -> Float[Tensor, " row"]:
        """What the bias of the unembedding adds to that difference."""
        bias = self.weight("unembed.b_U")
        return torch.zeros(len(correct)) if bias is None else bias[correct] - bias[distractor]

    def weight(self, name: str) -> Float[Tensor, "..."] | None:
        """A weight as `HookedModel.weight` has it; None where the model has none of that name."""
        return self.model.weight(name) if name in self.model.weight_names() else None


def intervening(model: HookedModel) -> Intervening:
    """The model with replaceable parts; raises NotApplicable where nobody knows where its parts are."""
    from ingest.models.hugging_face import HuggingFaceModel
    from ingest.models.hugging_face_interventions import HuggingFaceIntervening
    from ingest.models.own import OwnModel
    from ingest.models.own_interventions import OwnIntervening

    if isinstance(model, OwnModel):
        return OwnIntervening(model)
    if isinstance(model, HuggingFaceModel):
        return HuggingFaceIntervening(model)
    raise NotApplicable(
        f"{type(model).__name__} does not say where its heads and layers write, so nothing in it can be replaced; "
        "interventions take Hugging Face models of the known architectures and the small transformer"
    )
