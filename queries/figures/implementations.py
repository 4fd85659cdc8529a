"""Roles of several models by relative depth, drawn."""

from typing import TYPE_CHECKING

import plotly.graph_objects as go

from queries.figures.axes import colour, finish, symbol
from queries.reading.tables import shared_folder

if TYPE_CHECKING:
    from queries.same_implementation import SameImplementation


def roles_by_depth(answer: "SameImplementation") -> go.Figure:
    """Runs down, relative depth across, a colour a role: a point at the mean of its heads, a line from the first to the last.

    Points are the larger the more of the effect the heads carry.
    """
    rows = answer.per_run.to_pylist()
    runs = list(dict.fromkeys(r["run"] for r in rows))
    roles = list(dict.fromkeys(r["role"] for r in rows))
    cut = len(shared_folder(runs))
    figure = go.Figure()
    for k, role in enumerate(roles):
        mine = [r for r in rows if r["role"] == role and r["layer_depth_frac"] is not None]
        aside = 0.6 * ((k + 0.5) / len(roles) - 0.5)
        figure.add_scatter(
            x=[r["layer_depth_frac"] for r in mine],
            y=[runs.index(r["run"]) + aside for r in mine],
            error_x={
                "type": "data",
                "symmetric": False,
                "array": [r["depth_most"] - r["layer_depth_frac"] for r in mine],
                "arrayminus": [r["layer_depth_frac"] - r["depth_least"] for r in mine],
                "thickness": 1,
                "width": 0,
            },
            mode="markers",
            name=role,
            marker={
                "color": colour(k),
                "symbol": symbol(k),
                "size": [7 + 18 * (r["effect_share"] or 0.0) ** 0.5 for r in mine],
            },
            text=[f"{r['heads']} · {r['run'][cut:]}" for r in mine],
            hovertemplate="%{text}: depth %{x:.2f}<extra>%{fullData.name}</extra>",
        )
    figure.update_xaxes(
        title="relative depth (0 = first layer, 1 = last)", range=[-0.05, 1.05], zeroline=False
    )
    figure.update_yaxes(
        tickvals=list(range(len(runs))), ticktext=[run[cut:] for run in runs], autorange="reversed"
    )
    return finish(figure, f"roles of {answer.task}")
