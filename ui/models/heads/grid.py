"""The heads of one run at one step as a grid: a row a layer, a column a head."""

from functools import partial

import numpy as np
import plotly.graph_objects as go

from queries.reading.heads import parse_head
from ui.models.heads.cells import FULL, head_cells
from ui.models.heads.page import Grid
from ui.models.palette import HUES, see_through
from ui.models.text import number


def grid_figure(found: Grid, head: str, *, unit: str) -> go.Figure:
    """A cell a head, the fuller the higher its score.

    The range is that of all of training, so that steps compare, and at least a few times chance, so that a grid at
    chance looks pale. The chosen head has a frame.
    """
    figure = head_cells(
        found.values,
        low=-found.top if found.is_signed else 0,
        high=found.top,
        scale=_scale(found.is_signed),
        texts=_texts(found),
        title=unit,
        told=partial(_told, found),
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
