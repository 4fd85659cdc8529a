"""Training as one would write it at first: an nn.Module, one seed after the other, every position computed.

The twin that `bench_train` compares with, in the form in which grokking was published (Nanda et al. 2023): weights
by head, einsum, softmax in float64, AdamW as it comes. No batch of seeds, no look-up of keys and values, no narrowing
to the position read, no log.
"""

import math

import torch
from torch import Tensor, nn


class PlainTransformer(nn.Module):
    """One layer of attention and MLP without LayerNorm; logits at every position."""

    def __init__(self, n_tokens: int, n_positions: int, d_model: int, n_heads: int, d_mlp: int) -> None:
        super().__init__()
        d_head = d_model // n_heads

        def normal(*shape: int) -> nn.Parameter:
            return nn.Parameter(torch.randn(*shape) / math.sqrt(d_model))

        self.W_E, self.W_pos = normal(d_model, n_tokens), normal(n_positions, d_model)
        self.W_Q, self.W_K, self.W_V = (normal(n_heads, d_head, d_model) for _ in range(3))
        self.W_O = normal(d_model, n_heads * d_head)
        self.W_in, self.b_in = normal(d_mlp, d_model), nn.Parameter(torch.zeros(d_mlp))
        self.W_out, self.b_out = normal(d_model, d_mlp), nn.Parameter(torch.zeros(d_model))
        self.W_U = normal(d_model, n_tokens)
        self.register_buffer("past", torch.ones(n_positions, n_positions).tril().bool())

    def forward(self, tokens: Tensor) -> Tensor:
        x = self.W_E[:, tokens].permute(1, 2, 0) + self.W_pos[: tokens.shape[1]]
        q, k, v = (torch.einsum("ihd,bpd->biph", w, x) for w in (self.W_Q, self.W_K, self.W_V))
        scores = torch.einsum("biph,biqh->biqp", k, q) / math.sqrt(q.shape[-1])
        pattern = scores.masked_fill(~self.past, -math.inf).softmax(-1)
        mixed = torch.einsum("biph,biqp->biqh", v, pattern).transpose(1, 2).flatten(2)
        x = x + torch.einsum("df,bqf->bqd", self.W_O, mixed)
        neurons = torch.relu(torch.einsum("md,bpd->bpm", self.W_in, x) + self.b_in)
        x = x + torch.einsum("dm,bpm->bpd", self.W_out, neurons) + self.b_out
        return x @ self.W_U


class PlainTraining:
    """One seed under way."""

    def __init__(
        self, seed: int, *, p: int, n_train: int, d_model: int, lr: float, weight_decay: float
    ) -> None:
        torch.manual_seed(seed)
        pairs = torch.cartesian_prod(torch.arange(p), torch.arange(p))[torch.randperm(p * p)[:n_train]]
        self.tokens = torch.cat([pairs, torch.full((n_train, 1), p)], dim=1)
        self.targets = pairs.sum(1) % p
        self.model = PlainTransformer(p + 1, 3, d_model, 4, 4 * d_model)
        self.optimizer = torch.optim.AdamW(
            self.model.parameters(), lr=lr, weight_decay=weight_decay, betas=(0.9, 0.98)
        )

    def update(self) -> float:
        """One update; returns the loss before it."""
        logits = self.model(self.tokens)[:, -1]
        loss = nn.functional.cross_entropy(logits.double(), self.targets)
        self.optimizer.zero_grad()
        loss.backward()
        self.optimizer.step()
        return loss.item()
