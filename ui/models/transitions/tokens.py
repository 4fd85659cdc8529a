"""Single tokens over training: how much of its range a token's steepest octave holds, beside smooth curves."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import plotly.graph_objects as go
import pyarrow as pa
import pyarrow.compute as pc

from queries.quanta_histogram import QuantaHistogram
from queries.reading.tables import floats
from ui.models.axes import GRID, LINE, SEPARATORS
from ui.models.palette import MUTED, STROKES
from ui.models.steps import StepAxis
from ui.models.text import distinguish, escape_plotly, fold

PIXELS = 300
MOST_RUNS = 12


def tokens_figure(answer: QuantaHistogram, *, x_scale: str) -> go.Figure:
    """Left: shares of tokens by how much their steepest octave holds, smooth curves dotted grey. Right: when transitions are.

    The right panel is there only where a token has a transition.
    """
    runs = answer.table["run"].to_pylist()[:MOST_RUNS]
    n_tokens = dict(zip(answer.table["run"].to_pylist(), answer.table["n_tokens"].to_pylist(), strict=True))
    times = answer.t50s
    several = times.num_rows > 0 and bool(pc.sum(pc.add(times["major"], times["minor"])).as_py())
    figure = go.Figure()
    for k, (run, label) in enumerate(zip(runs, distinguish(runs, 30), strict=True)):
        stroke = STROKES[k % len(STROKES)]
        shares = _of(answer.shares, run)
        if not shares.num_rows:
            continue
        middle = (floats(shares, "from_share") + floats(shares, "to_share")) / 2
        style: dict[str, Any] = {"mode": "lines", "legendgroup": run}
        null = floats(shares, "null")
        figure.add_scatter(
            x=middle,
            y=null / max(null.sum(), 1),
            name="smooth curves",
            showlegend=k == 0,
            line={"color": MUTED, "dash": "dot", "width": 1, "shape": "hvh"},
            hoverinfo="skip",
            **style,
        )
        counts = floats(shares, "tokens")
        line = {"color": stroke.colour, "dash": stroke.dash, "width": 1.6, "shape": "hvh"}
        figure.add_scatter(
            x=middle,
            y=counts / max(counts.sum(), 1),
            name=escape_plotly(label),
            line=line,
            hovertemplate=f"<b>{fold(run)}</b><br>%{{y:.1%}} of tokens: %{{x:.0%}} of the range<extra></extra>",
            **style,
        )
        if several:
            mine = _of(times, run)
            figure.add_scatter(
                x=np.sqrt(floats(mine, "from_step") * floats(mine, "to_step")),
                y=(floats(mine, "major") + floats(mine, "minor")) / max(n_tokens[run], 1),
                line=line | {"shape": "linear"},
                showlegend=False,
                hovertemplate=f"<b>{fold(run)}</b><br>%{{y:.1%}} of tokens around step %{{x:,.0f}}<extra></extra>",
                xaxis="x2",
                yaxis="y2",
                **style,
            )
    return _laid_out(figure, several, answer, x_scale, runs)


def _laid_out(
    figure: go.Figure, several: bool, answer: QuantaHistogram, x_scale: str, runs: Sequence[str]
) -> go.Figure:
    legend = 24 * (1 + len(runs) // 3)
    layout: dict[str, Any] = {
        "xaxis": {
            "title": {"text": "share of its range in a token's steepest octave", "standoff": 8},
            "tickformat": ".0%",
            "domain": (0, 0.44) if several else (0, 1),
            **LINE,
        },
        "yaxis": {
            "title": {"text": "share of tokens", "standoff": 8},
            "tickformat": ".0%",
            "rangemode": "tozero",
            **LINE,
            **GRID,
        },
    }
    if several:
        axis = StepAxis.of(
            np.append(floats(answer.t50s, "from_step"), floats(answer.t50s, "to_step")), x_scale
        )
        layout["xaxis2"] = axis.layout() | {"domain": (0.56, 1), "anchor": "y2"}
        layout["yaxis2"] = {
            "title": {"text": "tokens in transition", "standoff": 8},
            "tickformat": ".1%",
            "rangemode": "tozero",
            "anchor": "x2",
            **LINE,
            **GRID,
        }
    return figure.update_layout(
        height=PIXELS + legend,
        margin={"l": 70, "t": 12, "b": 58 + legend, "r": 16},
        separators=SEPARATORS,
        hovermode="closest",
        showlegend=True,
        legend={"orientation": "h", "x": 0, "y": -0.24, "yanchor": "top"},
        **layout,
    )


def _of(table: pa.Table, run: str) -> pa.Table:
    return table.filter(pc.equal(table["run"], run))
