"""Figures of events: brackets of times, one row a run, one colour an event or a group."""

import math
from collections.abc import Sequence

import numpy as np
import plotly.graph_objects as go
import pyarrow as pa

from queries.figures.axes import Scale, TimeAxis, colour, finish, symbol
from queries.reading.tables import shared_folder

# of a run's row that its events spread over
HEIGHT = 0.7


def event_brackets(
    table: pa.Table, by: str, title: str, *, x_scale: Scale = "log", names: Sequence[str] | None = None
) -> go.Figure:
    """A bracket per row of `table`, coloured by its column `by`; an arrow where the event was never seen.

    table: run, kind, after, reached (steps; None where there is none) and `by`. names: the values of `by` in
    the order of the legend.
    """
    rows = table.to_pylist()
    ends = np.array([v for r in rows for v in (r["after"], r["reached"]) if v is not None], float)
    axis = TimeAxis([ends], x_scale)
    cut = len(shared_folder(r["run"] for r in rows))
    places = {run: k for k, run in enumerate(dict.fromkeys(r["run"] for r in rows))}
    names = list(names or dict.fromkeys(r[by] for r in rows))
    several = len({(r["run"], r[by]) for r in rows}) > len(places)
    figure = go.Figure()
    for k, name in enumerate(names):
        # several events of one run lie side by side, so that one at the same step hides no other
        aside = HEIGHT * ((k + 0.5) / len(names) - 0.5) if several else 0.0
        mine = [{**r, "y": places[r["run"]] + aside} for r in rows if r[by] == name]
        seen = [r for r in mine if r["reached"] is not None]
        never = [r for r in mine if r["kind"] == "never"]
        figure.add_scatter(
            x=axis.place(
                np.array([x for r in seen for x in (r["after"] or 0, r["reached"], math.nan)], float)
            ),
            y=[y for r in seen for y in (r["y"], r["y"], None)],
            mode="lines+markers",
            line={"color": colour(k), "width": 2},
            marker={"symbol": symbol(k), "size": 6},
            name=str(name),
            legendgroup=str(name),
            customdata=[x for r in seen for x in (r["after"], r["reached"], None)],
            hovertemplate="%{customdata:,}<extra>%{fullData.name}</extra>",
        )
        figure.add_scatter(
            x=axis.place(np.array([r["after"] for r in never], float)),
            y=[r["y"] for r in never],
            mode="markers",
            marker={"color": colour(k), "symbol": "triangle-right-open", "size": 10},
            name=f"{name}: not by then",
            legendgroup=str(name),
            showlegend=False,
            hovertemplate="not there by %{x:,}<extra>%{fullData.name}</extra>",
        )
    axis.apply(figure, "step")
    figure.update_yaxes(
        title="",
        tickvals=list(places.values()),
        ticktext=[run[cut:] for run in places],
        range=[len(places) - 0.5, -0.5],
        zeroline=False,
    )
    finish(figure, title)
    return figure.update_layout(height=max(360, 140 + 22 * len({r["run"] for r in rows})))
