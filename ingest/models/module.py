"""Any torch module through an adapter of ten lines, for family `module`.

class Mine(ModuleAdapter):
    shape = Shape(n_layers=2, n_heads=4, d_head=8, d_model=32, d_mlp=128, d_vocab=50, context=64)
    attention = "blocks.{layer}.attn.pattern"   # a module whose output is the pattern, or has it second
    neurons = "blocks.{layer}.mlp.act"          # a module whose output is the activations

    def build(self):
        return MyTransformer(layers=2, width=32)
"""

import pickle
from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping
from contextlib import ExitStack
from pathlib import Path
from typing import Any, ClassVar

import torch
from jaxtyping import Float, Int
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor, nn

from ingest.models.hooked import (
    AttentionSink,
    HookedModel,
    NeuronSink,
    Shape,
    WeightsRefused,
    hooked,
    refuse_not_finite,
)


class ModuleAdapter(ABC):
    """Says of your module what nobody can guess. Override what differs; only `shape` and `build` must be given.

    attention, neurons: paths of modules with {layer}; empty where there are none, then measures of them do not
    apply. weights: TransformerLens name → name in the module's state dict, for measures of weights; the tensor
    must have the orientation that `HookedModel.weight` gives.
    """

    shape: ClassVar[Shape]
    attention: ClassVar[str] = ""
    neurons: ClassVar[str] = ""
    weights: ClassVar[Mapping[str, str]] = {}

    @abstractmethod
    def build(self) -> nn.Module:
        """A fresh module; its weights are replaced by those of a checkpoint."""

    def state(self, stored: Any) -> Mapping[str, Tensor]:
        """The state dict in what a checkpoint file holds; by default the file is one, or has it under `model`."""
        found: Mapping[str, Tensor] = stored.get("model", stored)
        return found

    def trunk(self, module: nn.Module, tokens: Int[Tensor, "example position"]) -> Tensor:
        """The forward pass without the unembedding; by default the whole one, so `final` are the logits."""
        final: Tensor = module(tokens)
        return final

    def unembed(self, module: nn.Module, final: Float[Tensor, "position width"]) -> Tensor:
        """Logits of one sequence from what `trunk` gives."""
        return final


class ModuleModel(HookedModel):
    """A user's module with the weights of one checkpoint."""

    def __init__(self, adapter: ModuleAdapter, module: nn.Module, *, run: str, step: int) -> None:
        """Takes a module in evaluation mode."""
        super().__init__(run, step, adapter.shape)
        self.adapter = adapter
        self.module = module

    def trunk(
        self,
        tokens: Int[Tensor, "example position"],
        *,
        attention: AttentionSink | None = None,
        neurons: NeuronSink | None = None,
    ) -> Float[Tensor, "example position width"]:
        """The adapter's trunk, with hooks where it says."""
        with torch.no_grad(), ExitStack() as hooks:
            for path, sink in ((self.adapter.attention, attention), (self.adapter.neurons, neurons)):
                for layer in range(self.shape.n_layers if path and sink is not None else 0):
                    assert sink is not None
                    hooks.enter_context(
                        hooked(self.module.get_submodule(path.format(layer=layer)), _look(layer, sink))
                    )
            return self.adapter.trunk(self.module, tokens)

    def unembed(self, final: Float[Tensor, "position width"]) -> Float[Tensor, "position output"]:
        """The adapter's."""
        with torch.no_grad():
            return self.adapter.unembed(self.module, final)

    def weight_names(self) -> tuple[str, ...]:
        """What the adapter names."""
        return tuple(self.adapter.weights)

    def weight(self, name: str) -> Float[Tensor, "..."]:
        """The tensor that the adapter names."""
        tensor: Tensor = self.module.state_dict()[self.adapter.weights[name]]
        return tensor

    def parameters(self) -> Iterator[tuple[str, Tensor]]:
        """The module's."""
        yield from self.module.named_parameters()


def _look(layer: int, sink: AttentionSink | NeuronSink) -> Any:
    def look(_module: nn.Module, _inputs: Any, output: Any) -> None:
        sink(layer, output[1] if isinstance(output, tuple) else output)

    return look


def load_module(
    adapter: ModuleAdapter, path: Path, *, run: str, step: int, device: str = "cpu"
) -> ModuleModel:
    """The module with the weights in a .safetensors, .pt, .pth or .bin file, in float32.

    Raises WeightsRefused for a file that is damaged or could only be read by running code in it, and for
    weights that do not fit the module.
    """
    module = adapter.build()
    try:
        if path.suffix == ".safetensors":
            stored: Any = load_file(path)
        else:
            stored = torch.load(path, map_location="cpu", weights_only=True)
        module.load_state_dict(dict(adapter.state(stored)))
    except SafetensorError as error:
        raise WeightsRefused(f"{path}: damaged safetensors file ({error})") from None
    except pickle.UnpicklingError as error:
        raise WeightsRefused(
            f"{path}: refused by safe loading ({str(error).split(chr(10))[0][:200]}); save the state dict only"
        ) from None
    except Exception as error:  # torch raises many kinds for a cut-off file or for tensors that do not fit
        line = " ".join(str(error).split())[:300]
        raise WeightsRefused(f"{path}: {type(error).__name__}: {line}") from error
    module.float().eval().requires_grad_(False)
    refuse_not_finite(module.named_parameters(), str(path))
    return ModuleModel(adapter, module.to(device), run=run, step=step)
