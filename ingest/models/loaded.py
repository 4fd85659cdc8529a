"""One run's model at one checkpoint, as measures see it: weights by name and a traced forward pass."""

import hashlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, Protocol, TypeVar

import torch
from jaxtyping import Float, Int
from torch import Tensor

from archive.identity import canonical_json
from ingest.models.layout import Layout
from ingest.models.small import Trace, forward
from ingest.readings.answers import Answers
from ingest.readings.excerpt import Excerpt

T = TypeVar("T")


@dataclass(frozen=True)
class Activations:
    """What a batch of examples does in the model.

    logits: at the positions read; no outputs where only `judged` is left of them. attention: patterns, rows over
    keys sum to 1; no layers where the model has no heads. mlp: after the nonlinearity; no layers where it has
    no MLP. copies: which copy of a repeated block each token belongs to, as `Task.copies` has it; None where
    nothing repeats. classes: what kind of token each is, as `TokenClass`; None where that means nothing.
    excerpt: which sequences of which eval set these are; None where nobody said.
    """

    tokens: Int[Tensor, "example position"]
    targets: Int[Tensor, "example read"]
    logits: Float[Tensor, "example read output"]
    attention: Float[Tensor, "example attention_layer head query key"]
    mlp: Float[Tensor, "example mlp_layer position neuron"]
    copies: Int[Tensor, "example position"] | None = None
    classes: Int[Tensor, "example position"] | None = None
    judged: Answers | None = None
    excerpt: Excerpt | None = None
    _made: dict[Callable[..., Any], Any] = field(default_factory=dict, init=False, repr=False, compare=False)

    def once(self, make: "Callable[[Activations], T]") -> T:
        """`make(self)`, made on the first call and shared by all measures that look at these activations."""
        if make not in self._made:
            self._made[make] = make(self)
        made: T = self._made[make]
        return made

    @cached_property
    def answers(self) -> Answers:
        """The answers at the positions read, judged."""
        return self.judged if self.judged is not None else Answers.of(self.logits, self.targets)


class NamedWeights(Protocol):
    """A model of any kind, for measures that ask only for its numbers."""

    @property
    def run(self) -> str:
        """Name of the run."""

    @property
    def step(self) -> int:
        """Optimiser updates."""

    @property
    def weights(self) -> Mapping[str, Float[Tensor, "..."]]:
        """Every trained tensor by its name."""


@dataclass(frozen=True)
class LoadedModel:
    """One run's weights at one step. `weights` follow `ingest.models.layout`, without a run dimension."""

    run: str
    step: int
    layout: Layout
    weights: Mapping[str, Float[Tensor, "..."]]

    @property
    def weights_hash(self) -> str:
        """SHA-256 of the layout and the bytes of all weights in storage order."""
        digest = hashlib.sha256(canonical_json(self.layout.as_dict()).encode())
        for place in self.layout.places:
            digest.update(self.weights[place.name].cpu().contiguous().numpy().tobytes())
        return digest.hexdigest()

    def logits(self, tokens: Int[Tensor, "example position"]) -> Float[Tensor, "example position output"]:
        """Logits at all positions."""
        with torch.no_grad():
            return forward(self.layout, self._stacked, tokens[None], range(tokens.shape[1]))[0]

    def activations(
        self,
        tokens: Int[Tensor, "example position"],
        targets: Int[Tensor, "example read"],
        read: Sequence[int],
        *,
        traced: bool = True,
    ) -> Activations:
        """One forward pass; `traced=False` computes logits only and leaves the rest without layers."""
        patterns: list[Tensor] = []
        layers: list[Tensor] = []
        trace = Trace(patterns, layers) if traced else None
        n, length = tokens.shape
        with torch.no_grad():
            logits = forward(self.layout, self._stacked, tokens[None], read, trace)[0]
        attention = [pattern[0] for pattern in patterns]
        neurons = [layer[0] for layer in layers]
        return Activations(
            tokens=tokens,
            targets=targets,
            logits=logits,
            attention=torch.stack(attention, 1) if attention else logits.new_zeros(n, 0, 0, length, length),
            mlp=torch.stack(neurons, 1) if neurons else logits.new_zeros(n, 0, length, 0),
        )

    @property
    def _stacked(self) -> dict[str, Tensor]:
        return {name: tensor[None] for name, tensor in self.weights.items()}
