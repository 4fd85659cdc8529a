"""The examples of each update, per run, as a function of (seeds, step)."""

from collections.abc import Sequence

import numpy as np
import torch
from jaxtyping import Int
from torch import Tensor

from ingest.models.layout import EXAMPLE_MULTIPLE
from ingest.streams import stream
from ingest.task import Examples
from ingest.train.spec import Seeds, TrainSpec


class TrainingData:
    """What a batch of runs trains on: functions of their seeds and the step, nothing drawn in advance.

    With no run left there is nothing to train on either, and `at` must not be called.
    """

    def __init__(self, spec: TrainSpec, seeds: Sequence[Seeds], device: torch.device) -> None:
        self.spec = spec
        self.seeds = seeds
        self.device = device
        self.task = spec.make_task()
        self._sets: list[Examples] = []
        if self.task.n_train is not None:
            self._sets = [self.task.training_set(each.split) for each in seeds]
        self._full = self._stack(self._sets) if spec.batch is None and seeds else None
        self._orders: dict[int, list[np.ndarray]] = {}

    def at(self, step: int) -> tuple[Int[Tensor, "run padded position"], Int[Tensor, "run example read"]]:
        """Tokens and targets of the update from `step` to `step + 1`.

        Tokens are padded to a multiple of 16 examples by repeating the first (layout.stacks_exactly);
        targets are not, so the loss leaves the padding out.
        """
        if self._full is not None:
            return self._full
        assert self.spec.batch is not None  # TrainSpec checks
        if not self._sets:
            return self._stack(
                [self.task.fresh_batch(each.data_order, step, self.spec.batch) for each in self.seeds]
            )
        # epochs of whole batches: the remainder of a permutation is left out, as a data loader does
        n_train = len(self._sets[0])
        epoch, place = divmod(step, n_train // self.spec.batch)
        chosen = slice(place * self.spec.batch, (place + 1) * self.spec.batch)
        orders = self._order(epoch, n_train)
        return self._stack([whole[order[chosen]] for whole, order in zip(self._sets, orders, strict=True)])

    def _order(self, epoch: int, n_train: int) -> list[np.ndarray]:
        if epoch not in self._orders:
            self._orders = {
                epoch: [stream(each.data_order, "order", epoch).permutation(n_train) for each in self.seeds]
            }
        return self._orders[epoch]

    def _stack(self, examples: Sequence[Examples]) -> tuple[Tensor, Tensor]:
        whole = np.stack([each.tokens for each in examples]).astype(np.int64)
        padding = np.repeat(whole[:, :1], -whole.shape[1] % EXAMPLE_MULTIPLE, axis=1)
        targets = np.stack([each.targets for each in examples]).astype(np.int64)
        return self._move(np.concatenate([whole, padding], axis=1)), self._move(targets)

    def _move(self, array: Int[np.ndarray, "..."]) -> Int[Tensor, "..."]:
        tensor = torch.from_numpy(array)
        if self.device.type == "cpu":
            return tensor
        # from pinned memory a copy does not wait: Python draws the next batch while the GPU is at this one
        return tensor.pin_memory().to(self.device, non_blocking=True)
