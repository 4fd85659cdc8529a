"""One series over training with its onset, midpoint and width, the smooth curve it is held against, and its partner."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import plotly.graph_objects as go
import pyarrow.compute as pc
from numpy.typing import NDArray

from queries.phase_transitions import PhaseTransitions
from queries.reading.tables import floats
from ui.models.axes import GRID, LINE, POWERS, SEPARATORS, decades, log_ticks
from ui.models.palette import HUES, MUTED, see_through
from ui.models.steps import StepAxis
from ui.models.text import escape_plotly, shorten

Floats = NDArray[np.float64]

PIXELS = 400
LOG_RUN_POINTS = 2000  # of one line; longer logs are thinned by taking every so many of their points


@dataclass(frozen=True)
class Panel:
    """One series. row: of the answer's table. smooth: NaN where the fit has no value."""

    title: str
    steps: Floats
    values: Floats
    smooth: Floats
    row: Mapping[str, Any]
    n_points: int

    @property
    def is_fitted(self) -> bool:
        """Whether a smooth curve is drawn beside it; too few points have none."""
        return bool(np.isfinite(self.smooth).any())

    @property
    def hidden(self) -> int:
        """Values that have no place on a log axis."""
        return int((self.values <= 0).sum())


def panel_of(answer: PhaseTransitions, run: str, series: str) -> Panel | None:
    """The series of a run in an answer; None where it is not there."""
    rows = [r for r in answer.table.to_pylist() if (r["run"], r["series"]) == (run, series)]
    if not rows:
        return None
    table = answer.curves.filter(
        pc.and_(pc.equal(answer.curves["run"], run), pc.equal(answer.curves["series"], series))
    )
    unit = f" [{answer.measured_in}]" if answer.measured_in else ""
    known = (
        answer.label
        if series in ("", *answer.label.split(" ("), answer.label.partition("(")[2].rstrip(")"))
        else f"{answer.label} {series}"
    )
    steps, values, smooth = (floats(table, name) for name in ("step", "value", "smooth"))
    every = math.ceil(len(steps) / LOG_RUN_POINTS)
    # what is fitted stays
    kept = (np.arange(len(steps)) % max(every, 1) == 0) | np.isfinite(smooth)
    return Panel(f"{shorten(known, 60)}{unit}", steps[kept], values[kept], smooth[kept], rows[0], len(steps))


def curve_figure(panels: Sequence[Panel], *, x_scale: str, y_scale: str) -> go.Figure:
    """A panel a series, side by side, on one kind of axes."""
    figure = go.Figure()
    layout: dict[str, Any] = {}
    shapes: list[dict[str, Any]] = []
    notes: list[dict[str, Any]] = []
    for k, panel in enumerate(panels):
        n = str(k + 1) if k else ""
        axis = StepAxis.of(panel.steps, x_scale)
        colour = HUES[k]
        at = {"xaxis": f"x{n}", "yaxis": f"y{n}"}
        x, y = axis.cut(panel.steps, panel.values)
        told, _ = axis.cut(panel.steps, panel.steps)
        figure.add_scatter(
            x=x,
            y=_drawn(y, y_scale),
            mode="lines+markers",
            line={"color": colour, "width": 1.8, "dash": "solid"},
            marker={"size": 5 if len(x) < 100 else 2.5, "color": colour, "symbol": ("circle", "square")[k]},
            name="as measured",
            legendgroup="measured",
            showlegend=k == 0,
            customdata=told,
            hovertemplate="step %{customdata:,}: %{y:.4g}<extra></extra>",
            **at,
        )
        fitted = np.isfinite(panel.smooth)
        if fitted.any():
            figure.add_scatter(
                x=axis.place(panel.steps[fitted]),
                y=_drawn(panel.smooth[fitted], y_scale),
                mode="lines",
                line={"color": MUTED, "width": 2, "dash": "dash"},
                name="best smooth curve",
                legendgroup="smooth",
                showlegend=k == 0,
                hovertemplate="smooth: %{y:.4g}<extra></extra>",
                **at,
            )
        shapes += _marks(panel.row, axis, n, colour)
        notes += [
            *_labels(panel.row, axis, n),
            *({**m, "xref": f"x{n}", "yref": f"y{n} domain"} for m in axis.mark()),
        ]
        left, right = (0.0, 1.0) if len(panels) == 1 else ((0.0, 0.43), (0.57, 1.0))[k]
        layout[f"xaxis{n}"] = axis.layout() | {"domain": (left, right), "anchor": f"y{n}"}
        layout[f"yaxis{n}"] = {
            "title": {"text": escape_plotly(panel.title), "standoff": 8},
            "type": y_scale,
            "anchor": f"x{n}",
            **LINE,
            **GRID,
            **(_log_axis(panel.values) if y_scale == "log" else {}),
        }
    figure.update_layout(
        height=PIXELS,
        margin={"l": 70, "t": 46, "b": 84, "r": 64},
        separators=SEPARATORS,
        hovermode="closest",
        legend={"orientation": "h", "x": 0, "y": -0.22, "yanchor": "top"},
        shapes=shapes,
        annotations=notes,
        **layout,
    )
    return figure


def figure_in_words(panels: Sequence[Panel], run: str) -> str:
    """The figure as a sentence, for those who do not see it."""
    told = []
    for panel in panels:
        row = panel.row
        where = f"half of its change by step {row['t50']:,.0f}" if row["t50"] is not None else "no midpoint"
        told.append(f"{panel.title}: {panel.n_points} points, {where}")
    dashed = " Dashed: the best smooth curve." if any(panel.is_fitted for panel in panels) else ""
    return f"{run} over training. {'; '.join(told)}.{dashed}"


def _marks(row: Mapping[str, Any], axis: StepAxis, n: str, colour: str) -> list[dict[str, Any]]:
    """The band from 10 to 90 %, darker where the midpoint lies, and a line at the onset."""

    def box(low: float, high: float, alpha: float) -> dict[str, Any]:
        ends = axis.place(np.array([low, high]))
        return {
            "type": "rect",
            "xref": f"x{n}",
            "yref": f"y{n} domain",
            "x0": float(ends[0]),
            "x1": float(ends[1]),
            "y0": 0,
            "y1": 1,
            "fillcolor": see_through(colour, alpha),
            "line": {"width": 0},
            "layer": "below",
        }

    marks = []
    if row["t90"] is not None and row["t10_after"] is not None:
        marks.append(box(row["t10_after"], row["t90"], 0.10))
    if row["t50"] is not None and row["t50_after"] is not None:
        marks.append(box(row["t50_after"], row["t50"], 0.25))
    if row["t10"] is not None:
        at = float(axis.place(np.array([row["t10"]]))[0])
        line = {"color": colour, "width": 1.5, "dash": "dot"}
        marks.append(
            {
                "type": "line",
                "xref": f"x{n}",
                "yref": f"y{n} domain",
                "x0": at,
                "x1": at,
                "y0": 0,
                "y1": 1,
                "line": line,
            }
        )
    return marks


def _labels(row: Mapping[str, Any], axis: StepAxis, n: str) -> list[dict[str, Any]]:
    """Names of onset and midpoint above their marks, away from one another."""
    found = []
    for key, name, anchor in (("t10", "onset", "right"), ("t50", "midpoint", "left")):
        if row[key] is None:
            continue
        at = float(axis.place(np.array([row[key]]))[0])
        found.append(
            {
                "text": name,
                "x": math.log10(at) if axis.scale == "log" else at,
                "xref": f"x{n}",
                "y": 1,
                "yref": f"y{n} domain",
                "yanchor": "bottom",
                "xanchor": anchor,
                "showarrow": False,
                "font": {"size": 12},
            }
        )
    return found


def _log_axis(values: Floats) -> dict[str, Any]:
    """Ticks and range of a log axis, from what was measured: a smooth curve may dive towards 0."""
    positive = values[np.isfinite(values) & (values > 0)]
    if not len(positive):
        return {}
    low, high = math.log10(float(positive.min())), math.log10(float(positive.max()))
    room = max(0.06 * (high - low), 0.02)
    return log_ticks(values) | {"range": [low - room, high + room]} | (POWERS if decades(values) >= 2 else {})


def _drawn(values: Floats, scale: str) -> Floats:
    """Values with gaps where a log axis has no place for them."""
    return np.where(values > 0, values, np.nan) if scale == "log" else values
