"""The small transformer by loops over examples, positions and heads, in float64 NumPy: slow and plain."""

import math

import numpy as np


def logits_and_patterns(layout, weights, sequence):
    """Logits [position, output], patterns [layer, head, query, key], neurons [layer, position, neuron] of one sequence."""
    weights = {name: np.asarray(w, dtype=np.float64) for name, w in weights.items()}
    length = len(sequence)
    places = weights["pos_embed.W_pos"]
    residual = [weights["embed.W_E"][t] for t in sequence]
    if layout.positions == "learned":
        residual = [x + places[i] for i, x in enumerate(residual)]
    if layout.input == "sum":
        residual = [sum(residual[: i + 1]) for i in range(length)]
    patterns = np.zeros((layout.n_layers, layout.n_heads, length, length))
    neurons = np.zeros((layout.n_layers, length, layout.d_mlp))
    for layer in range(layout.n_layers):
        name = f"blocks.{layer}"
        if layout.n_heads:
            seen = [_norm(layout, weights, f"{name}.ln1", x) for x in residual]
            placed = [x + places[i] if layout.positions == "attention" else x for i, x in enumerate(seen)]
            added = [np.zeros(layout.d_model) for _ in range(length)]
            for head in range(layout.n_heads):
                w_q, w_k, w_v = (weights[f"{name}.attn.{m}"][:, head] for m in ("W_Q", "W_K", "W_V"))
                b_q, b_k, b_v = (_bias(weights, f"{name}.attn.{b}", head) for b in ("b_Q", "b_K", "b_V"))
                w_o = weights[f"{name}.attn.W_O"][head]
                for query in range(length):
                    scores = [
                        float((placed[query] @ w_q + b_q) @ (placed[key] @ w_k + b_k))
                        / math.sqrt(layout.d_head)
                        for key in range(query + 1)
                    ]
                    largest = max(scores)
                    powers = [math.exp(s - largest) for s in scores]
                    for key in range(query + 1):
                        patterns[layer, head, query, key] = powers[key] / sum(powers)
                        added[query] = added[query] + patterns[layer, head, query, key] * (
                            (seen[key] @ w_v + b_v) @ w_o
                        )
            added = [y + weights.get(f"{name}.attn.b_O", 0.0) for y in added]
            residual = [x + y for x, y in zip(residual, added, strict=True)]
        if layout.d_mlp:
            for position in range(length):
                x = _norm(layout, weights, f"{name}.ln2", residual[position])
                before = x @ weights[f"{name}.mlp.W_in"] + weights[f"{name}.mlp.b_in"]
                after = np.array([_activation(layout.activation, v, before) for v in before])
                neurons[layer, position] = after
                if layout.activation == "solu_ln":
                    after = _layer_norm(weights, f"{name}.mlp.ln", after)
                residual[position] = (
                    residual[position] + after @ weights[f"{name}.mlp.W_out"] + weights[f"{name}.mlp.b_out"]
                )
    last = _rms_norm if layout.final_rms and layout.layer_norm else _norm
    final = [last(layout, weights, "ln_final", x) for x in residual]
    out = [x @ weights["unembed.W_U"] + weights.get("unembed.b_U", 0.0) for x in final]
    return np.array(out), patterns, neurons


def _bias(weights, name, head):
    return weights[name][head] if name in weights else 0.0


def _activation(kind, x, layer):
    if kind == "relu":
        return max(x, 0.0)
    if kind.startswith("solu"):
        return x / sum(math.exp(other - x) for other in layer)
    return x * 0.5 * (1 + math.erf(x / math.sqrt(2)))


def _norm(layout, weights, name, x):
    return _layer_norm(weights, name, x) if layout.layer_norm else x


def _layer_norm(weights, name, x):
    centred = x - x.mean()
    plain = centred / math.sqrt((centred**2).mean() + 1e-5)
    return plain * weights.get(f"{name}.w", 1.0) + weights.get(f"{name}.b", 0.0)


def _rms_norm(_layout, weights, name, x):
    return x / math.sqrt((x**2).mean() + 1e-5) * weights.get(f"{name}.w", 1.0)
