"""Axes and colours that every figure shares: step 0 kept on log axes, colours that the colour-blind can tell."""

import math
from collections.abc import Sequence
from typing import Literal

import numpy as np
import plotly.graph_objects as go
from numpy.typing import NDArray

Scale = Literal["log", "linear"]
Floats = NDArray[np.float64]

# Okabe and Ito 2008, without black (invisible on dark pages) and with yellow last (faint on light ones)
COLOURS = ("#0072B2", "#E69F00", "#009E73", "#CC79A7", "#56B4E9", "#D55E00", "#999999", "#F0E442")
DASHES = ("solid", "dash", "dot", "dashdot")
SYMBOLS = ("circle", "square", "diamond", "triangle-up", "x", "cross", "star", "triangle-down")
GREY = "#888888"


def colour(k: int) -> str:
    """The k-th group's colour; colours repeat after eight, with another dash and symbol."""
    return COLOURS[k % len(COLOURS)]


def dash(k: int) -> str:
    """The k-th group's dash pattern: solid for the first eight, then dashed, dotted, ..."""
    return DASHES[k // len(COLOURS) % len(DASHES)]


def symbol(k: int) -> str:
    """The k-th group's marker, so that colour is never the only difference."""
    return SYMBOLS[k % len(SYMBOLS)]


def faded(k: int, opacity: float) -> str:
    """The k-th group's colour as rgba."""
    red, green, blue = (int(colour(k)[i : i + 2], 16) for i in (1, 3, 5))
    return f"rgba({red},{green},{blue},{opacity})"


class TimeAxis:
    """Puts times on an x axis; on a log axis time 0 stands to the left of a break instead of vanishing."""

    def __init__(self, times: Sequence[Floats], scale: Scale) -> None:
        """`times` are all times of the figure: they decide where 0 is put."""
        finite = np.concatenate([t[np.isfinite(t)] for t in times]) if times else np.empty(0)
        positive = finite[finite > 0]
        self.scale = scale
        self.first = float(positive.min()) if len(positive) else 1.0
        self.last = float(positive.max()) if len(positive) else 1.0
        self.has_zero = bool(scale == "log" and len(finite) and (finite <= 0).any())
        decades = math.log10(self.last / self.first) if self.last > self.first else 1.0
        # the gap to 0 is a twelfth of the axis, at least a factor of 2
        self.zero_at = self.first / max(2.0, 10 ** (decades / 12))

    def place(self, times: Floats) -> Floats:
        """Where times are drawn."""
        if self.scale == "linear":
            return times
        return np.where(times <= 0, self.zero_at, times)

    def apply(self, figure: go.Figure, title: str) -> None:
        """Set the figure's x axis, with 0 named and the break marked."""
        figure.update_xaxes(title=title, type=self.scale)
        if not self.has_zero:
            return
        powers = range(math.ceil(math.log10(self.first)), math.floor(math.log10(self.last)) + 1)
        ticks = [10.0**p for p in powers] or [self.first]
        # two short ticks fit where a single power of ten would stand alone
        if len(ticks) < 3:
            ticks = sorted({float(f"{t:.1g}") for t in np.geomspace(self.first, self.last, 4)})
        figure.update_xaxes(
            tickvals=[self.zero_at, *ticks],
            ticktext=["0", *(short(t) for t in ticks)],
            range=[math.log10(self.zero_at) - 0.05, math.log10(self.last) + 0.05],
        )
        figure.add_vline(
            x=math.sqrt(self.zero_at * self.first),
            line={"color": GREY, "dash": "dot", "width": 1},
            opacity=0.6,
        )


def short(value: float) -> str:
    """A tick label: 1, 10, 1k, 20k, 1M, 2.1B."""
    for size, letter in ((1e12, "T"), (1e9, "B"), (1e6, "M"), (1e3, "k")):
        if abs(value) >= size:
            return f"{value / size:.3g}{letter}"
    return f"{value:.3g}"


def finish(figure: go.Figure, title: str) -> go.Figure:
    """Layout common to all figures; colours of text and paper are left to the page's theme."""
    figure.update_layout(
        title={"text": title, "x": 0, "xanchor": "left"},
        height=460,
        margin={"l": 60, "r": 20, "t": 50, "b": 100},
        hovermode="closest",
        # below the figure: names of runs and conditions are long
        legend={
            "groupclick": "togglegroup",
            "orientation": "h",
            "yref": "container",
            "y": 0.01,
            "yanchor": "bottom",
        },
    )
    return figure
