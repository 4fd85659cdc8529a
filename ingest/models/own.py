"""The small transformer of pathscope's own runs as a HookedModel."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from functools import cached_property

import torch
from jaxtyping import Float, Int
from torch import Tensor

from ingest.models.hooked import AttentionSink, HookedModel, NeuronSink, Shape
from ingest.models.loaded import LoadedModel
from ingest.models.small import Trace, trunk, unembedded


class OwnModel(HookedModel):
    """A loaded model; its weights already have TransformerLens' names, and their heads come first here."""

    _see_mid: NeuronSink | None = None

    def __init__(self, loaded: LoadedModel) -> None:
        """Shares the weights."""
        layout = loaded.layout
        shape = Shape(
            n_layers=layout.n_layers,
            n_heads=layout.n_heads,
            d_head=layout.d_head,
            d_model=layout.d_model,
            d_mlp=layout.d_mlp,
            d_vocab=layout.n_tokens,
            context=layout.n_positions,
        )
        super().__init__(loaded.run, loaded.step, shape)
        self.loaded = loaded

    def trunk(
        self,
        tokens: Int[Tensor, "example position"],
        *,
        attention: AttentionSink | None = None,
        neurons: NeuronSink | None = None,
    ) -> Float[Tensor, "example position d_model"]:
        """One forward pass up to the last norm; callbacks run during it."""
        mid = self._see_mid if self.has_mid else None
        trace = None
        if attention is not None or neurons is not None or mid is not None:
            trace = Trace(_Given(attention), _Given(mid), _Given(neurons))
        with torch.no_grad():
            return trunk(self.loaded.layout, self._stacked, tokens[None], range(tokens.shape[1]), trace)[0]

    def unembed(self, final: Float[Tensor, "position d_model"]) -> Float[Tensor, "position output"]:
        """The unembedding of what `trunk` gives."""
        with torch.no_grad():
            return unembedded(self.loaded.layout, self._stacked, final[None, None])[0, 0]

    @property
    def has_mid(self) -> bool:
        """True with SoLU and a norm after it."""
        return self.loaded.layout.activation == "solu_ln" and self.loaded.layout.d_mlp > 0

    def watch_mid(self, sink: NeuronSink | None) -> None:
        """Have `sink` called with each layer's activations before the norm after SoLU, from the next pass on."""
        self._see_mid = sink

    @property
    def _stacked(self) -> dict[str, Tensor]:
        return {name: tensor[None] for name, tensor in self.loaded.weights.items()}

    def weight_names(self) -> tuple[str, ...]:
        """Every tensor of the layout, and the scales and shifts that norms without weights are equal to."""
        return (*self.loaded.layout.shapes, *self._implied)

    def weight(self, name: str) -> Float[Tensor, "..."]:
        """The tensor, with the head axis first in W_Q, W_K and W_V; 1 and 0 for a norm without weights."""
        if name in self._implied:
            like = self.loaded.weights["embed.W_E"]
            return like.new_full(self._implied[name], float(name.endswith(".w")))
        tensor = self.loaded.weights[name]
        return tensor.movedim(1, 0) if name.endswith((".W_Q", ".W_K", ".W_V")) else tensor

    @property
    def weights_hash(self) -> str:
        """The hash that training and imports have for these weights."""
        return self.loaded.weights_hash

    @cached_property
    def _implied(self) -> dict[str, tuple[int, ...]]:
        layout = self.loaded.layout
        return {
            name: shape
            for name, shape in replace(layout, norm_weights=True).shapes.items()
            if name not in layout.shapes
        }

    def parameters(self) -> Iterator[tuple[str, Tensor]]:
        """Every tensor."""
        yield from self.loaded.weights.items()


@dataclass
class _Given:
    """Gives each layer's tensor of the one run to a callback, and keeps nothing."""

    sink: Callable[[int, Tensor], None] | None
    layer: int = 0

    def append(self, stacked: Tensor, /) -> None:
        """The next layer's."""
        if self.sink is not None:
            self.sink(self.layer, stacked[0])
        self.layer += 1
