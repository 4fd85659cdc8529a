"""Repeated random tokens for a published induction model whose own data was not published."""

from collections.abc import Mapping
from functools import cached_property
from typing import ClassVar

import numpy as np
from jaxtyping import Bool, Int

from archive.records import WHOLE, Part
from ingest.task import Examples, Task

N_ROWS = 256
_START = 20250101


class RepeatedWindows(Task):
    """Id 0, then windows of equal length, each with the same random ids at a random place among random ids.

    A reconstruction: windows of 28 after position 0 follow from the optimizer's state of the published model,
    the rest is the simplest that fits. Only for evaluation (nothing registers it as a task to train on), the
    same 256 rows everywhere, from a linear congruential generator written out here. Every position but the
    last predicts the next id.
    """

    name: ClassVar[str] = "repeated_windows"
    citation: ClassVar[str] = (
        "pathscope; for the induction run of Nanda et al. 2023, whose generator is not published"
    )

    n_tokens: int
    length: int
    n_repeats: int
    n_copied: int

    @property
    def vocabulary(self) -> tuple[str, ...]:
        """Ids as they are; 0 begins a row."""
        return tuple(map(str, range(self.n_tokens)))

    @property
    def n_outputs(self) -> int:
        """All ids."""
        return self.n_tokens

    @property
    def n_positions(self) -> int:
        """Tokens of a row."""
        return self.length

    @property
    def read_positions(self) -> tuple[int, ...]:
        """All but the last."""
        return tuple(range(self.length - 1))

    @property
    def n_train(self) -> None:
        """Unknown: nothing is trained on this."""
        return None

    @property
    def evaluation_name(self) -> str:
        """Says what is repeated."""
        return f"{self.n_copied} random ids in each of {self.n_repeats} windows of {self._window}"

    @property
    def _window(self) -> int:
        return (self.length - 1) // self.n_repeats

    @cached_property
    def starts(self) -> np.ndarray:
        """Position of the first copied id, per row and window: [row, repeat]."""
        return self._made[1]

    @cached_property
    def _made(self) -> tuple[np.ndarray, np.ndarray]:
        state = _START

        def draw(n: int) -> int:
            nonlocal state
            state = (1103515245 * state + 12345) % 2**31
            return (state >> 16) % n

        rows = np.zeros((N_ROWS, self.length), dtype=np.int64)
        starts = np.zeros((N_ROWS, self.n_repeats), dtype=np.int64)
        for row in range(N_ROWS):
            rows[row, 1:] = [1 + draw(self.n_tokens - 1) for _ in range(self.length - 1)]
            copied = [1 + draw(self.n_tokens - 1) for _ in range(self.n_copied)]
            for repeat in range(self.n_repeats):
                start = 1 + self._window * repeat + draw(self._window - self.n_copied)
                rows[row, start : start + self.n_copied] = copied
                starts[row, repeat] = start
        return rows, starts

    def evaluation(self) -> Examples:
        """The 256 rows."""
        rows = self._made[0]
        return Examples(tokens=rows, targets=rows[:, 1:])

    def copies(self) -> Int[np.ndarray, "example position"]:
        """1, 2, ... within the copied ids of each window, 0 for the random ids around them."""
        rows, starts = self._made
        inside = np.zeros_like(rows)
        for repeat, first in enumerate(starts.T, start=1):
            places = first[:, None] + np.arange(self.n_copied)
            np.put_along_axis(inside, places, repeat, axis=1)
        return inside

    def splits(self, split_seed: int) -> Mapping[Part, Bool[np.ndarray, " example"]]:
        """None: all rows are evaluation only."""
        return {WHOLE: np.ones(N_ROWS, dtype=bool)}
