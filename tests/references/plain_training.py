"""One run trained alone with a plain dense model and updates written out: no stack, tables or narrowing."""

import math

import torch


def train_one(spec, seeds, weights, steps):
    """Weights by name after `steps` full-batch updates; loss and gradient norm before each."""
    layout = spec.layout()
    task = spec.make_task()
    examples = task.training_set(seeds.split)
    tokens, targets = torch.from_numpy(examples.tokens), torch.from_numpy(examples.targets[:, 0])
    weights = {name: w.clone().requires_grad_() for name, w in weights.items()}
    settings = spec.optimizer
    memory = {name: [torch.zeros_like(w), torch.zeros_like(w)] for name, w in weights.items()}
    losses, norms = [], []
    for number in range(1, steps + 1):
        logits = _last_logits(layout, weights, tokens)
        loss = torch.nn.functional.cross_entropy(logits.double(), targets)
        gradients = torch.autograd.grad(loss, list(weights.values()))
        norms.append(sum(float(g.square().sum()) for g in gradients) ** 0.5)
        losses.append(loss.item())
        with torch.no_grad():
            for (name, w), g in zip(weights.items(), gradients, strict=True):
                _update(settings, w, g, memory[name], number)
    return {name: w.detach() for name, w in weights.items()}, losses, norms


def _update(settings, w, g, memory, number):
    """One update of one tensor in place, by the published formulas (Kingma & Ba 2015, Loshchilov & Hutter 2019)."""
    rate, decay = rate_of_update(settings, number), settings.weight_decay
    if settings.name != "adamw":
        g = g + decay * w
    if settings.name == "sgd":
        velocity = memory[0].mul_(settings.momentum).add_(g)
        w -= rate * velocity
        return
    if settings.name == "adamw":
        w *= 1 - rate * decay
    b1, b2 = settings.betas
    mean, square = memory
    mean.mul_(b1).add_((1 - b1) * g)
    square.mul_(b2).add_((1 - b2) * g**2)
    w -= rate * (mean / (1 - b1**number)) / ((square / (1 - b2**number)).sqrt() + settings.eps)


def rate_of_update(settings, number):
    """Learning rate of update `number`, from 1: by cases, from the words of the settings."""
    peak, warmup, floor = settings.lr, settings.warmup_steps, settings.lr * settings.decay_to
    if number <= warmup:
        return peak * number / warmup
    if settings.decay == "none":
        return peak
    updates_since, length = number - 1 - warmup, settings.decay_steps - warmup
    if updates_since >= length:
        return floor
    if settings.decay == "linear":
        return peak - (peak - floor) * updates_since / length
    return floor + (peak - floor) * math.cos(updates_since / length * math.pi / 2) ** 2


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
