"""Figure of single tokens' steps: how sharp, when, and what they make of the mean loss."""

from typing import TYPE_CHECKING

import numpy as np
import plotly.graph_objects as go
from plotly.subplots import make_subplots

from queries.figures.axes import GREY, colour, dash, finish
from queries.reading.tables import floats, shared_folder

if TYPE_CHECKING:
    from queries.quanta_histogram import QuantaHistogram

# more runs than this hide one another
MOST_RUNS = 8


def quanta_figure(answer: "QuantaHistogram") -> go.Figure:
    """Left: the share of its range in a token's steepest octave, with smooth curves in grey. Middle: transitions by octave.

    Right: the mean loss and the sum of the steps, both less their last value.
    """
    names = answer.table["run"].to_pylist()
    cut = len(shared_folder(names))
    figure = make_subplots(
        rows=1, cols=3, subplot_titles=("steepest octave", "when transitions are", "mean loss and steps")
    )
    for k, run in enumerate(names[:MOST_RUNS]):
        style = {"color": colour(k), "dash": dash(k)}
        shown = {"name": run[cut:], "legendgroup": run}
        shares = answer.shares.filter(np.array(answer.shares["run"].to_pylist()) == run)
        middle = (floats(shares, "from_share") + floats(shares, "to_share")) / 2
        for column, line, label in (
            ("tokens", style, shown),
            ("null", {"color": GREY, "dash": "dot"}, {"name": "smooth curves", "legendgroup": "null"}),
        ):
            counts = floats(shares, column)
            figure.add_scatter(
                x=middle,
                y=counts / max(counts.sum(), 1),
                mode="lines",
                line={**line, "shape": "hvh"},
                showlegend=column == "tokens" or k == 0,
                row=1,
                col=1,
                **label,
            )
        t50s = answer.t50s.filter(np.array(answer.t50s["run"].to_pylist()) == run)
        figure.add_scatter(
            x=np.sqrt(floats(t50s, "from_step") * floats(t50s, "to_step")),
            y=floats(t50s, "major") + floats(t50s, "minor"),
            mode="lines+markers",
            line=style,
            showlegend=False,
            row=1,
            col=2,
            **shown,
        )
        curves = answer.curves.filter(np.array(answer.curves["run"].to_pylist()) == run)
        for column, look in (("mean", style), ("steps", {**style, "dash": "dash", "width": 1})):
            values = floats(curves, column)
            figure.add_scatter(
                x=floats(curves, "step"),
                y=values - values[-1],
                mode="lines",
                line=look,
                showlegend=False,
                row=1,
                col=3,
                **shown,
            )
    figure.update_xaxes(title="share of the range", row=1, col=1)
    figure.update_yaxes(title="share of tokens", row=1, col=1)
    figure.update_xaxes(title="step", type="log", row=1, col=2)
    figure.update_yaxes(title="tokens", row=1, col=2)
    figure.update_xaxes(title="step", type="log", row=1, col=3)
    figure.update_yaxes(title="less the last value [nats]", row=1, col=3)
    more = f" (first {MOST_RUNS} of {len(names)} runs)" if len(names) > MOST_RUNS else ""
    return finish(figure, f"Steps of single tokens{more}")
