"""Tiny models in the true on-disk formats of TransformerLens' repositories, written without our own readers.

Names of files, keys of config.json, names, orientation and precision of tensors are those that were published.
"""

import io
import json
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from ingest.models.layout import Layout
from ingest.models.transformer_lens import to_transformer_lens
from tests.ingest.small_models import random_model

VOCAB, CONTEXT = 257, 32
BASE = Layout(
    n_tokens=VOCAB,
    n_outputs=VOCAB,
    n_positions=CONTEXT,
    n_layers=2,
    d_model=16,
    n_heads=2,
    d_head=8,
    d_mlp=24,
    activation="gelu",
    layer_norm=True,
    attention_bias=True,
)
PER_STEP = 1000
# steps 0, 1, 5, 50, 150 and the end; 50 is how 150 ends
STEPS = (0, 1, 5, 50, 150, 200)


@dataclass(frozen=True)
class Published:
    """One published model: where it is, what it is called here, and how its files are written."""

    family: str
    run: str
    repository: str
    layout: Layout
    form: str = "plain"  # plain, old, mingpt
    labels: str = "tokens"  # tokens, steps, none
    stored: torch.dtype = torch.float32

    def state(self, step: int) -> tuple[dict[str, Any], dict[str, Tensor]]:
        """TransformerLens' config and state dict at a step, as far as the stored precision keeps it."""
        config, state = to_transformer_lens(self.layout, random_model(self.layout, 7 * step + 1).weights)
        if not self.layout.unembed_bias:
            del state["unembed.b_U"]  # the published programs had none
        return config, {name: tensor.to(self.stored).float() for name, tensor in state.items()}


PLAIN = Published("toy_models", "gelu-2l", "NeelNanda/GELU_2L512W_C4_Code", BASE)
SOLU = Published(
    "toy_models",
    "solu-2l",
    "NeelNanda/SoLU_2L512W_C4_Code",
    replace(BASE, activation="solu_ln", unembed_bias=True),
)
ATTENTION = Published(
    "toy_models", "attn-only-1l", "NeelNanda/Attn_Only_1L512W_C4_Code", replace(BASE, n_layers=1, d_mlp=0)
)
WIKI = Published(
    "toy_models",
    "solu-1l-wiki",
    "NeelNanda/SoLU_1L512W_Wiki_Finetune",
    replace(SOLU.layout, n_layers=1),
    labels="none",
)
DEMO = Published(
    "toy_models",
    "attn-only-2l-demo",
    "NeelNanda/Attn-Only-2L512W-Shortformer-6B-big-lr",
    replace(BASE, d_mlp=0, layer_norm=False, positions="attention"),
    labels="none",
)
# as wide as long, so that only the number of layers tells whether W_pos is transposed
OLD_LAYOUT = replace(BASE, activation="solu_ln", d_model=CONTEXT, final_rms=True)
OLD = Published(
    "solu_pile", "solu-2l-pile", "NeelNanda/SoLU_2L_v10_old", OLD_LAYOUT, "old", "steps", torch.bfloat16
)
OLD_8 = Published(
    "solu_pile",
    "solu-8l-pile",
    "NeelNanda/SoLU_8L_v21_old",
    replace(OLD_LAYOUT, n_layers=8, final_rms=False),
    "old",
    "none",
    torch.bfloat16,
)
OLD_10 = Published(
    "solu_pile",
    "solu-10l-pile",
    "NeelNanda/SoLU_10L_v22_old",
    replace(OLD_LAYOUT, n_layers=10, final_rms=False),
    "old",
    "none",
    torch.float16,
)
REDWOOD = Published(
    "redwood",
    "redwood_attn_2l",
    "ArthurConmy/redwood_attn_2l",
    replace(BASE, d_mlp=0, positions="attention", unembed_bias=True),
    labels="none",
)
OTHELLO = Published(
    "othello_gpt",
    "othello-gpt",
    "Baidicoot/Othello-GPT-Transformer-Lens",
    replace(BASE, n_tokens=61, n_outputs=61, n_positions=59),
    "mingpt",
    "none",
)
ALL = (PLAIN, SOLU, ATTENTION, WIKI, DEMO, OLD, OLD_8, OLD_10, REDWOOD, OTHELLO)


def config_of(model: Published) -> dict[str, Any]:
    """config.json with the keys of the three generations of published ones."""
    layout = model.layout
    sizes = {
        "n_layers": layout.n_layers,
        "d_model": layout.d_model,
        "d_mlp": layout.d_mlp or (-1 if model.family == "redwood" else 4 * layout.d_model),
        "d_head": layout.d_head,
        "n_heads": layout.n_heads,
        "n_ctx": layout.n_positions,
        "d_vocab": layout.n_tokens,
        "act_fn": "solu_ln" if layout.activation == "solu_ln" else "gelu",
        "attn_only": not layout.d_mlp,
    }
    norm = ("LN" if layout.norm_weights else "LNPre") if layout.layer_norm else None
    if model.family == "toy_models":
        return {
            **sizes,
            "lr_hidden": 0.002,
            "seed": 387976,
            "normalization": norm,
            "tokenizer_name": "NeelNanda/gpt-neox-tokenizer-digits",
            "dataset_name": "c4_code",
            "shortformer_pos": layout.positions == "attention",
            "ln_eps": 1e-05,
            **({"tokens_per_step": PER_STEP, "max_steps": STEPS[-1]} if model.labels == "tokens" else {}),
        }
    return {
        **sizes,
        "eps": 1e-05,
        "use_attn_scale": True,
        "use_local_attn": False,
        "attn_types": None,
        "normalization_type": norm,
        "attention_dir": "causal",
        "scale_attn_by_inverse_layer_idx": False,
        "final_rms": layout.final_rms,
        "d_vocab_out": layout.n_outputs,
        "parallel_attn_mlp": False,
        **(
            {"positional_embedding_type": "shortformer", "shortformer_pos": True}
            if layout.positions == "attention"
            else {"positional_embedding_type": "standard"}
        ),
        **({"architecture": "mingpt"} if model.form == "mingpt" else {}),
    }


def file_state(model: Published, step: int) -> dict[str, Tensor]:
    """The tensors as the file has them."""
    _, state = model.state(step)
    if model.form == "mingpt":
        stored = as_mingpt(state, model.layout)
    elif model.form == "old":
        stored = as_old(state, model.layout.n_layers)
    else:
        stored = state
    causal = torch.ones(model.layout.n_positions, model.layout.n_positions).tril().bool()
    stored = {name: tensor.to(model.stored) for name, tensor in stored.items()}
    for layer in range(model.layout.n_layers):
        stored[f"blocks.{layer}.attn.mask"] = causal
        if model.form != "mingpt":
            stored[f"blocks.{layer}.attn.IGNORE"] = torch.tensor(-1e5)
    return stored


def as_old(state: Mapping[str, Tensor], n_layers: int) -> dict[str, Tensor]:
    stored = {}
    for name, tensor in state.items():
        kind = name.split(".")[-1]
        if kind == "W_pos":
            turned = tensor.T if n_layers in (1, 2, 4, 6, 8) else tensor
        elif kind in ("W_E", "W_U", "W_in", "W_out"):
            turned = tensor.T if n_layers in (1, 2, 4, 6) else tensor
        elif kind in ("W_Q", "W_K", "W_V", "W_O"):
            turned = torch.stack([head.T for head in tensor]) if n_layers in (1, 2, 4, 6) else tensor
        else:
            turned = tensor
        for new, before in (("ln_final.", "norm."), (".ln1.", ".norm1."), (".ln2.", ".norm2.")):
            name = name.replace(new, before)
        stored[name] = turned.contiguous()
    return stored


def as_mingpt(state: Mapping[str, Tensor], layout: Layout) -> dict[str, Tensor]:
    stored = {
        "tok_emb.weight": state["embed.W_E"],
        "pos_emb": state["pos_embed.W_pos"][None],
        "ln_f.weight": state["ln_final.w"],
        "ln_f.bias": state["ln_final.b"],
        "head.weight": state["unembed.W_U"].T,
    }
    for layer in range(layout.n_layers):
        block = f"blocks.{layer}"
        for norm in ("ln1", "ln2"):
            stored[f"{block}.{norm}.weight"] = state[f"{block}.{norm}.w"]
            stored[f"{block}.{norm}.bias"] = state[f"{block}.{norm}.b"]
        for letter, word in (("Q", "query"), ("K", "key"), ("V", "value")):
            heads = state[f"{block}.attn.W_{letter}"]
            stored[f"{block}.attn.{word}.weight"] = torch.cat([head.T for head in heads])
            stored[f"{block}.attn.{word}.bias"] = torch.cat(list(state[f"{block}.attn.b_{letter}"]))
        stored[f"{block}.attn.proj.weight"] = torch.cat(list(state[f"{block}.attn.W_O"])).T
        stored[f"{block}.attn.proj.bias"] = state[f"{block}.attn.b_O"]
        for number, word in (("0", "in"), ("2", "out")):
            stored[f"{block}.mlp.{number}.weight"] = state[f"{block}.mlp.W_{word}"].T
            stored[f"{block}.mlp.{number}.bias"] = state[f"{block}.mlp.b_{word}"]
    return {name: tensor.contiguous() for name, tensor in stored.items()}


def file_names(model: Published) -> dict[str, int]:
    """The files of weights, and at which step each was saved."""
    end = STEPS[-1] if model.labels == "tokens" else {"steps": STEPS[-2] + 1, "none": 1}[model.labels]
    final = {"model_final.pth": end}
    if model.labels == "none":
        return final
    numbered = STEPS[1:-1]
    if model.labels == "steps":
        name = model.repository.split("/")[1].removesuffix("_old")
        return {f"checkpoints/{name}_{step:07}.pth": step for step in numbered} | final
    tokens = {f"checkpoints/tokens_{step * PER_STEP:012}.pth": step for step in numbered}
    return {"model_init.pth": 0} | tokens | final


def files_of(model: Published) -> dict[str, bytes]:
    """A repository's files."""
    files = {
        "config.json": json.dumps(config_of(model), indent=2).encode(),
        "optimizer_state_dict.pth": b"never read",
    }
    for name, step in file_names(model).items():
        files[name] = saved(file_state(model, step))
    return files


def saved(content: Any) -> bytes:
    buffer = io.BytesIO()
    torch.save(content, buffer)
    return buffer.getvalue()


def write_repository(folder: Path, model: Published) -> Path:
    """The repository as a folder ORG/NAME below another."""
    home = folder / model.repository
    for name, content in files_of(model).items():
        (home / name).parent.mkdir(parents=True, exist_ok=True)
        (home / name).write_bytes(content)
    return home
