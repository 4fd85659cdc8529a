"""A model's weights by what they do in its circuits, with LayerNorm folded in and what it writes centred."""

from collections.abc import Mapping
from functools import cached_property

from jaxtyping import Float
from torch import Tensor

from ingest.applicable import NotApplicable
from ingest.mathematics.weight_folding import fold_ln
from ingest.models.hooked import HookedModel, Shape

ATTENTION = ("W_Q", "W_K", "W_V", "W_O")


class CircuitWeights:
    """What weight measures look at, layer by layer: never a second copy of the whole model.

    Processing is `fold_ln_center`: each LayerNorm's scale and shift are in the matrices that read it, and what is
    written to the residual stream (embeddings, W_O, W_out) has no mean over d_model, which every LayerNorm would
    subtract. A model without LayerNorm does read that mean: nothing is folded and nothing centred in it. One whose
    last norm only divides by the root mean square reads it there: it is folded, and nothing written is centred.
    Row vectors times matrices, as `HookedModel.weight` has them; float32.
    """

    def __init__(self, model: HookedModel) -> None:
        """Nothing is computed before it is asked for."""
        self._model = model
        self._names = frozenset(model.weight_names())

    @property
    def shape(self) -> Shape:
        """Sizes of the model."""
        return self._model.shape

    @property
    def has_layer_norm(self) -> bool:
        """Whether anything is folded."""
        return "ln_final.w" in self._names

    @property
    def centres(self) -> bool:
        """Whether every norm subtracts the mean, so that what is written is centred."""
        return "ln_final.b" in self._names

    @property
    def n_directions(self) -> int:
        """Dimensions of the residual stream that what is written can have: one less where the mean is out."""
        return self.shape.d_model - int(self.centres)

    @cached_property
    def attention(self) -> list[Mapping[str, Float[Tensor, "head ..."]]]:
        """W_Q, W_K, W_V [head, d_model, d_head] and W_O [head, d_head, d_model] of every layer.

        Raises NotApplicable for a model without heads, or whose weights are not known by role.
        """
        if not self.shape.n_heads or not self.shape.n_layers:
            raise NotApplicable("the model has no attention heads")
        return [self._attention(layer) for layer in range(self.shape.n_layers)]

    @cached_property
    def embedding(self) -> Float[Tensor, "token d_model"]:
        """W_E."""
        return self._centred(self._weight("embed.W_E"))

    @cached_property
    def unembedding(self) -> Float[Tensor, "d_model token"]:
        """W_U with the final LayerNorm folded in, without its mean over tokens, which no probability depends on."""
        weights = {"unembed.W_U": self._weight("unembed.W_U")}
        if self.has_layer_norm:
            weights |= {n: self._weight(n) for n in ("ln_final.w", "ln_final.b") if n in self._names}
        folded = fold_ln(weights)["unembed.W_U"]
        return folded - folded.mean(-1, keepdim=True)

    def neuron_outputs(self, layer: int) -> Float[Tensor, "unit d_model"]:
        """W_out of a layer; raises NotApplicable for a model without MLPs."""
        if not self.shape.d_mlp:
            raise NotApplicable("the model has no MLP neurons")
        outputs = self._weight(f"blocks.{layer}.mlp.W_out")
        inner = f"blocks.{layer}.mlp.ln"
        if f"{inner}.w" in self._names:  # SoLU
            outputs = fold_ln(
                {
                    f"blocks.{layer}.mlp.W_out": outputs,
                    **{f"{inner}.{part}": self._weight(f"{inner}.{part}") for part in "wb"},
                }
            )[f"blocks.{layer}.mlp.W_out"]
        return self._centred(outputs)

    def _attention(self, layer: int) -> Mapping[str, Float[Tensor, "head ..."]]:
        names = [f"blocks.{layer}.attn.{part}" for part in ATTENTION]
        norm = f"blocks.{layer}.ln1"
        names += [f"{norm}.{part}" for part in "wb"] if f"{norm}.w" in self._names else []
        folded = fold_ln({name: self._weight(name) for name in names})
        found = {part: folded[f"blocks.{layer}.attn.{part}"] for part in ATTENTION}
        return {**found, "W_O": self._centred(found["W_O"])}

    def _centred(self, written: Float[Tensor, "... d_model"]) -> Float[Tensor, "... d_model"]:
        return written - written.mean(-1, keepdim=True) if self.centres else written

    def _weight(self, name: str) -> Float[Tensor, "..."]:
        if name not in self._names:
            raise NotApplicable(f"the model has no weight known as {name}")
        return self._model.weight(name).float()
