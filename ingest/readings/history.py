"""The kept checkpoints of one run, for measures that compare each with those before it.

Nothing is held in memory: a measure reads a tensor, or the answers to a few examples, of every checkpoint in
turn, so that each number on disk is read once whatever the number of checkpoints.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from ingest.models.layout import Layout
from ingest.models.loaded import LoadedModel
from ingest.task import Task

# numbers of one checkpoint that are looked at together: bounds memory, and where it cuts decides rounding, so it
# must not depend on how many checkpoints there are
BLOCK = 65_536


@dataclass(frozen=True, eq=False)
class WeightHistory:
    """The weights of a run at all its kept checkpoints.

    steps: of all of them, increasing. wanted: those whose rows are asked for. load: the model at a step;
    load_tensor: one of its tensors.
    """

    layout: Layout
    steps: tuple[int, ...]
    wanted: tuple[int, ...]
    load: Callable[[int], LoadedModel]
    load_tensor: Callable[[int, str], Tensor]

    @classmethod
    def of_one(cls, model: LoadedModel) -> "WeightHistory":
        """The history of a run of which nothing but this checkpoint is kept."""
        return cls(
            layout=model.layout,
            steps=(model.step,),
            wanted=(model.step,),
            load=lambda step: model,
            load_tensor=lambda step, name: model.weights[name],
        )

    @property
    def size(self) -> int:
        """Weights of one checkpoint."""
        return self.layout.n_params

    def blocks(self) -> Iterator[Float[Tensor, "checkpoint number"]]:
        """All weights as they are stored, tensor by tensor: the same few of every checkpoint at a time, float64."""
        for name in self.layout.shapes:
            whole = torch.stack([self.load_tensor(step, name).cpu().reshape(-1) for step in self.steps])
            for piece in torch.split(whole, BLOCK, dim=1):
                yield piece.double()


@dataclass(frozen=True, eq=False)
class EvaluationHistory:
    """What a run's kept checkpoints say to all examples of the evaluation set. weights: as they are stored."""

    weights: WeightHistory
    task: Task

    @property
    def steps(self) -> tuple[int, ...]:
        """Of all kept checkpoints, increasing."""
        return self.weights.steps

    @property
    def wanted(self) -> tuple[int, ...]:
        """Those whose rows are asked for."""
        return self.weights.wanted

    @property
    def size(self) -> int:
        """Logits of one checkpoint: examples × positions read × outputs."""
        encoding, task = self.task.eval_set.encoding, self.task
        return encoding.n_sequences * len(task.read_positions) * task.n_outputs

    def blocks(self) -> Iterator[Float[Tensor, "checkpoint number"]]:
        """The centred logits, a few examples of every checkpoint at a time, float64."""
        examples, read = self.task.evaluation(), self.task.read_positions
        at_once = max(1, BLOCK // (len(read) * self.task.n_outputs))
        for start in range(0, len(examples), at_once):
            rows = np.arange(start, min(start + at_once, len(examples)))
            piece = examples[rows]
            yield torch.stack([self._logits(step, piece.tokens, piece.targets) for step in self.steps])

    def _logits(self, step: int, tokens: np.ndarray, targets: np.ndarray) -> Float[Tensor, " number"]:
        model = self.weights.load(step)
        device = next(iter(model.weights.values())).device
        batch = model.activations(
            torch.from_numpy(tokens.astype(np.int64)).to(device),
            torch.from_numpy(targets.astype(np.int64)).to(device),
            self.task.read_positions,
            traced=False,
        )
        return centred(batch.logits).reshape(-1)


def centred(logits: Float[Tensor, "*batch output"]) -> Float[Tensor, "*batch output"]:
    """Logits minus their mean over outputs, which no softmax sees; float64."""
    logits = logits.double().cpu()
    return logits - logits.mean(-1, keepdim=True)
