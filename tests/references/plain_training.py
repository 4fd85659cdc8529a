"""One run trained alone with a plain dense model and torch's unfused AdamW: no stack, tables or narrowing."""

import torch


def train_one(spec, seeds, weights, steps):
    """Weights by name after `steps` full-batch updates; loss and gradient norm before each."""
    layout = spec.layout()
    task = spec.make_task()
    examples = task.training_set(seeds.split)
    tokens, targets = torch.from_numpy(examples.tokens), torch.from_numpy(examples.targets[:, 0])
    weights = {name: w.clone().requires_grad_() for name, w in weights.items()}
    settings = spec.optimizer
    optimizer = torch.optim.AdamW(
        list(weights.values()),
        lr=settings.lr,
        betas=settings.betas,
        weight_decay=settings.weight_decay,
        foreach=False,
    )
    losses, norms = [], []
    for step in range(steps):
        for group in optimizer.param_groups:
            group["lr"] = settings.lr * min(1.0, (step + 1) / settings.warmup_steps)
        logits = _last_logits(layout, weights, tokens)
        loss = torch.nn.functional.cross_entropy(logits.double(), targets)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        norms.append(sum(float(w.grad.square().sum()) for w in weights.values()) ** 0.5)
        losses.append(loss.item())
    return {name: w.detach() for name, w in weights.items()}, losses, norms


def _last_logits(layout, w, tokens):
    x = w["embed.W_E"][tokens] + w["pos_embed.W_pos"][: tokens.shape[1]]
    hidden = torch.ones(tokens.shape[1], tokens.shape[1]).triu(1).bool()
    for layer in range(layout.n_layers):
        attn, mlp = f"blocks.{layer}.attn.", f"blocks.{layer}.mlp."
        total = torch.zeros_like(x)
        for head in range(layout.n_heads):
            q, k, v = (x @ w[attn + m][:, head] for m in ("W_Q", "W_K", "W_V"))
            scores = (q @ k.transpose(1, 2)) / layout.d_head**0.5
            pattern = scores.masked_fill(hidden, float("-inf")).softmax(-1)
            total = total + pattern @ v @ w[attn + "W_O"][head]
        x = x + total
        x = x + torch.relu(x @ w[mlp + "W_in"] + w[mlp + "b_in"]) @ w[mlp + "W_out"] + w[mlp + "b_out"]
    return x[:, -1] @ w["unembed.W_U"]
