"""The tables of `per_token_delta`: slices, largest differences, histogram, sequences, one text."""

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from queries.reading.neuron_examples import Window
from queries.reading.token_deltas import SliceBy, TokenDeltas, cut_into
from queries.stats.clusters import cluster_mean, numbered
from queries.stats.concentration import top_share
from queries.stats.multiple import benjamini_hochberg
from queries.stats.slices import slice_means

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]

N_BINS = 41  # odd: the middle one holds 0

PAIR = (
    ("run_a", pa.string()),
    ("step_a", pa.int64()),
    ("run_b", pa.string()),
    ("step_b", pa.int64()),
    ("group", pa.string()),
)
_NAMES = tuple(name for name, _ in PAIR[:-1])
_LARGEST = pa.schema(
    [
        *PAIR[:-1],
        ("direction", pa.string()),
        ("rank", pa.int64()),
        *((name, pa.string()) for name in ("document", "before", "token", "after")),
        *((name, pa.float64()) for name in ("delta", "loss_a", "loss_b")),
        *((name, pa.int64()) for name in ("sequence", "position", "token_id")),
    ]
)
_HISTOGRAM = pa.schema([*PAIR[:-1], ("lower", pa.float64()), ("upper", pa.float64()), ("count", pa.int64())])
_SEQUENCES = pa.schema(
    [
        *PAIR[:-1],
        *((name, pa.int64()) for name in ("sequence", "document", "n_tokens")),
        *((name, pa.float64()) for name in ("mean_delta", "largest_delta")),
    ]
)
_TEXT = pa.schema(
    [
        *PAIR[:-1],
        ("document", pa.string()),
        *((name, pa.int64()) for name in ("sequence", "place", "token_id")),
        ("token", pa.string()),
        *((name, pa.float64()) for name in ("loss_a", "loss_b", "delta")),
    ]
)


def table_of(rows: Sequence[Mapping[str, Any]], schema: pa.Schema) -> pa.Table:
    """Rows as a table in which what is not a finite number is NULL."""
    blank = [
        {k: None if isinstance(v, float) and not math.isfinite(v) else v for k, v in row.items()}
        for row in rows
    ]
    return pa.Table.from_pylist(blank, schema=schema)


@dataclass(frozen=True)
class TokenChange:
    """One pair: its rows of slices, the first of them "all", and what else is said of all its tokens."""

    deltas: TokenDeltas
    group: str
    slices: list[dict[str, Any]]
    median: float
    top_share: float
    spread95: float

    @property
    def columns(self) -> dict[str, Any]:
        """What names the pair, with its group."""
        return {**self.deltas.pair.columns, "group": self.group}

    def extremes(self, top: int) -> "Extremes":
        """The tokens with the largest differences either way; none whose loss did not move that way."""
        delta = self.deltas.delta
        k = min(top, len(delta))
        # only what is as far out as the last one wanted is sorted
        far = np.partition(delta, (k - 1, len(delta) - k))
        high, low = np.flatnonzero(delta >= far[-k]), np.flatnonzero(delta <= far[k - 1])
        worse = high[np.argsort(-delta[high], kind="stable")][:top]
        better = low[np.argsort(-delta[low], kind="stable")][::-1][:top]
        return Extremes(self.deltas, worse[delta[worse] > 0].tolist(), better[delta[better] < 0].tolist())


@dataclass(frozen=True)
class Extremes:
    """Which tokens of a pair have the largest differences, the largest first."""

    deltas: TokenDeltas
    worse: list[int]
    better: list[int]

    @property
    def chosen(self) -> list[tuple[str, int, int]]:
        """(direction, rank, which token)."""
        sides = (("worse", self.worse), ("better", self.better))
        return [(side, rank, i) for side, tokens in sides for rank, i in enumerate(tokens, start=1)]

    @property
    def places(self) -> list[tuple[int, int]]:
        """Sequence and position of each."""
        return [(int(self.deltas.sequence[i]), int(self.deltas.position[i])) for _, _, i in self.chosen]

    @property
    def tokens(self) -> list[int]:
        """The ids predicted there."""
        return [int(self.deltas.token[i]) for _, _, i in self.chosen]


def change_of(
    deltas: TokenDeltas,
    slices: Iterable[SliceBy],
    kinds: dict[int, str],
    groups: Mapping[int, str],
    level: float,
) -> TokenChange:
    """Mean difference of all tokens and of every slice, with q values over all slices of the pair."""
    delta = deltas.delta
    group = groups[deltas.pair.b.run_id]
    columns = {**deltas.pair.columns, "group": group}
    mean, low, high, _ = cluster_mean(delta, deltas.document, level)
    everything = np.ones(len(deltas), bool)
    rows = [
        columns
        | _described(deltas, everything, int(numbered(deltas.document).max()) + 1)
        | {"slice_by": "", "slice": "all", "mean_delta": mean, "ci_low": low, "ci_high": high}
    ]
    for by in slices:
        rows += _slices(deltas, by, kinds, columns, level)
    for p, q in (("p_value", "q_value"), ("beyond_p", "beyond_q")):
        known = benjamini_hochberg(np.array([row[p] for row in rows[1:]], float))
        for row, value in zip(rows[1:], known.tolist(), strict=True):
            row[q] = value
    return TokenChange(
        deltas,
        group,
        rows,
        float(np.median(delta)),
        top_share(delta),
        float(np.quantile(np.abs(delta), 0.95)),
    )


def largest_rows(
    chosen: Sequence[Extremes], windows: Mapping[tuple[int, int], Window], words: Mapping[int, str]
) -> pa.Table:
    """The largest differences with the text around, where the archive has it."""
    rows = []
    for c in chosen:
        d = c.deltas
        delta = d.delta
        for direction, rank, i in c.chosen:
            place = int(d.sequence[i]), int(d.position[i])
            row = d.pair.columns | {
                "direction": direction,
                "rank": rank,
                "delta": float(delta[i]),
                "loss_a": float(d.loss_a[i]),
                "loss_b": float(d.loss_b[i]),
                "sequence": place[0],
                "position": place[1],
                "token_id": int(d.token[i]),
                "token": words.get(int(d.token[i])),
            }
            if place in windows:
                w = windows[place]
                row |= {
                    "document": w.document,
                    "before": "".join(w.tokens[: w.at + 1]),
                    "after": "".join(w.tokens[w.at + 2 :]),
                }
            rows.append(row)
    return table_of(rows, _LARGEST)


def histogram_rows(changes: Sequence[TokenChange]) -> pa.Table:
    """Counts of differences, every pair over one range: 99 % of all differences lie in it."""
    every = np.concatenate([np.abs(c.deltas.delta) for c in changes])
    reach = float(np.quantile(every, 0.99)) or float(every.max()) or 1.0
    rows = []
    for c in changes:
        inside = np.clip(c.deltas.delta, -reach, reach)
        counts, edges = np.histogram(inside, N_BINS, (-reach, reach))
        rows += [
            c.deltas.pair.columns | {"lower": lower, "upper": upper, "count": n}
            for lower, upper, n in zip(edges[:-1].tolist(), edges[1:].tolist(), counts.tolist(), strict=True)
        ]
    return table_of(rows, _HISTOGRAM)


def sequence_rows(changes: Sequence[TokenChange]) -> pa.Table:
    """Every sequence of every pair, in the order of the eval set."""
    tables = []
    for c in changes:
        d = c.deltas
        delta = d.delta
        first = np.flatnonzero(np.diff(d.sequence, prepend=-1))  # tokens are read in the order of sequences
        counts = np.diff(first, append=len(d))
        columns = {
            "sequence": d.sequence[first],
            "document": d.document[first],
            "n_tokens": counts,
            "mean_delta": np.add.reduceat(delta, first) / counts,
            "largest_delta": _furthest(delta, first),
        }
        named = {name: pa.array([d.pair.columns[name]] * len(first)) for name in _NAMES}
        tables.append(pa.table({**named, **{k: pa.array(v) for k, v in columns.items()}}).cast(_SEQUENCES))
    return pa.concat_tables(tables)


def text_rows(
    deltas: Sequence[TokenDeltas],
    sequence: int | None,
    tokens: Sequence[Mapping[str, Any]],
    words: Mapping[int, str],
) -> pa.Table:
    """The sequence of every pair that has it: each token beside the losses of its own prediction.

    A token that nothing predicts, such as the first, has no loss. Where the answer read at the last position is not
    part of the text, it comes after it, without a place of its own in the text.
    """
    rows = []
    for d in deltas:
        mine = np.flatnonzero(d.sequence == sequence) if sequence is not None else ()
        known = {int(d.position[i]) + 1: i for i in mine}
        if not known:
            continue
        read = {int(t["place"]): t for t in tokens}
        for place in range(max([*known, *read]) + 1):
            i = known.get(place)
            token_id = read[place]["token_id"] if place in read else -1 if i is None else int(d.token[i])
            row = d.pair.columns | {
                "sequence": sequence,
                "place": place,
                "document": _document(tokens, sequence),
                "token_id": token_id,
                "token": read[place]["token"] if place in read else words.get(token_id),
            }
            if i is not None:
                row |= {
                    "loss_a": float(d.loss_a[i]),
                    "loss_b": float(d.loss_b[i]),
                    "delta": float(d.loss_b[i] - d.loss_a[i]),
                }
            rows.append(row)
    return table_of(rows, _TEXT)


def _document(tokens: Sequence[Mapping[str, Any]], sequence: int | None) -> str:
    if not tokens or tokens[0]["number"] is None or tokens[0]["number"] < 0:
        return f"sequence {sequence}"
    return str(tokens[0]["document"] or f"document {tokens[0]['number']}")


def _slices(
    deltas: TokenDeltas, by: SliceBy, kinds: dict[int, str], columns: dict[str, Any], level: float
) -> list[dict[str, Any]]:
    cut = list(cut_into(deltas, by, kinds))
    if len(cut) < 2:  # one slice is all there is
        return []
    which = np.full(len(deltas), -1)
    for k, (_, inside) in enumerate(cut):
        which[inside] = k
    known = which >= 0
    found = slice_means(deltas.delta[known], which[known], deltas.document[known], len(cut), level)
    return [
        columns
        | _described(deltas, inside, int(found.n_clusters[k]))
        | {
            "slice_by": by,
            "slice": name,
            "mean_delta": float(found.mean[k]),
            "ci_low": float(found.low[k]),
            "ci_high": float(found.high[k]),
            "p_value": float(found.p[k]),
            "beyond": float(found.beyond[k]),
            "beyond_p": float(found.beyond_p[k]),
        }
        for k, (name, inside) in enumerate(cut)
    ]


def _described(deltas: TokenDeltas, inside: NDArray[np.bool_], n_documents: int) -> dict[str, Any]:
    at = np.flatnonzero(inside)  # a mask is slower, and these are three
    delta = deltas.delta[at]
    return {
        "n_tokens": len(delta),
        "n_documents": n_documents,
        "loss_a": float(deltas.loss_a[at].mean()),
        "loss_b": float(deltas.loss_b[at].mean()),
        "worse": float((delta > 0).mean()),
        "better": float((delta < 0).mean()),
        "p_value": math.nan,
        "q_value": math.nan,
        "beyond": math.nan,
        "beyond_p": math.nan,
        "beyond_q": math.nan,
    }


def _furthest(delta: Floats, first: Ints) -> Floats:
    """Per sequence the difference furthest from 0; sequences begin at `first`."""
    high, low = np.maximum.reduceat(delta, first), np.minimum.reduceat(delta, first)
    found: Floats = np.where(high >= -low, high, low)
    return found
