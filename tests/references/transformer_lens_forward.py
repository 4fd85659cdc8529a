"""What TransformerLens computes from a config and a state dict, written from its documentation with einsum."""

import torch


def lens_forward(config, state, tokens):
    """Logits at all positions, attention patterns [layer], MLP activations before the SoLU norm [layer].

    For solu_ln a fourth: the activations after that norm [layer].
    """
    length = tokens.shape[1]
    places = state["pos_embed.W_pos"][:length]
    shortformer = config["positional_embedding_type"] == "shortformer"
    residual = state["embed.W_E"][tokens] + (0.0 if shortformer else places)
    future = torch.ones(length, length).triu(1).bool()
    patterns, neurons, normed = [], [], []
    for layer in range(config["n_layers"]):
        block = {k.split(".", 2)[2]: v for k, v in state.items() if k.startswith(f"blocks.{layer}.")}
        values_in = _norm(config, block, "ln1", residual)
        keys_in = values_in + places if shortformer else values_in
        q, k, v = (
            torch.einsum("bpm,hmd->bphd", x, block[f"attn.W_{name}"]) + block[f"attn.b_{name}"]
            for name, x in (("Q", keys_in), ("K", keys_in), ("V", values_in))
        )
        scores = torch.einsum("bqhd,bkhd->bhqk", q, k) / config["d_head"] ** 0.5
        pattern = scores.masked_fill(future, float("-inf")).softmax(-1)
        patterns.append(pattern)
        z = torch.einsum("bhqk,bkhd->bqhd", pattern, v)
        residual = residual + torch.einsum("bqhd,hdm->bqm", z, block["attn.W_O"]) + block["attn.b_O"]
        if config["attn_only"]:
            continue
        before = _norm(config, block, "ln2", residual) @ block["mlp.W_in"] + block["mlp.b_in"]
        kind = config["act_fn"]
        if kind.startswith("solu"):
            after = before * torch.softmax(before, -1)
        else:
            after = {"relu": torch.relu, "gelu": torch.nn.functional.gelu}[kind](before)
        neurons.append(after)
        if kind == "solu_ln":
            after = _standardised(config, after)
            if config["normalization_type"] == "LN":
                after = after * block["mlp.ln.w"] + block["mlp.ln.b"]
            normed.append(after)
        residual = residual + after @ block["mlp.W_out"] + block["mlp.b_out"]
    if config.get("final_rms"):
        final = residual / (residual.pow(2).mean(-1, keepdim=True) + config["eps"]).sqrt()
        final = final * state.get("ln_final.w", 1.0)
    else:
        final = _norm(config, state, "ln_final", residual)
    logits = final @ state["unembed.W_U"] + state["unembed.b_U"]
    return (logits, patterns, neurons, *([normed] if normed else []))


def _norm(config, state, name, x):
    if config["normalization_type"] is None:
        return x
    if config["normalization_type"] == "LNPre":
        return _standardised(config, x)
    return _standardised(config, x) * state[f"{name}.w"] + state[f"{name}.b"]


def _standardised(config, x):
    centred = x - x.mean(-1, keepdim=True)
    return centred / (centred.pow(2).mean(-1, keepdim=True) + config["eps"]).sqrt()
