"""One small decoder-only transformer for many runs at once: every tensor has a leading run dimension.

Runs never mix: each product is batched over runs, so run k's numbers are those it would have alone.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Protocol

import torch
from jaxtyping import Float, Int
from torch import Tensor
from torch.nn import functional

from ingest.models.layout import EXAMPLE_MULTIPLE, Activation, Layout
from ingest.streams import stream

LAYER_NORM_EPS = 1e-5

Weights = Mapping[str, Float[Tensor, "run ..."]]
Touch = Callable[[str, int, Tensor], Tensor]


class Taker(Protocol):
    """Takes one layer's tensor after another, as a list does."""

    def append(self, layer: Tensor, /) -> None:
        """Take the next layer's."""


@dataclass
class Trace:
    """Who is given what during a forward pass, layer by layer.

    attention: [run, example, head, query, key]. mlp: [run, example, position, neuron], after the nonlinearity;
    with solu_ln before its LayerNorm, where neurons are sparse. read: what W_out reads, which is the same but
    for solu_ln: there it comes after the LayerNorm. touch: sees what passes a place in a layer and returns what
    goes on from there: "residual" (the layer's input; of layer n_layers what the last one leaves), "values" and
    "heads" (per head: what is mixed, and the mixture), "attention" and "mlp" (what is added to the residual stream).
    """

    attention: Taker
    mlp: Taker
    read: Taker | None = None
    touch: Touch | None = None

    def touched(self, place: str, layer: int, tensor: Tensor) -> Tensor:
        """What goes on from a place."""
        return tensor if self.touch is None else self.touch(place, layer, tensor)


def solu(x: Float[Tensor, "... neuron"]) -> Float[Tensor, "... neuron"]:
    """Return x · softmax(x), the softmax over the neurons of a layer."""
    return x * x.softmax(-1)


ACTIVATIONS: dict[Activation, Callable[[Tensor], Tensor]] = {
    "relu": torch.relu,
    "gelu": functional.gelu,
    "solu": solu,
    "solu_ln": solu,
}


def stack_views(layout: Layout, rows: Float[Tensor, "run row"]) -> dict[str, Float[Tensor, "run ..."]]:
    """The named weights as views of flat rows of length `layout.row_length`, one row a run."""
    return {place.name: rows[:, place.start : place.stop].view(-1, *place.shape) for place in layout.places}


def initial_rows(layout: Layout, init_seeds: Sequence[int], dtype: torch.dtype) -> Float[Tensor, "run row"]:
    """Fresh weights: matrices N(0, 1/d_model) as in the published grokking runs, biases 0, norm scales 1.

    Each tensor of each run has its own stream, so a run's W_E does not depend on its d_mlp or batch mates.
    """
    rows = torch.zeros(len(init_seeds), layout.row_length, dtype=dtype)
    views = stack_views(layout, rows)
    for run, seed in enumerate(init_seeds):
        for place in layout.places:
            kind = place.name.rsplit(".", 1)[-1]
            if kind.startswith("W"):
                draw = stream(seed, f"init.{place.name}").standard_normal(place.shape)
                views[place.name][run] = torch.from_numpy(draw / layout.d_model**0.5).to(dtype)
            elif kind == "w":
                views[place.name][run] = 1.0
    return rows


def forward(
    layout: Layout,
    weights: Weights,
    tokens: Int[Tensor, "run example position"],
    read: Sequence[int],
    trace: Trace | None = None,
    resume: tuple[int, Float[Tensor, "run example position d_model"]] | None = None,
) -> Float[Tensor, "run example read output"]:
    """Logits at the positions `read` (increasing); resume as `trunk` has it."""
    return unembedded(layout, weights, trunk(layout, weights, tokens, read, trace, resume))


def unembedded(
    layout: Layout, weights: Weights, final: Float[Tensor, "run example read d_model"]
) -> Float[Tensor, "run example read output"]:
    """Logits from what `trunk` gives."""
    if layout.unembed_bias:
        return _matmul(final, weights["unembed.W_U"], "unembed.b_U", weights)
    return _matmul(final, weights["unembed.W_U"])


def trunk(
    layout: Layout,
    weights: Weights,
    tokens: Int[Tensor, "run example position"],
    read: Sequence[int],
    trace: Trace | None = None,
    resume: tuple[int, Float[Tensor, "run example position d_model"]] | None = None,
) -> Float[Tensor, "run example read d_model"]:
    """What the unembedding reads at the positions `read`: the residual stream after the last norm.

    resume: begin at this layer, with this residual stream at every position, instead of at the embedding.

    Without a trace the last block works on those positions only, which is most of the cost of a one-layer
    model; with one it works on all, and attention patterns and MLP activations go to the trace.
    """
    everywhere = tuple(range(tokens.shape[2]))
    read = tuple(read)
    source = _Source(layout, weights, tokens)
    x = source.at(everywhere if trace is not None or layout.n_layers > 1 else read)
    first = 0
    if resume is not None:
        first, x = resume
    for layer in range(first, layout.n_layers):
        narrow = trace is None and layer == layout.n_layers - 1
        queries = read if narrow else everywhere
        if trace is not None and trace.touch is not None:
            x = trace.touched("residual", layer, x)
            source = _Source(layout, weights, tokens, x)
        elif layer > 0 or resume is not None:
            source = _Source(layout, weights, tokens, x)
            x = _positions(x, queries)
        if layout.n_heads:
            x = x + _attention(layout, weights, layer, source, queries, trace)
        if layout.d_mlp:
            x = x + _mlp(layout, weights, layer, x, trace)
    if trace is not None:
        x = trace.touched("residual", layout.n_layers, x)
    if x.shape[2] != len(read):
        x = _positions(x, read)
    if layout.layer_norm and layout.final_rms:
        x = functional.rms_norm(x, x.shape[-1:], eps=LAYER_NORM_EPS)
        return x * weights["ln_final.w"][:, None, None] if layout.norm_weights else x
    return _normed(layout, weights, "ln_final", x)


def forward_each(
    layout: Layout, weights: Weights, tokens: Int[Tensor, "run example position"], read: Sequence[int]
) -> Float[Tensor, "run example read output"]:
    """Logits as `forward` gives them, in the same bits for each run whichever others are in the stack.

    One pass for all runs where that is exact (`layout.stacks_exactly`, examples a multiple of 16), else one
    pass per run. On a GPU, which keeps no such promise, always one pass.
    """
    if tokens.is_cuda or (layout.stacks_exactly and tokens.shape[1] % EXAMPLE_MULTIPLE == 0):
        return forward(layout, weights, tokens, read)
    single = {name: torch.split(tensor, 1) for name, tensor in weights.items()}
    passes = [
        forward(layout, {name: parts[run] for name, parts in single.items()}, tokens[run : run + 1], read)
        for run in range(len(tokens))
    ]
    return torch.cat(passes)


class _Source:
    """What a block reads: the residual stream at every position, looked up where that is cheaper.

    Before the first attention it depends only on (token, position), or on the token alone where positions
    are added in attention, and so do queries, keys and values: with fewer tokens in the vocabulary than
    examples, they are computed once for each and then gathered. Not so where a position starts as a sum.
    """

    def __init__(self, layout: Layout, weights: Weights, tokens: Tensor, x: Tensor | None = None) -> None:
        self.layout = layout
        self.weights = weights
        n_runs, n_examples, n_positions = tokens.shape
        self.x = x
        self.looked_up = x is None and layout.input == "token" and layout.n_tokens < n_examples
        if x is None:
            self.table, self.rows = weights["embed.W_E"], tokens
            if layout.positions == "learned":
                table = self.table[:, :, None] + weights["pos_embed.W_pos"][:, None, :n_positions]
                self.table = table.reshape(n_runs, -1, layout.d_model)
                self.rows = tokens * n_positions + torch.arange(n_positions, device=tokens.device)
            first_row = torch.arange(n_runs, device=tokens.device)[:, None, None] * self.table.shape[1]
            self.rows = first_row + self.rows
            if layout.input == "sum":
                self.x = self._gather(self.table, range(n_positions)).cumsum(2)

    def at(self, positions: Sequence[int]) -> Tensor:
        """The residual stream at these positions."""
        return self._gather(self.table, positions) if self.x is None else _positions(self.x, positions)

    def projected(self, norm: str, matrix: Tensor, positions: Sequence[int]) -> Tensor:
        """(Normed) residual stream times a matrix, at these positions."""
        if self.looked_up:
            table = _normed(self.layout, self.weights, norm, self.table[:, :, None])
            return self._gather(_matmul(table, matrix)[:, :, 0], positions)
        return _matmul(_normed(self.layout, self.weights, norm, self.at(positions)), matrix)

    def placed(self, norm: str, matrix: Tensor, positions: Sequence[int]) -> Tensor:
        """The same for queries and keys, which see positions where the residual stream does not."""
        flat = self.projected(norm, matrix, positions)
        if self.layout.positions == "learned":
            return flat
        # the product is linear, so positions are multiplied once instead of once per example
        return flat + _matmul(_positions(self.weights["pos_embed.W_pos"][:, None], positions), matrix)

    def _gather(self, table: Tensor, positions: Sequence[int]) -> Tensor:
        rows = _positions(self.rows, positions)
        # index_select: its backward is 3-5 times faster than that of embedding and gather here
        return table.flatten(0, 1).index_select(0, rows.reshape(-1)).view(*rows.shape, -1)


def _attention(
    layout: Layout,
    weights: Weights,
    layer: int,
    source: _Source,
    queries: Sequence[int],
    trace: Trace | None,
) -> Tensor:
    """Causal attention of one block at the query positions: [run, example, query, d_model]."""
    name = f"blocks.{layer}.attn"
    everywhere = range(queries[-1] + 1)  # no query looks further
    norm = f"blocks.{layer}.ln1"

    def by_head(read: Callable[..., Tensor], matrix: str, positions: Sequence[int]) -> Tensor:
        flat = read(norm, weights[f"{name}.{matrix}"].flatten(2), positions)
        heads = flat.view(*flat.shape[:3], layout.n_heads, layout.d_head)
        if layout.attention_bias:
            heads = heads + weights[f"{name}.{matrix.replace('W', 'b')}"][:, None, None]
        return heads

    k, v = by_head(source.placed, "W_K", everywhere), by_head(source.projected, "W_V", everywhere)
    if trace is not None:
        v = trace.touched("values", layer, v)
    q = by_head(source.placed, "W_Q", queries) / layout.d_head**0.5
    if len(queries) == 1:
        # one query: a sum of products is 2.5 times faster than thousands of 1 × d_head matrix products
        pattern = (q * k).sum(-1).softmax(2)  # [run, example, key, head]
        mixed = (pattern[..., None] * v).sum(2, keepdim=True)
        kept = pattern.transpose(2, 3)[:, :, :, None]
    else:
        scores = q.transpose(2, 3) @ k.permute(0, 1, 3, 4, 2)
        at = _on_device(tuple(queries), scores.device)
        hidden = torch.arange(len(everywhere), device=scores.device) > at[:, None]
        kept = scores.masked_fill(hidden, float("-inf")).softmax(-1)
        mixed = (kept @ v.transpose(2, 3)).transpose(2, 3)
    if trace is not None:
        trace.attention.append(kept)
        mixed = trace.touched("heads", layer, mixed)
    output = weights[f"{name}.W_O"].flatten(1, 2)
    if layout.attention_bias:
        written = _matmul(mixed.flatten(3), output, f"{name}.b_O", weights)
    else:
        written = _matmul(mixed.flatten(3), output)
    return written if trace is None else trace.touched("attention", layer, written)


def _mlp(layout: Layout, weights: Weights, layer: int, x: Tensor, trace: Trace | None) -> Tensor:
    name = f"blocks.{layer}.mlp"
    before = _matmul(
        _normed(layout, weights, f"blocks.{layer}.ln2", x), weights[f"{name}.W_in"], f"{name}.b_in", weights
    )
    neurons = ACTIVATIONS[layout.activation](before)
    if trace is not None:
        trace.mlp.append(neurons)
    if layout.activation == "solu_ln":
        neurons = _layer_norm(weights, f"{name}.ln", neurons)
    if trace is not None and trace.read is not None:
        trace.read.append(neurons)
    written = _matmul(neurons, weights[f"{name}.W_out"], f"{name}.b_out", weights)
    return written if trace is None else trace.touched("mlp", layer, written)


def _normed(layout: Layout, weights: Weights, name: str, x: Tensor) -> Tensor:
    return _layer_norm(weights, name, x) if layout.layer_norm else x


def _layer_norm(weights: Weights, name: str, x: Tensor) -> Tensor:
    scaled = functional.layer_norm(x, x.shape[-1:], eps=LAYER_NORM_EPS)
    if f"{name}.w" not in weights:
        return scaled
    return scaled * weights[f"{name}.w"][:, None, None] + weights[f"{name}.b"][:, None, None]


def _matmul(x: Tensor, matrix: Tensor, bias: str = "", weights: Weights | None = None) -> Tensor:
    """Product of x [run, example, position, in] and matrix [run, in, out], plus a bias [run, out] by name."""
    flat = x.flatten(1, 2)
    if weights is None:
        return torch.bmm(flat, matrix).view(*x.shape[:3], -1)
    return torch.baddbmm(weights[bias][:, None], flat, matrix).view(*x.shape[:3], -1)


def _positions(x: Tensor, positions: Sequence[int]) -> Tensor:
    """Entries of x at these positions of dimension 2; a view where they are consecutive."""
    first, last = positions[0], positions[-1]
    if len(positions) == last - first + 1:
        return x[:, :, first : last + 1]
    return x.index_select(2, _on_device(tuple(positions), x.device))


@lru_cache
def _on_device(positions: tuple[int, ...], device: torch.device) -> Int[Tensor, " position"]:
    # made once: while a graph is recorded nothing may be copied to the GPU
    return torch.tensor(positions, device=device)
