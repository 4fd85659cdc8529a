"""Slow twins of measures of what heads write, on the modules of transformers themselves (GPT-NeoX)."""

from typing import Any

import torch


def in_top_by_modules(
    model: Any, tokens: list[int], position: int, layer: int, head: int, k: int, sign: int
) -> bool:
    """Whether the token at a position is among the k likeliest by what a head would write on attending to it."""
    with torch.no_grad():
        found = model(torch.tensor([tokens]), output_hidden_states=True)
        # hidden states are those before each block; the last one is after the final norm
        block, first = model.gpt_neox.layers[layer], model.gpt_neox.layers[0]
        before = found.hidden_states[0]
        stream: list[torch.Tensor] = []
        handle = first.register_forward_hook(
            lambda _m, _i, output: stream.append(output[0] if isinstance(output, tuple) else output)
        )
        model(torch.tensor([tokens]))
        handle.remove()
        there = stream[0].reshape(before.shape)[0, position]
        read = block.input_layernorm(there)
        size = model.config.hidden_size // model.config.num_attention_heads
        rows = slice(head * 3 * size + 2 * size, head * 3 * size + 3 * size)  # query, key, value of each head
        qkv, dense = block.attention.query_key_value, block.attention.dense
        value = qkv.weight[rows] @ read + qkv.bias[rows]
        output = dense.weight[:, head * size : (head + 1) * size] @ value
        logits = model.get_output_embeddings()(model.gpt_neox.final_layer_norm(sign * output))
    own = logits[tokens[position]]
    return int((logits > own).sum()) < k


def output_share_by_modules(model: Any, sequences: list[list[int]]) -> list[list[float]]:
    """Share of each head in the norms of what heads write, summed over all positions: [layer][head]."""
    size = model.config.hidden_size // model.config.num_attention_heads
    totals = []
    for block in model.gpt_neox.layers:
        mixed: list[torch.Tensor] = []
        handle = block.attention.dense.register_forward_pre_hook(
            lambda _m, given, kept=mixed: kept.append(given[0])
        )
        with torch.no_grad():
            for sequence in sequences:
                model(torch.tensor([sequence]))
        handle.remove()
        weight = block.attention.dense.weight
        totals.append(
            [
                sum(
                    float((weight[:, h * size : (h + 1) * size] @ row[h * size : (h + 1) * size]).norm())
                    for one in mixed
                    for row in one[0]
                )
                for h in range(model.config.num_attention_heads)
            ]
        )
    whole = sum(map(sum, totals))
    return [[norm / whole for norm in heads] for heads in totals]
