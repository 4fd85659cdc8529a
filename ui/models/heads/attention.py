"""Where one head looks in the stored texts: a matrix of tokens by tokens, as a figure, a table and words."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import plotly.graph_objects as go
import pyarrow as pa
from numpy.typing import NDArray

from archive.store import Archive
from queries.head import Head
from queries.reading.heads import parse_head
from queries.results import readable_sql
from ui.models.axes import LINE, NO_GRID
from ui.models.marked_text import with_signs
from ui.models.neuron.text import are_apart
from ui.models.palette import HUES, see_through
from ui.models.text import escape_plotly, number, shorten

Floats = NDArray[np.float64]

LOOKS = ("looks at", "is looked at by")
HEIGHT = 510
MOST_TICKS = 14
SCALE = ((0.0, 0.03), (0.1, 0.35), (0.3, 0.65), (1.0, 1.0))
TOP = 3  # tokens named for each in the table and in words

# tokens of sequences of the eval sets on which patterns of a run are stored
_TOKENS_SQL = """\
WITH sets AS (
  SELECT DISTINCT q.eval_set, q.encoding_id
  FROM v_quantity q
  JOIN cell l ON l.quantity_id = q.quantity_id
  JOIN checkpoint c ON c.id = l.subject_id
  JOIN run r ON r.id = c.run_id
  WHERE q.table_name = 'fact_attention' AND l.subject_kind = 1 AND l.state = 1 AND r.name = $run
), texts AS (
  SELECT s.eval_set, s.encoding_id, t.sequence, t.document, e.text_set_id, e.tokenizer_id,
         unnest(t.token_ids[1:$most]) AS token_id, generate_subscripts(t.token_ids[1:$most], 1) AS place
  FROM sets s
  JOIN encoding e ON e.id = s.encoding_id
  JOIN content_sequence t ON t.encoding_id = s.encoding_id
  WHERE t.sequence IN (SELECT unnest($items))
)
SELECT t.eval_set, t.encoding_id, t.sequence AS item, any_value(d.name) AS document,
       list(coalesce(w.text, '<' || t.token_id || '>') ORDER BY t.place) AS tokens
FROM texts t
LEFT JOIN content_vocab w ON w.tokenizer_id = t.tokenizer_id AND w.token_id = t.token_id
LEFT JOIN content_document d ON d.text_set_id = t.text_set_id AND d.document = t.document
GROUP BY t.eval_set, t.encoding_id, t.sequence
ORDER BY t.eval_set, t.encoding_id, t.sequence"""

_PATTERN_SQL = """\
SELECT run, step, eval_set, item, layer, head, n_query, n_key, "values"
FROM v_attention
WHERE run = $run AND step = $step AND eval_set = $eval_set AND item = $item AND layer = $layer AND head = $head"""


@dataclass(frozen=True)
class Pattern:
    """Attention of one head on one stored text. weights: (query, key), rows add up to 1, NaN above the diagonal.

    tokens: as many as weights has rows; "?" where the archive has no text. again: how many before it have the same name.
    """

    run: str
    eval_set: str
    item: int
    step: int
    document: str
    tokens: tuple[str, ...]
    weights: Floats
    again: int = 0

    @property
    def name(self) -> str:
        """What it is called in the address and in the picker."""
        return f"{self.eval_set} #{self.item}" + (f" ({self.again + 1})" if self.again else "")


def stored_items(found: Head, run: str) -> tuple[int, ...]:
    """Sequences with a pattern of this head at this step, of any eval set."""
    return tuple(sorted({r["item"] for r in found.patterns.to_pylist() if r["run"] == run}))


def token_texts(
    archive: Archive, *, run: str, items: Sequence[int], most: int
) -> dict[tuple[str, int], tuple[str, tuple[str, ...]]]:
    """(eval set, sequence) -> (document, tokens); without those of eval sets that only share their name."""
    found: dict[tuple[str, int], tuple[str, tuple[str, ...]]] = {}
    twice = set()
    for r in archive.rows(_TOKENS_SQL, {"run": run, "items": list(items), "most": most}):
        key = r["eval_set"], int(r["item"])
        if key in found:
            twice.add(key)
        found[key] = r["document"] or "", tuple(str(t) for t in r["tokens"])
    return {key: text for key, text in found.items() if key not in twice}


def patterns_of(
    found: Head, run: str, texts: dict[tuple[str, int], tuple[str, tuple[str, ...]]]
) -> list[Pattern]:
    """Every stored pattern of the head in one run, by eval set and sequence."""
    patterns: list[Pattern] = []
    for r in found.patterns.to_pylist():
        if r["run"] != run or not r["n_query"] or not r["values"]:
            continue
        weights = np.asarray(r["values"], float).reshape(r["n_query"], r["n_key"])
        document, tokens = texts.get((r["eval_set"], r["item"]), ("", ()))
        n = max(weights.shape)
        named = (*tokens[:n], *("?" for _ in range(n - len(tokens))))
        hidden = np.triu(np.ones(weights.shape, bool), 1)
        place = r["eval_set"], r["item"]
        again = sum((p.eval_set, p.item) == place for p in patterns)
        weights = np.where(hidden, np.nan, weights)
        patterns.append(Pattern(run, *place, r["step"], document, named, weights, again))
    return sorted(patterns, key=lambda p: (p.eval_set, p.item, p.again))


def matrix_figure(pattern: Pattern, *, unit: str = "attention") -> go.Figure:
    """Rows look, columns are looked at; the fuller the more. White: later tokens, which no token sees."""
    labels = [f"{k}: {shorten(with_signs(t), 12)}" for k, t in enumerate(pattern.tokens)]
    n_query, n_key = pattern.weights.shape
    texts = [escape_plotly(label) for label in labels]
    every = max(1, math.ceil(max(n_query, n_key) / MOST_TICKS))
    figure = go.Figure()
    figure.add_heatmap(
        x=texts[:n_key],
        y=texts[:n_query],
        z=np.round(pattern.weights, 4),
        zmin=0,
        zmax=1,
        # most attention is spread thin: low shares get more of the scale, which the bar shows
        colorscale=[[at, see_through(HUES[0], alpha)] for at, alpha in SCALE],
        hovertemplate="%{y} looks at %{x}: %{z:.3f}<extra></extra>",
        hoverongaps=False,
        colorbar={
            "title": {"text": unit, "side": "top", "font": {"size": 11}},
            "orientation": "h",
            "y": 1.0,
            "yanchor": "bottom",
            "thickness": 9,
            "outlinewidth": 0,
            "tickfont": {"size": 10},
            "nticks": 5,
        },
    )
    axis: dict[str, Any] = {
        "type": "category",
        "tickvals": texts[:n_key:every],
        "tickfont": {"size": 10},
        **LINE,
        **NO_GRID,
    }
    figure.update_layout(
        height=HEIGHT,
        margin={"l": 92, "t": 52, "b": 92, "r": 8},
        xaxis={**axis, "tickangle": -90, "title": {"text": "token looked at", "standoff": 4}},
        yaxis={
            **axis,
            "tickvals": texts[:n_query:every],
            "autorange": "reversed",
            "title": {"text": "token that looks", "standoff": 4},
        },
    )
    return figure


def pattern_table(pattern: Pattern) -> pa.Table:
    """A row a token: place, token, looks_at (what it looks at most), looked_at (mean attention of itself and those after)."""
    rows = []
    for q in range(pattern.weights.shape[0]):
        mean = np.nanmean(pattern.weights[q:, q]) if np.isfinite(pattern.weights[q:, q]).any() else np.nan
        rows.append(
            {
                "place": q,
                "token": with_signs(pattern.tokens[q]),
                "looks_at": ", ".join(
                    f"{k}: {with_signs(pattern.tokens[k])} {share:.0%}" for k, share in strongest(pattern, q)
                ),
                "looked_at": float(mean) if np.isfinite(mean) else None,
            }
        )
    schema = pa.schema(
        [
            ("place", pa.int64()),
            ("token", pa.string()),
            ("looks_at", pa.string()),
            ("looked_at", pa.float64()),
        ]
    )
    return pa.Table.from_pylist(rows, schema=schema)


def strongest(pattern: Pattern, query: int, most: int = TOP) -> list[tuple[int, float]]:
    """(place, share) of the tokens that one token looks at most, the largest first; 1% or less is not named."""
    row = np.nan_to_num(pattern.weights[query], nan=0.0)
    order = np.argsort(-row, kind="stable")[:most]
    return [(int(k), float(row[k])) for k in order if row[k] > 0.01]


def pattern_in_words(pattern: Pattern, head: str) -> str:
    """The figure as a sentence, for those who do not see it."""
    start = f"Attention of {head} on text {pattern.item} of {pattern.eval_set} at step {pattern.step:,}"
    later = pattern.weights[1:]  # the first token sees only itself
    if not np.isfinite(later).any():
        return f"{start}: nothing but one token."
    first = float(np.nanmean(later[:, 0]))
    diagonal = float(np.nanmean(np.diagonal(pattern.weights)[1:]))
    before = float(np.nanmean(np.diagonal(pattern.weights, -1)))
    return (
        f"{start}, {len(pattern.weights)} tokens: on average {number(first)} on the first token, {number(before)} on the token "
        f"before, {number(diagonal)} on the token itself."
    )


def pattern_sql(pattern: Pattern, head: str) -> str:
    """The statement that gives the stored numbers, query-major."""
    layer, number_ = parse_head(head)
    parameters = {
        "run": pattern.run,
        "step": pattern.step,
        "eval_set": pattern.eval_set,
        "item": pattern.item,
        "layer": layer,
        "head": number_,
    }
    return readable_sql(_PATTERN_SQL, parameters)


def for_browser(pattern: Pattern, look: str) -> dict[str, Any]:
    """What the text with attention needs: tokens as shown and as named, weights in rows (0 where none), direction."""
    weights = np.nan_to_num(pattern.weights, nan=0.0)
    return {
        "tokens": [t.replace("\t", "⇥\t").replace("\r", "") for t in pattern.tokens],
        "names": [with_signs(t) for t in pattern.tokens],
        "weights": np.round(weights, 4).tolist(),
        "backwards": look == LOOKS[1],
        "apart": are_apart(pattern.tokens),
    }


def matrix_csv(pattern: Pattern) -> pa.Table:
    """Every pair of tokens: query, key, their texts, attention."""
    queries, keys = np.nonzero(np.isfinite(pattern.weights))
    return pa.table(
        {
            "query": pa.array(queries),
            "key": pa.array(keys),
            "query_token": [pattern.tokens[q] for q in queries],
            "key_token": [pattern.tokens[k] for k in keys],
            "attention": pa.array(pattern.weights[queries, keys]),
        }
    )
