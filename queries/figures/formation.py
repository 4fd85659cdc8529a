"""Figure of how neurons form: how many suddenly, beside controls, and when."""

from typing import TYPE_CHECKING

import numpy as np
import plotly.graph_objects as go
from plotly.subplots import make_subplots

from queries.figures.axes import GREY, colour, finish
from queries.reading.tables import floats

if TYPE_CHECKING:
    from queries.neuron_formation import NeuronFormation


def formation_figure(answer: "NeuronFormation") -> go.Figure:
    """Left: per kind of place the share of curves that rise suddenly, a point a run. Right: when neurons do, by octaves."""
    figure = make_subplots(rows=1, cols=2, subplot_titles=("rise suddenly", "half done"))
    rows = answer.shares.to_pylist()
    for k, place in enumerate(dict.fromkeys(row["places"] for row in rows)):
        here = [row for row in rows if row["places"] == place and row["formed"] is not None]
        figure.add_scatter(
            x=[row["formed"] for row in here],
            y=[place.replace("_", " ")] * len(here),
            mode="markers",
            marker={"color": colour(k) if place == answer.texts else GREY, "size": 9},
            text=[row["run"] for row in here],
            hovertemplate="%{x:.1%} of %{text}<extra></extra>",
            showlegend=False,
            row=1,
            col=1,
        )
    found = answer.table.filter(np.array(answer.table["rises"].to_pylist(), dtype=bool))
    t50 = floats(found, "t50")
    for k, run in enumerate(dict.fromkeys(answer.table["run"].to_pylist())):
        times = t50[(np.array(found["run"].to_pylist()) == run) & np.isfinite(t50)]
        octaves, counts = np.unique(np.floor(np.log2(times)), return_counts=True)
        figure.add_scatter(
            x=2 ** (octaves + 0.5),
            y=counts,
            mode="lines+markers",
            line={"color": colour(k)},
            name=run,
            row=1,
            col=2,
        )
    figure.update_xaxes(title="share", rangemode="tozero", row=1, col=1)
    figure.update_xaxes(title="step", type="log", row=1, col=2)
    figure.update_yaxes(title="neurons an octave", row=1, col=2)
    return finish(figure, f"Neurons on {'final examples' if answer.texts == 'top' else 'held-out places'}")
