"""The heads of one run at one step as a grid: a row a layer, a column a head."""

import numpy as np
import plotly.graph_objects as go

from queries.reading.heads import parse_head
from ui.models.axes import LINE, NO_GRID
from ui.models.heads import Grid
from ui.models.palette import HUES, MUTED, see_through
from ui.models.text import number

MOST_NUMBERS = 200  # cells that get their number written into them
ROW_PIXELS, AROUND_PIXELS = 30, 74
TALLEST = 620
# words must stay readable on the fullest cell, on light and dark ground
FULL = 0.7


def grid_figure(found: Grid, head: str, *, unit: str) -> go.Figure:
    """A cell a head, the fuller the higher its score.

    The range is that of all of training, so that steps compare, and at least a few times chance, so that a grid at
    chance looks pale. The chosen head has a frame. Over the cells lie points that cannot be seen: they carry what is
    shown on hover, and a click on one chooses its head, which a heat map would not tell.
    """
    n_layers, n_heads = found.values.shape
    layers, heads = (a.ravel() for a in np.indices(found.values.shape))
    height = min(TALLEST, AROUND_PIXELS + ROW_PIXELS * n_layers)
    figure = go.Figure()
    numbered = found.values.size <= MOST_NUMBERS
    figure.add_heatmap(
        z=found.values,
        zmin=-found.top if found.is_signed else 0,
        zmax=found.top,
        colorscale=_scale(found.is_signed),
        xgap=2,
        ygap=2,
        hoverinfo="skip",
        text=_texts(found) if numbered else None,
        texttemplate="%{text}" if numbered else None,
        textfont={"size": 12},
        colorbar={
            "title": {"text": unit, "side": "right", "font": {"size": 11}},
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
        customdata=[f"L{a}H{b}" for a, b in zip(layers.tolist(), heads.tolist(), strict=True)],
        hovertext=[_told(found, a, b) for a, b in zip(layers.tolist(), heads.tolist(), strict=True)],
        hoverinfo="text",
        showlegend=False,
    )
    layer, column = parse_head(head)
    figure.add_shape(
        type="rect",
        x0=column - 0.48,
        x1=column + 0.48,
        y0=layer - 0.46,
        y1=layer + 0.46,
        line={"color": HUES[1], "width": 2.5},
    )
    figure.update_layout(
        height=height,
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


def grid_in_words(found: Grid, label: str) -> str:
    """The figure as a sentence, for those who do not see it."""
    n_layers, n_heads = found.values.shape
    start = f"Grid of {label} of {found.run} at step {found.step:,}, {n_layers} layers by {n_heads} heads"
    if not np.isfinite(found.values).any():
        return f"{start}: no score is finite."
    order = np.argsort(-np.nan_to_num(found.values.ravel(), nan=-np.inf), kind="stable")[:3]
    best = ", ".join(f"L{i // n_heads}H{i % n_heads} ({number(found.values.flat[i])})" for i in order)
    return f"{start}. Highest: {best}."


def grid_notes(found: Grid) -> list[str]:
    """What is not in the picture."""
    if not found.n_missing:
        return []
    return [f"{found.n_missing} of {found.values.size} heads have no finite score there (✕)."]


def _texts(found: Grid) -> list[list[str]]:
    return [[f"{v:.2f}".replace("-", "−") if np.isfinite(v) else "✕" for v in row] for row in found.values]


def _told(found: Grid, layer: int, head: int) -> str:
    value, chance, z = (float(a[layer, head]) for a in (found.values, found.chance, found.z))
    words = f"<b>L{layer}H{head}</b><br>score {number(value)}"
    if np.isfinite(chance):
        words += f"<br>chance {number(chance)}, above it {number(value - chance)}"
    else:
        words += "<br>no level of chance is stored"
    return words + (f"<br>z {number(z)}" if np.isfinite(z) else "")


def _scale(signed: bool) -> list[list[object]]:
    """From nothing to a full colour, so that it reads on light and dark ground; scores below 0 in another hue."""
    up = [see_through(HUES[0], FULL * share) for share in (0.0, 0.5, 1.0)]
    if not signed:
        return [[at, colour] for at, colour in zip((0.0, 0.5, 1.0), up, strict=True)]
    down = [see_through(HUES[1], FULL * share) for share in (1.0, 0.5, 0.0)]
    places = (0.0, 0.25, 0.5, 0.5, 0.75, 1.0)
    return [[at, colour] for at, colour in zip(places, [*down, *up], strict=True)]
