"""The runs in training: one flat row of weights each, named views for the model, one optimizer for all."""

from collections.abc import Mapping, Sequence

import numpy as np
import torch
from jaxtyping import Bool, Float
from torch import Tensor

from ingest.models.small import stack_views
from ingest.train.spec import OptimizerSettings, Seeds, TrainSpec


class Stack:
    """Weights, gradients and optimizer state of the runs still alive; row k is the whole of run k."""

    def __init__(
        self,
        spec: TrainSpec,
        runs: Sequence[tuple[str, Seeds]],
        rows: Float[Tensor, "run row"],
        optimizer_state: Mapping[str, Tensor],
    ) -> None:
        self.spec = spec
        self.runs = tuple(runs)
        self.rows = rows.requires_grad_()
        self.rows.grad = torch.zeros_like(rows)
        self.layout = spec.layout()
        # leaves share memory with the rows: autograd through slices of one flat tensor would build a
        # row-sized gradient per slice
        self.weights = {
            name: view.requires_grad_() for name, view in stack_views(self.layout, self.rows.detach()).items()
        }
        self._gradients = list(stack_views(self.layout, self.rows.grad).values())
        self.optimizer = make_optimizer(spec.optimizer, self.rows)
        if optimizer_state:
            self.optimizer.state[self.rows] = dict(optimizer_state)

    @property
    def names(self) -> tuple[str, ...]:
        """Run names, in row order."""
        return tuple(name for name, _ in self.runs)

    @property
    def optimizer_state(self) -> dict[str, Tensor]:
        """The optimizer's tensors by its own names (exp_avg, exp_avg_sq, step; momentum_buffer)."""
        state = self.optimizer.state[self.rows]
        return {name: value for name, value in state.items() if isinstance(value, Tensor)}

    def differentiate(self, losses: Float[Tensor, " run"]) -> None:
        """Put each run's gradient into its row. Losses of different runs share no weights, so they add."""
        gradients = torch.autograd.grad(losses.sum(), list(self.weights.values()))
        torch._foreach_copy_(self._gradients, gradients)

    def update(self, learning_rate: float) -> None:
        """One optimizer step."""
        for group in self.optimizer.param_groups:
            group["lr"] = learning_rate
        self.optimizer.step()

    def keep(self, alive: Bool[np.ndarray, " run"]) -> "Stack":
        """A new stack of the runs where `alive`, with their weights and optimizer state."""
        chosen = torch.from_numpy(alive).to(self.rows.device)
        state = {
            name: value[chosen] if value.shape == self.rows.shape else value
            for name, value in self.optimizer_state.items()
        }
        runs = [run for run, keep in zip(self.runs, alive.tolist(), strict=True) if keep]
        return Stack(self.spec, runs, self.rows.detach()[chosen], state)


def make_optimizer(settings: OptimizerSettings, rows: Float[Tensor, "run row"]) -> torch.optim.Optimizer:
    """The optimizer over all rows at once; every update is elementwise, so runs do not mix."""
    if settings.name == "sgd":
        return torch.optim.SGD(
            [rows], lr=settings.lr, momentum=settings.momentum, weight_decay=settings.weight_decay, fused=True
        )
    kind = torch.optim.AdamW if settings.name == "adamw" else torch.optim.Adam
    return kind(
        [rows],
        lr=settings.lr,
        betas=settings.betas,
        eps=settings.eps,
        weight_decay=settings.weight_decay,
        fused=True,
    )
