"""Figures of trajectories: paths in the first two components."""

from typing import TYPE_CHECKING

import plotly.graph_objects as go
import pyarrow.compute as pc

from queries.figures.axes import colour, dash, finish
from queries.reading.tables import floats, shared_folder

if TYPE_CHECKING:
    from queries.trajectory_pca import TrajectoryPca


def paths(answer: "TrajectoryPca") -> go.Figure:
    """A path per run in components 1 and 2; a star where it turns most, larger where walks do not."""
    figure = go.Figure()
    rows = answer.summary.to_pylist() if answer.summary is not None else []
    cut = len(shared_folder(r["run"] for r in rows))
    for k, row in enumerate(rows):
        mine = answer.table.filter(pc.equal(answer.table["run"], row["run"]))
        steps = mine["step"].to_pylist()
        x, y = floats(mine, "pc1"), floats(mine, "pc2")
        figure.add_scatter(
            x=x,
            y=y,
            mode="lines+markers",
            name=row["run"][cut:],
            legendgroup=row["run"],
            line={"color": colour(k), "dash": dash(k), "width": 1.2},
            marker={"size": 3},
            customdata=steps,
            hovertemplate="step %{customdata:,}<extra>%{fullData.name}</extra>",
        )
        if row["turn_step"] is None:
            continue
        at = steps.index(row["turn_step"])
        figure.add_scatter(
            x=[x[at]],
            y=[y[at]],
            mode="markers",
            legendgroup=row["run"],
            showlegend=False,
            marker={"color": colour(k), "symbol": "star", "size": 14 if row["p_turn"] <= 0.05 else 8},
            hovertemplate=(
                f"turns {row['turn_degrees']:.0f}° at step {row['turn_step']:,}; walks {row['null_turn']:.0f}°, "
                f"p = {row['p_turn']:.2g}<extra>{row['run']}</extra>"
            ),
        )
    figure.update_xaxes(title="component 1")
    figure.update_yaxes(title="component 2")
    return finish(figure, answer.label)
