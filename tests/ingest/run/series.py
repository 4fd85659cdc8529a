"""A series of tiny published checkpoints on this disk, and a study that loads it."""

import os
from pathlib import Path

os.environ["HF_HUB_OFFLINE"] = "1"  # before transformers is imported: nothing may ask the network

import torch
from transformers import GPTNeoXConfig, GPTNeoXForCausalLM

CODE = "".join(f"def f{i}(x):\n    return x + {i * i}\n" for i in range(5))
STEPS = (0, 1, 2, 4, 8)
SHAPE = {
    "vocab_size": 257,
    "hidden_size": 16,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "intermediate_size": 24,
    "max_position_embeddings": 64,
}

TOML = """
name = "tiny-load"
[load]
family = "hugging_face"
family_params = { folder = "series", run = "tiny", init_seed = 3 }
tokenizer = "bytes"
batch = 3
[[eval_sets]]
kind = "text"
name = "code"
files = ["series/code.txt"]
windows = "all"
context = 24
[[eval_sets]]
kind = "repeated_tokens"
block = 5
copies = 3
n_sequences = 4
[measures]
names = ["loss", "token_loss", "head.prefix_matching", "head.previous_token", "neuron.top", "k_composition", "weight_norm"]
schedule = { "token_loss" = [0, 8], "neuron.top" = "final", "k_composition" = "all" }
[executor]
kind = "inline"
checkpoints_per_unit = 2
"""
# loss and previous_token on both sets, prefix_matching on repeats, k_composition and weight_norm at all 5; token_loss on
# both sets at 2; neuron.top on the text at 1
N_CELLS = 5 * (2 + 2 + 1 + 1 + 1) + 2 * 2 + 1


def build_series(folder: Path, seed: int = 0) -> None:
    """Random weights that drift: `folder/stepN` in the format of transformers."""
    torch.manual_seed(seed)
    model = GPTNeoXForCausalLM(GPTNeoXConfig(**SHAPE))
    for step in STEPS:
        model.save_pretrained(folder / f"step{step}")
        with torch.no_grad():
            for parameter in model.parameters():
                parameter.add_(0.05 * torch.randn_like(parameter))
