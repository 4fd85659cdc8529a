"""Numbers of attention heads as a grid: a row a layer, a column a head."""

from collections.abc import Callable, Sequence

import numpy as np
import plotly.graph_objects as go
from numpy.typing import NDArray

from ui.models.axes import LINE, NO_GRID
from ui.models.palette import MUTED

MOST_NUMBERS = 200  # cells that get their number written into them
ROW_PIXELS, AROUND_PIXELS = 30, 74
TALLEST = 620
# words must stay readable on the fullest cell, on light and dark ground
FULL = 0.7


def head_cells(
    values: NDArray[np.float64],
    *,
    low: float,
    high: float,
    scale: Sequence[Sequence[object]],
    texts: Sequence[Sequence[str]],
    title: str,
    told: Callable[[int, int], str],
    shortest: int = 0,
) -> go.Figure:
    """A cell a head, (layer, head); each with its text where there are not too many.

    low, high, scale: what the colours mean, said beside them by `title`. told: what is shown on hover. Over the cells
    lie points that cannot be seen: they carry what is shown on hover, and a click on one tells its head, which a heat
    map would not.
    """
    n_layers, n_heads = values.shape
    layers, heads = (a.ravel().tolist() for a in np.indices(values.shape))
    numbered = values.size <= MOST_NUMBERS
    figure = go.Figure()
    figure.add_heatmap(
        z=values,
        zmin=low,
        zmax=high,
        colorscale=scale,
        xgap=2,
        ygap=2,
        hoverinfo="skip",
        text=texts if numbered else None,
        texttemplate="%{text}" if numbered else None,
        textfont={"size": 12},
        colorbar={
            "title": {"text": title, "side": "right", "font": {"size": 11}},
            "thickness": 9,
            "len": 1,
            "outlinewidth": 0,
            "tickfont": {"size": 10},
            "nticks": 5,
            "ypad": 0,
        },
    )
    figure.add_scatter(
        x=heads,
        y=layers,
        mode="markers",
        marker={"symbol": "square", "size": 24, "opacity": 0, "color": MUTED},
        customdata=[f"L{a}H{b}" for a, b in zip(layers, heads, strict=True)],
        hovertext=[told(a, b) for a, b in zip(layers, heads, strict=True)],
        hoverinfo="text",
        showlegend=False,
    )
    figure.update_layout(
        height=min(TALLEST, max(shortest, AROUND_PIXELS + ROW_PIXELS * n_layers)),
        margin={"l": 58, "t": 8, "b": 48, "r": 8},
        xaxis={
            "title": {"text": "head", "standoff": 6},
            "range": [-0.5, n_heads - 0.5],
            "dtick": max(1, n_heads // 24),
            "tick0": 0,
            **LINE,
            **NO_GRID,
        },
        yaxis={
            "title": {"text": "layer", "standoff": 12},
            "range": [n_layers - 0.5, -0.5],
            "dtick": max(1, n_layers // 16),
            "tick0": 0,
            **LINE,
            **NO_GRID,
        },
        showlegend=False,
    )
    return figure
