"""How directed trajectories are, and how far runs go the same way, drawn by phase."""

from typing import TYPE_CHECKING

import numpy as np
import plotly.graph_objects as go
import pyarrow as pa
import pyarrow.compute as pc
from plotly.subplots import make_subplots

from queries.figures.axes import GREY, colour, finish, symbol
from queries.reading.tables import floats, shared_words
from queries.stats.displacement import PHASES

if TYPE_CHECKING:
    from queries.trajectory_consistency import TrajectoryConsistency


def exponents_and_cosines(answer: "TrajectoryConsistency") -> go.Figure:
    """Left: a point per run and phase between walk (0) and straight line (1). Right: a point per pair of runs."""
    figure = make_subplots(cols=2, horizontal_spacing=0.12)
    groups = list(dict.fromkeys(answer.table["group"].to_pylist()))
    group_of = dict(zip(answer.table["run"].to_pylist(), answer.table["group"].to_pylist(), strict=True))
    cut = len(shared_words(groups))
    for k, group in enumerate(groups):
        mine = answer.table.filter(pc.equal(answer.table["group"], group))
        style = {"color": colour(k), "symbol": symbol(k), "size": 8}
        figure.add_scatter(
            x=_spread(mine["phase"].to_pylist(), k, len(groups)),
            y=floats(mine, "directedness"),
            mode="markers",
            name=group[cut:],
            legendgroup=group,
            marker=style,
            customdata=np.stack([floats(mine, n) for n in ("exponent", "walk", "straight")], 1),
            text=mine["run"].to_pylist(),
            hovertemplate="%{text}: exponent %{customdata[0]:.2f}, walks %{customdata[1]:.2f}, straight %{customdata[2]:.2f}"
            "<extra></extra>",
            row=1,
            col=1,
        )
        here = [group_of.get(name) == group for name in answer.pairs["run_a"].to_pylist()]
        pairs = answer.pairs.filter(pa.array(here, pa.bool_()))
        figure.add_scatter(
            x=_spread(pairs["phase"].to_pylist(), k, len(groups)),
            y=floats(pairs, "cosine"),
            mode="markers",
            legendgroup=group,
            showlegend=False,
            marker=style,
            text=[
                f"{a} and {b}"
                for a, b in zip(pairs["run_a"].to_pylist(), pairs["run_b"].to_pylist(), strict=True)
            ],
            hovertemplate="%{text}: %{y:.2f}<extra></extra>",
            row=1,
            col=2,
        )
    for col in (1, 2):
        figure.update_xaxes(
            tickvals=list(range(len(PHASES))),
            ticktext=PHASES,
            range=[-0.5, len(PHASES) - 0.5],
            row=1,
            col=col,
        )
        figure.add_hline(y=0, line={"color": GREY, "dash": "dot", "width": 1}, row=1, col=col)
    figure.update_yaxes(title="directedness (0: random walk, 1: straight line)", row=1, col=1)
    figure.update_yaxes(title="cosine between runs", range=[-1.05, 1.05], row=1, col=2)
    return finish(figure, f"displacements of {answer.of}")


def _spread(phases: list[str], k: int, n: int) -> list[float]:
    """Places of phases, groups side by side."""
    return [PHASES.index(phase) + 0.5 * ((k + 0.5) / n - 0.5) for phase in phases]
