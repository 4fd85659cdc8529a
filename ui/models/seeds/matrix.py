"""Runs × runs as a heat map: how alike each pair is."""

import math
from collections.abc import Sequence

import numpy as np
import plotly.graph_objects as go
from numpy.typing import NDArray

from ui.models.axes import NO_GRID
from ui.models.palette import MUTED, see_through
from ui.models.seeds.agreement import DIRECTED, DIVERGENCES, UNITS, Agreement, extremes, sharing
from ui.models.seeds.page import CKA, HEADS, NEURONS, RANK, TOP, Kind, SeedRun
from ui.models.text import distinguish, escape_plotly, fold, number, plural

Floats = NDArray[np.float64]

COLOURS = ("whole scale", "these values")
# opaque, so that the numbers on them can be read on light and dark ground alike
PALE, FULL = "#dbe7f2", "#1a5a96"
DARK_WORDS, LIGHT_WORDS = "#10161c", "#ffffff"
MOST_NUMBERED = 12
_TOPS = {TOP: 1.0, RANK: 1.0, CKA: 1.0, HEADS: 1.0, NEURONS: 1.0}


def matrix(found: Agreement, runs: Sequence[SeedRun], kind: Kind) -> Floats:
    """(row, column): NaN on the diagonal and where there is no number. Mirrored unless both directions are numbers."""
    place = {r.run: k for k, r in enumerate(runs)}
    values = np.full((len(runs), len(runs)), math.nan)
    for p in found.pairs:
        if p.run_a in place and p.run_b in place:
            i, j = place[p.run_a], place[p.run_b]
            values[i, j] = p.value
            if kind.label not in DIRECTED:
                values[j, i] = p.value
    return values


def ends(values: Floats, found: Agreement, kind: Kind, colours: str) -> tuple[float, float]:
    """What no colour and full colour stand for."""
    known = values[np.isfinite(values)]
    if colours == COLOURS[1] and len(known):
        low, high = float(known.min()), float(known.max())
        return (low, high) if high > low else (low - 0.5, high + 0.5)
    if kind.label in DIVERGENCES:
        nulls = [m.null for m in found.means if math.isfinite(m.null)]
        return 0.0, max([*nulls, float(known.max(initial=0.0))]) or 1.0
    return min(0.0, float(known.min(initial=0.0))), _TOPS[kind.label]


def matrix_figure(found: Agreement, runs: Sequence[SeedRun], kind: Kind, *, colours: str) -> go.Figure:
    """A cell a pair, rows and columns by condition and seeds; lines part conditions; hover for seeds and intervals."""
    values = matrix(found, runs, kind)
    low, high = ends(values, found, kind, colours)
    labels = distinguish([r.run for r in runs], 30)
    n = len(runs)
    numbered = n <= MOST_NUMBERED
    cell, beside = _sizes(labels)
    below = 12 + int(4.6 * max(len(label) for label in labels))
    figure = go.Figure()
    figure.add_heatmap(
        z=values,
        zmin=low,
        zmax=high,
        colorscale=[[0.0, PALE], [1.0, FULL]],
        xgap=2,
        ygap=2,
        hovertext=_told(found, runs, kind, values),
        hoverinfo="text",
        hoverongaps=False,
        colorbar={
            "title": {
                "text": escape_plotly(UNITS.get(kind.label, "correlation" if kind.label != CKA else "CKA")),
                "side": "right",
                "font": {"size": 11},
            },
            "thickness": 10,
            "outlinewidth": 0,
            "tickfont": {"size": 11},
            "nticks": 5,
            "ypad": 0,
        },
    )
    if numbered:
        # where all numbers are alike, the third digit tells them apart
        known = values[np.isfinite(values)]
        digits = 3 if len(known) and (np.ptp(known) < 0.1 or np.abs(known).max() < 0.1) else 2
        places = [(i, j) for i in range(n) for j in range(n) if math.isfinite(values[i, j])]
        figure.add_scatter(
            x=[j for _, j in places],
            y=[i for i, _ in places],
            mode="text",
            text=[_short(float(values[at]), digits) for at in places],
            textfont={
                "size": 12,
                "color": [words_on((float(values[at]) - low) / (high - low)) for at in places],
            },
            hoverinfo="skip",
            showlegend=False,
        )
    # the diagonal is a run with itself, which is not asked about
    figure.add_scatter(
        x=list(range(n)),
        y=list(range(n)),
        mode="markers",
        marker={"symbol": "line-ew-open", "size": 7, "color": see_through(MUTED, 0.8)},
        hoverinfo="skip",
        showlegend=False,
    )
    names = [escape_plotly(label) for label in labels]
    axis = {"tickvals": list(range(n)), "zeroline": False, "fixedrange": True, "ticks": "", **NO_GRID}
    figure.update_layout(
        width=matrix_width(runs),
        height=24 + cell * n + below,
        margin={"l": beside, "r": 8, "t": 8, "b": 16 + below},
        xaxis={**axis, "ticktext": names, "tickangle": -45, "range": [-0.5, n - 0.5]},
        yaxis={
            **axis,
            "ticktext": [f"{name}  " for name in names],
            "range": [n - 0.5, -0.5],
            "automargin": True,
        },
        shapes=_borders(runs),
        showlegend=False,
    )
    return figure


def matrix_width(runs: Sequence[SeedRun]) -> int:
    """How wide the figure is, in pixels: cells are square, so that it does not fill a page."""
    cell, beside = _sizes(distinguish([r.run for r in runs], 30))
    return beside + cell * len(runs) + 96


def words_on(share: float) -> str:
    """The colour of a number on a cell that is full to this share: whichever stands out more."""
    share = min(max(share, 0.0), 1.0)
    cell = [(1 - share) * int(PALE[i : i + 2], 16) + share * int(FULL[i : i + 2], 16) for i in (1, 3, 5)]
    light = _luminance(cell)
    dark = _luminance([int(DARK_WORDS[i : i + 2], 16) for i in (1, 3, 5)])
    return LIGHT_WORDS if 1.05 / (light + 0.05) > (light + 0.05) / (dark + 0.05) else DARK_WORDS


def matrix_in_words(found: Agreement, runs: Sequence[SeedRun], kind: Kind) -> str:
    """The figure as a sentence, for those who do not see it."""
    start = f"Matrix of {kind.label} of {plural(len(runs), 'run')} at step {found.step:,}"
    two = extremes(found, kind)
    if two is None:
        return f"{start}: no pair has a number."
    alike, apart = two
    names = dict(zip((r.run for r in runs), distinguish([r.run for r in runs], 40), strict=True))
    told = [f"{names[p.run_a]} and {names[p.run_b]} ({number(p.value)})" for p in (alike, apart)]
    return f"{start}. Most alike: {told[0]}. Least alike: {told[1]}."


def matrix_key(runs: Sequence[SeedRun], kind: Kind) -> str:
    """How to read the figure: what is fuller, and the order."""
    fuller = "further apart" if kind.label in DIVERGENCES else "more alike"
    groups = len({r.group for r in runs})
    parted = f" Lines part {groups} conditions." if groups > 1 else ""
    way = " Rows against columns: the two directions are two numbers." if kind.label in DIRECTED else ""
    return f"The deeper the blue, the {fuller}. Ordered by condition, init and data order.{parted}{way}"


def _sizes(labels: Sequence[str]) -> tuple[int, int]:
    """(side of a cell, room for names), in pixels."""
    return min(56, max(30, 420 // len(labels))), 24 + int(6.6 * max(len(label) for label in labels))


def _luminance(colour: Sequence[float]) -> float:
    """Relative luminance of a colour from 0 to 255 a channel, as WCAG defines it."""
    linear = [c / 255 / 12.92 if c <= 10.31 else ((c / 255 + 0.055) / 1.055) ** 2.4 for c in colour]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


def _told(found: Agreement, runs: Sequence[SeedRun], kind: Kind, values: Floats) -> list[list[str]]:
    more = {(p.run_a, p.run_b): p.told for p in found.pairs}
    return [
        [
            _cell(a, b, float(values[i, j]), more.get((a.run, b.run)) or more.get((b.run, a.run), ()), kind)
            for j, b in enumerate(runs)
        ]
        for i, a in enumerate(runs)
    ]


def _cell(a: SeedRun, b: SeedRun, value: float, told: Sequence[str], kind: Kind) -> str:
    unit = f" {UNITS[kind.label]}" if kind.label in UNITS else ""
    lines = [
        f"<b>{fold(a.run)}</b>",
        escape_plotly(a.seeds),
        f"<b>{fold(b.run)}</b>",
        escape_plotly(b.seeds),
        sharing(a, b),
        f"<b>{escape_plotly(kind.label)} {number(value)}{unit}</b>",
        *(escape_plotly(line) for line in told),
    ]
    return "<br>".join(lines)


def _borders(runs: Sequence[SeedRun]) -> list[dict[str, object]]:
    """Lines between conditions."""
    n = len(runs)
    line = {"color": MUTED, "width": 1.5}
    found: list[dict[str, object]] = []
    for k in range(1, n):
        if runs[k].group != runs[k - 1].group:
            at = k - 0.5
            found.append({"type": "line", "x0": at, "x1": at, "y0": -0.5, "y1": n - 0.5, "line": line})
            found.append({"type": "line", "x0": -0.5, "x1": n - 0.5, "y0": at, "y1": at, "line": line})
    return found


def _short(value: float, digits: int) -> str:
    """A number that fits a cell."""
    return f"{value:.{digits}f}".replace("-", "−")
