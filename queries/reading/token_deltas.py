"""Losses of the same tokens at pairs of checkpoints, and what is known of each token: its kind, rarity, place."""

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Literal, Protocol

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from archive.store import Archive
from queries.reading.checkpoint_pairs import Pair
from queries.reading.quantities import Choice
from queries.reading.tables import floats, stretches
from queries.results import readable_sql

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]
SliceBy = Literal["class", "rarity", "position"]

RARITIES = ("commonest quarter", "2nd quarter", "3rd quarter", "rarest quarter")

# the loss at a position is that of the token after it, or of the answer that a task reads there; a sequence of no known
# document is one of its own
_SQL = """\
WITH eval AS (
  SELECT encoding_id AS id FROM quantity WHERE id = $quantity_id
), pairs AS (
  SELECT unnest($pairs) AS pair, unnest($checkpoints_a) AS a, unnest($checkpoints_b) AS b
), losses AS (
  SELECT checkpoint_id, sequence, "values" FROM fact_token
  WHERE quantity_id = $quantity_id AND run_id IN (SELECT unnest($run_ids))
    AND (checkpoint_id IN (SELECT a FROM pairs) OR checkpoint_id IN (SELECT b FROM pairs))
    AND ($sequence IS NULL OR sequence = $sequence)
), answers AS (
  SELECT sequence, position, any_value(correct_ids[1]) AS token_id FROM content_item
  WHERE encoding_id = (SELECT id FROM eval) GROUP BY ALL
), tokens AS (
  SELECT p.pair, a.sequence, CASE WHEN s.document >= 0 THEN s.document ELSE -1 - a.sequence END AS document,
         unnest(range(len(a."values"))) AS position, unnest(a."values")::DOUBLE AS loss_a,
         unnest(b."values")::DOUBLE AS loss_b, unnest(s.token_ids[2:]) AS next_id, unnest(s.token_classes[2:]) AS class,
         unnest(s.unigram_surprisal[2:])::DOUBLE AS surprisal
  FROM pairs p
  JOIN losses a ON a.checkpoint_id = p.a
  JOIN losses b ON b.checkpoint_id = p.b AND b.sequence = a.sequence
  LEFT JOIN content_sequence s ON s.encoding_id = (SELECT id FROM eval) AND s.sequence = a.sequence
)
SELECT t.pair, t.sequence, t.position, t.document, t.loss_a, t.loss_b, t.loss_b - t.loss_a AS difference,
       coalesce(w.token_id, t.next_id, -1) AS token_id, coalesce(t.class, -1) AS class, t.surprisal
FROM tokens t
LEFT JOIN answers w ON w.sequence = t.sequence AND w.position = t.position
WHERE isfinite(t.loss_a) AND isfinite(t.loss_b)
ORDER BY t.pair, t.sequence, t.position"""

_CLASSES_SQL = """\
SELECT e.facts_json FROM encoding e WHERE e.id = (SELECT encoding_id FROM quantity WHERE id = $quantity_id)"""

_SEQUENCE_SQL = """\
WITH eval AS (
  SELECT e.id, e.tokenizer_id, e.text_set_id FROM encoding e
  WHERE e.id = (SELECT encoding_id FROM quantity WHERE id = $quantity_id)
), places AS (
  SELECT s.document, unnest(range(len(s.token_ids))) AS place, unnest(s.token_ids) AS token_id
  FROM content_sequence s WHERE s.encoding_id = (SELECT id FROM eval) AND s.sequence = $sequence
)
SELECT p.place, p.token_id, w.text AS token, d.name AS document, p.document AS number
FROM places p
LEFT JOIN content_vocab w ON w.tokenizer_id = (SELECT tokenizer_id FROM eval) AND w.token_id = p.token_id
LEFT JOIN content_document d ON d.text_set_id = (SELECT text_set_id FROM eval) AND d.document = p.document
ORDER BY p.place"""


class Described(Protocol):
    """What tokens are cut into slices by, (token,) each: as in `TokenDeltas`."""

    @property
    def kind(self) -> Ints:
        """Classes, −1 where unknown."""

    @property
    def surprisal(self) -> Floats:
        """By frequency, in nats; NaN where unknown."""

    @property
    def position(self) -> Ints:
        """Where the prediction is made."""


@dataclass(frozen=True)
class TokenDeltas:
    """Every prediction that both checkpoints of a pair have a finite loss for, in the order of the eval set.

    All arrays are (token,). position: where the prediction is made. token: the id predicted, −1 where it is not known.
    kind: the token's class, −1 where unknown. surprisal: unigram surprisal of the token in nats, NaN where unknown.
    """

    pair: Pair
    sequence: Ints
    position: Ints
    document: Ints
    loss_a: Floats
    loss_b: Floats
    token: Ints
    kind: Ints
    surprisal: Floats

    @cached_property
    def delta(self) -> Floats:
        """Loss at B − loss at A in nats: above 0 where B is worse."""
        return self.loss_b - self.loss_a

    def __len__(self) -> int:
        return len(self.sequence)


def read_deltas(
    archive: Archive, choice: Choice, pairs: Sequence[Pair], sequence: int | None = None
) -> tuple[list[TokenDeltas], str]:
    """One entry per pair, and the statement; an entry is empty where the two share no token.

    sequence: read this one only.
    """
    parameters: dict[str, object] = {
        "quantity_id": choice.quantity.quantity_id,
        "run_ids": sorted({p.run_id for pair in pairs for p in (pair.a, pair.b)}),
        "pairs": list(range(len(pairs))),
        "checkpoints_a": [pair.a.checkpoint_id for pair in pairs],
        "checkpoints_b": [pair.b.checkpoint_id for pair in pairs],
        "sequence": sequence,
    }
    rows = archive.query(_SQL, parameters)
    found = {}
    for start, end in zip(*stretches(rows, ["pair"]), strict=True):
        part = rows.slice(int(start), int(end - start))
        k = int(part["pair"][0].as_py())
        found[k] = _deltas(pairs[k], part)
    none = rows.slice(0, 0)
    return [found.get(k) or _deltas(pair, none) for k, pair in enumerate(pairs)], readable_sql(
        _SQL, parameters
    )


def class_names(archive: Archive, choice: Choice) -> dict[int, str]:
    """What the classes of tokens are called in this eval set; empty where it has none."""
    rows = archive.rows(_CLASSES_SQL, {"quantity_id": choice.quantity.quantity_id})
    facts = json.loads(rows[0]["facts_json"]) if rows else {}
    return {int(k): str(name).replace("_", " ") for name, k in facts.get("token_classes", {}).items()}


def read_sequence(archive: Archive, choice: Choice, sequence: int) -> list[dict[str, object]]:
    """Tokens of one sequence: place, token_id, token (None without a vocabulary), document. Empty without texts."""
    parameters = {"quantity_id": choice.quantity.quantity_id, "sequence": sequence}
    return archive.rows(_SEQUENCE_SQL, parameters)


def cut_into(
    deltas: Described, by: SliceBy, kinds: Mapping[int, str]
) -> Iterator[tuple[str, NDArray[np.bool_]]]:
    """(name of a slice, which tokens are in it), those that have tokens; nothing where the archive does not know."""
    if by == "class":
        for k in np.flatnonzero(np.bincount(deltas.kind[deltas.kind >= 0])).tolist():
            yield kinds.get(k, f"class {k}"), deltas.kind == k
    elif by == "rarity":
        known = np.isfinite(deltas.surprisal)
        if known.any() and np.ptp(deltas.surprisal[known]) > 0:
            shares = np.linspace(0, 1, len(RARITIES) + 1)[1:-1]
            place = np.searchsorted(np.quantile(deltas.surprisal[known], shares), deltas.surprisal, "right")
            for k in range(len(RARITIES)):
                inside = known & (place == k)
                if inside.any():
                    yield RARITIES[k], inside
    else:
        octave = np.floor(np.log2(deltas.position + 1)).astype(int)
        for k in np.unique(octave).tolist():
            low, high = 2**k, 2 ** (k + 1) - 1
            yield f"after {low}–{high} tokens" if high > low else "after 1 token", octave == k


def _deltas(pair: Pair, rows: pa.Table) -> TokenDeltas:
    def whole(name: str) -> Ints:
        found: Ints = rows[name].to_numpy().astype(np.int64)
        return found

    return TokenDeltas(
        pair,
        whole("sequence"),
        whole("position"),
        whole("document"),
        floats(rows, "loss_a"),
        floats(rows, "loss_b"),
        whole("token_id"),
        whole("class"),
        floats(rows, "surprisal"),
    )
