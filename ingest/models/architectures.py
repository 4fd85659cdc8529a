"""Where the four Hugging Face architectures keep things: paths of modules, and how they store matrices.

Adding one is adding a row. Paths are relative to the causal language model; those with {layer} to its layer.
"""

from dataclasses import dataclass, field
from typing import Literal


@dataclass(frozen=True)
class Architecture:
    """Paths and orientations of one `model_type`.

    attention: a module whose output's second part is the pattern. neurons: a module whose output is the
    activations after the nonlinearity. qkv: "by head" is one matrix with the rows of each head together (its
    queries, then keys, then values), "side by side" one with all queries, then all keys, then all values;
    "separate" is three. input_first: matrices are stored [in, out], not [out, in]. position_offset: rows of the
    position embedding before that of position 0. modules: TransformerLens name → path.
    """

    attention: str
    neurons: str
    qkv: Literal["by head", "side by side", "separate"]
    modules: dict[str, str] = field(default_factory=dict)
    input_first: bool = False
    position_offset: int = 0


_GPT2_MODULES = {
    "embed": "transformer.wte",
    "pos_embed": "transformer.wpe",
    "ln1": "transformer.h.{layer}.ln_1",
    "ln2": "transformer.h.{layer}.ln_2",
    "mlp.in": "transformer.h.{layer}.mlp.c_fc",
    "mlp.out": "transformer.h.{layer}.mlp.c_proj",
    "ln_final": "transformer.ln_f",
}

ARCHITECTURES: dict[str, Architecture] = {
    "gpt_neox": Architecture(
        attention="gpt_neox.layers.{layer}.attention",
        neurons="gpt_neox.layers.{layer}.mlp.act",
        qkv="by head",
        modules={
            "embed": "gpt_neox.embed_in",
            "ln1": "gpt_neox.layers.{layer}.input_layernorm",
            "attn.qkv": "gpt_neox.layers.{layer}.attention.query_key_value",
            "attn.o": "gpt_neox.layers.{layer}.attention.dense",
            "ln2": "gpt_neox.layers.{layer}.post_attention_layernorm",
            "mlp.in": "gpt_neox.layers.{layer}.mlp.dense_h_to_4h",
            "mlp.out": "gpt_neox.layers.{layer}.mlp.dense_4h_to_h",
            "ln_final": "gpt_neox.final_layer_norm",
        },
    ),
    "gpt2": Architecture(
        attention="transformer.h.{layer}.attn",
        neurons="transformer.h.{layer}.mlp.act",
        qkv="side by side",
        input_first=True,
        modules={
            **_GPT2_MODULES,
            "attn.qkv": "transformer.h.{layer}.attn.c_attn",
            "attn.o": "transformer.h.{layer}.attn.c_proj",
        },
    ),
    "gpt_neo": Architecture(
        attention="transformer.h.{layer}.attn",
        neurons="transformer.h.{layer}.mlp.act",
        qkv="separate",
        modules={
            **_GPT2_MODULES,
            "attn.q": "transformer.h.{layer}.attn.attention.q_proj",
            "attn.k": "transformer.h.{layer}.attn.attention.k_proj",
            "attn.v": "transformer.h.{layer}.attn.attention.v_proj",
            "attn.o": "transformer.h.{layer}.attn.attention.out_proj",
        },
    ),
    "opt": Architecture(
        attention="model.decoder.layers.{layer}.self_attn",
        neurons="model.decoder.layers.{layer}.activation_fn",
        qkv="separate",
        position_offset=2,
        modules={
            "embed": "model.decoder.embed_tokens",
            "pos_embed": "model.decoder.embed_positions",
            "ln1": "model.decoder.layers.{layer}.self_attn_layer_norm",
            "attn.q": "model.decoder.layers.{layer}.self_attn.q_proj",
            "attn.k": "model.decoder.layers.{layer}.self_attn.k_proj",
            "attn.v": "model.decoder.layers.{layer}.self_attn.v_proj",
            "attn.o": "model.decoder.layers.{layer}.self_attn.out_proj",
            "ln2": "model.decoder.layers.{layer}.final_layer_norm",
            "mlp.in": "model.decoder.layers.{layer}.fc1",
            "mlp.out": "model.decoder.layers.{layer}.fc2",
            "ln_final": "model.decoder.final_layer_norm",
        },
    ),
}
