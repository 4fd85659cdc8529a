"""The phases of grokking run by run, as bands that say their names."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import plotly.graph_objects as go
from numpy.typing import NDArray

from queries.grokking_progress import GrokkingProgress
from queries.reading.tables import stretches
from ui.models.axes import SEPARATORS, name_rows
from ui.models.palette import HUES, MUTED, see_through
from ui.models.steps import StepAxis
from ui.models.text import fold, plural

Floats = NDArray[np.float64]

# hatching tells them apart where colour does not; the order is that of training
LOOKS: Mapping[str, tuple[str, str]] = {
    "memorization": (HUES[1], ""),
    "circuit formation": (HUES[0], "/"),
    "cleanup": (HUES[2], "x"),
    "done": (MUTED, "."),
}
MOST_ROWS = 40
ROW_PIXELS, AROUND_PIXELS = 26, 104
LABEL_ROWS = 2  # names of neighbouring bands stand in turn at two heights, so that short bands can be named


@dataclass(frozen=True)
class Span:
    """A run is in `phase` from the checkpoint at `start` until that at `end`. closed: False where it never left it."""

    phase: str
    start: int
    end: int
    closed: bool


def spans(progress: GrokkingProgress) -> dict[str, list[Span]]:
    """The phases that every run goes through; what is unresolved has no span, a run without any has none."""
    table = progress.table
    runs, phases, steps = (table[c].to_pylist() for c in ("run", "phase", "step"))
    found: dict[str, list[Span]] = {run: [] for run in dict.fromkeys(runs)}
    # NULL phases never equal one another in Arrow, so each is a stretch of its own, and they are dropped anyway
    starts, ends = stretches(
        table.set_column(table.column_names.index("phase"), "phase", table["phase"].fill_null("")),
        ["run", "phase"],
    )
    for a, b in zip(starts.tolist(), ends.tolist(), strict=True):
        if not phases[a]:
            continue
        closed = b < len(runs) and runs[b] == runs[a]
        end = steps[b] if closed else steps[b - 1]
        found[runs[a]].append(Span(phases[a].replace("_", " "), steps[a], end, closed))
    return found


def shade(figure: go.Figure, of_run: Sequence[Span], *, x_scale: str, first_step: float) -> None:
    """Lay the phases of one run behind a figure of `curve_figure`'s kind, each named above it.

    first_step: the lowest step above 0, where a log axis begins.
    """
    if not of_run:
        return
    on_log = x_scale == "log"
    for k, span in enumerate(of_run):
        start = max(span.start, first_step) if on_log else span.start
        colour, _ = LOOKS[span.phase]
        figure.add_shape(
            type="rect",
            x0=start,
            x1=max(span.end, start),
            y0=0,
            y1=1 + 0.045 * (k % LABEL_ROWS + 1),
            xref="x",
            yref="y domain",
            layer="below",
            fillcolor=see_through(colour, 0.07),
            line={"width": 0},
        )
        figure.add_shape(
            type="line",
            x0=start,
            x1=start,
            y0=0,
            y1=1 + 0.055 * (k % LABEL_ROWS + 1),
            xref="x",
            yref="y domain",
            line={"width": 1, "color": see_through(colour, 0.9), "dash": "dot"},
        )
        figure.add_annotation(
            text=span.phase,
            x=math.log10(start) if on_log and start > 0 else start,
            xref="x",
            y=1 + 0.055 * (k % LABEL_ROWS + 1),
            yref="y domain",
            xanchor="left",
            yanchor="top",
            xshift=2,
            showarrow=False,
            font={"size": 12, "color": colour},
        )
    extra = 46
    figure.update_layout(height=figure.layout.height + extra, margin={"t": figure.layout.margin.t + extra})


def phase_strip(by_run: Mapping[str, Sequence[Span]], steps: Floats, *, x_scale: str) -> go.Figure:
    """A row a run, a named bar a phase; at most `MOST_ROWS` runs, the first ones. steps: of all checkpoints."""
    rows = dict(list(by_run.items())[:MOST_ROWS])
    axis = StepAxis.of(steps, x_scale)
    figure = go.Figure()
    for phase, (colour, hatching) in LOOKS.items():
        mine = [
            (at, run, span)
            for at, (run, of_run) in enumerate(rows.items())
            for span in of_run
            if span.phase == phase
        ]
        if not mine:
            continue
        start = axis.place(np.array([span.start for _, _, span in mine], float))
        end = axis.place(np.array([span.end for _, _, span in mine], float))
        figure.add_bar(
            orientation="h",
            base=start,
            x=end - start,
            y=[at for at, _, _ in mine],
            name=phase,
            width=0.72,
            marker={
                "color": see_through(colour, 0.32),
                "line": {"width": 1, "color": colour},
                "pattern": {
                    "shape": hatching,
                    "fgcolor": see_through(colour, 0.7),
                    "size": 7,
                    "solidity": 0.25,
                },
            },
            hovertext=[_told(run, span) for _, run, span in mine],
            hoverinfo="text",
        )
    figure.update_layout(
        height=AROUND_PIXELS + ROW_PIXELS * len(rows),
        margin={"t": 34, "b": 52, "r": 16},
        barmode="overlay",
        separators=SEPARATORS,
        xaxis=axis.layout(),
        legend={"orientation": "h", "x": 0, "y": 1, "yanchor": "bottom", "traceorder": "normal"},
        showlegend=True,
        annotations=axis.mark(),
    )
    name_rows(figure, list(rows))
    return figure


def strip_in_words(by_run: Mapping[str, Sequence[Span]]) -> str:
    """The strip as a sentence, for those who do not see it."""
    n = {phase: sum(any(s.phase == phase for s in of_run) for of_run in by_run.values()) for phase in LOOKS}
    told = ", ".join(f"{phase} in {k}" for phase, k in n.items() if k)
    return f"Bars of the phases of {plural(len(by_run), 'run')} over steps: {told or 'none is resolved'}."


def _told(run: str, span: Span) -> str:
    until = f"step {span.end:,}" if span.closed else f"its last checkpoint, step {span.end:,}"
    return f"<b>{fold(run)}</b><br>{span.phase}: from step {span.start:,} until {until}"
