"""Mean and standard error over examples that come in pieces."""

from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor


@dataclass
class Moments:
    """Count, mean and sum of squared deviations over examples, merged piece by piece (Chan et al. 1983)."""

    n: int
    mean: Float[Tensor, "..."]
    squares: Float[Tensor, "..."]

    @classmethod
    def none(cls) -> "Moments":
        """Nothing seen yet."""
        return cls(0, torch.zeros(()), torch.zeros(()))

    def add(self, values: Float[Tensor, "example ..."]) -> None:
        """Take in more examples, float64."""
        n = len(values)
        if n == 0:
            return
        mean = values.mean(0)
        squares = (values - mean).square().sum(0)
        total = self.n + n
        shift = mean - self.mean
        self.squares = self.squares + squares + shift.square() * (self.n * n / total)
        self.mean = self.mean + shift * (n / total)
        self.n = total

    @property
    def standard_error(self) -> Float[Tensor, "..."]:
        """Of the mean, taking examples as independent; NaN for a single example."""
        return (
            (self.squares / (self.n * (self.n - 1))).sqrt()
            if self.n > 1
            else torch.full_like(self.mean, torch.nan)
        )
