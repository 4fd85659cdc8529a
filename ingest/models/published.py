"""The layout of the published grokking runs' `.pth` files, turned into ours and back.

    theirs                          shape                        ours (layout.py)
    embed.W_E                       [d_model, n_tokens]          transposed
    pos_embed.W_pos                 [n_positions, d_model]       as it is
    blocks.L.attn.W_Q  W_K  W_V     [n_heads, d_head, d_model]   axes (2, 0, 1)
    blocks.L.attn.W_O               [d_model, n_heads · d_head]  transposed, then split by head in order
    blocks.L.mlp.W_in               [d_mlp, d_model]             transposed
    blocks.L.mlp.W_out              [d_model, d_mlp]             transposed
    blocks.L.mlp.b_in  b_out        [d_mlp], [d_model]           as they are
    unembed.W_U                     [d_model, n_outputs]         as it is
    blocks.L.attn.mask              [n_positions, n_positions]   none: lower triangular, ours is causal

Attention-only models call their blocks `attn_blocks`. The computation is the same: scores divided by
sqrt(d_head), no LayerNorm, learned positions added once.
"""

import re
from collections.abc import Mapping
from typing import Literal

import torch
from jaxtyping import Float
from torch import Tensor

from archive.errors import PathscopeError
from ingest.models.layout import Layout

_BLOCK = re.compile(r"(?:attn_)?blocks\.(\d+)\.")


class UnknownLayout(PathscopeError):
    """Weights that are not in the layout they should be in, or do not fit the other; the text says what is odd."""


def from_published(
    published: Mapping[str, Tensor], activation: Literal["relu", "gelu"]
) -> tuple[Layout, dict[str, Float[Tensor, "..."]]]:
    """Layout and weights of a published model, in its own dtype.

    Raises UnknownLayout for a tensor that is missing, has no place in our layout, or does not fit the
    others, and for attention that is not causal.
    """
    named = {_BLOCK.sub(r"blocks.\1.", name): tensor for name, tensor in published.items()}
    for name in [name for name in named if name.endswith(".attn.mask")]:
        mask = named.pop(name)
        if not torch.equal(mask, torch.ones_like(mask).tril()):
            raise UnknownLayout(f"{name} is not lower triangular: attention that is not causal")
    try:
        layout = _layout(named, activation)
        weights = {name: _turned(name, named.pop(name), shape) for name, shape in layout.shapes.items()}
    except KeyError as error:
        raise UnknownLayout(f"no tensor {error.args[0]}") from None
    if named:
        raise UnknownLayout(f"tensor {min(named)} has no place in the layout of the small transformer")
    kinds = {tensor.dtype for tensor in weights.values()}
    if len(kinds) > 1 or not next(iter(kinds)).is_floating_point:
        raise UnknownLayout(f"tensors of types {sorted(map(str, kinds))}; expected one floating-point type")
    return layout, weights


def to_published(layout: Layout, weights: Mapping[str, Float[Tensor, "..."]]) -> dict[str, Tensor]:
    """A model in the published layout, with its masks: `from_published` gives it back.

    Raises UnknownLayout for what that layout has no place for. The activation is not in the tensors, so it
    has to be written down beside them (`act_type` in the published files: ReLU or GeLU).
    """
    for odd, said in (
        (layout.layer_norm, "layer_norm"),
        (layout.activation not in ("relu", "gelu"), f"activation {layout.activation!r}"),
        (layout.positions != "learned", f"positions {layout.positions!r}"),
        (layout.input != "token", f"input {layout.input!r}"),
        (layout.attention_bias, "attention_bias"),
        (layout.unembed_bias, "unembed_bias"),
    ):
        if odd:
            raise UnknownLayout(f"the published layout has no place for {said}")
    published: dict[str, Tensor] = {}
    for name in layout.shapes:
        theirs = name if layout.d_mlp else name.replace("blocks.", "attn_blocks.", 1)
        published[theirs] = _turned_back(name, weights[name])
        if name.endswith(".attn.W_O"):
            square = (layout.n_positions, layout.n_positions)
            published[theirs.replace("W_O", "mask")] = weights[name].new_ones(square).tril()
    return published


def _layout(named: Mapping[str, Tensor], activation: Literal["relu", "gelu"]) -> Layout:
    layers = {int(match.group(1)) for name in named if (match := _BLOCK.match(name))}
    sizes: dict[str, tuple[int, ...]] = {}
    for name, n_axes in (
        ("embed.W_E", 2),
        ("pos_embed.W_pos", 2),
        ("unembed.W_U", 2),
        ("blocks.0.attn.W_K", 3),
        ("blocks.0.mlp.W_in", 2),
    ):
        if name in named or not name.startswith("blocks"):
            sizes[name] = tuple(named[name].shape)
            if len(sizes[name]) != n_axes:
                raise UnknownLayout(f"{name} has shape {sizes[name]}; expected {n_axes} axes")
    heads = sizes.get("blocks.0.attn.W_K", (0, 0, 0))
    return Layout(
        n_tokens=sizes["embed.W_E"][1],
        n_outputs=sizes["unembed.W_U"][1],
        n_positions=sizes["pos_embed.W_pos"][0],
        n_layers=max(layers, default=-1) + 1,
        d_model=sizes["embed.W_E"][0],
        n_heads=heads[0],
        d_head=heads[1],
        d_mlp=sizes.get("blocks.0.mlp.W_in", (0, 0))[0],
        activation=activation,
    )


def _turned(name: str, tensor: Tensor, shape: tuple[int, ...]) -> Tensor:
    kind = name.rsplit(".", 1)[-1]
    if kind in ("W_Q", "W_K", "W_V"):
        turned = tensor.permute(2, 0, 1) if tensor.ndim == 3 else tensor
    elif kind == "W_O":
        turned = (
            tensor.T.reshape(shape) if tensor.ndim == 2 and tensor.shape[::-1] == _flat(shape) else tensor
        )
    elif kind in ("W_E", "W_in", "W_out"):
        turned = tensor.T if tensor.ndim == 2 else tensor
    else:
        turned = tensor
    if tuple(turned.shape) != shape:
        raise UnknownLayout(f"{name} has shape {tuple(tensor.shape)}, which does not fit the other tensors")
    return turned.contiguous()


def _turned_back(name: str, tensor: Tensor) -> Tensor:
    kind = name.rsplit(".", 1)[-1]
    if kind in ("W_Q", "W_K", "W_V"):
        return tensor.permute(1, 2, 0).contiguous()
    if kind == "W_O":
        return tensor.flatten(0, 1).T.contiguous()
    return tensor.T.contiguous() if kind in ("W_E", "W_in", "W_out") else tensor.clone()


def _flat(shape: tuple[int, ...]) -> tuple[int, int]:
    """Shape [n_heads · d_head, d_model] of W_O with its heads side by side."""
    return shape[0] * shape[1], shape[2]
