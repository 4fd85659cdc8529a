"""Shares of variance of a trajectory's components, beside those of random walks."""

import math
from collections.abc import Mapping, Sequence

import numpy as np
import plotly.graph_objects as go

from queries.trajectory_pca import TrajectoryPca
from ui.models.axes import GRID, LINE, NO_GRID, SEPARATORS
from ui.models.palette import MUTED, see_through
from ui.models.text import escape_plotly, fold, plural
from ui.models.trajectory.figure import COMPONENTS, Path

SHARES_PIXELS = 330


def shares_figure(found: TrajectoryPca, drawn: Sequence[Path]) -> go.Figure:
    """Share of variance of each component: a dot a run over the 95% range of its own walks, and the closed form."""
    n = max(len(drawn), 1)
    figure = go.Figure()
    rows = found.shares.to_pylist()
    for at, path in enumerate(drawn):
        mine = [r for r in rows if r["run"] == path.run and r["component"] in COMPONENTS]
        x = [r["component"] + _offset(at, n) for r in mine]
        low, high = (np.array([r[name] for r in mine], float) for name in ("null_low", "null_high"))
        figure.add_bar(
            x=x,
            y=high - low,
            base=low,
            width=0.7 / n,
            marker={"color": see_through(MUTED, 0.35), "line": {"width": 0}},
            name="95% of its random walks",
            legendgroup="walks",
            showlegend=at == 0,
            hoverinfo="skip",
        )
        figure.add_scatter(
            x=x,
            y=[r["share"] for r in mine],
            mode="markers",
            name=escape_plotly(path.label),
            showlegend=False,
            cliponaxis=False,
            marker={"color": path.stroke.colour, "symbol": path.symbol, "size": 8},
            hovertext=[_told(r) for r in mine],
            hoverinfo="text",
        )
    closed = {r["component"]: r["closed_form"] for r in rows if r["component"] in COMPONENTS}
    figure.add_scatter(
        x=[v for c in closed for v in (c - 0.42, c + 0.42, None)],
        y=[v for share in closed.values() for v in (share, share, None)],
        mode="lines",
        line={"color": MUTED, "width": 2, "dash": "dash"},
        name="long random walk, evenly weighted",
        hovertemplate="random walk: %{y:.1%}<extra></extra>",
    )
    for component, share in closed.items():
        figure.add_annotation(
            text=f"{share:.1%}",
            x=component + 0.43,
            y=share,
            xanchor="left",
            showarrow=False,
            font={"size": 12, "color": MUTED},
        )
    figure.update_layout(
        height=SHARES_PIXELS,
        margin={"l": 70, "t": 34, "b": 30, "r": 16},
        separators=SEPARATORS,
        barmode="overlay",
        hovermode="closest",
        xaxis={
            "tickvals": list(COMPONENTS),
            "ticktext": [f"PC{c}" for c in COMPONENTS],
            "range": [0.45, 3.75],
            **LINE,
            **NO_GRID,
        },
        yaxis={
            "title": {"text": "share of variance", "standoff": 14},
            "tickformat": ".0%",
            "rangemode": "tozero",
            **LINE,
            **GRID,
        },
        legend={"orientation": "h", "x": 0, "y": 1, "yanchor": "bottom"},
        showlegend=True,
    )
    return figure


def shares_in_words(found: TrajectoryPca) -> str:
    """The shares as a sentence, for those who do not see them."""
    told = []
    for component in COMPONENTS:
        mine = [r for r in found.shares.to_pylist() if r["component"] == component]
        known = [r["share"] for r in mine if math.isfinite(r["share"])]
        if known:
            told.append(
                f"PC{component} {min(known):.0%} to {max(known):.0%} (random walk {mine[0]['closed_form']:.1%})"
            )
    return f"Dots of the share of variance of each component in {plural(found.n_runs, 'run')}: {'; '.join(told)}."


def _offset(at: int, n: int) -> float:
    """Runs side by side around their component."""
    return 0.7 * ((at + 0.5) / n - 0.5)


def _told(row: Mapping[str, float]) -> str:
    walks = f"; its walks {row['null_share']:.1%}" if math.isfinite(row["null_share"]) else ""
    return f"<b>{fold(str(row['run']))}</b><br>PC{row['component']}: {row['share']:.1%}{walks}"
