"""The small transformer of pathscope's own runs as a HookedModel."""

from collections.abc import Iterator

import torch
from jaxtyping import Float, Int
from torch import Tensor

from ingest.models.hooked import AttentionSink, HookedModel, NeuronSink, Shape
from ingest.models.loaded import LoadedModel
from ingest.models.small import Trace, forward


class OwnModel(HookedModel):
    """A loaded model; its weights already have TransformerLens' names, and their heads come first here."""

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
    ) -> Float[Tensor, "example position output"]:
        """One forward pass; it ends in the logits, which are small here, and callbacks run after it."""
        trace = Trace([], []) if attention is not None or neurons is not None else None
        stacked = {name: tensor[None] for name, tensor in self.loaded.weights.items()}
        with torch.no_grad():
            logits = forward(self.loaded.layout, stacked, tokens[None], range(tokens.shape[1]), trace)[0]
        for layer, pattern in enumerate(trace.attention if trace else ()):
            if attention is not None:
                attention(layer, pattern[0])
        for layer, activations in enumerate(trace.mlp if trace else ()):
            if neurons is not None:
                neurons(layer, activations[0])
        return logits

    def unembed(self, final: Float[Tensor, "position output"]) -> Float[Tensor, "position output"]:
        """What `trunk` gives are the logits."""
        return final

    def weight_names(self) -> tuple[str, ...]:
        """Every tensor of the layout."""
        return tuple(self.loaded.layout.shapes)

    def weight(self, name: str) -> Float[Tensor, "..."]:
        """The tensor, with the head axis first in W_Q, W_K and W_V."""
        tensor = self.loaded.weights[name]
        return tensor.movedim(1, 0) if name.endswith((".W_Q", ".W_K", ".W_V")) else tensor

    @property
    def weights_hash(self) -> str:
        """The hash that training and imports have for these weights."""
        return self.loaded.weights_hash

    def parameters(self) -> Iterator[tuple[str, Tensor]]:
        """Every tensor."""
        yield from self.loaded.weights.items()
