"""Losses of the same tokens over training, of a sample of an eval set's tokens, in arrays."""

from dataclasses import dataclass

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from archive.store import Archive
from queries.reading.checkpoints import LeftOuts
from queries.reading.quantities import Choice
from queries.reading.tables import stretches
from queries.results import readable_sql

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]

# the sample is by a hash of where a token is, so that everybody draws the same one; md5 is the same in every version
_TOKENS_SQL = """\
WITH places AS (
  SELECT sequence, unnest(range(len("values"))) AS position, unnest("values") AS value
  FROM fact_token WHERE quantity_id = $quantity_id AND run_id = $run_id AND checkpoint_id = (
    SELECT max(checkpoint_id) FROM fact_token WHERE quantity_id = $quantity_id AND run_id = $run_id)
), kept AS (
  SELECT sequence, position, count(*) OVER () AS n_tokens FROM places WHERE isfinite(value)
  ORDER BY md5_number_lower($seed || ' ' || sequence || ' ' || position), sequence, position LIMIT $max_tokens
)"""

_CURVES_SQL = (
    _TOKENS_SQL
    + """, wanted AS (
  SELECT sequence, list(position + 1 ORDER BY position) AS places FROM kept GROUP BY sequence
)
SELECT f.run_id, c.step, f.sequence, [f."values"[place] FOR place IN w.places] AS losses
FROM fact_token f JOIN wanted w ON w.sequence = f.sequence JOIN checkpoint c ON c.id = f.checkpoint_id
WHERE f.quantity_id = $quantity_id AND f.run_id IN (SELECT unnest($run_ids))
  AND f.checkpoint_id NOT IN (SELECT unnest($left_out))
ORDER BY f.run_id, c.step, f.sequence"""
)

_WHAT_SQL = (
    _TOKENS_SQL
    + """, eval AS (
  SELECT e.id, e.tokenizer_id FROM encoding e WHERE e.id = (SELECT encoding_id FROM quantity WHERE id = $quantity_id)
)
SELECT k.sequence, k.position, k.n_tokens,
       CASE WHEN s.document >= 0 THEN s.document ELSE -1 - k.sequence END AS document,
       coalesce(i.correct_ids[1], s.token_ids[k.position + 2], -1) AS token_id, v.text AS token
FROM kept k
LEFT JOIN content_sequence s ON s.encoding_id = (SELECT id FROM eval) AND s.sequence = k.sequence
LEFT JOIN content_item i ON i.encoding_id = (SELECT id FROM eval) AND i.sequence = k.sequence AND i.position = k.position
LEFT JOIN content_vocab v ON v.tokenizer_id = (SELECT tokenizer_id FROM eval)
  AND v.token_id = coalesce(i.correct_ids[1], s.token_ids[k.position + 2], -1)
QUALIFY row_number() OVER (PARTITION BY k.sequence, k.position) = 1
ORDER BY k.sequence, k.position"""
)


@dataclass(frozen=True, eq=False)
class TokenCurves:
    """One run's losses: values (time, token), in nats; steps > 0, increasing. token: rows of `Sampled.tokens`."""

    run_id: int
    steps: Floats
    values: Floats
    token: Ints


@dataclass(frozen=True, eq=False)
class Sampled:
    """The sample and its curves.

    tokens: sequence, position, document, token_id, token, by sequence and position. n_tokens: there are in all.
    n_broken: (run, token) left out because a value is missing or not finite.
    """

    curves: tuple[TokenCurves, ...]
    tokens: pa.Table
    n_tokens: int
    n_broken: int
    sql: str

    @property
    def documents(self) -> Ints:
        """Of every token of the sample; a sequence of no known document is one of its own."""
        found: Ints = self.tokens["document"].to_numpy().astype(np.int64)
        return found


def read_token_curves(
    archive: Archive, choice: Choice, left_out: LeftOuts, max_tokens: int, seed: int
) -> Sampled:
    """Read the same tokens of every run of the choice, two statements in all; step 0 has no place on a log axis."""
    parameters: dict[str, object] = {
        "quantity_id": choice.quantity.quantity_id,
        "run_id": choice.selected.ids[0],
        "seed": seed,
        "max_tokens": max_tokens,
    }
    tokens = archive.query(_WHAT_SQL, parameters)
    reading = {**parameters, "run_ids": choice.selected.ids, "left_out": left_out.ids}
    rows = archive.query(_CURVES_SQL, reading)
    n = int(tokens["n_tokens"][0].as_py()) if tokens.num_rows else 0
    curves, n_broken = [], 0
    for start, end in zip(*stretches(rows, ["run_id"]), strict=True):
        found = _of_run(rows.slice(int(start), int(end - start)), tokens.num_rows)
        n_broken += tokens.num_rows - len(found.token)
        curves.append(found)
    return Sampled(
        tuple(curves), tokens.drop_columns(["n_tokens"]), n, n_broken, readable_sql(_CURVES_SQL, reading)
    )


def _of_run(rows: pa.Table, n_tokens: int) -> TokenCurves:
    steps, values = [], []
    for start, end in zip(*stretches(rows, ["step"]), strict=True):
        losses = rows["losses"].slice(int(start), int(end - start)).combine_chunks().flatten()
        steps.append(float(rows["step"][int(start)].as_py()))
        found = losses.cast(pa.float64()).to_numpy(zero_copy_only=False)
        # a checkpoint that lacks a sequence has no place for any
        values.append(found if len(found) == n_tokens else np.full(n_tokens, np.nan))
    times, table = np.array(steps), np.array(values).reshape(len(steps), n_tokens)
    usable = (times > 0) & np.isfinite(table).any(1)
    table = table[usable]
    whole = np.flatnonzero(np.isfinite(table).all(0))
    run = int(rows["run_id"][0].as_py())
    return TokenCurves(run, times[usable], np.ascontiguousarray(table[:, whole]), whole)
