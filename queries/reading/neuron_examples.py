"""Top examples of a neuron over training: which stay, since when, and the text around them."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa

from archive.store import Archive
from queries.reading.tables import stretches

Example = tuple[int, int]  # sequence and position in the eval set

# windows around examples, and the words of token ids: one statement for all runs
_TEXT_SQL = """\
WITH eval AS (
  SELECT e.id, e.tokenizer_id, e.text_set_id FROM encoding e
  WHERE e.id = (SELECT encoding_id FROM quantity WHERE id = $quantity_id)
), asked AS (
  SELECT DISTINCT unnest($sequences) AS sequence, unnest($positions) AS position
), places AS (
  SELECT a.sequence, a.position, s.document, s.token_ids,
         unnest(range(greatest(a.position - $window, 0), least(a.position + $window + 1, len(s.token_ids)))) AS at
  FROM asked a JOIN content_sequence s ON s.sequence = a.sequence AND s.encoding_id = (SELECT id FROM eval)
), words AS (
  SELECT token_id, text FROM content_vocab WHERE tokenizer_id = (SELECT tokenizer_id FROM eval)
)
SELECT p.sequence, p.position, p.document, d.name, min(p.at) AS first,
       list(coalesce(w.text, '<' || p.token_ids[p.at + 1] || '>') ORDER BY p.at) AS tokens
FROM places p
LEFT JOIN words w ON w.token_id = p.token_ids[p.at + 1]
LEFT JOIN content_document d ON d.text_set_id = (SELECT text_set_id FROM eval) AND d.document = p.document
GROUP BY p.sequence, p.position, p.document, d.name
UNION ALL
SELECT -1, w.token_id, NULL, NULL, 0, [w.text] FROM words w WHERE w.token_id IN (SELECT unnest($token_ids))"""


@dataclass(frozen=True)
class Tops:
    """Top examples of one run's neuron at every checkpoint, best first.

    steps: ascending. examples, values: per checkpoint.
    """

    run_id: int
    run: str
    steps: list[int]
    examples: list[list[Example]]
    values: list[list[float]]

    def turnover(self) -> list[float | None]:
        """Per checkpoint the share of its examples that were not among those of the one before; None for the first."""
        found: list[float | None] = [None] if self.steps else []
        for before, now in zip(self.examples, self.examples[1:], strict=False):
            found.append(1 - len(set(before) & set(now)) / len(now) if now else None)
        return found

    def births(self, at: int) -> list[tuple[int | None, int]]:
        """For each example of the `at`-th checkpoint: (last step without it, first step since which it stays).

        The first is None for an example that was there from the first checkpoint.
        """
        found = []
        for example in self.examples[at]:
            k = at
            while k and example in self.examples[k - 1]:
                k -= 1
            found.append((self.steps[k - 1] if k else None, self.steps[k]))
        return found


def tops_by_run(rows: pa.Table) -> list[Tops]:
    """From rows run_id, run, step, sequences, positions, values, sorted by run and step; −1 marks no example."""
    found = []
    for a, b in zip(*stretches(rows, ["run_id"]), strict=True):
        mine: dict[str, list[Any]] = rows.slice(int(a), int(b - a)).to_pydict()
        lists = [
            [(s, p, v) for s, p, v in zip(*row, strict=True) if s >= 0]
            for row in zip(mine["sequences"], mine["positions"], mine["values"], strict=True)
        ]
        found.append(
            Tops(
                int(mine["run_id"][0]),
                str(mine["run"][0]),
                mine["step"],
                [[(s, p) for s, p, _ in row] for row in lists],
                [[float(v) for _, _, v in row] for row in lists],
            )
        )
    return found


@dataclass(frozen=True)
class Window:
    """The text around an example: its document, the tokens, and which of them the activation belongs to."""

    document: str
    tokens: list[str]
    at: int

    @property
    def parts(self) -> tuple[str, str, str]:
        """Text before the token, the token, text after it."""
        return "".join(self.tokens[: self.at]), self.tokens[self.at], "".join(self.tokens[self.at + 1 :])


def read_texts(
    archive: Archive,
    quantity_id: int,
    examples: Sequence[Example],
    token_ids: Sequence[int],
    window: int,
) -> tuple[Mapping[Example, Window], Mapping[int, str]]:
    """Windows of `window` tokens either side of each example, and the words of token ids, in one statement.

    What the archive does not hold is not in the result: published numbers come without texts.
    """
    windows, words = {}, {}
    parameters = {
        "quantity_id": quantity_id,
        "sequences": [sequence for sequence, _ in examples],
        "positions": [position for _, position in examples],
        "token_ids": sorted(set(token_ids)),
        "window": window,
    }
    for row in archive.rows(_TEXT_SQL, parameters):
        if row["sequence"] < 0:
            words[int(row["position"])] = str(row["tokens"][0])
        else:
            known = row["document"] is not None and row["document"] >= 0
            document = row["name"] or (
                f"document {row['document']}" if known else f"sequence {row['sequence']}"
            )
            windows[row["sequence"], row["position"]] = Window(
                document, row["tokens"], row["position"] - row["first"]
            )
    return windows, words


def chance_overlap(k: int, n_tokens: int) -> float:
    """Share of k examples that k others chosen at random from n_tokens places have in common, on average."""
    return k / n_tokens if n_tokens else float(np.nan)
