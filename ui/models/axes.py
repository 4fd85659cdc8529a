"""Axes that figures of this explorer share: quiet lines, few ticks, labels that do not overlap."""

import math
from collections.abc import Sequence

import numpy as np
import plotly.graph_objects as go
from numpy.typing import NDArray

from ui.models.palette import MUTED, see_through
from ui.models.text import distinguish, escape_plotly

Floats = NDArray[np.float64]

LINE = {
    "showline": True,
    "linewidth": 1,
    "linecolor": see_through(MUTED, 0.7),
    "zeroline": False,
    "ticks": "outside",
    "tickcolor": see_through(MUTED, 0.7),
    "tickfont": {"size": 12},
}
GRID = {"showgrid": True, "gridcolor": see_through(MUTED, 0.18), "gridwidth": 1}
NO_GRID = {"showgrid": False}
SEPARATORS = ".\u202f"  # decimal point, thin space between thousands
# plotly draws powers a quarter larger than it is told
POWERS = {"exponentformat": "power", "tickfont": {"size": 10}}


def decades(values: Floats) -> float:
    """How many powers of ten the positive values span; 0 where there are none."""
    positive = values[np.isfinite(values) & (values > 0)]
    return math.log10(positive.max() / positive.min()) if len(positive) else 0.0


def log_ticks(values: Floats) -> dict[str, object]:
    """A label per power of ten; on a short axis 1, 2 and 5, which plotly would write as bare digits."""
    positive = values[np.isfinite(values) & (values > 0)]
    if not len(positive):
        return {}
    span = decades(positive)
    if span >= 2:
        return {"dtick": math.ceil(span / 12)}
    low, high = float(positive.min()), float(positive.max())
    powers = range(math.floor(math.log10(low)), math.ceil(math.log10(high)) + 1)
    return {"tickvals": [digit * 10.0**power for power in powers for digit in (1, 2, 5)]}


def name_rows(figure: go.Figure, names: Sequence[str], *, grid: bool = False) -> None:
    """Make the y axis one of named rows at heights 0, 1, ... from the top, with room for the names at its left."""
    labels = distinguish(names, 24) if names else []
    figure.update_layout(
        yaxis={
            "tickvals": list(range(len(labels))),
            "ticktext": [escape_plotly(label) for label in labels],
            "range": [len(labels) - 0.4, -0.6],
            **LINE,
            **(GRID if grid else NO_GRID),
            "ticks": "",
        },
        margin={"l": 16 + int(7.5 * max((len(label) for label in labels), default=0))},
    )


def spread(heights: Sequence[float], gap: float) -> list[float]:
    """Heights (0-1) moved as little as needed to lie `gap` apart, in their order, within 0-1 if they fit."""
    order = sorted(range(len(heights)), key=lambda i: heights[i])
    placed: list[float] = []
    for i in order:
        placed.append(max(heights[i], placed[-1] + gap) if placed else heights[i])
    top = 1.0
    for k in reversed(range(len(placed))):
        placed[k] = min(placed[k], top)
        top = placed[k] - gap
    result = [0.0] * len(heights)
    for i, height in zip(order, placed, strict=True):
        result[i] = height
    return result
