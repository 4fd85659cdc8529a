"""The documented weight layout of the small transformer: names, shapes, and places in one flat row.

Names are TransformerLens'; matrices are oriented input → output (row vectors: x @ W). Layers from 0.

    embed.W_E              [n_tokens, d_model]
    pos_embed.W_pos        [n_positions, d_model]
    blocks.L.ln1.w  .b     [d_model]                       only with layer_norm, before attention
    blocks.L.attn.W_Q      [d_model, n_heads, d_head]      W_K, W_V alike; TransformerLens: [head, model, d_head]
    blocks.L.attn.W_O      [n_heads, d_head, d_model]
    blocks.L.attn.b_Q      [n_heads, d_head]               only with attention_bias; b_K, b_V alike, b_O [d_model]
    blocks.L.ln2.w  .b     [d_model]                       only with layer_norm, before the MLP
    blocks.L.mlp.W_in      [d_model, d_mlp]                then b_in [d_mlp]
    blocks.L.mlp.ln.w  .b  [d_mlp]                         only with activation solu_ln, after the activation
    blocks.L.mlp.W_out     [d_mlp, d_model]                then b_out [d_model]
    ln_final.w  .b         [d_model]                       only with layer_norm; with final_rms no .b
    unembed.W_U            [d_model, n_outputs]
    unembed.b_U            [n_outputs]                     only with unembed_bias

What the model does with the weights, beyond the usual:

    activation  relu; gelu, the exact one; solu: x · softmax(x) over a layer's neurons (Elhage et al. 2022);
                solu_ln: that, then a LayerNorm with weights of its own, whether or not there are others.
    positions   learned: W_pos is added to the embeddings, once.
                attention: to the (normed) inputs of queries and keys in every layer, and nowhere else, so the
                residual stream and what heads move hold no positions (Press et al. 2021, "Shortformer").
    input       token: a position starts as its own embedding.
                sum: as the sum of the embeddings up to it, so that a model without attention sees more than
                one token.
    norm_weights  False: every LayerNorm, the one after SoLU too, only subtracts the mean and divides by the
                standard deviation (TransformerLens' LNPre): there are no ln*.w and .b.
    final_rms   the last norm divides by the root of the mean square, without subtracting the mean.

Runs trained here have none of the last four (biases, no weights of norms, final_rms); published models do.
Imports no torch.
"""

import math
from dataclasses import asdict, dataclass
from functools import cached_property
from typing import Any, Literal

Activation = Literal["relu", "gelu", "solu", "solu_ln"]
Positions = Literal["learned", "attention"]
Input = Literal["token", "sum"]

_LATER = ("attention_bias", "unembed_bias", "norm_weights", "final_rms")

# Matrix kernels round differently for differently aligned operands, so in a stack every run's matrices must
# start alike. Rows start at multiples of this many numbers, ...
ALIGNMENT = 64
# ... activations of a run are a multiple of 64 bytes if it has a multiple of this many examples, ...
EXAMPLE_MULTIPLE = 16
# ... and gradients of matrices if one side of each is a multiple of this.
WIDTH_MULTIPLE = 16


@dataclass(frozen=True)
class Place:
    """Where a named tensor lies in a run's flat row: [start, stop)."""

    name: str
    shape: tuple[int, ...]
    start: int

    @property
    def stop(self) -> int:
        """One past the last number."""
        return self.start + math.prod(self.shape)


@dataclass(frozen=True)
class Layout:
    """Resolved dimensions of one small transformer. n_heads = 0: no attention; d_mlp = 0: no MLP."""

    n_tokens: int
    n_outputs: int
    n_positions: int
    n_layers: int
    d_model: int
    n_heads: int
    d_head: int
    d_mlp: int
    activation: Activation = "relu"
    layer_norm: bool = False
    positions: Positions = "learned"
    input: Input = "token"
    attention_bias: bool = False
    unembed_bias: bool = False
    norm_weights: bool = True
    final_rms: bool = False

    @property
    def shapes(self) -> dict[str, tuple[int, ...]]:
        """Shape of every tensor, in storage order."""
        d = self.d_model
        shapes: dict[str, tuple[int, ...]] = {
            "embed.W_E": (self.n_tokens, d),
            "pos_embed.W_pos": (self.n_positions, d),
        }

        def norm(name: str, *, width: int = d, present: bool = self.layer_norm) -> None:
            if present and self.norm_weights:
                shapes[f"{name}.w"] = shapes[f"{name}.b"] = (width,)

        for layer in range(self.n_layers):
            block = f"blocks.{layer}"
            if self.n_heads:
                norm(f"{block}.ln1")
                for name in ("W_Q", "W_K", "W_V"):
                    shapes[f"{block}.attn.{name}"] = (d, self.n_heads, self.d_head)
                shapes[f"{block}.attn.W_O"] = (self.n_heads, self.d_head, d)
                if self.attention_bias:
                    for name in ("b_Q", "b_K", "b_V"):
                        shapes[f"{block}.attn.{name}"] = (self.n_heads, self.d_head)
                    shapes[f"{block}.attn.b_O"] = (d,)
            if self.d_mlp:
                norm(f"{block}.ln2")
                shapes[f"{block}.mlp.W_in"] = (d, self.d_mlp)
                shapes[f"{block}.mlp.b_in"] = (self.d_mlp,)
                norm(f"{block}.mlp.ln", width=self.d_mlp, present=self.activation == "solu_ln")
                shapes[f"{block}.mlp.W_out"] = (self.d_mlp, d)
                shapes[f"{block}.mlp.b_out"] = (d,)
        norm("ln_final")
        if self.final_rms:
            shapes.pop("ln_final.b", None)
        shapes["unembed.W_U"] = (d, self.n_outputs)
        if self.unembed_bias:
            shapes["unembed.b_U"] = (self.n_outputs,)
        return shapes

    @cached_property
    def places(self) -> tuple[Place, ...]:
        """Every tensor's place in the flat row, in storage order, without gaps."""
        places: list[Place] = []
        for name, shape in self.shapes.items():
            places.append(Place(name, shape, places[-1].stop if places else 0))
        return tuple(places)

    @property
    def n_params(self) -> int:
        """Parameters of one run."""
        return self.places[-1].stop

    @property
    def row_length(self) -> int:
        """Numbers a run's row takes in the stack: n_params, padded with zeros to the alignment."""
        return -(-self.n_params // ALIGNMENT) * ALIGNMENT

    @property
    def stacks_exactly(self) -> bool:
        """True when products batched over runs give each run the bits it has alone (one x86-64 thread).

        Needs d_model and n_heads · d_head in multiples of 16, no width of 1, and examples padded to
        multiples of 16: then every operand of every run has the same alignment. Found by trying all
        products of the model at 672 shapes, and whole passes with their gradients at 688; other widths
        differ in the last bit.
        """
        widths = (self.d_model, self.n_heads * self.d_head)
        return all(w % WIDTH_MULTIPLE == 0 for w in widths) and 1 not in (self.d_mlp, self.n_outputs)

    def as_dict(self) -> dict[str, Any]:
        """Plain values, for file headers; `Layout(**layout.as_dict())` is equal.

        What came later is left out where it is as it always was: hashes of older weights stay the same.
        """
        later = {name: getattr(type(self), name) for name in _LATER}
        return {name: value for name, value in asdict(self).items() if later.get(name, ...) != value}
