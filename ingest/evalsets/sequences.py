"""Token sequences of any length, kept one after the other, and what is known of each token."""

import hashlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from jaxtyping import Float32, Int, Int8, Int16, Int32, Shaped

PerToken = Shaped[np.ndarray, " token"]


@dataclass(frozen=True, eq=False)
class Batch:
    """Sequences of one length: their numbers in the eval set and their tokens."""

    sequences: Int[np.ndarray, " sequence"]
    tokens: Int32[np.ndarray, "sequence position"]


@dataclass(frozen=True, eq=False)
class Sequences:
    """All sequences of an eval set.

    ids: all tokens; offsets: where each sequence begins, and the end of the last. document: number of the text it
    comes from, -1 for none; start: its first token there, a start token not counted. The columns after that are None
    where they mean nothing; surprisal in nats, classes as in `TokenClass`.
    """

    ids: Int32[np.ndarray, " token"]
    offsets: Int[np.ndarray, " boundary"]
    document: Int[np.ndarray, " sequence"]
    start: Int[np.ndarray, " sequence"]
    byte_lengths: Int16[np.ndarray, " token"] | None = None
    classes: Int8[np.ndarray, " token"] | None = None
    unigram_surprisal: Float32[np.ndarray, " token"] | None = None
    bigram_surprisal: Float32[np.ndarray, " token"] | None = None

    @classmethod
    def of(
        cls,
        rows: Sequence[Int[np.ndarray, " position"]],
        *,
        document: Sequence[int] | None = None,
        start: Sequence[int] | None = None,
        byte_lengths: Sequence[Int[np.ndarray, " position"]] | None = None,
        classes: Sequence[Int[np.ndarray, " position"]] | None = None,
    ) -> "Sequences":
        """Put rows of any length one after the other."""
        n = len(rows)
        return cls(
            ids=_joined(rows, np.int32),
            offsets=np.cumsum([0, *map(len, rows)]),
            document=np.full(n, -1) if document is None else np.array(document, dtype=np.int64),
            start=np.zeros(n, dtype=np.int64) if start is None else np.array(start, dtype=np.int64),
            byte_lengths=None if byte_lengths is None else _joined(byte_lengths, np.int16),
            classes=None if classes is None else _joined(classes, np.int8),
        )

    def __len__(self) -> int:
        return len(self.document)

    def __getitem__(self, sequence: int) -> Int32[np.ndarray, " position"]:
        return self.ids[self.offsets[sequence] : self.offsets[sequence + 1]]

    @cached_property
    def lengths(self) -> Int[np.ndarray, " sequence"]:
        """Tokens of each sequence."""
        lengths: np.ndarray = np.diff(self.offsets)
        return lengths

    def batches(self, size: int) -> Iterator[Batch]:
        """Every sequence once, at most `size` together, all of a batch equally long; nothing is ever padded.

        Short sequences first; of one length in their own order.
        """
        order = np.argsort(self.lengths, kind="stable")
        edges = np.flatnonzero(np.diff(self.lengths[order])) + 1
        for group in np.split(order, edges):
            for begin in range(0, len(group), size):
                chosen = group[begin : begin + size]
                yield Batch(chosen, self.stack(self.ids, chosen))

    def stack(
        self, values: PerToken, sequences: Int[np.ndarray, " sequence"]
    ) -> Shaped[np.ndarray, "sequence position"]:
        """A column of tokens as a rectangle, for sequences of one length."""
        return np.stack([values[self.offsets[i] : self.offsets[i + 1]] for i in sequences])

    @cached_property
    def digest(self) -> str:
        """SHA-256 (hex) over the tokens and where they come from; not over what is derived from them."""
        found = hashlib.sha256()
        for column in (self.offsets, self.ids, self.document, self.start):
            found.update(np.ascontiguousarray(column, dtype="<i8").tobytes())
        return found.hexdigest()

    def columns(self) -> dict[str, Any]:
        """Columns of the archive's content_sequence."""
        import pyarrow as pa

        def listed(values: np.ndarray | None) -> Any:
            if values is None:
                return None
            return pa.ListArray.from_arrays(pa.array(self.offsets, pa.int32()), pa.array(values))

        return {
            "sequence": np.arange(len(self)),
            "document": self.document,
            "start": self.start,
            "token_ids": listed(self.ids),
            "unigram_surprisal": listed(self.unigram_surprisal),
            "bigram_surprisal": listed(self.bigram_surprisal),
            "token_classes": listed(None if self.classes is None else self.classes.astype(np.int16)),
            "byte_lengths": listed(self.byte_lengths),
        }


def _joined(rows: Sequence[np.ndarray], dtype: type[np.generic]) -> np.ndarray:
    return np.concatenate([np.zeros(0, dtype=dtype), *rows]).astype(dtype)
