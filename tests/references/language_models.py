"""A slow, independent forward pass of the four architectures, out of weights by TransformerLens name.

Written from the papers' equations, one sequence and one head at a time, without transformers.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

Weight = Callable[[str], Tensor]
Mix = Callable[[int, int, Tensor, Tensor], Tensor]
Touch = Callable[[str, int, Tensor], Tensor]


def mixed_by(_layer: int, _head: int, pattern: Tensor, values: Tensor) -> Tensor:
    return pattern @ values


def untouched(_place: str, _layer: int, tensor: Tensor) -> Tensor:
    return tensor


@dataclass(frozen=True)
class Rules:
    """What tells the architectures apart."""

    activation: Callable[[Tensor], Tensor]
    parallel: bool = False  # the MLP reads what attention reads, not its result
    scaled: bool = True  # scores are divided by the root of the head's width
    by_layer: bool = False  # and by the layer's number, from 1
    rotary: int = 0  # leading dimensions of a head that are rotated
    windows: tuple[int, ...] = ()  # how far back each layer sees; empty for all the way


def gelu_new(x: Tensor) -> Tensor:
    return 0.5 * x * (1 + torch.tanh(math.sqrt(2 / math.pi) * (x + 0.044715 * x**3)))


def gelu(x: Tensor) -> Tensor:
    return 0.5 * x * (1 + torch.erf(x / math.sqrt(2)))


def relu(x: Tensor) -> Tensor:
    return x.clamp(min=0)


def rotated(x: Tensor, n: int) -> Tensor:
    """Rotate pairs (i, i + n/2) of the first n dimensions by position · 10000^(-2i/n)."""
    out = x.clone()
    for position in range(x.shape[0]):
        for i in range(n // 2):
            angle = position * 10000 ** (-2 * i / n)
            a, b = x[position, i], x[position, i + n // 2]
            out[position, i] = a * math.cos(angle) - b * math.sin(angle)
            out[position, i + n // 2] = b * math.cos(angle) + a * math.sin(angle)
    return out


def norm(x: Tensor, scale: Tensor, shift: Tensor) -> Tensor:
    centred = x - x.mean(-1, keepdim=True)
    return centred / (centred.square().mean(-1, keepdim=True) + 1e-5).sqrt() * scale + shift


def run(
    tokens: Tensor,
    weight: Weight,
    names: tuple[str, ...],
    rules: Rules,
    *,
    mix: Mix = mixed_by,
    touch: Touch = untouched,
) -> tuple[Tensor, list[Tensor], list[Tensor]]:
    """(logits, patterns [head query key] by layer, activations [position neuron] by layer) of one sequence.

    mix: what a head makes of its pattern and values. touch: what goes on from a layer's "attention", "mlp" (what they
    write, biases included) and "residual" (what the layer leaves).
    """

    def w(name: str) -> Tensor:
        return weight(name).double()

    def bias(name: str) -> Tensor | float:
        return w(name) if name in names else 0.0

    x = w("embed.W_E")[tokens]
    if "pos_embed.W_pos" in names:
        x = x + w("pos_embed.W_pos")[: len(tokens)]
    patterns, activations = [], []
    for layer in range(1 + max(int(name.split(".")[1]) for name in names if name.startswith("blocks"))):
        at = f"blocks.{layer}"
        normed = norm(x, w(f"{at}.ln1.w"), w(f"{at}.ln1.b"))
        W_Q, W_K, W_V, W_O = (w(f"{at}.attn.W_{part}") for part in "QKVO")
        mixed = torch.zeros_like(x) + bias(f"{at}.attn.b_O")
        heads = []
        for head in range(len(W_Q)):
            parts = []
            for part, matrix in zip("QKV", (W_Q, W_K, W_V), strict=True):
                b = bias(f"{at}.attn.b_{part}")
                parts.append(normed @ matrix[head] + (b[head] if isinstance(b, Tensor) else b))
            q, k, v = rotated(parts[0], rules.rotary), rotated(parts[1], rules.rotary), parts[2]
            pattern = torch.zeros(len(tokens), len(tokens), dtype=torch.float64)
            for query in range(len(tokens)):
                window = rules.windows[layer] if rules.windows else len(tokens)
                keys = [key for key in range(query + 1) if key > query - window]
                scores = torch.stack([q[query] @ k[key] for key in keys])
                scores = scores / math.sqrt(q.shape[1]) if rules.scaled else scores
                scores = scores / (layer + 1) if rules.by_layer else scores
                pattern[query, keys] = scores.softmax(0)
            mixed = mixed + mix(layer, head, pattern, v) @ W_O[head]
            heads.append(pattern)
        patterns.append(torch.stack(heads))
        mixed = touch("attention", layer, mixed)
        read = x if rules.parallel else x + mixed
        before = norm(read, w(f"{at}.ln2.w"), w(f"{at}.ln2.b")) @ w(f"{at}.mlp.W_in") + w(f"{at}.mlp.b_in")
        neurons = rules.activation(before)
        activations.append(neurons)
        written = touch("mlp", layer, neurons @ w(f"{at}.mlp.W_out") + w(f"{at}.mlp.b_out"))
        x = touch("residual", layer, x + mixed + written)
    logits = norm(x, w("ln_final.w"), w("ln_final.b")) @ w("unembed.W_U")
    return logits, patterns, activations
