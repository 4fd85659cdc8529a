"""The other progress measures of grokking side by side: one run over the runs it stands among."""

from collections.abc import Mapping, Sequence

import numpy as np
import plotly.graph_objects as go
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from queries.grokking_progress import GrokkingProgress
from queries.reading.tables import floats
from ui.models.axes import GRID, LINE, POWERS, SEPARATORS, decades, log_ticks
from ui.models.grokking.phases import LOOKS, Span
from ui.models.grokking.progress import runs_of
from ui.models.palette import HUES, MUTED, see_through
from ui.models.steps import StepAxis
from ui.models.text import fold, plural

Floats = NDArray[np.float64]

# column of the answer -> words
MEASURES: Mapping[str, str] = {
    "gini": "Gini of W_E",
    "fve": "share of logits explained",
    "squared_weights": "sum of squared weights",
}
MOST_OTHERS = 60  # thin lines; more are a grey cloud
HEIGHT, GAP = 300, 0.085


def measured(progress: GrokkingProgress) -> list[str]:
    """Columns with a number for any run."""
    return [c for c in MEASURES if np.isfinite(floats(progress.table, c)).any()]


def measures_figure(
    progress: GrokkingProgress, focus: str, of_run: Sequence[Span], *, x_scale: str, y_scale: str = "linear"
) -> go.Figure:
    """A panel a measure: the chosen run thick, at most `MOST_OTHERS` others thin, dotted lines where its phases end.

    Values at or below 0 have no place on a log y axis; `measures_hidden` counts them.
    """
    columns = measured(progress)
    axis = StepAxis.of(floats(progress.table, "step"), x_scale)
    width = (1 - GAP * (len(columns) - 1)) / max(len(columns), 1)
    figure = go.Figure()
    layout: dict[str, object] = {}
    notes: list[dict[str, object]] = []
    for panel, column in enumerate(columns):
        n = str(panel + 1) if panel else ""
        left = panel * (width + GAP)
        for run in [*_others(progress, focus), focus]:
            rows = progress.table.filter(pc.equal(progress.table["run"], run))
            figure.add_trace(_line(axis, rows, column, run, thick=run == focus, n=n, y_scale=y_scale))
        for span in of_run:
            if span.closed:
                figure.add_shape(_border(axis, span, n))
        layout[f"xaxis{n}"] = axis.layout() | {"domain": (left, left + width), "anchor": f"y{n}"}
        layout[f"yaxis{n}"] = {"anchor": f"x{n}", **LINE, **GRID, **_y(progress, column, y_scale)}
        notes.append(_title(MEASURES[column], left))
        notes += [sign | {"xref": f"x{n}", "yref": f"y{n} domain"} for sign in axis.mark()]
    figure.update_layout(
        height=HEIGHT,
        margin={"l": 46, "t": 30, "b": 52, "r": 16},
        separators=SEPARATORS,
        hovermode="closest",
        showlegend=False,
        annotations=notes,
        **layout,
    )
    return figure


def measures_hidden(progress: GrokkingProgress) -> int:
    """Values that a log y axis cannot show."""
    every = [floats(progress.table, column) for column in measured(progress)]
    return sum(int((values <= 0).sum()) for values in every if (values > 0).any())


def measures_in_words(progress: GrokkingProgress, focus: str) -> str:
    """The figure as a sentence, for those who do not see it."""
    rows = progress.table.filter(pc.equal(progress.table["run"], focus))
    told = []
    for column in measured(progress):
        known = floats(rows, column)
        known = known[np.isfinite(known)]
        if len(known):
            told.append(f"{MEASURES[column]} from {known[0]:.4g} to {known[-1]:.4g}")
    return f"Panels of other progress measures of run {focus} over steps: {', '.join(told) or 'none'}."


def measures_key(progress: GrokkingProgress, focus: str) -> str:
    """What the lines are."""
    n_others = len(runs_of(progress)) - 1
    words = f"Thick: {focus}. "
    if n_others:
        drawn = f"{MOST_OTHERS} of " if n_others > MOST_OTHERS else ""
        words += f"Thin: {drawn}{plural(n_others, 'other run')}, no mean. "
    return (
        words
        + "Dotted: ends of its phases. Gini of the frequencies of the embedding; logits by key frequencies."
    )


def _others(progress: GrokkingProgress, focus: str) -> list[str]:
    return [run for run in runs_of(progress) if run != focus][:MOST_OTHERS]


def _y(progress: GrokkingProgress, column: str, y_scale: str) -> dict[str, object]:
    values = floats(progress.table, column)
    if y_scale == "linear" or not (values > 0).any():
        return {"rangemode": "tozero", "nticks": 6}
    return {"type": "log", **log_ticks(values), **(POWERS if decades(values) >= 2 else {})}


def _line(
    axis: StepAxis, rows: pa.Table, column: str, run: str, *, thick: bool, n: str, y_scale: str
) -> go.Scatter:
    steps, values = floats(rows, "step"), floats(rows, column)
    x, y = axis.cut(steps, values if y_scale == "linear" else np.where(values > 0, values, np.nan))
    told, _ = axis.cut(steps, steps)
    return go.Scatter(
        x=x,
        y=y,
        mode="lines+markers" if thick else "lines",
        line={"color": HUES[0], "width": 2} if thick else {"color": see_through(MUTED, 0.55), "width": 1},
        marker={"size": 3},
        customdata=np.where(told == axis.zero_at, 0, told) if axis.broken else told,
        hovertemplate=f"<b>{fold(run)}</b><br>step %{{customdata:,}}: %{{y:.4g}}<extra></extra>",
        xaxis=f"x{n}",
        yaxis=f"y{n}",
    )


def _border(axis: StepAxis, span: Span, n: str) -> dict[str, object]:
    at = float(axis.place(np.array([float(span.end)]))[0])
    line = {"width": 1, "dash": "dot", "color": LOOKS[span.phase][0]}
    return {"type": "line", "x0": at, "x1": at, "y0": 0, "y1": 1, "xref": f"x{n}", "yref": f"y{n} domain"} | {
        "line": line
    }


def _title(text: str, left: float) -> dict[str, object]:
    return {
        "text": text,
        "x": left,
        "xref": "paper",
        "xanchor": "left",
        "y": 1,
        "yref": "paper",
        "yanchor": "bottom",
        "yshift": 4,
        "showarrow": False,
        "font": {"size": 13},
    }
