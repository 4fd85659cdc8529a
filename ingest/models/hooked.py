"""A language model as measures see it: one forward pass that hands out what happens inside, layer by layer.

    final = model.trunk(tokens, attention=see_pattern, neurons=see_neurons)  # callbacks run during the pass
    parts = model.unembed_in_parts(final[0])                                 # logits, some outputs at a time
    model.weight("blocks.0.attn.W_Q")                                        # [head, d_model, d_head]

A callback gets each layer once, in order; its tensor is freed as soon as nobody keeps it, so reduce it there.
`trunk` leaves out the unembedding, which is more than half of the work of a small model. Everything is
float32, without gradients, on `model.device`.
"""

import hashlib
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from archive.errors import PathscopeError

# Logits made at once where nobody asks for all: with 512 positions, 8 MB of them, where the whole is 100 MB. In a loop of
# their own parts took 15 % less time on a CPU; within a whole scan no difference was seen.
OUTPUTS_TOGETHER = 4096

AttentionSink = Callable[[int, Float[Tensor, "example head query key"]], None]
NeuronSink = Callable[[int, Float[Tensor, "example position neuron"]], None]


class WeightsRefused(PathscopeError):
    """Files that cannot be trusted to be the model: damaged, unsafe, incomplete, or of an unknown kind."""


@dataclass(frozen=True)
class Shape:
    """Sizes of a model. n_heads or d_mlp 0: it has none of these, or none that are known."""

    n_layers: int
    n_heads: int
    d_head: int
    d_model: int
    d_mlp: int
    d_vocab: int
    context: int


class HookedModel(ABC):
    """One checkpoint, loaded."""

    def __init__(self, run: str, step: int, shape: Shape) -> None:
        """`run` and `step` say which checkpoint it is."""
        self.run = run
        self.step = step
        self.shape = shape

    @abstractmethod
    def trunk(
        self,
        tokens: Int[Tensor, "example position"],
        *,
        attention: AttentionSink | None = None,
        neurons: NeuronSink | None = None,
    ) -> Float[Tensor, "example position width"]:
        """One forward pass up to the unembedding; what it returns is what `unembed` reads.

        attention: gets each layer's pattern; rows over keys sum to 1, keys after the query are 0. neurons:
        gets each layer's MLP activations after the nonlinearity, as W_out reads them.
        """

    @property
    def has_mid(self) -> bool:
        """Whether a norm stands between the nonlinearity and W_out, so that activations have two sites."""
        return False

    def watch_mid(self, sink: NeuronSink | None) -> None:  # noqa: B027 # most models have no such place
        """Have `sink` called, in every pass from the next one on, with what that norm reads; None ends it."""

    @abstractmethod
    def unembed(self, final: Float[Tensor, "position width"]) -> Float[Tensor, "position output"]:
        """Logits of one sequence, or of some of its positions."""

    def unembed_in_parts(
        self, final: Float[Tensor, "position width"]
    ) -> Iterator[Float[Tensor, "position part"]]:
        """The columns of `unembed`, bit for bit, `OUTPUTS_TOGETHER` at a time where a model can make them so."""
        yield from torch.split(self.unembed(final), OUTPUTS_TOGETHER, dim=1)

    @abstractmethod
    def weight_names(self) -> tuple[str, ...]:
        """The names that `weight` knows for this model, in the order of the computation."""

    @abstractmethod
    def weight(self, name: str) -> Float[Tensor, "..."]:
        """A weight by its TransformerLens name and in its orientation: row vectors times matrices.

        embed.W_E [d_vocab, d_model], pos_embed.W_pos [context, d_model], unembed.W_U [d_model, d_vocab];
        blocks.L.attn.W_Q, W_K, W_V [head, d_model, d_head], W_O [head, d_head, d_model], b_Q, b_K, b_V
        [head, d_head], b_O [d_model]; blocks.L.mlp.W_in [d_model, d_mlp], W_out [d_mlp, d_model], b_in, b_out;
        blocks.L.ln1.w, ln1.b, ln2.w, ln2.b, ln_final.w, ln_final.b [d_model]. As stored: nothing is folded or
        centred. KeyError for a name that is not in `weight_names`.
        """

    @abstractmethod
    def parameters(self) -> Iterator[tuple[str, Tensor]]:
        """Every trained tensor once (tied ones too) under its own name in the model."""

    @property
    def device(self) -> torch.device:
        """Where the weights are."""
        return next(tensor for _, tensor in self.parameters()).device

    def logits(self, tokens: Int[Tensor, "example position"]) -> Float[Tensor, "example position output"]:
        """All logits of a small batch."""
        final = self.trunk(tokens)
        return torch.stack([self.unembed(sequence) for sequence in final])

    @property
    def weights_hash(self) -> str:
        """SHA-256 over the trained numbers: the same for the same weights in another file format or precision.

        Over the sorted SHA-256s of all tensors, each of its shape and its values as little-endian float32 with
        -0 written as 0 (two uploads of one checkpoint were found to differ in nothing else). Without names,
        which libraries change.
        """
        return weights_hash(tensor for _, tensor in self.parameters())


def weights_hash(tensors: Iterator[Tensor]) -> str:
    """The hash of a set of tensors, as `HookedModel.weights_hash` describes it."""
    digests = []
    for tensor in tensors:
        digest = hashlib.sha256(str(tuple(tensor.shape)).encode())
        digest.update(
            (tensor.detach().cpu().float() + 0.0).contiguous().numpy().astype("<f4", copy=False).data
        )
        digests.append(digest.digest())
    return hashlib.sha256(b"".join(sorted(digests))).hexdigest()


def refuse_not_finite(parameters: Iterator[tuple[str, Tensor]], what: str) -> None:
    """Raise WeightsRefused for a tensor with NaN or an infinity, naming it and how many values."""
    for name, tensor in parameters:
        # a sum is finite unless a value is not, or it overflows: only then is every value looked at
        if not torch.isfinite(tensor.sum()) and (bad := int((~torch.isfinite(tensor)).sum())):
            raise WeightsRefused(
                f"{what}: {name} has {bad} of {tensor.numel()} values that are NaN or infinite; fetch it again, "
                "and if it stays so, exclude the checkpoint"
            )


@contextmanager
def hooked(module: nn.Module, look: Callable[[nn.Module, Any, Any], None]) -> Iterator[None]:
    """Call `look(module, inputs, output)` in every forward pass of a module inside the block."""
    handle = module.register_forward_hook(look)
    try:
        yield
    finally:
        handle.remove()
