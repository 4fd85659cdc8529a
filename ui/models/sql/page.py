"""Around the SQL editor: how its result is drawn."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import plotly.graph_objects as go
import pyarrow as pa
import pyarrow.compute as pc

from queries.reading.tables import floats
from ui.models.axes import GRID, LINE, NO_GRID, POWERS, SEPARATORS, decades, log_ticks
from ui.models.palette import STROKES
from ui.models.text import escape_plotly, shorten

MOST_COLOURS = len(STROKES)
MOST_POINTS = 20_000
MOST_BYTES = 50_000_000  # of a table in the browser


@dataclass(frozen=True)
class SqlChoices:
    """What was chosen; the fields' names are the address's."""

    sql: str
    view: str
    chart_x: str = ""
    chart_y: str = ""
    chart_colour: str = ""
    chart_x_scale: str = ""
    chart_y_scale: str = ""


@dataclass(frozen=True)
class Axes:
    """Which columns of a result make a figure; colour "" = one colour."""

    x: str
    y: str
    colour: str = ""


def first_rows(table: pa.Table, most: int = MOST_BYTES) -> pa.Table:
    """As many of the first rows as a browser should be sent; none where the first is too large by itself."""
    n = table.num_rows
    while n and table.slice(0, n).nbytes > most:
        n //= 2
    return table.slice(0, n)


def numeric_columns(table: pa.Table) -> list[str]:
    """Columns that can stand on an axis."""
    return [
        f.name
        for f in table.schema
        if pa.types.is_integer(f.type) or pa.types.is_floating(f.type) or pa.types.is_decimal(f.type)
    ]


def colour_columns(table: pa.Table) -> list[str]:
    """Columns with few enough values to give each its own stroke."""
    return [
        f.name
        for f in table.schema
        if (pa.types.is_string(f.type) or pa.types.is_large_string(f.type) or pa.types.is_integer(f.type))
        and 1 < pc.count_distinct(table[f.name]).as_py() <= MOST_COLOURS
    ]


def likely_axes(table: pa.Table) -> Axes | None:
    """A first guess: time across, the last measured number up, the first naming column as colour."""
    numbers = numeric_columns(table)
    if len(numbers) < 2:
        return None
    x = next((n for n in ("step", "tokens_seen", "last_step", "layer") if n in numbers), numbers[0])
    rest = [n for n in numbers if n != x]
    y = next((n for n in ("value", "loss", "mean") if n in rest), rest[-1])
    names = [c for c in colour_columns(table) if c not in (x, y)]
    texts = [c for c in names if not pa.types.is_integer(table.schema.field(c).type)]
    return Axes(x, y, (texts or [""])[0])


def result_figure(table: pa.Table, axes: Axes, *, x_scale: str, y_scale: str) -> go.Figure:
    """Points of a result, joined by lines where they are in the order of x; one stroke a colour value."""
    figure = go.Figure()
    values = table[axes.colour].to_pylist() if axes.colour else [None] * table.num_rows
    for k, value in enumerate(dict.fromkeys(values)):
        rows = table.filter(pa.array([v == value for v in values])) if axes.colour else table
        x, y = (floats(rows, c) for c in (axes.x, axes.y))
        stroke = STROKES[k % len(STROKES)]
        in_order = len(x) > 1 and bool((np.diff(x) > 0).all())
        figure.add_trace(
            (go.Scattergl if table.num_rows > MOST_POINTS else go.Scatter)(
                x=x,
                y=y,
                mode="lines+markers" if in_order and len(x) < 80 else "lines" if in_order else "markers",
                line={"color": stroke.colour, "dash": stroke.dash, "width": 1.8},
                marker={"color": stroke.colour, "size": 6, "opacity": 1 if in_order else 0.7},
                name=escape_plotly(shorten(str(value), 40)) if axes.colour else "",
                showlegend=bool(axes.colour),
            )
        )
    x_values, y_values = (floats(table, c) for c in (axes.x, axes.y))
    across = {"title": {"text": escape_plotly(axes.x)}, "type": x_scale, **LINE, **NO_GRID}
    up = {"title": {"text": escape_plotly(axes.y)}, "type": y_scale, "automargin": True, **LINE, **GRID}
    if x_scale == "log":
        across |= {"exponentformat": "none", "separatethousands": True, **log_ticks(x_values)}
    if y_scale == "log":
        up |= log_ticks(y_values) | (POWERS if decades(y_values) >= 2 else {})
    figure.update_layout(
        height=440,
        margin={"l": 8, "r": 8, "t": 20, "b": 48, "pad": 0},
        separators=SEPARATORS,
        xaxis=across,
        yaxis=up,
        legend={"title": {"text": escape_plotly(axes.colour)}, "orientation": "v"},
    )
    return figure


def hidden_points(table: pa.Table, axes: Axes, *, x_scale: str, y_scale: str) -> int:
    """Rows that a log axis cannot show: at or below 0."""
    on_log = [c for c, scale in ((axes.x, x_scale), (axes.y, y_scale)) if scale == "log"]
    hidden = np.zeros(table.num_rows, dtype=bool)
    for column in on_log:
        hidden |= floats(table, column) <= 0
    return int(hidden.sum())


def figure_in_words(table: pa.Table, axes: Axes) -> str:
    """The figure as a sentence."""
    by = f", one colour per {axes.colour}" if axes.colour else ""
    return f"Chart of {axes.y} against {axes.x}{by}; {table.num_rows} rows."


def unique_names(names: Sequence[str]) -> list[str]:
    """Column names made different: `SELECT a.run, b.run` gives two of one name."""
    found: list[str] = []
    for name in names:
        new, n = name, 1
        while new in found or (n > 1 and new in names):
            n += 1
            new = f"{name} ({n})"
        found.append(new)
    return found
