"""A tiny decoder with LayerNorms, from weights by TransformerLens' names; GPT-2's blocks or GPT-NeoX's."""

import torch

EPS = 1e-5


def normed(weights, name, x):
    """LayerNorm; without its scale and shift where those are folded away."""
    centred = x - x.mean(-1, keepdim=True)
    plain = centred / (centred.square().mean(-1, keepdim=True) + EPS).sqrt()
    return plain * weights.get(f"{name}.w", 1.0) + weights.get(f"{name}.b", 0.0)


def attention(weights, block, x, rotary):
    """Causal attention of all heads, x [position, d_model]."""
    n = len(x)
    written = torch.zeros_like(x)
    for head in range(len(weights[f"{block}.attn.W_Q"])):
        q, k, v = (
            x @ weights[f"{block}.attn.W_{part}"][head] + bias(weights, f"{block}.attn.b_{part}", head)
            for part in "QKV"
        )
        if rotary:
            q, k = turned(q), turned(k)
        scores = q @ k.T / q.shape[1] ** 0.5
        pattern = scores.masked_fill(torch.ones(n, n).triu(1) > 0, -torch.inf).softmax(-1)
        written = written + pattern @ v @ weights[f"{block}.attn.W_O"][head]
    return written + weights.get(f"{block}.attn.b_O", 0.0)


def bias(weights, name, head):
    return weights[name][head] if name in weights else 0.0


def turned(x):
    """Rotary positions on pairs of neighbouring dimensions."""
    angles = torch.arange(len(x))[:, None] * 10.0 ** -torch.arange(x.shape[1] // 2)
    even, odd = x[:, 0::2], x[:, 1::2]
    pairs = (even * angles.cos() - odd * angles.sin(), even * angles.sin() + odd * angles.cos())
    return torch.stack(pairs, -1).flatten(1)


def mlp(weights, block, x):
    """GELU between two matrices, or SoLU with a LayerNorm of its own where there is one or was one."""
    before = x @ weights[f"{block}.mlp.W_in"] + weights.get(f"{block}.mlp.b_in", 0.0)
    if "solu" in weights:
        hidden = normed(weights, f"{block}.mlp.ln", before * before.softmax(-1))
    else:
        hidden = torch.nn.functional.gelu(before)
    return hidden @ weights[f"{block}.mlp.W_out"] + weights.get(f"{block}.mlp.b_out", 0.0)


def logits(weights, tokens, n_layers, parallel):
    """Logits [position, token]; parallel: attention and MLP read the same residual stream, positions are rotary."""
    x = weights["embed.W_E"][tokens]
    if not parallel:
        x = x + weights["pos_embed.W_pos"][: len(tokens)]
    for layer in range(n_layers):
        block = f"blocks.{layer}"
        written = attention(weights, block, normed(weights, f"{block}.ln1", x), parallel)
        read = x if parallel else x + written
        x = x + written + mlp(weights, block, normed(weights, f"{block}.ln2", read))
    return normed(weights, "ln_final", x) @ weights["unembed.W_U"] + weights.get("unembed.b_U", 0.0)
