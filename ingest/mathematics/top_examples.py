"""B11: where every unit of a layer is most active, from a stream of batches."""

from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

# Places are found in two steps, so that the tensor is read once however many examples enter.
_PIECE = 16
# sequences taken in at once: finding two of one document costs the square of (k + this)
_TOGETHER = 8


@dataclass(frozen=True)
class TopTable:
    """The best examples of every unit, best first; as many as there were documents, at most k."""

    values: Float[Tensor, "unit rank"]
    sequences: Int[Tensor, "unit rank"]
    positions: Int[Tensor, "unit rank"]
    documents: Int[Tensor, "unit rank"]


class TopExamples:
    """The k largest activations of every unit with their places, at most one a document.

    Exact, and the same whatever the batches and the order of documents: of equal activations the one in the
    sequence of the lower number counts as larger, and within a sequence the first. Starts from -inf, so a unit
    that is never positive still has its own largest. The largest of a larger corpus is larger: compare units on
    the same corpus only, whose size is in `n_documents` and `n_positions`.
    """

    def __init__(self, n_units: int, k: int = 20, *, dtype: torch.dtype = torch.float32) -> None:
        """Nothing seen yet; raises ValueError for k < 1."""
        if k < 1:
            raise ValueError(f"k = {k} examples a unit; expected at least 1")
        self.k = k
        self._values = torch.full((n_units, k), -torch.inf, dtype=dtype)
        self._sequences = torch.full((n_units, k), -1)
        self._positions = torch.full((n_units, k), -1)
        self._documents = torch.full((n_units, k), -1)
        self._seen: set[int] = set()
        self.n_positions = 0

    @property
    def n_documents(self) -> int:
        """Documents seen."""
        return len(self._seen)

    def update(
        self,
        activations: Float[Tensor, "sequence position unit"],
        sequences: Int[Tensor, " sequence"],
        documents: Int[Tensor, " sequence"],
    ) -> None:
        """Take in whole sequences, with the numbers of each and of its document (both at least 0).

        Raises ValueError for another number of units and for activations that are NaN or infinite.
        """
        if activations.shape[2] != len(self._values):
            raise ValueError(f"activations of {activations.shape[2]} units; expected {len(self._values)}")
        if self._values.device != activations.device:
            self._move(activations.device)
        sequences, documents = (numbers.to(activations.device).long() for numbers in (sequences, documents))
        for start in range(0, len(activations), _TOGETHER):
            some = slice(start, start + _TOGETHER)
            self._take(activations[some], sequences[some], documents[some])
            self._seen.update(documents[some].tolist())
        self.n_positions += activations.shape[0] * activations.shape[1]

    def table(self) -> TopTable:
        """What was found so far, on the CPU."""
        n = min(self.k, self.n_documents)
        kept = (self._values, self._sequences, self._positions, self._documents)
        values, sequences, positions, documents = (part[:, :n].cpu() for part in kept)
        return TopTable(values, sequences, positions, documents)

    def _take(self, activations: Tensor, sequences: Tensor, documents: Tensor) -> None:
        pieces = _piece_maxima(activations)
        best = pieces.amax(1)  # [sequence, unit]
        finite = best.isfinite().all(1)
        if not finite.all():
            raise ValueError(
                f"sequence {int(sequences[~finite][0])} has activations that are NaN or infinite"
            )
        best = best.to(self._values.dtype)
        enters = self._beats_last(best, sequences)
        units = enters.any(0).nonzero()[:, 0]
        if len(units) == 0:
            return
        n_new, n_units = len(sequences), len(units)
        new = best[:, units].masked_fill(~enters[:, units], -torch.inf).T
        values = torch.cat([self._values[units], new], 1)
        numbers = torch.cat([self._sequences[units], sequences.expand(n_units, n_new)], 1)
        owners = torch.cat([self._documents[units], documents.expand(n_units, n_new)], 1)
        again = len(set(documents.tolist()) - self._seen) < n_new
        kept = _best_of_documents(values, numbers, owners, self.k, again=again)
        self._values[units] = values.gather(1, kept)
        self._sequences[units] = numbers.gather(1, kept)
        self._documents[units] = owners.gather(1, kept)

        # a column beyond the k old ones is a new example, whose place has still to be found
        unit, rank = (kept >= self.k).nonzero(as_tuple=True)
        row = kept[unit, rank] - self.k
        old = torch.cat([self._positions[units], self._positions.new_full((n_units, n_new), -1)], 1)
        positions = old.gather(1, kept)
        positions[unit, rank] = _first_maximum(activations, pieces, row, units[unit])
        empty = self._values[units] == -torch.inf
        for part, found in (
            (self._positions, positions),
            (self._sequences, self._sequences[units]),
            (self._documents, self._documents[units]),
        ):
            part[units] = found.masked_fill(empty, -1)

    def _beats_last(self, best: Tensor, sequences: Tensor) -> Bool[Tensor, "sequence unit"]:
        last, number = self._values[:, -1], self._sequences[:, -1]
        return (best > last) | ((best == last) & (sequences[:, None] < number))

    def _move(self, device: torch.device) -> None:
        self._values, self._sequences = self._values.to(device), self._sequences.to(device)
        self._positions, self._documents = self._positions.to(device), self._documents.to(device)


def _best_of_documents(
    values: Float[Tensor, "unit entry"],
    sequences: Int[Tensor, "unit entry"],
    documents: Int[Tensor, "unit entry"],
    k: int,
    *,
    again: bool,
) -> Int[Tensor, "unit k"]:
    """Which k entries stay: the largest, without those whose document has a larger one; -inf comes last.

    again: a document may be there twice.
    """
    order = sequences.argsort(dim=1, stable=True)
    by_value = values.gather(1, order).argsort(dim=1, descending=True, stable=True)
    order = order.gather(1, by_value)
    if not again:
        return order[:, :k]
    owners = documents.gather(1, order)
    same = owners[:, :, None] == owners[:, None, :]
    repeated = same.tril(-1).any(2)
    # an empty place goes behind every example, like a repetition
    dropped = repeated | (values.gather(1, order) == -torch.inf)
    values.scatter_(1, order, values.gather(1, order).masked_fill(dropped, -torch.inf))
    return order.gather(1, dropped.to(torch.int8).argsort(dim=1, stable=True))[:, :k]


def _piece_maxima(
    activations: Float[Tensor, "sequence position unit"],
) -> Float[Tensor, "sequence piece unit"]:
    whole = activations.shape[1] // _PIECE * _PIECE
    parts = (
        [activations[:, :whole].reshape(len(activations), -1, _PIECE, activations.shape[2]).amax(2)]
        if whole
        else []
    )
    if whole < activations.shape[1]:
        parts.append(activations[:, whole:].amax(1, keepdim=True))
    return torch.cat(parts, 1)


def _first_maximum(
    activations: Float[Tensor, "sequence position unit"],
    pieces: Float[Tensor, "sequence piece unit"],
    rows: Int[Tensor, " found"],
    units: Int[Tensor, " found"],
) -> Int[Tensor, " found"]:
    """The first position of the largest activation, for pairs of a sequence and a unit."""
    piece = pieces.max(1).indices[rows, units]
    within = torch.arange(_PIECE, device=piece.device)
    # beyond the end the last position stands again; where it is the largest, its own place comes first
    positions = (piece[:, None] * _PIECE + within).clamp_max(activations.shape[1] - 1)
    first = activations[rows[:, None], positions, units[:, None]].max(1).indices
    return positions.gather(1, first[:, None])[:, 0]
