"""Interventions in Hugging Face models: layers are called again as the model calls them, with hooks that replace.

Hooks sit where every implementation of attention passes: at the projection that heads write through, and at the one
that makes what they mix.
"""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, nullcontext
from typing import Any

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn
from torch.utils.hooks import RemovableHandle

from ingest.applicable import NotApplicable
from ingest.mathematics.logit_attribution import FinalNorm
from ingest.models.attention import own_attention
from ingest.models.hugging_face import HuggingFaceModel
from ingest.models.interventions import ByHead, Change, CleanRun, Intervening, Residual

# a hook that gets what passes and returns what goes on
Passing = Callable[[Tensor], Tensor]


class HuggingFaceIntervening(Intervening):
    """A causal language model of one of the known architectures."""

    model: HuggingFaceModel

    def __init__(self, model: HuggingFaceModel) -> None:
        """Raises NotApplicable where the residual stream does not end in a LayerNorm and the unembedding."""
        super().__init__(model)
        modules, places = model.module, model.architecture.modules
        self._layers = [
            modules.get_submodule(model.architecture.attention.format(layer=layer).rpartition(".")[0])
            for layer in range(self.shape.n_layers)
        ]
        self._places = {
            name: [modules.get_submodule(path.format(layer=layer)) for layer in range(self.shape.n_layers)]
            for name, path in places.items()
            if "{layer}" in path
        }
        parent, _, name = places["ln_final"].rpartition(".")
        last = getattr(modules.get_submodule(parent), name, None)
        if not isinstance(last, nn.LayerNorm) or not getattr(modules.config, "do_layer_norm_before", True):
            raise NotApplicable(
                "its residual stream is normed after each layer, not before; nothing in it can be replaced"
            )
        self._last = last

    # --- runs ------------------------------------------------------------------------------------------

    def _clean(
        self,
        tokens: Int[Tensor, "example position"],
        patterns: Sequence[Float[Tensor, "example head query key"]],
    ) -> CleanRun:
        residual: list[Tensor] = []
        heads: list[Tensor] = []
        attention: list[Tensor] = []
        mlp: list[Tensor] = []
        calls: list[tuple[Any, Any]] = []

        def entered(_module: nn.Module, given: tuple[Any, ...], named: dict[str, Any]) -> None:
            residual.append(given[0])
            calls.append((given[1:], named))

        def left(_module: nn.Module, given: tuple[Any, ...]) -> None:
            residual.append(given[0])

        with self._frozen(patterns), _removed() as handles:
            for layer, module in enumerate(self._layers):
                handles.append(module.register_forward_pre_hook(entered, with_kwargs=True))
                handles += self._hooks(layer, "heads", _kept(heads))
                handles += self._hooks(layer, "attention", _kept(attention))
                handles += self._hooks(layer, "mlp", _kept(mlp), tuple(tokens.shape))
            handles.append(self._last.register_forward_pre_hook(left))
            final = self.model.trunk(tokens)
        return CleanRun(
            tokens=tokens,
            final=final,
            residual=residual,
            heads=heads,
            attention=attention,
            mlp=mlp,
            patterns=patterns,
            calls=calls,
        )

    def _resume(
        self, run: CleanRun, first: int, x: Residual, changes: Sequence[Change]
    ) -> Float[Tensor, "example position d_model"]:
        # the one that the trunk has, so that what is not changed has the same bits; it gives no gradients
        attention = nullcontext() if torch.is_grad_enabled() else own_attention(self.model.module)
        with attention, self._frozen(run.patterns, first), _removed() as handles:
            for change in changes:
                handles += self._hooks(change.layer, change.place, change.make, tuple(run.tokens.shape))
            for layer in range(first, len(self._layers)):
                given, named = run.calls[layer]
                left = self._layers[layer](x, *given, **named)
                x = left[0] if isinstance(left, tuple) else left
            final: Tensor = self._last(x)
        return final

    # --- hooks -----------------------------------------------------------------------------------------

    def _hooks(
        self, layer: int, place: str, passing: Passing, batch: tuple[int, ...] = ()
    ) -> list[RemovableHandle]:
        """Let what a place says pass through a function."""
        if place == "heads":

            def before(_module: nn.Module, given: tuple[Any, ...]) -> tuple[Any, ...]:
                mixed = given[0]
                changed = passing(mixed.view(*mixed.shape[:-1], self.shape.n_heads, self.shape.d_head))
                return (changed.flatten(-2), *given[1:])

            return [self._places["attn.o"][layer].register_forward_pre_hook(before)]

        def after(_module: nn.Module, _given: Any, output: Tensor) -> Tensor:
            # OPT's MLP computes all sequences in one row
            return passing(output.view(*batch, -1) if batch else output).view(output.shape)

        module = self._places["attn.o" if place == "attention" else "mlp.out"][layer]
        return [module.register_forward_hook(after)]

    @contextmanager
    def _frozen(
        self, patterns: Sequence[Float[Tensor, "example head query key"]], first: int = 0
    ) -> Iterator[None]:
        """Hold the layers from one on to these patterns; nothing where there are none."""
        values: dict[int, ByHead] = {}
        kind = self.model.architecture.qkv

        def kept(layer: int) -> Callable[[nn.Module, Any, Tensor], None]:
            def keep(_module: nn.Module, _given: Any, output: Tensor) -> None:
                values[layer] = self._values(output)

            return keep

        def mixed(layer: int) -> Passing:
            return lambda _: torch.einsum("ehqk,ekhd->eqhd", patterns[layer], values.pop(layer))

        with _removed() as handles:
            for layer in range(first, len(patterns)):
                source = self._places["attn.v" if kind == "separate" else "attn.qkv"][layer]
                handles.append(source.register_forward_hook(kept(layer)))
                handles += self._hooks(layer, "heads", mixed(layer))
            yield

    def _values(self, output: Tensor) -> ByHead:
        """What heads mix, in the output of the matrix that makes it."""
        rows, heads, d_head = output.shape[:-1], self.shape.n_heads, self.shape.d_head
        if self.model.architecture.qkv == "by head":
            return output.view(*rows, heads, 3, d_head)[..., 2, :]
        return output[..., -heads * d_head :].reshape(*rows, heads, d_head)

    @property
    def final_norm(self) -> FinalNorm:
        """Every known architecture has one."""
        return FinalNorm(self._last.weight, self._last.bias, self._last.eps)


def _kept(found: list[Tensor]) -> Passing:
    def keep(tensor: Tensor) -> Tensor:
        found.append(tensor)
        return tensor

    return keep


@contextmanager
def _removed() -> Iterator[list[RemovableHandle]]:
    """Hooks that are gone at the end of the block."""
    handles: list[RemovableHandle] = []
    try:
        yield handles
    finally:
        for handle in handles:
            handle.remove()
