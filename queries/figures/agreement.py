"""Agreement of runs by difficulty, and what one size can do that another cannot, drawn."""

from typing import TYPE_CHECKING

import numpy as np
import plotly.graph_objects as go

from queries.figures.axes import GREY, colour, dash, finish, symbol
from queries.reading.tables import floats, shared_words

if TYPE_CHECKING:
    from queries.agreement_by_difficulty import AgreementByDifficulty


def by_difficulty(answer: "AgreementByDifficulty") -> go.Figure:
    """A line per group: the index of every class with its interval, and 1 − kappa dotted where it is known."""
    groups = list(dict.fromkeys(answer.table["group"].to_pylist()))
    cut = len(shared_words(groups))
    figure = go.Figure()
    for k, group in enumerate(groups):
        lead = f"{group[cut:]}: " if len(groups) > 1 else ""
        table = answer.table.filter([name == group for name in answer.table["group"].to_pylist()])
        index, low, high = (floats(table, name) for name in ("index", "low", "high"))
        figure.add_scatter(
            x=table["stratum"].to_pylist(),
            y=index,
            mode="lines+markers",
            name=f"{lead}index",
            line={"color": colour(k), "dash": dash(k)},
            marker={"symbol": symbol(k), "size": 8},
            error_y={
                "type": "data",
                "symmetric": False,
                "array": np.nan_to_num(high - index),
                "arrayminus": np.where(np.isnan(low), index, index - low),
                "thickness": 1,
            },
            customdata=np.stack([floats(table, "difficulty_from"), floats(table, "difficulty_to")], 1),
            hovertemplate="class %{x} (%{customdata[0]:.3g} to %{customdata[1]:.3g} nats): %{y:.3f}<extra></extra>",
        )
        kappa = floats(table, "kappa")
        if np.isfinite(kappa).any():
            figure.add_scatter(
                x=table["stratum"].to_pylist(),
                y=1 - kappa,
                mode="lines",
                name=f"{lead}1 − κ of the most likely token",
                line={"color": colour(k), "dash": "dot", "width": 1.5},
            )
    figure.add_hline(y=1, line={"color": GREY, "dash": "dot", "width": 1}, annotation_text="chance")
    figure.update_xaxes(title=f"class of difficulty, easiest first ({answer.difficulty})", dtick=1)
    figure.update_yaxes(title="0: the same, 1: chance", rangemode="tozero")
    return finish(figure, "agreement by difficulty")
