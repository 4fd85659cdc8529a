"""Losses of several runs on the same tokens as one array, and what is known of each token: kind, rarity, what came before."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import reduce

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from archive.errors import UsageError
from archive.store import Archive
from queries.reading.quantities import Choice
from queries.reading.tables import stretches
from queries.results import readable_sql

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]

REPEATS = ("first in the text", "again", "again after the same token")

_LOSS_SQL = """\
SELECT f.run_id, f.sequence, f."values" FROM fact_token f
WHERE f.quantity_id = $quantity_id AND f.run_id IN (SELECT unnest($run_ids))
  AND f.checkpoint_id IN (SELECT unnest($checkpoint_ids))
ORDER BY f.run_id, f.sequence"""

# where a task reads an answer that is not the next token of the text, the answer is what is predicted
_TEXT_SQL = """\
WITH eval AS (
  SELECT e.id, e.facts_json FROM encoding e JOIN quantity q ON q.encoding_id = e.id WHERE q.id = $quantity_id
), answers AS (
  SELECT sequence, list(position) AS positions, list(correct_ids[1]) AS answers FROM content_item
  WHERE encoding_id = (SELECT id FROM eval) GROUP BY sequence
)
SELECT s.sequence, s.document, s.token_ids, s.token_classes AS classes, s.unigram_surprisal AS surprisal,
       a.positions, a.answers, e.facts_json
FROM content_sequence s JOIN eval e ON e.id = s.encoding_id LEFT JOIN answers a ON a.sequence = s.sequence
ORDER BY s.sequence"""


@dataclass(frozen=True)
class SharedLosses:
    """Predictions that all runs have a finite loss for, in the order of the eval set.

    values: (run, token) in nats, runs as in run_ids. sequence, position: where the prediction is made. sql: what read them.
    """

    run_ids: tuple[int, ...]
    values: NDArray[np.float32]
    sequence: Ints
    position: Ints
    sql: str

    def of(self, run_ids: Sequence[int]) -> NDArray[np.float32]:
        """The rows of some runs, in that order."""
        return self.values[[self.run_ids.index(run) for run in run_ids]]


@dataclass(frozen=True)
class TokenFacts:
    """What is known of each prediction, (token,) each; −1 and NaN where it is not.

    token: the id predicted. document: a sequence of no known document is one of its own. kind: its class, named in
    `class_names`. surprisal: by frequency, in nats. repeat: 0 the token is new to the sequence, 1 it was there before, 2 also
    after the same token as now.
    """

    token: Ints
    document: Ints
    position: Ints
    kind: Ints
    surprisal: Floats
    repeat: Ints
    class_names: Mapping[int, str]


def read_shared_losses(archive: Archive, choice: Choice, at: Mapping[int, tuple[int, int]]) -> SharedLosses:
    """Losses of all runs at one checkpoint each, in one statement. Raises UsageError where they share no finite one."""
    parameters: dict[str, object] = {
        "quantity_id": choice.quantity.quantity_id,
        "run_ids": sorted(at),
        "checkpoint_ids": [checkpoint for checkpoint, _ in at.values()],
    }
    rows = archive.query(_LOSS_SQL, parameters)
    starts, ends = stretches(rows, ["run_id"])
    run_ids = tuple(int(rows["run_id"][int(a)].as_py()) for a in starts)
    parts = [_of_run(rows.slice(int(a), int(b - a))) for a, b in zip(starts, ends, strict=True)]
    nothing = UsageError(
        f"these {len(at)} runs have no finite {choice.quantity.measure} of one token in common; `pathscope status` shows what "
        "each has."
    )
    if set(run_ids) != set(at):
        raise nothing
    sequences, lengths = parts[0].sequences, parts[0].lengths
    if all(np.array_equal(p.sequences, sequences) and np.array_equal(p.lengths, lengths) for p in parts):
        values = np.stack([p.values for p in parts])
        keys = None
    else:
        keys = reduce(np.intersect1d, [p.keys for p in parts])
        values = np.stack([p.values[np.searchsorted(p.keys, keys)] for p in parts])
    finite = np.logical_and.reduce([np.isfinite(row) for row in values])
    if not finite.any():
        raise nothing
    every = finite.all()
    sequence, position = parts[0].places if keys is None else (keys >> 32, keys & (2**32 - 1))
    return SharedLosses(
        run_ids,
        values if every else values[:, finite],
        sequence if every else sequence[finite],
        position if every else position[finite],
        readable_sql(_LOSS_SQL, parameters),
    )


def read_token_facts(archive: Archive, choice: Choice, losses: SharedLosses) -> TokenFacts:
    """What the archive knows of the tokens, in one statement; an eval set without texts leaves only where they are."""
    rows = archive.query(_TEXT_SQL, {"quantity_id": choice.quantity.quantity_id})
    known = rows["sequence"].to_numpy().astype(np.int64)
    place = np.minimum(np.searchsorted(known, losses.sequence), max(len(known) - 1, 0))
    there = known[place] == losses.sequence if len(known) else np.zeros(len(place), bool)
    following = losses.position + 1

    def next_to(name: str, missing: float) -> NDArray[np.generic]:
        if not len(known):
            return np.full(len(place), missing)
        column = _Lists.of(rows[name])
        return column.at(place, np.where(there, following, -1), missing)

    token = next_to("token_ids", -1).astype(np.int64)
    documents = rows["document"].to_numpy().astype(np.int64)
    own = -1 - losses.sequence
    document = np.where(there & (documents[place] >= 0), documents[place], own) if len(known) else own
    return TokenFacts(
        _answered(rows, losses, token),
        document,
        losses.position,
        next_to("classes", -1).astype(np.int64),
        next_to("surprisal", np.nan).astype(np.float64),
        _repeats(rows, place, there, losses.position),
        _class_names(rows),
    )


@dataclass(frozen=True)
class _Lists:
    """A list column: `flat` holds all entries, each row's from its place in `starts`, `lengths` of them."""

    flat: NDArray[np.generic]
    starts: Ints
    lengths: Ints

    @classmethod
    def of(cls, column: pa.ChunkedArray) -> "_Lists":
        lengths = pc.fill_null(pc.list_value_length(column), 0).to_numpy().astype(np.int64)
        flat = pc.list_flatten(column).to_numpy()
        return cls(flat, np.r_[0, np.cumsum(lengths)[:-1]].astype(np.int64), lengths)

    def at(self, rows: Ints, places: Ints, missing: float) -> NDArray[np.generic]:
        """Entries by row and place in it; `missing` where there is none."""
        inside = (places >= 0) & (places < self.lengths[rows])
        if not len(self.flat):
            return np.full(len(rows), missing)
        found = self.flat[np.where(inside, self.starts[rows] + places, 0)]
        return found if inside.all() else np.where(inside, found, missing)


@dataclass(frozen=True)
class _Part:
    """One run: its sequences, how many values each has, and all values."""

    sequences: Ints
    lengths: Ints
    values: NDArray[np.float32]

    @property
    def places(self) -> tuple[Ints, Ints]:
        """Sequence and position of every value."""
        starts = np.cumsum(self.lengths) - self.lengths
        position = np.arange(len(self.values)) - np.repeat(starts, self.lengths)
        return np.repeat(self.sequences, self.lengths), position

    @property
    def keys(self) -> Ints:
        """Sequence · 2³² + position, ascending."""
        sequence, position = self.places
        return (sequence << 32) | position


def _of_run(rows: pa.Table) -> _Part:
    lists = _Lists.of(rows["values"])
    return _Part(rows["sequence"].to_numpy().astype(np.int64), lists.lengths, lists.flat.astype(np.float32))


def _answered(rows: pa.Table, losses: SharedLosses, token: Ints) -> Ints:
    """The ids predicted, with the answers of a task in place of what follows in the text."""
    known = rows.filter(pc.is_valid(rows["positions"]))
    if not known.num_rows:
        return token
    positions, answers = _Lists.of(known["positions"]), _Lists.of(known["answers"])
    sequences = np.repeat(known["sequence"].to_numpy().astype(np.int64), positions.lengths)
    asked = (sequences << 32) | positions.flat.astype(np.int64)
    order = np.argsort(asked)
    keys = (losses.sequence << 32) | losses.position
    place = np.minimum(np.searchsorted(asked[order], keys), len(asked) - 1)
    found: Ints = np.where(asked[order][place] == keys, answers.flat[order][place], token).astype(np.int64)
    return found


def _repeats(rows: pa.Table, place: Ints, there: NDArray[np.bool_], position: Ints) -> Ints:
    """0, 1 or 2 per prediction as in `TokenFacts`, −1 where the text is not known."""
    if not rows.num_rows:
        return np.full(len(place), -1)
    texts = _Lists.of(rows["token_ids"])
    sequence = np.repeat(np.arange(rows.num_rows), texts.lengths)
    # numbers of the ids there are: so small that sequence, two of them and the place fit into 64 bits
    ids = texts.flat.astype(np.int64)
    present = np.bincount(ids) > 0
    token = (np.cumsum(present) - 1)[ids]
    n = int(present.sum())
    before = np.r_[-1, token[:-1]] + 1
    before[texts.starts[texts.lengths > 0]] = 0
    again = _seen(sequence * n + token)
    twice = _seen((sequence * n + token) * (n + 1) + before)
    level = again.astype(np.int64) + (again & twice & (before > 0))
    lists = _Lists(level, texts.starts, texts.lengths)
    return lists.at(place, np.where(there, position + 1, -1), -1).astype(np.int64)


def _seen(keys: Ints) -> NDArray[np.bool_]:
    """Whether the same key came earlier."""
    order = np.argsort(keys, kind="stable")
    ordered = keys[order]
    found = np.zeros(len(keys), bool)
    found[order[1:]] = ordered[1:] == ordered[:-1]
    return found


def _class_names(rows: pa.Table) -> Mapping[int, str]:
    facts = json.loads(rows["facts_json"][0].as_py()) if rows.num_rows else {}
    return {int(k): str(name).replace("_", " ") for name, k in facts.get("token_classes", {}).items()}
