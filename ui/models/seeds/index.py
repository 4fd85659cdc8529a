"""How far apart repeated runs are, token by token: a row a condition, between nothing and chance."""

import math

import plotly.graph_objects as go

from queries.path_dependence import PathDependence
from ui.models.axes import GRID, LINE, SEPARATORS, name_rows
from ui.models.conditions import condition_labels
from ui.models.numbers import or_nan
from ui.models.palette import HUES, MUTED
from ui.models.text import fold, number, plural

ROW_PIXELS, AROUND_PIXELS = 34, 96
MOST_ROWS = 20


def index_figure(found: PathDependence) -> go.Figure:
    """A disc with its interval over runs and documents; a bar for a run against its own checkpoint before; chance at 1."""
    rows = found.table.to_pylist()[:MOST_ROWS]
    places = list(range(len(rows)))
    index = [or_nan(r["index"]) for r in rows]
    figure = go.Figure()
    figure.add_scatter(
        x=[or_nan(r["floor"]) for r in rows],
        y=places,
        mode="markers",
        name="a run and its own checkpoint before",
        marker={"symbol": "line-ns-open", "size": 16, "color": MUTED, "line": {"width": 2.5, "color": MUTED}},
        hovertemplate="a run and its own checkpoint before: %{x:.3g}<extra></extra>",
    )
    figure.add_scatter(
        x=index,
        y=places,
        mode="markers",
        name="runs of one condition",
        marker={"color": HUES[0], "size": 11},
        error_x={
            "type": "data",
            "symmetric": False,
            "array": [_reach(r["high"], value) for r, value in zip(rows, index, strict=True)],
            "arrayminus": [_reach(value, r["low"]) for r, value in zip(rows, index, strict=True)],
            "thickness": 2,
            "width": 5,
            "color": HUES[0],
        },
        hovertext=[
            f"<b>{fold(str(r['group']))}</b><br>{number(value)} [{number(or_nan(r['low']))}, {number(or_nan(r['high']))}]"
            f"<br>{plural(r['n_runs'], 'run')}, {plural(r['n_tokens'], 'token')}"
            for r, value in zip(rows, index, strict=True)
        ],
        hoverinfo="text",
    )
    figure.add_vline(x=1, line={"color": MUTED, "width": 1.5, "dash": "dash"})
    labels = condition_labels([str(r["group"]) for r in rows])
    names = [labels[str(r["group"])] for r in rows]
    if len(rows) > 1:
        name_rows(figure, names)
    else:
        figure.update_layout(
            yaxis={"visible": False, "range": [0.6, -0.6]}, margin={"l": 12}
        )  # a single condition needs no name
    figure.update_layout(
        height=AROUND_PIXELS + ROW_PIXELS * max(len(rows), 1),
        margin={"t": 30, "b": 52, "r": 16},
        separators=SEPARATORS,
        hovermode="closest",
        xaxis={
            "title": {
                "text": "path-dependence index (0: the same on every token, dashed at 1: chance)",
                "standoff": 8,
            },
            "range": [-0.02, max(1.05, *(1.05 * v for v in index if math.isfinite(v)))],
            **LINE,
            **GRID,
        },
        legend={"orientation": "h", "x": 0, "y": 1, "yanchor": "bottom", "font": {"size": 12}},
    )
    return figure


def index_in_words(found: PathDependence) -> str:
    """The figure as a sentence, for those who do not see it."""
    return f"Discs with intervals of the path-dependence index by condition. {found.sentence}"


def _reach(high: float | None, low: float | None) -> float:
    """Length of an interval's arm; 0 where there is none."""
    length = or_nan(high) - or_nan(low)
    return length if math.isfinite(length) else 0.0
