"""Log-probabilities of the same tokens in two sizes of models: counted in squares, and on how many the small is better."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from archive.errors import NotComparable
from archive.store import Archive
from queries.reading.checkpoints import find_left_out, pick_checkpoints
from queries.reading.quantities import Choice, Which, choose_quantity
from queries.reading.select import RunSelection
from queries.reading.size_losses import SharedLosses, read_shared_losses
from queries.reading.size_pairs import select_sizes
from queries.reading.token_deltas import read_sequence
from queries.results import readable_sql
from queries.stats.clustered_share import clustered_share

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]
At = Literal["final"] | int

N_SQUARES = 48
N_BINS = 41  # odd: the middle one holds 0
REACH = 0.995  # share of tokens inside the outermost squares and bars, which take the rest
MOST_PAIRS_OF_RUNS = 100
LEVEL = 0.95

_DOCUMENTS_SQL = """\
SELECT s.sequence, s.document FROM content_sequence s
WHERE s.encoding_id = (SELECT encoding_id FROM quantity WHERE id = $quantity_id) ORDER BY s.sequence"""

# the mean of the runs of each size at every prediction of one sequence that all have a finite loss for
_SEQUENCE_SQL = """\
WITH losses AS (
  SELECT run_id IN (SELECT unnest($small)) AS is_small, unnest(range(len("values"))) AS position,
         unnest("values")::DOUBLE AS loss
  FROM fact_token
  WHERE quantity_id = $quantity_id AND run_id IN (SELECT unnest($run_ids))
    AND checkpoint_id IN (SELECT unnest($checkpoint_ids)) AND sequence = $sequence
)
SELECT position, avg(loss) FILTER (is_small) AS loss_small, avg(loss) FILTER (NOT is_small) AS loss_large
FROM losses GROUP BY position HAVING count(*) = $n_runs AND bool_and(isfinite(loss)) ORDER BY position"""


@dataclass(frozen=True)
class TokenDifference:
    """Log-probabilities in nats, each the mean over the runs of a size; above 0 the difference is the small one's lead.

    edges: of the squares, ascending, on both axes; counts: (small, large) tokens in each. bars, heights: edges and counts of
    the difference small − large. Outermost squares and bars take what lies beyond. share: of tokens at which the small is
    better, with its interval over documents. pairs: least and most of that share for one small and one large run, NaN where
    there are too many pairs. spread95: 95 % of absolute differences are smaller. sequences: numbers of those with tokens.
    """

    edges: Floats
    counts: Ints
    bars: Floats
    heights: Ints
    share: tuple[float, float, float]
    equal: float
    pairs: tuple[float, float]
    median: float
    spread95: float
    n_tokens: int
    n_documents: int
    n_runs: tuple[int, int]
    steps: tuple[int, ...]
    absent: tuple[str, ...]
    sequences: tuple[int, ...]
    limits: tuple[str, ...]
    sql: str


@dataclass(frozen=True)
class _Read:
    choice: Choice
    at: dict[int, tuple[int, int]]
    small: list[int]
    large: list[int]
    absent: tuple[str, ...]
    limits: tuple[str, ...]


def token_difference(
    archive: Archive,
    *,
    runs: RunSelection,
    small: Sequence[str],
    large: Sequence[str],
    step: At,
    which: Which,
) -> TokenDifference:
    """Compare the sizes at one checkpoint a run; raises what the query `smaller_beats_larger` does."""
    read = _read(archive, runs, small, large, step, which)
    losses = read_shared_losses(archive, read.choice, read.at)
    values = losses.of([*read.small, *read.large])
    n_small = len(read.small)
    mean_small, mean_large = (part.mean(0, dtype=np.float64) for part in (values[:n_small], values[n_small:]))
    documents = _documents(archive, read.choice, losses)
    delta = mean_large - mean_small
    edges, counts = _squares(-mean_small, -mean_large)
    bars, heights = _bars(delta)
    return TokenDifference(
        edges=edges,
        counts=counts,
        bars=bars,
        heights=heights,
        share=clustered_share(delta > 0, documents, LEVEL),
        equal=float((delta == 0).mean()),
        pairs=_pairs(values, n_small),
        median=float(np.median(delta)),
        spread95=float(np.quantile(np.abs(delta), 0.95)) or 1.0,
        n_tokens=len(delta),
        n_documents=len(np.unique(documents)),
        n_runs=(n_small, len(read.large)),
        steps=tuple(sorted({step for _, step in read.at.values()})),
        absent=read.absent,
        sequences=tuple(np.unique(losses.sequence).tolist()),
        limits=read.limits,
        sql=losses.sql,
    )


def sequence_rows(
    archive: Archive,
    *,
    runs: RunSelection,
    small: Sequence[str],
    large: Sequence[str],
    step: At,
    which: Which,
    sequence: int,
) -> tuple[list[dict[str, Any]], str]:
    """One text, token by token, and the statement behind it. loss_a: of the large runs, loss_b: of the small ones, means.

    A token that nothing predicts, such as the first, has no loss; an answer that is not part of the text comes after it.
    """
    read = _read(archive, runs, small, large, step, which)
    parameters: dict[str, object] = {
        "quantity_id": read.choice.quantity.quantity_id,
        "run_ids": sorted(read.at),
        "checkpoint_ids": [checkpoint for checkpoint, _ in read.at.values()],
        "small": read.small,
        "sequence": sequence,
        "n_runs": len(read.at),
    }
    found = {int(row["position"]) + 1: row for row in archive.rows(_SEQUENCE_SQL, parameters)}
    tokens: Mapping[int, Mapping[str, Any]] = {
        int(str(t["place"])): t for t in read_sequence(archive, read.choice, sequence)
    }
    document = next((str(t["document"]) for t in tokens.values() if t["document"]), f"sequence {sequence}")
    rows = []
    for place in range(max([-1, *found, *tokens]) + 1):
        row, token = found.get(place), tokens.get(place)
        rows.append(
            {
                "place": place,
                "document": document,
                "token_id": int(token["token_id"]) if token else -1,
                "token": token["token"] if token else None,
                "loss_a": row["loss_large"] if row else None,
                "loss_b": row["loss_small"] if row else None,
                "delta": row["loss_small"] - row["loss_large"] if row else None,
            }
        )
    return rows, readable_sql(_SEQUENCE_SQL, parameters)


def squares_table(found: TokenDifference) -> pa.Table:
    """Every square with a token: its borders in nats and the number of tokens."""
    y, x = np.nonzero(found.counts)
    low, high = found.edges[:-1], found.edges[1:]
    return pa.table(
        {
            "small_from": low[y],
            "small_to": high[y],
            "large_from": low[x],
            "large_to": high[x],
            "n_tokens": found.counts[y, x],
        }
    )


def bars_table(found: TokenDifference) -> pa.Table:
    """Every bar of the difference small − large: its borders in nats and the number of tokens."""
    return pa.table({"from": found.bars[:-1], "to": found.bars[1:], "n_tokens": found.heights})


def _read(
    archive: Archive,
    runs: RunSelection,
    small: Sequence[str],
    large: Sequence[str],
    step: At,
    which: Which,
) -> _Read:
    """Which checkpoints are compared, as `smaller_beats_larger` chooses them."""
    selected, told = select_sizes(archive, runs, small, large)
    choice = choose_quantity(archive, selected, ["token_loss"], which, tables=("fact_token",))
    left_out = find_left_out(archive, choice, which)
    picked = pick_checkpoints(archive, choice.selected, choice.quantity, left_out, step)
    assert told is not None  # both sizes are always named here
    ours, theirs = ([run for run in picked.at if run in part] for part in (told.small, told.large))
    if not ours or not theirs:
        raise NotComparable(
            f"{len(ours)} small and {len(theirs)} large run(s) have losses of tokens there; expected some of both: choose "
            "another step or other sizes."
        )
    absent = [run.run for run in selected.runs if run.run_id not in picked.at]
    return _Read(choice, picked.at, ours, theirs, tuple(absent), (*choice.notes, *left_out.limits))


def _documents(archive: Archive, choice: Choice, losses: SharedLosses) -> Ints:
    """(token,) the document of each; a sequence of no known document is one of its own."""
    rows = archive.query(_DOCUMENTS_SQL, {"quantity_id": choice.quantity.quantity_id})
    known, document = (rows[name].to_numpy().astype(np.int64) for name in ("sequence", "document"))
    own = -1 - losses.sequence
    if not len(known):
        return own
    place = np.minimum(np.searchsorted(known, losses.sequence), len(known) - 1)
    found: Ints = np.where((known[place] == losses.sequence) & (document[place] >= 0), document[place], own)
    return found


def _squares(small: Floats, large: Floats) -> tuple[Floats, Ints]:
    lowest = -float(np.quantile(-np.concatenate([small, large]), REACH)) or -1.0
    edges = np.linspace(lowest, 0.0, N_SQUARES + 1)
    counts, _, _ = np.histogram2d(np.clip(small, lowest, 0.0), np.clip(large, lowest, 0.0), (edges, edges))
    return edges, counts.astype(np.int64)


def _bars(delta: Floats) -> tuple[Floats, Ints]:
    reach = float(np.quantile(np.abs(delta), REACH)) or float(np.abs(delta).max()) or 1.0
    bars = np.linspace(-reach, reach, N_BINS + 1)
    heights, _ = np.histogram(np.clip(delta, -reach, reach), bars)
    return bars, heights.astype(np.int64)


def _pairs(values: NDArray[np.float32], n_small: int) -> tuple[float, float]:
    small, large = values[:n_small], values[n_small:]
    if len(small) * len(large) > MOST_PAIRS_OF_RUNS:
        return float("nan"), float("nan")
    shares = [float((a < b).mean()) for a in small for b in large]
    return min(shares), max(shares)
