"""The spectrum over training: strength by step and frequency, and beside it the frequencies of one step."""

from collections.abc import Collection

import numpy as np
import plotly.graph_objects as go
from numpy.typing import NDArray

from ui.models.axes import GRID, LINE, NO_GRID, SEPARATORS
from ui.models.grokking.spectrum import Spectrum
from ui.models.palette import HUES, MUTED, see_through
from ui.models.steps import StepAxis
from ui.models.text import escape_plotly, number, plural

Floats = NDArray[np.float64]

HEIGHT = 460
OVER_TRAINING, AT_STEP = (0.0, 0.63), (0.73, 1.0)
MOST_NAMES = 14  # frequencies that get their number written beside their bar


def spectrum_figure(found: Spectrum, keys: Collection[int], *, x_scale: str) -> go.Figure:
    """Left: a column a checkpoint, a row a frequency. Right: the chosen step's strengths, over the final ones.

    keys: frequencies that are key at the last checkpoint; they are named and drawn full, so that colour is not
    all that marks them. The chosen step is a line on the left.
    """
    axis = StepAxis.of(found.steps.astype(np.float64), x_scale)
    frequencies = found.frequencies
    figure = go.Figure()
    top = float(np.nanmax(np.abs(found.values))) if np.isfinite(found.values).any() else 1.0
    figure.add_heatmap(
        x=axis.edges(found.steps.astype(np.float64)),
        y=frequencies,
        z=found.values.T,
        zmin=-top if found.is_signed else 0,
        zmax=top,
        colorscale=_scale(found.is_signed),
        customdata=np.broadcast_to(found.steps, found.values.T.shape),
        hovertemplate="step %{customdata:,}<br>frequency %{y}: %{z:.4g}<extra></extra>",
        colorbar={
            "x": OVER_TRAINING[1] + 0.012,
            "xanchor": "left",
            "thickness": 9,
            "len": 1,
            "outlinewidth": 0,
            "tickfont": {"size": 10},
            "nticks": 5,
            "ypad": 0,
        },
    )
    at = float(axis.place(np.array([float(found.step)]))[0])
    figure.add_shape(
        type="line",
        x0=at,
        x1=at,
        y0=0,
        y1=1,
        xref="x",
        yref="y domain",
        line={"color": HUES[1], "width": 2, "dash": "dot"},
    )
    broken = found.steps[~np.isfinite(found.values).all(axis=1)]
    if len(broken):
        figure.add_scatter(
            x=axis.place(broken.astype(np.float64)),
            y=[frequencies[0] - 0.5] * len(broken),
            mode="markers",
            marker={"symbol": "x", "size": 7, "color": MUTED},
            hovertext=[f"step {s:,}: not finite" for s in broken],
            hoverinfo="text",
            cliponaxis=False,
            showlegend=False,
        )
    _bars(figure, found, keys)
    ticks = {"tickmode": "linear", "dtick": max(1, round(len(frequencies) / 14)), "tick0": 1}
    low, high = frequencies[0] - 0.5, frequencies[-1] + 0.5
    shared = {"range": [low, high], **LINE, **NO_GRID, **ticks}
    figure.update_layout(
        height=HEIGHT,
        margin={"l": 58, "t": 34, "b": 52, "r": 36},
        separators=SEPARATORS,
        barmode="overlay",
        bargap=0.25,
        xaxis=axis.layout() | {"domain": OVER_TRAINING, "anchor": "y"},
        yaxis=shared | {"title": {"text": "frequency", "standoff": 14}},
        xaxis2={
            "domain": AT_STEP,
            "anchor": "y2",
            "title": {"text": f"strength in {escape_plotly(found.matrix)}", "standoff": 8},
            "rangemode": "tozero",
            **LINE,
            **GRID,
        },
        yaxis2=shared | {"anchor": "x2", "matches": "y", "showticklabels": False},
        showlegend=False,
        annotations=[
            *axis.mark(),
            _title("over training", sum(OVER_TRAINING) / 2),
            _title(f"at step {found.step:,}".replace(",", "\u202f"), sum(AT_STEP) / 2),
            *_names(found, keys),
        ],
    )
    return figure


def spectrum_in_words(found: Spectrum, keys: Collection[int]) -> str:
    """The figure as a sentence, for those who do not see it."""
    now = np.abs(found.now)
    if not np.isfinite(now).any():
        return f"Spectrum of {found.matrix} of {found.run}: at step {found.step:,} no strength is finite."
    order = np.argsort(-np.nan_to_num(now), kind="stable")[:3]
    strongest = ", ".join(
        f"{frequency} ({number(found.now[frequency - 1])})" for frequency in (order + 1).tolist()
    )
    final = f" Key at the last checkpoint: {', '.join(map(str, sorted(keys)))}." if keys else ""
    return (
        f"Heat map of the strength of {plural(len(now), 'frequency', 'frequencies')} of {found.matrix} of {found.run} over "
        f"{plural(len(found.steps), 'checkpoint')}, with bars for step {found.step:,}, where the strongest are "
        f"{strongest}.{final}"
    )


def spectrum_notes(found: Spectrum) -> list[str]:
    """What is not in the picture."""
    lines = []
    if len(found.steps) < found.n_steps:
        lines.append(
            f"1 of {found.n_steps / len(found.steps):.2g} checkpoints drawn: {len(found.steps)} of {found.n_steps}, evenly "
            "thinned in the database. The slider has all of them."
        )
    if found.n_broken:
        lines.append(f"{plural(found.n_broken, 'checkpoint')} with strengths that are not finite (✕).")
    return lines


def _bars(figure: go.Figure, found: Spectrum, keys: Collection[int]) -> None:
    """The final spectrum as outlines, the chosen one as bars, those of key frequencies full."""
    is_key = np.isin(found.frequencies, list(keys))
    figure.add_bar(
        orientation="h",
        x=found.last,
        y=found.frequencies,
        xaxis="x2",
        yaxis="y2",
        marker={"color": "rgba(0,0,0,0)", "line": {"width": 1, "color": see_through(MUTED, 0.8)}},
        hovertemplate="frequency %{y} at the last checkpoint: %{x:.4g}<extra></extra>",
    )
    figure.add_bar(
        orientation="h",
        x=found.now,
        y=found.frequencies,
        xaxis="x2",
        yaxis="y2",
        marker={
            "color": [HUES[0] if key else see_through(HUES[0], 0.3) for key in is_key],
            "line": {"width": 1, "color": HUES[0]},
        },
        hovertemplate="frequency %{y}: %{x:.4g}<extra></extra>",
    )


def _names(found: Spectrum, keys: Collection[int]) -> list[dict[str, object]]:
    ends = np.nanmax(np.stack([found.now, found.last, np.zeros(len(found.now))]), axis=0)
    return [
        {
            "text": f"{key}",
            "x": float(ends[key - 1]),
            "y": key,
            "xref": "x2",
            "yref": "y2",
            "xanchor": "left",
            "xshift": 4,
            "showarrow": False,
            "font": {"size": 12, "color": HUES[0]},
        }
        for key in sorted(keys)[:MOST_NAMES]
        if key <= len(ends)
    ]


def _scale(signed: bool) -> list[list[object]]:
    """From nothing to a full colour, so that it reads on light and dark ground; negative strengths in another hue."""
    up = [see_through(HUES[0], a) for a in (0.0, 0.45, 0.8, 1.0)]
    if not signed:
        return [[at, colour] for at, colour in zip((0.0, 0.25, 0.6, 1.0), up, strict=True)]
    down = [see_through(HUES[1], a) for a in (1.0, 0.8, 0.45, 0.0)]
    places = (0.0, 0.2, 0.375, 0.5, 0.5, 0.625, 0.8, 1.0)
    return [[at, colour] for at, colour in zip(places, [*down, *up], strict=True)]


def _title(text: str, x: float) -> dict[str, object]:
    return {
        "text": text,
        "x": x,
        "xref": "paper",
        "xanchor": "center",
        "y": 1,
        "yref": "paper",
        "yanchor": "bottom",
        "yshift": 4,
        "showarrow": False,
        "font": {"size": 13},
    }
