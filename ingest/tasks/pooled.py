"""Tasks with far more examples than anyone evaluates on: a frozen pool of them, training on it or on new ones."""

from abc import abstractmethod
from collections.abc import Mapping
from functools import cached_property

import numpy as np
from jaxtyping import Bool, Int
from pydantic import Field, model_validator

from archive.records import WHOLE, Part
from ingest.streams import stream
from ingest.task import TEST, TRAIN, Examples, Task

POOL = 2048


class PooledTask(Task):
    """A task whose evaluation set is a pool of distinct examples from a fixed stream.

    Finite data: the split seed picks `train_size` of the pool to train on, the rest of it is the test split.
    Endless data: training draws from all examples there are, those of the pool among them, and there is no
    split. The pool is the same either way, so the two can be compared on it.
    """

    pool: int | None = Field(
        None, ge=1, description=f"examples evaluated on; default: {POOL:,}, or all where there are fewer"
    )
    train_size: int | None = Field(
        None, ge=1, description="finite data: examples of the pool to train on; left out: endless fresh data"
    )

    @property
    @abstractmethod
    def n_distinct(self) -> int:
        """How many different examples the task has."""

    @abstractmethod
    def draw(self, random: np.random.RandomState, n: int) -> Int[np.ndarray, "example part"]:
        """What n examples are made of, one row each, independently; equal rows are equal examples."""

    @abstractmethod
    def build(self, rows: Int[np.ndarray, "example part"]) -> Examples:
        """The examples made of these rows of `draw`."""

    @model_validator(mode="after")
    def _pool_exists(self) -> "PooledTask":
        if self.pool is not None and self.pool > self.n_distinct:
            raise ValueError(
                f"pool = {self.pool} exceeds the {self.n_distinct} different examples of this task; "
                f"give {self.n_distinct} or less, or leave it out"
            )
        if self.train_size is not None and self.train_size >= self.n_pool:
            raise ValueError(
                f"train_size = {self.train_size} of a pool of {self.n_pool} leaves nothing to test on; give "
                f"{self.n_pool - 1} or less, a larger pool, or leave train_size out for endless data"
            )
        return self

    @property
    def n_pool(self) -> int:
        """Size of the evaluation set."""
        return self.pool if self.pool is not None else min(POOL, self.n_distinct)

    @property
    def n_train(self) -> int | None:
        """`train_size`."""
        return self.train_size

    @cached_property
    def pool_rows(self) -> Int[np.ndarray, "example part"]:
        """The pool as rows of `draw`, in the order drawn, each once."""
        random = stream(0, f"{self.name}.pool")
        rows = self.draw(random, 0)
        while len(rows) < self.n_pool:
            rows = np.concatenate([rows, self.draw(random, 2 * self.n_pool)])
            first = np.unique(rows, axis=0, return_index=True)[1]
            rows = rows[np.sort(first)]
        return rows[: self.n_pool]

    def evaluation(self) -> Examples:
        """The pool, the same for every run."""
        return self.build(self.pool_rows)

    def splits(self, split_seed: int) -> Mapping[Part, Bool[np.ndarray, " example"]]:
        """A random `train_size` of the pool is trained on; with endless data there is no split."""
        if self.train_size is None:
            return {WHOLE: np.ones(self.n_pool, dtype=bool)}
        train = np.zeros(self.n_pool, dtype=bool)
        train[stream(split_seed, "split").permutation(self.n_pool)[: self.train_size]] = True
        return {TRAIN: train, TEST: ~train}

    def training_set(self, split_seed: int) -> Examples:
        """The training examples in pool order; raises NotImplementedError with endless data."""
        if self.train_size is None:
            return super().training_set(split_seed)
        return self.build(self.pool_rows[self.splits(split_seed)[TRAIN]])

    def fresh_batch(self, data_order_seed: int, step: int, n: int) -> Examples:
        """Draw n new examples from all there are; raises NotImplementedError with finite data."""
        if self.train_size is not None:
            return super().fresh_batch(data_order_seed, step, n)
        return self.build(self.draw(stream(data_order_seed, self.name, step), n))
