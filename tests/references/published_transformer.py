"""The published small transformer in plain torch, on tensors in the published layout, one head at a time."""

import torch


def published_forward(tensors, tokens, *, blocks="blocks", n_layers=1):
    """Logits at all positions and attention patterns [layer][head], from published tensors."""
    x = tensors["embed.W_E"][:, tokens].permute(1, 2, 0) + tensors["pos_embed.W_pos"][: tokens.shape[1]]
    length = tokens.shape[1]
    future = torch.ones(length, length, dtype=torch.bool).triu(1)
    patterns = []
    for layer in range(n_layers):
        name = f"{blocks}.{layer}"
        n_heads, d_head, _ = tensors[f"{name}.attn.W_K"].shape
        mixed, of_layer = [], []
        for head in range(n_heads):
            q, k, v = (x @ tensors[f"{name}.attn.W_{which}"][head].T for which in "QKV")
            scores = (q @ k.transpose(1, 2)) / d_head**0.5
            pattern = scores.masked_fill(future, float("-inf")).softmax(-1)
            of_layer.append(pattern)
            mixed.append(pattern @ v)
        patterns.append(of_layer)
        x = x + torch.cat(mixed, 2) @ tensors[f"{name}.attn.W_O"].T
        if f"{name}.mlp.W_in" in tensors:
            neurons = torch.relu(x @ tensors[f"{name}.mlp.W_in"].T + tensors[f"{name}.mlp.b_in"])
            x = x + neurons @ tensors[f"{name}.mlp.W_out"].T + tensors[f"{name}.mlp.b_out"]
    return x @ tensors["unembed.W_U"], patterns
