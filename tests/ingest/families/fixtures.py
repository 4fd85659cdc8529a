"""Tiny models in the true on-disk format of each published family, in a Hugging Face cache.

The configurations have the keys of the published files, the weights their spelling, precision and leftovers.
"""

import hashlib
import json
import os
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

os.environ["HF_HUB_OFFLINE"] = "1"  # before transformers is imported: nothing may ask the network

import torch
from safetensors.torch import save_file
from torch import Tensor

PYTHIA = "EleutherAI/pythia-14m"
CRFM = "stanford-crfm/alias-gpt2-small-x21"
GPT2 = "openai-community/gpt2"
OPT = "facebook/opt-125m"
NEO = "EleutherAI/gpt-neo-125m"

L, D, HEADS, MLP, VOCAB, CONTEXT = 2, 32, 4, 128, 128, 64

CONFIGS: dict[str, dict[str, Any]] = {
    PYTHIA: {
        "architectures": ["GPTNeoXForCausalLM"],
        "bos_token_id": 0,
        "eos_token_id": 0,
        "hidden_act": "gelu",
        "hidden_size": D,
        "initializer_range": 0.02,
        "intermediate_size": MLP,
        "layer_norm_eps": 1e-05,
        "max_position_embeddings": CONTEXT,
        "model_type": "gpt_neox",
        "num_attention_heads": HEADS,
        "num_hidden_layers": L,
        "rotary_emb_base": 10000,
        "rotary_pct": 0.25,
        "tie_word_embeddings": False,
        "torch_dtype": "float16",
        "transformers_version": "4.24.0",
        "use_cache": True,
        "use_parallel_residual": True,
        "vocab_size": VOCAB,
    },
    CRFM: {
        "activation_function": "gelu_new",
        "architectures": ["GPT2LMHeadModel"],
        "attn_pdrop": 0.1,
        "bos_token_id": VOCAB - 1,
        "embd_pdrop": 0.1,
        "eos_token_id": VOCAB - 1,
        "gradient_checkpointing": False,
        "layer_norm_epsilon": 1e-05,
        "model_type": "gpt2",
        "n_ctx": CONTEXT,
        "n_embd": D,
        "n_head": HEADS,
        "n_inner": None,
        "n_layer": L,
        "n_positions": CONTEXT,
        "reorder_and_upcast_attn": True,
        "resid_pdrop": 0.1,
        "scale_attn_by_inverse_layer_idx": True,
        "scale_attn_weights": True,
        "transformers_version": "4.12.5",
        "use_cache": False,
        "vocab_size": VOCAB,
    },
    GPT2: {
        "activation_function": "gelu_new",
        "architectures": ["GPT2LMHeadModel"],
        "attn_pdrop": 0.1,
        "bos_token_id": VOCAB - 1,
        "embd_pdrop": 0.1,
        "eos_token_id": VOCAB - 1,
        "layer_norm_epsilon": 1e-05,
        "model_type": "gpt2",
        "n_ctx": CONTEXT,
        "n_embd": D,
        "n_head": HEADS,
        "n_layer": L,
        "n_positions": CONTEXT,
        "resid_pdrop": 0.1,
        "vocab_size": VOCAB,
    },
    OPT: {
        "activation_dropout": 0.0,
        "activation_function": "relu",
        "architectures": ["OPTForCausalLM"],
        "attention_dropout": 0.0,
        "bos_token_id": 2,
        "do_layer_norm_before": True,
        "dropout": 0.1,
        "eos_token_id": 2,
        "ffn_dim": MLP,
        "hidden_size": D,
        "layerdrop": 0.0,
        "max_position_embeddings": CONTEXT,
        "model_type": "opt",
        "num_attention_heads": HEADS,
        "num_hidden_layers": L,
        "pad_token_id": 1,
        "torch_dtype": "float16",
        "vocab_size": VOCAB,
        "word_embed_proj_dim": D,
    },
    NEO: {
        "activation_function": "gelu_new",
        "architectures": ["GPTNeoForCausalLM"],
        "attention_dropout": 0,
        "attention_layers": ["global", "local"],
        "attention_types": [[["global", "local"], 1]],
        "bos_token_id": VOCAB - 1,
        "embed_dropout": 0,
        "eos_token_id": VOCAB - 1,
        "hidden_size": D,
        "intermediate_size": None,
        "layer_norm_epsilon": 1e-05,
        "max_position_embeddings": CONTEXT,
        "model_type": "gpt_neo",
        "num_heads": HEADS,
        "num_layers": L,
        "resid_dropout": 0,
        "vocab_size": VOCAB,
        "window_size": 4,
    },
}


def commit_of(repository: str, revision: str) -> str:
    return hashlib.sha1(f"{repository}@{revision}".encode()).hexdigest()


def state(repository: str, seed: int) -> dict[str, Tensor]:
    """Random weights under transformers' own names; biases and norms too, so that none can be mixed up."""
    from transformers import AutoConfig, AutoModelForCausalLM

    settings = dict(CONFIGS[repository])
    config = AutoConfig.for_model(settings.pop("model_type"), **settings)
    with torch.device("meta"):
        shapes = {
            name: tensor.shape for name, tensor in AutoModelForCausalLM.from_config(config).named_parameters()
        }
    generator = torch.Generator().manual_seed(seed)
    draws = {name: torch.randn(shape, generator=generator) for name, shape in shapes.items()}
    return {
        name: 1 + 0.2 * draw if "norm" in name or "ln_" in name else 0.15 * draw
        for name, draw in draws.items()
    }


def causal(kind: torch.dtype) -> Tensor:
    return torch.ones(1, 1, CONTEXT, CONTEXT).tril().to(kind)


def neox_file(tensors: Mapping[str, Tensor], *, buffers: bool) -> dict[str, Tensor]:
    """fp16, the unembedding called embed_out, and the buffers of old releases."""
    stored = {name.replace("lm_head", "embed_out"): t.half() for name, t in tensors.items()}
    for layer in range(L if buffers else 0):
        at = f"gpt_neox.layers.{layer}.attention"
        stored[f"{at}.bias"] = causal(torch.bool)
        stored[f"{at}.masked_bias"] = torch.tensor(-1e9).half()
        stored[f"{at}.rotary_emb.inv_freq"] = torch.tensor([1.0])
    return stored


def crfm_file(tensors: Mapping[str, Tensor], kind: torch.dtype = torch.float32) -> dict[str, Tensor]:
    """With causal masks, and the unembedding a second time."""
    stored = {name: t.to(kind) for name, t in tensors.items()}
    for layer in range(L):
        stored[f"transformer.h.{layer}.attn.bias"] = causal(torch.uint8)
        stored[f"transformer.h.{layer}.attn.masked_bias"] = torch.tensor(-10000.0)
    stored["lm_head.weight"] = stored["transformer.wte.weight"]
    return stored


def gpt2_file(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Without the prefix `transformer.`, without an unembedding, with causal masks in float32."""
    stored = {name.removeprefix("transformer."): t for name, t in tensors.items()}
    return stored | {f"h.{layer}.attn.bias": causal(torch.float32) for layer in range(L)}


def opt_file(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """fp16, without `model.` and without an unembedding."""
    return {name.removeprefix("model."): t.half() for name, t in tensors.items()}


def neo_file(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """fp32 with causal masks; those of local layers see a window."""
    stored = dict(tensors)
    for layer in range(L):
        mask = causal(torch.uint8)
        if layer % 2:
            mask = mask & ~causal(torch.uint8).tril(-4)
        stored[f"transformer.h.{layer}.attn.attention.bias"] = mask
        stored[f"transformer.h.{layer}.attn.attention.masked_bias"] = torch.tensor(-1e9)
    stored["lm_head.weight"] = stored["transformer.wte.weight"]
    return stored


def write_bin(folder: Path, stored: Mapping[str, Tensor]) -> None:
    torch.save(dict(stored), folder / "pytorch_model.bin")


def write_safetensors(folder: Path, stored: Mapping[str, Tensor]) -> None:
    save_file(
        {name: t.contiguous() for name, t in stored.items()}, folder / "model.safetensors", {"format": "pt"}
    )


def write_snapshot(
    folder: Path,
    repository: str,
    stored: Mapping[str, Tensor],
    write: Callable[[Path, Mapping[str, Tensor]], None],
) -> Path:
    folder.mkdir(parents=True)
    (folder / "config.json").write_text(json.dumps(CONFIGS[repository], indent=2))
    write(folder, stored)
    return folder


def in_cache(cache: Path, repository: str, revision: str) -> Path:
    """Where a revision's snapshot belongs in a cache; writes the name that points to it."""
    home = cache / f"models--{repository.replace('/', '--')}"
    commit = commit_of(repository, revision)
    (home / "refs").mkdir(parents=True, exist_ok=True)
    (home / "refs" / revision).write_text(commit)
    return home / "snapshots" / commit


def build_cache(cache: Path) -> Path:
    """Ten checkpoints of five families, distinct but for the last Pythia step, which `main` has again."""
    for seed, revision in enumerate(("step0", "step1000")):
        stored = neox_file(state(PYTHIA, seed), buffers=True)
        write_snapshot(in_cache(cache, PYTHIA, revision), PYTHIA, stored, write_bin)
    for revision in ("step143000", "main"):
        stored = neox_file(state(PYTHIA, 2), buffers=False)
        write_snapshot(in_cache(cache, PYTHIA, revision), PYTHIA, stored, write_safetensors)
    for seed, revision in enumerate(("checkpoint-0", "checkpoint-100", "checkpoint-400000")):
        kind = torch.float16 if revision.endswith("400000") else torch.float32
        folder = in_cache(cache, CRFM, revision)
        write_snapshot(folder, CRFM, crfm_file(state(CRFM, 10 + seed), kind), write_bin)
        (folder / "training_args.bin").write_bytes(b"a pickle that nobody may open")
    write_snapshot(in_cache(cache, GPT2, "main"), GPT2, gpt2_file(state(GPT2, 20)), write_safetensors)
    write_snapshot(in_cache(cache, OPT, "main"), OPT, opt_file(state(OPT, 30)), write_bin)
    write_snapshot(in_cache(cache, NEO, "main"), NEO, neo_file(state(NEO, 40)), write_bin)
    return cache
