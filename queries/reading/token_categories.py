"""Tokens in categories that are known before any loss is: kind, rarity, place, and whether they were there before."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from queries.reading.size_losses import REPEATS, SharedLosses, TokenFacts
from queries.reading.token_deltas import cut_into
from queries.stats.replication import halves

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]

Category = Literal["class", "rarity", "position", "repeated"]
CATEGORIES: tuple[Category, ...] = ("class", "rarity", "position", "repeated")


@dataclass(frozen=True)
class Cut:
    """One way to sort tokens. names: of its categories. member: (token,) which one, −1 for none."""

    names: tuple[str, ...]
    member: Ints


@dataclass(frozen=True)
class SortedTokens:
    """Tokens with all that does not depend on which runs are compared.

    documents: (token,) numbered from 0, n_documents of them. held: (token,) those in the half that finds nothing. cuts: ways
    with at least two categories.
    """

    losses: SharedLosses
    facts: TokenFacts
    documents: Ints
    n_documents: int
    held: NDArray[np.bool_]
    cuts: Mapping[Category, Cut]

    def means(self, values: NDArray[np.floating]) -> dict[Category, Floats]:
        """Mean of each run in each category, (run, category); values: (run, token)."""
        shape = tuple(len(cut.names) + 1 for cut in self.cuts.values())
        if not shape:
            return {}
        cells = np.ravel_multi_index([cut.member + 1 for cut in self.cuts.values()], shape)
        n_cells = int(np.prod(shape))
        counts = np.bincount(cells, minlength=n_cells).reshape(shape)
        sums = np.stack([np.bincount(cells, row, n_cells).reshape(shape) for row in values])
        found = {}
        for axis, by in enumerate(self.cuts):
            others = tuple(k for k in range(len(shape)) if k != axis)
            shifted = tuple(k + 1 for k in others)
            # the first is of tokens in no category
            found[by] = sums.sum(shifted)[:, 1:] / counts.sum(others)[1:]
        return found

    def by_document(self, values: Floats, by: Category) -> tuple[Floats, Floats]:
        """Sums and numbers of tokens by (document, category); values: (token,)."""
        cut = self.cuts[by]
        n = len(cut.names) + 1
        cells = self.documents * n + cut.member + 1
        size = self.n_documents * n
        sums = np.bincount(cells, values, size).astype(np.float64).reshape(-1, n)[:, 1:]
        counts = np.bincount(cells, minlength=size).astype(np.float64).reshape(-1, n)[:, 1:]
        return sums, counts


def sort_tokens(losses: SharedLosses, facts: TokenFacts, ways: Sequence[Category]) -> SortedTokens:
    """Cut tokens in the ways asked for, leaving out those that the archive knows nothing of."""
    documents, n_documents = _numbered(facts.document)
    cuts = {by: cut for by in dict.fromkeys(ways) if len((cut := _cut(facts, by)).names) > 1}
    held = halves(documents, np.zeros_like(documents))
    return SortedTokens(losses, facts, documents, n_documents, held, cuts)


def _numbered(documents: Ints) -> tuple[Ints, int]:
    """Documents numbered from 0, and how many there are; tokens of one lie together, so few need to be looked at."""
    starts = np.flatnonzero(np.r_[True, documents[1:] != documents[:-1]])
    names, numbers = np.unique(documents[starts], return_inverse=True)
    found: Ints = np.repeat(numbers, np.diff(np.r_[starts, len(documents)])).astype(np.int64)
    return found, len(names)


def _cut(facts: TokenFacts, by: Category) -> Cut:
    member = np.full(len(facts.token), -1)
    if by == "repeated":
        there = np.flatnonzero(np.bincount(facts.repeat + 1, minlength=4)[1:])
        for k, level in enumerate(there):
            member[facts.repeat == level] = k
        return Cut(tuple(REPEATS[level] for level in there), member)
    names: list[str] = []
    for name, inside in cut_into(facts, by, facts.class_names):
        member[inside] = len(names)
        names.append(f"{name} by frequency" if by == "rarity" else name)
    return Cut(tuple(names), member)
