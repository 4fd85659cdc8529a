"""A principal component beside what regressors make of it, drawn."""

from typing import TYPE_CHECKING

import plotly.graph_objects as go
import pyarrow.compute as pc

from queries.figures.axes import TimeAxis, colour, dash, finish
from queries.reading.tables import floats, shared_folder

if TYPE_CHECKING:
    from queries.explain_component import ExplainComponent


def scores_and_fits(answer: "ExplainComponent") -> go.Figure:
    """Per run its scores as points, and the fit to the run itself as a line."""
    figure = go.Figure()
    rows = answer.table.to_pylist()
    cut = len(shared_folder(r["run"] for r in rows))
    axis = TimeAxis([floats(answer.scores, "step")], "log")
    for k, row in enumerate(rows):
        mine = answer.scores.filter(pc.equal(answer.scores["run"], row["run"]))
        steps = floats(mine, "step")
        known = "" if row["holdout_r2"] is None else f", held out {row['holdout_r2']:.2f}"
        figure.add_scatter(
            x=axis.place(steps),
            y=floats(mine, "score"),
            mode="markers",
            name=f"{row['run'][cut:]}: R² {row['r2']:.2f}{known}",
            legendgroup=row["run"],
            marker={"color": colour(k), "size": 4},
            customdata=steps,
            hovertemplate="%{y:.2f} at step %{customdata:,}<extra>%{fullData.name}</extra>",
        )
        figure.add_scatter(
            x=axis.place(steps),
            y=floats(mine, "fitted"),
            mode="lines",
            legendgroup=row["run"],
            showlegend=False,
            line={"color": colour(k), "dash": dash(k), "width": 1.2},
            hoverinfo="skip",
        )
    axis.apply(figure, "step")
    figure.update_yaxes(title="score (standard deviations of its run)")
    return finish(figure, f"component {answer.component} of {answer.of}, and the fit to it")
