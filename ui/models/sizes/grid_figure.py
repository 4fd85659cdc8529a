"""Rows by sizes as a heat map: the value in the cell, its colour how far it lies from the mean of its row."""

import numpy as np
import plotly.graph_objects as go

from ui.models.axes import NO_GRID
from ui.models.palette import DARK_GROUND, HUES, see_through
from ui.models.sizes.grid import SizeGrid
from ui.models.text import escape_plotly, fold, number, plural, shorten

MOST_ROWS, MOST_COLUMNS = 60, 16
ROW_PIXELS, AROUND_PIXELS, NAME_PIXELS = 24, 58, 6.4
FULL = 0.7  # words must stay readable on the fullest cell, on light and dark ground


def grid_figure(found: SizeGrid) -> go.Figure:
    """A cell a row and size; blue is better than the row's mean over sizes, orange worse. Hover for runs and interval."""
    rows, columns = found.rows[:MOST_ROWS], shown_columns(found)
    better = found.centred[: len(rows), columns] * (1 if found.higher else -1)
    top = float(np.nanmax(np.abs(better))) if np.isfinite(better).any() else 0.0
    up = [see_through(HUES[0], FULL * share) for share in (0.0, 0.5, 1.0)]
    down = [see_through(HUES[1], FULL * share) for share in (1.0, 0.5, 0.0)]
    labels = [shorten(found.columns[j], 26) for j in columns]
    many = len(columns) > 6
    below = int(NAME_PIXELS * max((len(label) for label in labels), default=0)) if many else 18
    figure = go.Figure()
    # one row cannot differ from itself where a single size is there: it has no colour, and still its number
    known = np.isfinite(found.mean[: len(rows), columns])
    figure.add_heatmap(
        z=np.where(known, np.nan_to_num(better), np.nan),
        zmin=-(top or 1.0),
        zmax=top or 1.0,
        colorscale=list(zip((0.0, 0.25, 0.5, 0.5, 0.75, 1.0), [*down, *up], strict=True)),
        xgap=2,
        ygap=2,
        hovertext=[[_told(found, i, j) for j in columns] for i in range(len(rows))],
        hoverinfo="text",
        hoverongaps=False,
        showscale=False,
    )
    # letters of their own: those of a heat map are dark on pale cells of a dark page too. On the page style.css gives
    # them the colour of its text, whatever the theme
    figure.add_scatter(
        x=[k for _ in rows for k in range(len(columns))],
        y=[i for i in range(len(rows)) for _ in columns],
        text=[_short(found.mean[i, j]) for i in range(len(rows)) for j in columns],
        mode="text",
        textfont={"size": 12, "color": DARK_GROUND},
        hoverinfo="skip",
        showlegend=False,
    )
    figure.update_layout(
        height=AROUND_PIXELS + ROW_PIXELS * max(len(rows), 1) + below,
        margin={"l": 8, "r": 8, "t": 8, "b": 40 + below},
        xaxis={
            "tickvals": list(range(len(labels))),
            "ticktext": [escape_plotly(label) for label in labels],
            "tickangle": -60 if many else 0,
            "title": {"text": "parameters, from small to large"},
            "range": [-0.5, max(len(labels), 1) - 0.5],
            "ticks": "",
            "zeroline": False,
            "fixedrange": True,
            **NO_GRID,
        },
        yaxis={
            "tickvals": list(range(len(rows))),
            "ticktext": [_row_name(found, i) + "  " for i in range(len(rows))],
            "range": [len(rows) - 0.5, -0.5],
            "ticks": "",
            "zeroline": False,
            "fixedrange": True,
            "automargin": True,
            **NO_GRID,
        },
        showlegend=False,
    )
    return figure


def shown_columns(found: SizeGrid) -> list[int]:
    """Which sizes are drawn: those with a value, spread evenly from the smallest to the largest where they are many."""
    there = np.flatnonzero(found.n_runs.any(axis=0))
    if len(there) > MOST_COLUMNS:
        there = there[np.linspace(0, len(there) - 1, MOST_COLUMNS).round().astype(int)]
    return [int(j) for j in there]


def grid_in_words(found: SizeGrid, what: str) -> str:
    """The figure as a sentence, for those who do not see it."""
    columns = shown_columns(found)
    start = f"Grid of {what} of {plural(len(found.rows), 'row')} by {plural(len(columns), 'size')}"
    if len(columns) < 2:
        return f"{start}."
    ends = columns[0], columns[-1]
    change = (found.mean[:, ends[1]] - found.mean[:, ends[0]]) * (1 if found.higher else -1)
    worse = [found.rows[i] for i in np.flatnonzero(change < 0)]
    told = f": {', '.join(shorten(name, 40) for name in worse[:5])}" if worse else ""
    return f"{start}. The smallest is better than the largest in {plural(len(worse), 'row')}{told}."


def grid_key(found: SizeGrid) -> str:
    """What cells and colours mean, how many runs there are, and at which step."""
    columns = shown_columns(found)
    runs = ", ".join(f"{shorten(found.columns[j], 26)}: {found.n_runs[:, j].max()}" for j in columns[:8])
    more = ", …" if len(columns) > 8 else ""
    steps = f"step {found.steps[0]:,}" if len(found.steps) == 1 else "each run's last step"
    unit = f" [{found.unit}]" if found.unit else ""
    return (
        f"Means over the runs of a size{unit} at {steps}. Blue: better than the row's mean over sizes, orange: worse. "
        f"Runs: {runs}{more}."
    )


def grid_notes(found: SizeGrid) -> list[str]:
    """What is not in the picture."""
    notes = []
    if len(found.rows) > MOST_ROWS:
        notes.append(f"{MOST_ROWS} of {len(found.rows)} rows are drawn. The CSV has all.")
    n_there = int(found.n_runs.any(axis=0).sum())
    if n_there > MOST_COLUMNS:
        notes.append(
            f"{MOST_COLUMNS} of {n_there} sizes are drawn, from the smallest to the largest. The CSV has all."
        )
    if n_there < len(found.columns):
        notes.append(f"{len(found.columns) - n_there} of {len(found.columns)} sizes have no value there.")
    return notes


def _row_name(found: SizeGrid, i: int) -> str:
    n = found.n_items[i]
    words = escape_plotly(shorten(found.rows[i], 34))
    return f"{words} ({n:,})".replace(",", "\u202f") if n else words


def _told(found: SizeGrid, i: int, j: int) -> str:
    head = f"<b>{fold(found.rows[i])}</b><br>{fold(found.columns[j])}"
    if not found.n_runs[i, j]:
        return f"{head}<br>no value"
    low, high = float(found.low[i, j]), float(found.high[i, j])
    words = f"{head}<br>mean of {plural(int(found.n_runs[i, j]), 'run')}: {number(float(found.mean[i, j]))} {found.unit}"
    words += (
        f"<br>95% interval over runs {number(low)} to {number(high)}"
        if np.isfinite(low)
        else "<br>one run: no interval"
    )
    centred = float(found.centred[i, j])
    return (
        words + f"<br>{centred:+.3g} from the row's mean over sizes".replace("-", "−")
        if np.isfinite(centred)
        else words
    )


def _short(value: float) -> str:
    if not np.isfinite(value):
        return ""
    return (f"{value:.3g}" if abs(value) >= 100 else f"{value:.3f}").replace("-", "−")
