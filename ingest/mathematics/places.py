"""Means of activations over chosen places of an eval set, and places that share their token with others."""

from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Bool, Float, Int
from numpy.typing import NDArray
from torch import Tensor


@dataclass(frozen=True)
class Places:
    """Up to k places of every row, a unit or a direction: the numbers of sequences and positions in them, −1 for none."""

    sequences: Int[Tensor, "row k"]
    positions: Int[Tensor, "row k"]

    def of(self, rows: Int[Tensor, " row"]) -> "Places":
        """Those of other rows, in that order."""
        return Places(self.sequences[rows], self.positions[rows])


class PlaceMeans:
    """Mean activation of every row over its places, from a stream of batches.

    A row is a unit, or with `directions` a weighted sum of units. Exact in float64 sums, whatever the batches and the
    order of sequences, each of which comes once.
    """

    def __init__(
        self,
        places: Places,
        directions: Float[Tensor, "row unit"] | None = None,
        *,
        n_rows: int | None = None,
    ) -> None:
        """Nothing seen yet. n_rows: more than places has rows for are NaN."""
        there = places.sequences >= 0
        self._row, _ = there.nonzero(as_tuple=True)
        self._sequence, self._position = places.sequences[there], places.positions[there]
        self._highest = int(self._sequence.max()) if len(self._sequence) else -1
        self._directions = directions
        n = len(places.sequences) if n_rows is None else n_rows
        self._sums = torch.zeros(n, dtype=torch.float64)
        self._counts = torch.zeros(n, dtype=torch.float64).index_add_(
            0, self._row, torch.ones(len(self._row), dtype=torch.float64)
        )

    def update(
        self, activations: Float[Tensor, "sequence position unit"], sequences: Int[Tensor, " sequence"]
    ) -> None:
        """Take in whole sequences with their numbers; raises ValueError for a NaN or infinity among those read."""
        numbers = sequences.cpu()
        row_of = torch.full((max(self._highest, int(numbers.max())) + 1,), -1)
        row_of[numbers] = torch.arange(len(numbers))
        found = row_of[self._sequence]
        here = found >= 0
        if not here.any():
            return
        row, of, position = self._row[here], found[here], self._position[here]
        device = activations.device
        if self._directions is None:
            values = activations[of.to(device), position.to(device), row.to(device)].double().cpu()
        else:
            seen = activations[of.to(device), position.to(device)].double().cpu()
            values = (seen * self._directions[row].double()).sum(1)
        if not values.isfinite().all():
            wrong = int(self._sequence[here][~values.isfinite()][0])
            raise ValueError(f"sequence {wrong} has activations that are NaN or infinite")
        self._sums.index_add_(0, row, values)

    @property
    def means(self) -> Float[Tensor, " row"]:
        """Over all places, float64; NaN for a row without any."""
        return self._sums / self._counts


def same_tokens(
    tokens: Int[np.ndarray, "sequence position"],
    examples: Places,
    among: Bool[np.ndarray, " sequence"],
    draws: NDArray[np.float64],
) -> Places:
    """For every example a place elsewhere with the same token: drawn evenly from those in the sequences `among`.

    draws: [row, k] in [0, 1), which decide. No place where `among` does not have the token.
    """
    sequences, positions = examples.sequences.numpy(), examples.positions.numpy()
    there = sequences >= 0
    where = np.argwhere(among[:, None] & np.ones_like(tokens, dtype=bool))
    order = np.argsort(tokens[where[:, 0], where[:, 1]], kind="stable")
    where = where[order]
    ids = tokens[where[:, 0], where[:, 1]]
    wanted = tokens[np.where(there, sequences, 0), np.where(there, positions, 0)]
    first, last = np.searchsorted(ids, wanted, side="left"), np.searchsorted(ids, wanted, side="right")
    known = there & (last > first)
    chosen = np.where(known, first + (draws * (last - first)).astype(np.int64), 0)
    if not len(where):
        where = np.zeros((1, 2), dtype=np.int64)
    found = np.where(known[..., None], where[chosen], -1)
    return Places(torch.from_numpy(found[..., 0].copy()), torch.from_numpy(found[..., 1].copy()))
