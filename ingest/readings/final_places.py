"""Where one layer's units are most active when training is over, and places to compare those with."""

from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor

from ingest.mathematics.places import Places, same_tokens
from ingest.mathematics.top_examples import TopExamples
from ingest.readings.units import Units
from ingest.streams import stream

PURPOSE = "neuron.final_examples"


@dataclass(frozen=True)
class Choosing:
    """How places are chosen. k: a unit; directions: how many there are at most; seed: of all that is drawn."""

    k: int = 20
    directions: int = 128
    seed: int = 0


@dataclass(frozen=True, eq=False)
class FinalPlaces:
    """Places of one layer, chosen by the final checkpoint where not said otherwise.

    top: of each unit's largest activations, one a document. held_out: in the other half of the documents, of the tokens
    at which the unit is largest in the one half. other: `top` of another unit of the layer. random: the same for all
    units, chosen by nothing. directions: random unit vectors over the layer's units, and `direction` their `top`.
    """

    top: Places
    held_out: Places
    other: Places
    random: Places
    direction: Places
    directions: Float[Tensor, "direction unit"]


class ChoosesPlaces:
    """Goes over the eval set with the final checkpoint, one layer's activations at a time."""

    def __init__(
        self,
        units: Units,
        tokens: Int[np.ndarray, "sequence position"],
        documents: Int[np.ndarray, " sequence"],
        choosing: Choosing,
    ) -> None:
        """Nothing seen yet; tokens and documents of the whole eval set."""
        self._units, self._tokens, self._choosing = units, tokens, choosing
        names = np.unique(documents)
        half = stream(choosing.seed, f"{PURPOSE}.half").permutation(names)[: (len(names) + 1) // 2]
        self._first = np.isin(documents, half)
        n = min(choosing.directions, units.n_units)
        drawn = self._stream("directions").standard_normal((n, units.n_units))
        self._directions = torch.from_numpy(drawn / np.linalg.norm(drawn, axis=1, keepdims=True)).float()
        self._top, self._half = (TopExamples(units.n_units, choosing.k) for _ in range(2))
        self._along = TopExamples(n, choosing.k)

    def update(
        self,
        activations: Float[Tensor, "sequence position unit"],
        sequences: Int[Tensor, " sequence"],
        documents: Int[Tensor, " sequence"],
    ) -> None:
        """Take in whole sequences, with the numbers of each and of its document."""
        self._top.update(activations, sequences, documents)
        directions = self._directions.to(activations)
        self._along.update(activations @ directions.T, sequences, documents)
        mine = torch.from_numpy(self._first)[sequences.cpu()]
        if mine.any():
            self._half.update(activations[mine.to(activations.device)], sequences[mine], documents[mine])

    def places(self) -> FinalPlaces:
        """What was chosen."""
        top, n = _places(self._top), self._units.n_units
        half, k = _places(self._half), self._choosing.k
        draws = self._stream("held_out").random_sample((n, half.sequences.shape[1]))
        order = self._stream("others").permutation(n)
        other = np.empty(n, dtype=np.int64)
        other[order] = np.roll(order, 1)  # nobody is its own other, unless alone
        return FinalPlaces(
            top=top,
            held_out=same_tokens(self._tokens, half, ~self._first, draws),
            other=top.of(torch.from_numpy(other)) if n > 1 else _none(n),
            random=self._random(k),
            direction=_places(self._along),
            directions=self._directions,
        )

    def _random(self, k: int) -> Places:
        drawn = stream(self._choosing.seed, f"{PURPOSE}.random")
        n_sequences, n_positions = self._tokens.shape
        sequences = drawn.permutation(n_sequences)[:k]
        positions = drawn.randint(n_positions, size=len(sequences))
        n = self._units.n_units
        return Places(*(torch.from_numpy(np.tile(one, (n, 1))) for one in (sequences, positions)))

    def _stream(self, of: str) -> np.random.RandomState:
        return stream(self._choosing.seed, f"{PURPOSE}.{of}", self._units.layer)


def _places(found: TopExamples) -> Places:
    table = found.table()
    return Places(table.sequences, table.positions)


def _none(n: int) -> Places:
    nothing = torch.full((n, 1), -1)
    return Places(nothing, nothing)
