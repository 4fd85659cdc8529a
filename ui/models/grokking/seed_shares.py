"""Whose part the variation is: shares of variance of initial weights, data order and split."""

from collections.abc import Sequence

import numpy as np
import plotly.graph_objects as go

from queries.reading.crossed_runs import SEED_FIELDS, Factor
from queries.reading.select import RunRow
from queries.reading.tables import floats
from queries.variance_components import VarianceComponents
from ui.models.axes import GRID, LINE, NO_GRID, SEPARATORS
from ui.models.palette import HUES
from ui.models.text import distinguish, escape_plotly, fold, number

ROW_PIXELS, AROUND_PIXELS = 30, 90
MOST_GROUPS = len(HUES)
SYMBOLS = ("circle", "square", "diamond", "triangle-up")


def crossed_factors(runs: Sequence[RunRow]) -> tuple[Factor, ...]:
    """The seeds of which these runs have at least two."""
    return tuple(
        factor for factor, field in SEED_FIELDS.items() if len({getattr(r, field) for r in runs} - {None}) > 1
    )


def shares_figure(found: VarianceComponents) -> go.Figure:
    """A row a component: its share with its interval; several conditions side by side, at most `MOST_GROUPS`."""
    table = found.table
    groups = list(dict.fromkeys(table["group"].to_pylist()))[:MOST_GROUPS]
    labels = distinguish(groups, 24)
    figure = go.Figure()
    names = list(dict.fromkeys(table["component"].to_pylist()))
    for k, (group, label) in enumerate(zip(groups, labels, strict=True)):
        rows = table.filter(np.asarray(table["group"]) == group)
        at = np.array([names.index(c) for c in rows["component"].to_pylist()], float)
        share, low, high = (floats(rows, c) for c in ("share", "share_low", "share_high"))
        figure.add_scatter(
            x=share,
            y=at + 0.16 * (k - (len(groups) - 1) / 2),
            mode="markers",
            name=escape_plotly(label),
            marker={"color": HUES[k], "size": 10, "symbol": SYMBOLS[k]},
            error_x={
                "type": "data",
                "symmetric": False,
                "array": high - share,
                "arrayminus": share - low,
                "thickness": 2,
                "width": 5,
                "color": HUES[k],
            },
            hovertext=[
                f"<b>{fold(group)}</b><br>{name}: {number(s)} [{number(a)}, {number(b)}]"
                for name, s, a, b in zip(rows["component"].to_pylist(), share, low, high, strict=True)
            ],
            hoverinfo="text",
            showlegend=len(groups) > 1,
        )
    figure.update_layout(
        height=AROUND_PIXELS + ROW_PIXELS * len(names),
        margin={
            "l": 20 + 8 * max(len(n) for n in names),
            "t": 30 if len(groups) > 1 else 8,
            "b": 58,
            "r": 16,
        },
        separators=SEPARATORS,
        hovermode="closest",
        xaxis={
            "title": {"text": "share of variance", "standoff": 10},
            "range": [-0.02, 1.02],
            "tickformat": ".0%",
            **LINE,
            **GRID,
        },
        yaxis={
            "tickvals": list(range(len(names))),
            "ticktext": [escape_plotly(n) for n in names],
            "range": [len(names) - 0.5, -0.5],
            **LINE,
            **NO_GRID,
        },
        legend={"orientation": "h", "x": 0, "y": 1, "yanchor": "bottom"},
    )
    return figure


def shares_in_words(found: VarianceComponents) -> str:
    """The figure as a sentence, for those who do not see it."""
    return (
        f"Dots with intervals of the share of variance of each seed and their interaction. {found.sentence}"
    )
