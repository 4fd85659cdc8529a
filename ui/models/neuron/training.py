"""A neuron over training: its largest activations, how many examples change, since when they stay, how often it fires."""

import numpy as np
import plotly.graph_objects as go
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from queries.neuron import Neuron
from queries.reading.tables import floats
from ui.models.axes import GRID, LINE, NO_GRID, SEPARATORS, log_ticks
from ui.models.palette import HUES, MUTED, see_through
from ui.models.steps import StepAxis
from ui.models.text import number

Floats = NDArray[np.float64]

PANEL_PIXELS, AROUND_PIXELS, GAP = 118, 76, 0.09
ACTIVATION, FIRES = "largest activation", "share of tokens it fires on"
LOGGED = (ACTIVATION, FIRES)  # panels that a log y axis is for


def training_figure(
    found: Neuron, run: str, *, step: int, x_scale: str, y_scale: str = "linear"
) -> go.Figure:
    """Panels over one step axis; the step of the examples is a dotted line through all of them.

    Activation: the largest, and the last of the top examples as the lower end of the band. Changed: the share of
    examples that were not among those of the checkpoint before. There since: how many of the shown examples were
    among the top at this and at every later checkpoint up to the shown one. Fires: share of tokens. A log y axis is that
    of activations and of shares of tokens: shares of twenty examples and their number span too little.
    """
    rows = found.history.filter(pc.equal(found.history["run"], run))
    steps = floats(rows, "step")
    axis = StepAxis.of(np.append(steps, step), x_scale)
    panels = _panels(found, rows, run, step)
    figure, titles = go.Figure(), []
    size = (1 - GAP * (len(panels) - 1)) / len(panels)
    for k, (title, kind, steps_, values, lower) in enumerate(panels):
        y = "" if k == 0 else str(k + 1)
        top = 1 - k * (size + GAP)
        places, heights = axis.cut(steps_, values)
        is_log = y_scale == "log" and title in LOGGED
        if is_log:
            # what is not above 0 becomes a gap
            heights = np.where(heights > 0, heights, np.nan)
        if lower is not None:
            _, lows = axis.cut(steps_, lower)
            lows = np.where(lows > 0, lows, np.nan) if is_log else lows
            _band(figure, places, heights, lows, f"y{y}")
        figure.add_scatter(
            x=places,
            y=heights,
            yaxis=f"y{y}",
            mode="lines+markers",
            line={"color": HUES[0], "width": 2, "shape": "hv" if kind == "count" else "linear"},
            marker={"size": 5, "color": HUES[0]},
            customdata=axis.cut(steps_, steps_)[0] if not axis.broken else _with_gap(steps_),
            hovertemplate=f"step %{{customdata:,}}<br>{title}: %{{y{_format(kind)}}}<extra></extra>",
            connectgaps=False,
            cliponaxis=False,
            showlegend=False,
        )
        titles.append(_title(title, top))
        figure.layout[f"yaxis{y}"] = {
            "domain": [max(0.0, top - size), top],
            "rangemode": "tozero",
            "nticks": 4,
            "tickformat": ".0%" if kind == "share" else "",
            "anchor": "x",
            **LINE,
            **GRID,
            **(_log_axis(heights, kind) if is_log else {}),
        }
    at = float(axis.place(np.array([float(step)]))[0])
    figure.add_shape(
        type="line",
        x0=at,
        x1=at,
        y0=0,
        y1=1,
        xref="x",
        yref="paper",
        line={"color": MUTED, "width": 1.5, "dash": "dot"},
    )
    last = "y" if len(panels) == 1 else f"y{len(panels)}"
    figure.update_layout(
        height=AROUND_PIXELS + PANEL_PIXELS * len(panels),
        margin={"l": 52, "t": 24, "b": 52, "r": 12},
        separators=SEPARATORS,
        xaxis=axis.layout() | {"anchor": last, **NO_GRID},
        hovermode="closest",
        showlegend=False,
        annotations=[*titles, *(sign | {"yref": f"{last} domain"} for sign in axis.mark())],
    )
    return figure


def hidden_values(found: Neuron, run: str) -> int:
    """Activations and shares of tokens that a log y axis cannot show."""
    rows = found.history.filter(pc.equal(found.history["run"], run))
    return sum(int((floats(rows, name) <= 0).sum()) for name in ("maximum", "firing_rate"))


def training_in_words(found: Neuron, run: str) -> str:
    """The figure as a sentence, for those who do not see it."""
    rows = [r for r in found.history.to_pylist() if r["run"] == run and r["maximum"] is not None]
    if not rows:
        return f"Panels of {found.label} of {run} over training: no example at any checkpoint."
    first, last = rows[0], rows[-1]
    return (
        f"Panels of {found.label} of {run} over {len(rows)} checkpoints: its largest activation goes from "
        f"{number(first['maximum'])} at step {first['step']:,} to {number(last['maximum'])} at step {last['step']:,}. "
        f"{found.sentence}"
    )


def there_since(found: Neuron, run: str, steps: Floats, step: int) -> tuple[Floats, Floats]:
    """(steps up to the shown one, how many of its examples were there from then on)."""
    born = np.array([r["born"] for r in found.table.to_pylist() if r["run"] == run], float)
    upto = steps[steps <= step]
    return upto, np.array([(born <= s).sum() for s in upto], float)


Panel = tuple[str, str, Floats, Floats, Floats | None]  # title, kind, steps, values, lower end of a band


def _panels(found: Neuron, rows: pa.Table, run: str, step: int) -> list[Panel]:
    steps = floats(rows, "step")
    upto, there = there_since(found, run, steps, step)
    panels: list[Panel] = [
        (ACTIVATION, "value", steps, floats(rows, "maximum"), floats(rows, "last_of_top")),
        ("examples changed", "share", steps, floats(rows, "turnover"), None),
        ("of the examples shown, there from then on", "count", upto, there, None),
    ]
    rates = floats(rows, "firing_rate")
    if np.isfinite(rates).any():
        panels.append((FIRES, "share", steps, rates, None))
    return panels


def _band(figure: go.Figure, places: Floats, high: Floats, low: Floats, y: str) -> None:
    """From the largest activation down to the last of the examples; apart where a checkpoint has none."""
    known = np.isfinite(high) & np.isfinite(low)
    edges = np.flatnonzero(np.diff(np.r_[0, known.astype(int), 0]))
    for a, b in zip(edges[::2], edges[1::2], strict=True):
        figure.add_scatter(
            x=np.r_[places[a:b], places[a:b][::-1]],
            y=np.r_[high[a:b], low[a:b][::-1]],
            yaxis=y,
            fill="toself",
            fillcolor=see_through(HUES[0], 0.18),
            line={"width": 0},
            mode="lines",
            hoverinfo="skip",
            showlegend=False,
        )


def _title(text: str, top: float) -> dict[str, object]:
    return {
        "text": text,
        "x": 0,
        "xref": "paper",
        "xanchor": "left",
        "y": top,
        "yref": "paper",
        "yanchor": "bottom",
        "yshift": 3,
        "showarrow": False,
        "font": {"size": 12},
    }


def _with_gap(steps: Floats) -> Floats:
    """Steps as people know them, with a place for the gap in the line."""
    return np.insert(steps, int((steps <= 0).sum()), np.nan)


def _log_axis(heights: Floats, kind: str) -> dict[str, object]:
    return {
        "type": "log",
        "rangemode": "normal",
        **log_ticks(heights),
        **({"tickformat": ".1~%"} if kind == "share" else {}),
    }


def _format(kind: str) -> str:
    return {"share": ":.1%", "count": ":.0f", "value": ":.4g"}[kind]
