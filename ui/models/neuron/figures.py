"""How a neuron's activations are spread, and what its output does to the logits."""

from typing import Any

import numpy as np
import plotly.graph_objects as go
import pyarrow as pa
from numpy.typing import NDArray

from queries.neuron import Neuron
from queries.results import readable_sql
from ui.models.axes import GRID, LINE, NO_GRID, POWERS
from ui.models.marked_text import with_signs
from ui.models.palette import HUES
from ui.models.text import escape_plotly, number, plural, shorten

Floats = NDArray[np.float64]

HEIGHT = 320
MOST_BINS = 64
MOST_TOKENS = 10
ROW_PIXELS, AROUND_PIXELS = 20, 62

_HISTOGRAM_SQL = """\
SELECT r.name AS run, c.step, q.eval_set, f.lower, f.upper, f.counts
FROM fact_histogram f
JOIN v_quantity q ON q.quantity_id = f.quantity_id
JOIN checkpoint c ON c.id = f.checkpoint_id
JOIN run r ON r.id = f.run_id
WHERE r.name = $run AND c.step = $step AND q.measure = 'neuron.histogram' AND f.layer = $layer AND f.unit = $unit"""

_EFFECT_SQL = """\
SELECT r.name AS run, c.step, t.name AS part, f."values"
FROM fact_vector f
JOIN v_quantity q ON q.quantity_id = f.quantity_id
JOIN checkpoint c ON c.id = f.checkpoint_id
JOIN run r ON r.id = f.run_id
JOIN part t ON t.id = f.part_id
WHERE r.name = $run AND c.step = $step AND q.measure = 'neuron.logit_effect' AND f.layer = $layer AND f.unit = $unit
ORDER BY part"""


def histogram_sql(run: str, *, step: int, layer: int, unit: int) -> str:
    """The statement that gives the counts; one row an eval set."""
    return readable_sql(_HISTOGRAM_SQL, {"run": run, "step": step, "layer": layer, "unit": unit})


def effect_sql(run: str, *, step: int, layer: int, unit: int) -> str:
    """The statement that gives the tokens and by how much they are raised and lowered."""
    return readable_sql(_EFFECT_SQL, {"run": run, "step": step, "layer": layer, "unit": unit})


def histogram_table(row: dict[str, Any]) -> pa.Table:
    """Every bin as it is stored: run, step, from_value, to_value, tokens."""
    edges = np.linspace(row["lower"], row["upper"], len(row["counts"]) + 1).tolist()
    return pa.Table.from_pylist(
        [
            {"run": row["run"], "step": row["step"], "from_value": a, "to_value": b, "tokens": int(n)}
            for a, b, n in zip(edges[:-1], edges[1:], row["counts"], strict=True)
        ]
    )


def histogram_of(found: Neuron, run: str) -> dict[str, Any] | None:
    """The counts of one run; None where none are stored."""
    return next((r for r in found.histogram.to_pylist() if r["run"] == run), None)


def bins(row: dict[str, Any], most: int = MOST_BINS) -> tuple[Floats, Floats, Floats]:
    """(left edges, right edges, counts), neighbours together where there are more than `most` bins, the empty ends cut off."""
    counts = np.asarray(row["counts"], float)
    edges = np.linspace(row["lower"], row["upper"], len(counts) + 1)
    together = -(-len(counts) // most)
    starts = np.arange(0, len(counts), together)
    sums = np.add.reduceat(counts, starts)
    left, right = edges[starts], edges[np.append(starts[1:], len(counts))]
    full = np.flatnonzero(sums)
    if not len(full):
        return left, right, sums
    keep = slice(full[0], full[-1] + 1)
    return left[keep], right[keep], sums[keep]


def histogram_figure(row: dict[str, Any]) -> go.Figure:
    """Bars of a log height, because most tokens do not excite a neuron; the first and last take what lies beyond."""
    left, right, counts = bins(row)
    middle, width = (left + right) / 2, right - left
    figure = go.Figure(
        go.Bar(
            x=middle,
            y=np.where(counts > 0, counts, np.nan),
            width=width,
            marker={"color": HUES[0], "line": {"width": 0}},
            hovertext=[
                f"{number(a)} to {number(b)}: {plural(int(n), 'token')}"
                for a, b, n in zip(left, right, counts, strict=True)
            ],
            hoverinfo="text",
        )
    )
    figure.update_layout(
        height=HEIGHT,
        margin={"l": 64, "t": 8, "b": 52, "r": 8},
        bargap=0,
        xaxis={"title": {"text": "activation", "standoff": 8}, **LINE, **NO_GRID},
        yaxis={
            "title": {"text": "tokens", "standoff": 8},
            "type": "log",
            "dtick": 1,
            "range": [-0.3, float(np.log10(max(counts.max(), 1.0))) + 0.15],
            **LINE,
            **GRID,
            **POWERS,
        },
        showlegend=False,
    )
    return figure


def histogram_in_words(row: dict[str, Any], label: str) -> str:
    """The figure as a sentence, for those who do not see it."""
    counts = np.asarray(row["counts"], float)
    edges = np.linspace(row["lower"], row["upper"], len(counts) + 1)
    above = counts[edges[:-1] >= 0].sum()
    return (
        f"Histogram of activations of {label} of {row['run']} at step {row['step']:,}: {plural(int(counts.sum()), 'token')}, "
        f"{above / max(counts.sum(), 1.0):.1%} of them above 0."
    )


def effect_table(found: Neuron, run: str) -> pa.Table:
    """What one unit of activation does to the logits of one run: direction, rank, token, value."""
    rows = [r for r in found.effect.to_pylist() if r["run"] == run]
    columns = ("direction", "rank", "token_id", "token", "value")
    return pa.Table.from_pylist(
        [{c: r[c] for c in columns} for r in rows],
        schema=pa.schema([found.effect.schema.field(c) for c in columns]),
    )


def effect_figure(table: pa.Table) -> go.Figure:
    """Bars: the tokens it raises above, those it lowers below, each with its text and its number."""
    rows = table.to_pylist()
    raised = sorted((r for r in rows if r["direction"] == "raises"), key=lambda r: r["rank"])[:MOST_TOKENS]
    lowered = sorted((r for r in rows if r["direction"] == "lowers"), key=lambda r: r["rank"])[:MOST_TOKENS]
    # the two furthest ends lie at the top and at the bottom
    ordered = raised + lowered[::-1]
    figure = go.Figure(
        go.Bar(
            orientation="h",
            x=[r["value"] for r in ordered],
            y=list(range(len(ordered))),
            marker={"color": [HUES[0] if r["direction"] == "raises" else HUES[1] for r in ordered]},
            hovertext=[f"{_token(r)}<br>{r['direction']} by {number(r['value'])}" for r in ordered],
            hoverinfo="text",
        )
    )
    figure.update_layout(
        height=max(HEIGHT, AROUND_PIXELS + ROW_PIXELS * len(ordered)),
        margin={
            "l": 16 + int(7.5 * max((len(_plain(r)) for r in ordered), default=0)),
            "t": 8,
            "b": 52,
            "r": 8,
        },
        xaxis={
            "title": {"text": "logits per unit of activation", "standoff": 8},
            "nticks": 6,
            **LINE,
            **GRID,
        },
        yaxis={
            "tickvals": list(range(len(ordered))),
            "ticktext": [_token(r) for r in ordered],
            "range": [len(ordered) - 0.4, -0.6],
            **LINE,
            **NO_GRID,
            "ticks": "",
        },
        showlegend=False,
    )
    return figure


def effect_in_words(table: pa.Table, label: str, run: str) -> str:
    """The figure as a sentence, for those who do not see it."""
    rows = table.to_pylist()

    def told(direction: str) -> str:
        mine = sorted((r for r in rows if r["direction"] == direction), key=lambda r: r["rank"])[:3]
        return ", ".join(f"{_plain(r)} ({number(r['value'])})" for r in mine) or "nothing"

    return f"Bars of what {label} of {run} does to the logits: it raises {told('raises')}; it lowers {told('lowers')}."


def _plain(row: dict[str, Any]) -> str:
    """A token in one line, its white space as signs; its number where the archive has no text."""
    if row["token"] is None:
        return f"token {row['token_id']}"
    return shorten(with_signs(row["token"]), 18)


def _token(row: dict[str, Any]) -> str:
    return escape_plotly(_plain(row))
