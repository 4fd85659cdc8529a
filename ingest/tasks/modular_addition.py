"""Addition modulo a prime: the task on which grokking was taken apart (Nanda et al. 2023)."""

import itertools
from collections.abc import Mapping

import numpy as np
from jaxtyping import Bool
from pydantic import Field, model_validator

from archive.records import Part
from ingest.streams import stream
from ingest.task import TEST, TRAIN, Examples, Task, task


@task(
    "modular_addition",
    citation="Nanda et al. 2023, Progress measures for grokking via mechanistic interpretability",
)
class ModularAddition(Task):
    """Sequences `a b =` with answer (a + b) mod p, read at `=`.

    The grid is all p² pairs in row-major order (a slow, b fast). Token p is `=`; the softmax keeps it, as
    in the published training code, so uniform logits have loss ln(p + 1).
    """

    p: int = Field(47, description="the modulus, a prime")
    frac_train: float = Field(0.4, description="share of the p² pairs trained on; int(frac_train · p²) pairs")

    @model_validator(mode="after")
    def _possible(self) -> "ModularAddition":
        if not is_prime(self.p):
            below = next((n for n in range(self.p, 1, -1) if is_prime(n)), None)
            above = next(n for n in itertools.count(max(self.p, 2)) if is_prime(n))
            near = f"the nearest are {below} and {above}" if below else f"the nearest is {above}"
            raise ValueError(f"p = {self.p} is not a prime; {near}")
        n_pairs = self.p**2
        if not 1 <= self.n_train < n_pairs:
            raise ValueError(
                f"frac_train = {self.frac_train} of {n_pairs} pairs gives {self.n_train} training pairs; "
                f"both splits need at least one, so give a fraction in [{1 / n_pairs:.2g}, 1)"
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
    def n_train(self) -> int:
        """int(frac_train · p²), as published: 3,830 for p = 113 and 0.3."""
        return int(self.frac_train * self.p**2)

    @property
    def evaluation_name(self) -> str:
        """The grid; it does not depend on frac_train."""
        return f"all pairs modulo {self.p}"

    def evaluation(self) -> Examples:
        """All p² pairs, row-major."""
        a, b = (axis.reshape(-1) for axis in np.mgrid[: self.p, : self.p])
        tokens = np.stack([a, b, np.full_like(a, self.p)], axis=1)
        return Examples(tokens=tokens, targets=((a + b) % self.p)[:, None])

    def splits(self, split_seed: int) -> Mapping[Part, Bool[np.ndarray, " example"]]:
        """A random subset of n_train pairs is trained on, the rest is the test split."""
        order = stream(split_seed, "split").permutation(self.p**2)
        train = np.zeros(self.p**2, dtype=bool)
        train[order[: self.n_train]] = True
        return {TRAIN: train, TEST: ~train}

    def training_set(self, split_seed: int) -> Examples:
        """The training pairs in grid order."""
        return self.evaluation()[np.flatnonzero(self.splits(split_seed)[TRAIN])]


def is_prime(n: int) -> bool:
    """True for primes; trial division, so for moduli of a few thousand at most."""
    return n > 1 and all(n % k for k in range(2, int(n**0.5) + 1))
