"""Arithmetic modulo a prime: the tasks on which grokking was found (Power et al. 2022) and taken apart."""

import itertools
from collections.abc import Mapping
from typing import Literal

import numpy as np
from jaxtyping import Bool, Int
from pydantic import Field, model_validator

from archive.records import Part
from ingest.streams import stream
from ingest.task import TEST, TRAIN, Examples, Task, task

SIGNS = {"add": "+", "subtract": "−", "multiply": "·", "divide": "/"}


@task(
    "modular_arithmetic",
    citation="Power et al. 2022, Grokking; Nanda et al. 2023, Progress measures for grokking via mechanistic "
    "interpretability",
)
class ModularArithmetic(Task):
    """Sequences `a b =` whose answer is a + b, a − b, a · b or a / b modulo p, read at `=`.

    The grid is all p² pairs in row-major order (a slow, b fast); division leaves out b = 0, so it has
    p (p − 1) pairs, and its answer is the c with b · c = a. Token p is `=`; the softmax keeps it, as in the
    published training code, so uniform logits have loss ln(p + 1).
    """

    operation: Literal["add", "subtract", "multiply", "divide"] = Field(
        "add", description="what is done to a and b; divide has no pairs with b = 0"
    )
    p: int = Field(47, description="the modulus, a prime")
    frac_train: float = Field(0.4, description="share of the pairs trained on; int(frac_train · pairs) pairs")

    @model_validator(mode="after")
    def _possible(self) -> "ModularArithmetic":
        if not is_prime(self.p):
            below = next((n for n in range(self.p, 1, -1) if is_prime(n)), None)
            above = next(n for n in itertools.count(max(self.p, 2)) if is_prime(n))
            near = f"the nearest are {below} and {above}" if below else f"the nearest is {above}"
            raise ValueError(f"p = {self.p} is not a prime; {near}")
        if not 1 <= self.n_train < self.n_pairs:
            raise ValueError(
                f"frac_train = {self.frac_train} of {self.n_pairs} pairs gives {self.n_train} training pairs; "
                f"both splits need at least one, so give a fraction in [{1 / self.n_pairs:.2g}, 1)"
            )
        return self

    @property
    def vocabulary(self) -> tuple[str, ...]:
        """The numbers 0 … p − 1, then `=`."""
        return (*map(str, range(self.p)), "=")

    @property
    def n_outputs(self) -> int:
        """The p answers and the `=` class."""
        return self.p + 1

    @property
    def n_positions(self) -> int:
        """`a`, `b`, `=`."""
        return 3

    @property
    def read_positions(self) -> tuple[int, ...]:
        """Only `=`."""
        return (2,)

    @property
    def read_labels(self) -> tuple[str, ...]:
        """What is read there is the answer."""
        return ("answer",)

    @property
    def n_pairs(self) -> int:
        """Size of the grid: p², or p (p − 1) for division."""
        return self.p * (self.p - 1) if self.operation == "divide" else self.p**2

    @property
    def n_train(self) -> int:
        """int(frac_train · pairs), as published: 3,830 for addition modulo 113 and 0.3."""
        return int(self.frac_train * self.n_pairs)

    @property
    def evaluation_name(self) -> str:
        """The operation and the grid; it does not depend on frac_train."""
        pairs = "all pairs with b ≠ 0" if self.operation == "divide" else "all pairs"
        return f"a {SIGNS[self.operation]} b modulo {self.p}, {pairs}"

    def evaluation(self) -> Examples:
        """The whole grid, row-major."""
        first = 1 if self.operation == "divide" else 0
        a, b = (axis.reshape(-1) for axis in np.mgrid[: self.p, first : self.p])
        tokens = np.stack([a, b, np.full_like(a, self.p)], axis=1)
        return Examples(tokens=tokens, targets=self._answers(a, b)[:, None])

    def splits(self, split_seed: int) -> Mapping[Part, Bool[np.ndarray, " example"]]:
        """A random subset of n_train pairs is trained on, the rest is the test split."""
        order = stream(split_seed, "split").permutation(self.n_pairs)
        train = np.zeros(self.n_pairs, dtype=bool)
        train[order[: self.n_train]] = True
        return {TRAIN: train, TEST: ~train}

    def training_set(self, split_seed: int) -> Examples:
        """The training pairs in grid order."""
        return self.evaluation()[np.flatnonzero(self.splits(split_seed)[TRAIN])]

    def _answers(
        self, a: Int[np.ndarray, " example"], b: Int[np.ndarray, " example"]
    ) -> Int[np.ndarray, " example"]:
        if self.operation == "divide":
            b = np.array([0, *(pow(n, -1, self.p) for n in range(1, self.p))])[b]
        combine = {"add": np.add, "subtract": np.subtract}.get(self.operation, np.multiply)
        answers: Int[np.ndarray, " example"] = combine(a, b) % self.p
        return answers


def is_prime(n: int) -> bool:
    """True for primes; trial division, so for moduli of a few thousand at most."""
    return n > 1 and all(n % k for k in range(2, int(n**0.5) + 1))
