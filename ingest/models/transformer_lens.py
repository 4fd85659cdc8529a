"""TransformerLens' layout of the same weights: its config and its state dict, to and from ours. Torch only.

    theirs                          shape                        ours (layout.py)
    embed.W_E                       [d_vocab, d_model]           as it is
    pos_embed.W_pos                 [n_ctx, d_model]             as it is
    blocks.L.ln1.w  .b              [d_model]                    as they are; ln2, ln_final alike
    blocks.L.attn.W_Q  W_K  W_V     [head, d_model, d_head]      axes (1, 0, 2)
    blocks.L.attn.W_O               [head, d_head, d_model]      as it is
    blocks.L.attn.b_Q  b_K  b_V     [head, d_head]               as they are, or none: zero
    blocks.L.attn.b_O               [d_model]                    as it is, or none: zero
    blocks.L.mlp.W_in  b_in         [d_model, d_mlp], [d_mlp]    as they are; W_out, b_out alike
    blocks.L.mlp.ln.w  .b           [d_mlp]                      as they are (solu_ln)
    unembed.W_U                     [d_model, d_vocab_out]       as it is
    unembed.b_U                     [d_vocab_out]                as it is, or none: zero
    blocks.L.attn.mask  IGNORE      buffers                      none

normalization_type LNPre is norm_weights = False here, final_rms the same. In TransformerLens solu_ln has weights
for its norm only with normalization_type LN; without, the norm is there and its weights are one and zero.
"""

import math
import re
from collections.abc import Mapping
from dataclasses import replace
from typing import Any, TypeVar

import torch
from jaxtyping import Float
from torch import Tensor

from ingest.models.layout import Activation, Layout, Positions
from ingest.models.published import UnknownLayout
from ingest.models.small import LAYER_NORM_EPS

ACTIVATIONS: tuple[Activation, ...] = ("relu", "gelu", "solu", "solu_ln")
POSITIONS: dict[str, Positions] = {"standard": "learned", "shortformer": "attention"}
Number = TypeVar("Number", int, float)
_BUFFER = re.compile(r"blocks\.\d+\.attn\.(mask|IGNORE)")
_ATTENTION_BIAS = re.compile(r"blocks\.\d+\.attn\.b_[QKVO]")
_UNEMBED_BIAS = re.compile(r"unembed\.b_U")
# settings of theirs that change what is computed, and the only value that is ours
PLAIN: dict[str, Any] = {
    "attention_dir": "causal",
    "use_attn_scale": True,
    "use_local_attn": False,
    "scale_attn_by_inverse_layer_idx": False,
    "parallel_attn_mlp": False,
    "gated_mlp": False,
    "use_normalization_before_and_after": False,
    "use_qk_norm": False,
    "num_experts": None,
    "post_embedding_ln": False,
    # -1 is "not set"
    "attn_scores_soft_cap": -1.0,
    "output_logits_soft_cap": -1.0,
}


def to_transformer_lens(
    layout: Layout, weights: Mapping[str, Float[Tensor, "..."]]
) -> tuple[dict[str, Any], dict[str, Tensor]]:
    """Config (keyword arguments of HookedTransformerConfig) and state dict of a model, without buffers.

    Biases that the model does not have are zero.

    Raises UnknownLayout for what TransformerLens has no place for: models without attention, input "sum",
    and, without layer_norm, weights of the norm after SoLU that are not one and zero.
    """
    if layout.input != "token":
        raise UnknownLayout(f"TransformerLens has no place for input {layout.input!r}")
    if layout.n_layers and not layout.n_heads:
        raise UnknownLayout("TransformerLens has no place for layers without attention")
    norm = "LN" if layout.norm_weights else "LNPre"
    positions = next(theirs for theirs, ours in POSITIONS.items() if ours == layout.positions)
    config = {
        "n_layers": layout.n_layers,
        "d_model": layout.d_model,
        "n_ctx": layout.n_positions,
        "d_head": layout.d_head,
        "n_heads": layout.n_heads,
        "d_mlp": layout.d_mlp or None,
        "d_vocab": layout.n_tokens,
        "d_vocab_out": layout.n_outputs,
        "attn_only": not layout.d_mlp,
        "act_fn": layout.activation,
        "normalization_type": norm if layout.layer_norm else None,
        "eps": LAYER_NORM_EPS,
        "positional_embedding_type": positions,
        "attention_dir": "causal",
        **({"final_rms": True} if layout.final_rms else {}),
    }
    state: dict[str, Tensor] = {}
    for name in layout.shapes:
        tensor = weights[name]
        kind = name.rsplit(".", 1)[-1]
        if ".mlp.ln." in name and not layout.layer_norm:
            if not torch.equal(tensor, torch.full_like(tensor, float(kind == "w"))):
                raise UnknownLayout(
                    f"{name} is not {'one' if kind == 'w' else 'zero'} everywhere, and TransformerLens has no "
                    "place for it without layer_norm"
                )
            continue
        state[name] = tensor.transpose(0, 1).contiguous() if kind in ("W_Q", "W_K", "W_V") else tensor.clone()
        if kind in ("W_Q", "W_K", "W_V") and not layout.attention_bias:
            state[name.replace("W_", "b_")] = tensor.new_zeros(layout.n_heads, layout.d_head)
        elif kind == "W_O" and not layout.attention_bias:
            state[name.replace("W_", "b_")] = tensor.new_zeros(layout.d_model)
        elif kind == "W_U" and not layout.unembed_bias:
            state["unembed.b_U"] = tensor.new_zeros(layout.n_outputs)
    return config, state


def from_transformer_lens(
    config: Mapping[str, Any], state: Mapping[str, Tensor], *, keep_zeros: bool = False
) -> tuple[Layout, dict[str, Float[Tensor, "..."]]]:
    """Layout and weights of a model of TransformerLens, from its config as a mapping and its state dict.

    keep_zeros: biases of attention and of the unembedding are kept even where all are zero, so that a series has
    one layout from its first checkpoint on. Raises UnknownLayout naming the setting or tensor for everything our
    small transformer does not compute: other norms, positions or activations, tensors that are missing, left over
    or of another shape.
    """

    def has(biases: re.Pattern[str]) -> bool:
        return any(
            biases.fullmatch(name) is not None and (keep_zeros or bool(tensor.any()))
            for name, tensor in state.items()
        )

    layout = replace(_layout(config), attention_bias=has(_ATTENTION_BIAS), unembed_bias=has(_UNEMBED_BIAS))
    left = dict(state)
    weights: dict[str, Tensor] = {}
    for name, shape in layout.shapes.items():
        kind = name.rsplit(".", 1)[-1]
        if ".mlp.ln." in name and not layout.layer_norm:
            # theirs has no weights there without LN; ours are what it does without them
            like = next(iter(state.values()))
            weights[name] = torch.full(shape, float(kind == "w"), dtype=like.dtype)
            continue
        if name not in left:
            raise UnknownLayout(f"no tensor {name}")
        tensor = left.pop(name)
        turned = tensor.transpose(0, 1) if kind in ("W_Q", "W_K", "W_V") and tensor.ndim == 3 else tensor
        if tuple(turned.shape) != shape:
            raise UnknownLayout(f"{name} has shape {tuple(tensor.shape)}, which does not fit the config")
        weights[name] = turned.contiguous()
    for name, tensor in left.items():
        zero = (_ATTENTION_BIAS.fullmatch(name) or _UNEMBED_BIAS.fullmatch(name)) and not tensor.any()
        if not (_BUFFER.fullmatch(name) or zero):
            raise UnknownLayout(f"tensor {name} has no place in the layout of the small transformer")
    kinds = {tensor.dtype for tensor in weights.values()}
    if len(kinds) > 1 or not next(iter(kinds)).is_floating_point:
        raise UnknownLayout(f"tensors of types {sorted(map(str, kinds))}; expected one floating-point type")
    return layout, weights


def _layout(config: Mapping[str, Any]) -> Layout:
    def one_of(setting: str, allowed: Mapping[Any, Any], default: object = None) -> Any:
        value = config.get(setting, default)
        if value not in allowed:
            options = ", ".join(map(repr, allowed))
            raise UnknownLayout(f"config has {setting} = {value!r}; the small transformer has {options}")
        return allowed[value]

    for setting, value in PLAIN.items():
        one_of(setting, {value: value}, default=value)
    norm = one_of("normalization_type", {None: None, "LN": "LN", "LNPre": "LNPre"}, default="LN")
    layer_norm = norm is not None
    positions = one_of("positional_embedding_type", POSITIONS, default="standard")
    attn_only = bool(config.get("attn_only"))
    activation: Activation = "relu" if attn_only else one_of("act_fn", {name: name for name in ACTIVATIONS})
    normed = layer_norm or (activation == "solu_ln" and not attn_only)
    if normed and (eps := config.get("eps", LAYER_NORM_EPS)) != LAYER_NORM_EPS:
        raise UnknownLayout(f"config has eps = {eps!r}; the small transformer has {LAYER_NORM_EPS!r}")
    try:
        n_heads = config["n_heads"]
        if n_heads < 0:  # their default, -1, asks for d_model // d_head
            n_heads = config["d_model"] // config["d_head"]
        root = math.sqrt(config["d_head"])
        scale = _given(config.get("attn_scale"), root)
        if not math.isclose(scale, root, rel_tol=1e-6):
            raise UnknownLayout(
                f"config has attn_scale = {scale!r}; the small transformer divides by {root:.6g}"
            )
        if config.get("n_key_value_heads") not in (None, n_heads):
            raise UnknownLayout("keys and values are shared between heads (n_key_value_heads)")
        return Layout(
            n_tokens=config["d_vocab"],
            n_outputs=_given(config.get("d_vocab_out"), config["d_vocab"]),
            n_positions=config["n_ctx"],
            n_layers=config["n_layers"],
            d_model=config["d_model"],
            n_heads=n_heads,
            d_head=config["d_head"],
            d_mlp=0 if attn_only else _given(config.get("d_mlp"), 4 * config["d_model"]),
            activation=activation,
            layer_norm=layer_norm,
            positions=positions,
            norm_weights=norm != "LNPre",
            final_rms=layer_norm and bool(config.get("final_rms")),
        )
    except KeyError as error:
        raise UnknownLayout(f"config has no {error.args[0]}") from None


def _given(value: Number | None, default: Number) -> Number:
    """Their config says None or -1 for a number that follows from another."""
    return default if value is None or value < 0 else value
