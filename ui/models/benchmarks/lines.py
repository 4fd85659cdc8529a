"""Benchmark curves: a panel a task, a line a model or condition with its error, its best and its last point marked."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import plotly.graph_objects as go
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray
from plotly.subplots import make_subplots

from queries.benchmark_curves import BenchmarkCurves
from queries.reading.tables import floats
from queries.stats.means import t_half_width
from ui.models.axes import GRID, LINE, POWERS, SEPARATORS, decades, log_ticks
from ui.models.palette import STROKES, Stroke
from ui.models.steps import StepAxis
from ui.models.text import distinguish, escape_plotly, fold, number, plural, shorten

Floats = NDArray[np.float64]

LINES = ("run", "condition")
Y_SCALES = ("auto", "linear", "log")
MOST_LINES = len(STROKES)
MARKS = ("circle", "square", "diamond", "x")
PANEL_PIXELS, ONE_PIXELS, LEGEND_PIXELS = 330, 430, 24
LEVEL = 0.95


@dataclass(frozen=True)
class Line:
    """One model, or the mean of the runs of one condition, on one task.

    errors: standard errors over items for a run, half widths of the interval over runs for a mean; NaN where unknown.
    NaN values are gaps. best: where the value is best, None where neither direction is; n_runs: how many runs it rests on.
    """

    name: str
    steps: Floats
    values: Floats
    errors: Floats
    best: int | None
    n_runs: int

    @property
    def last(self) -> int:
        """Where the last finite value is; -1 where there is none."""
        known = np.flatnonzero(np.isfinite(self.values))
        return int(known[-1]) if len(known) else -1


def lines(answer: BenchmarkCurves, task: str, *, by: str, direction: str, order: Sequence[str]) -> list[Line]:
    """The lines of one of the answer's tasks.

    by: `run`, or `condition` for means over the runs of each group at the steps that all of them have. order: names of
    runs from small to large; lines come in that order.
    """
    table = answer.table.filter(pc.equal(answer.table["task"], task))
    gone = [(str(e["run"]), float(str(e["step"]))) for e in answer.provenance.left_out]
    runs = {name: _run(table, gone, name) for name in dict.fromkeys(table["run"].to_pylist())}
    rank = {name: k for k, name in enumerate(order)}
    names = sorted(runs, key=lambda name: (rank.get(name, len(rank)), name))
    if by == LINES[0]:
        return [_line(name, *runs[name], direction=direction, n_runs=1) for name in names]
    groups: dict[str, list[str]] = {}
    group_of = dict(zip(table["run"].to_pylist(), table["group"].to_pylist(), strict=True))
    for name in names:
        groups.setdefault(group_of[name], []).append(name)
    found = []
    for group, members in groups.items():
        if len(members) == 1:
            found.append(_line(group, *runs[members[0]], direction=direction, n_runs=1))
        else:
            mean = _mean([runs[name] for name in members])
            found.append(_line(group, *mean, direction=direction, n_runs=len(members)))
    return found


def lines_figure(
    panels: Mapping[str, Sequence[Line]], *, x_scale: str, title: str, y_scale: str = Y_SCALES[0]
) -> go.Figure:
    """A panel a task. title: of the y axes. Every panel has its own y axis: tasks have their own chance level.

    y_scale: one of `Y_SCALES`; "auto" is logarithmic where a task's values span more than two powers of ten.
    """
    names = _drawn(panels)
    labels = dict(zip(names, distinguish(names, 34), strict=True)) if names else {}
    strokes = {name: (STROKES[k], MARKS[k // len(MARKS) % len(MARKS)]) for k, name in enumerate(names)}
    every = [line.steps for drawn in panels.values() for line in drawn]
    axis = StepAxis.of(np.concatenate(every) if every else np.array([1.0]), x_scale)
    columns = 1 if len(panels) == 1 else 2
    rows = math.ceil(len(panels) / columns)
    figure = make_subplots(
        rows=rows,
        cols=columns,
        subplot_titles=[escape_plotly(shorten(task, 48)) for task in panels] if len(panels) > 1 else None,
        horizontal_spacing=0.09,
        vertical_spacing=0.26 / rows if rows > 1 else 0,
    )
    told: set[str] = set()
    for k, drawn in enumerate(panels.values()):
        place = {"row": k // columns + 1, "col": k % columns + 1}
        for line in drawn:
            if line.name not in strokes:
                continue
            words = (
                f"{labels[line.name]} (mean of {line.n_runs} runs)" if line.n_runs > 1 else labels[line.name]
            )
            stroke, mark = strokes[line.name]
            _add(figure, line, axis, stroke, mark, escape_plotly(words), place, legend=line.name not in told)
            told.add(line.name)
        _scale_y(figure, drawn, place, title, y_scale)
    below = LEGEND_PIXELS * math.ceil(len(names) / 3)
    figure.update_annotations(font={"size": 13})
    height = ONE_PIXELS if len(panels) == 1 else PANEL_PIXELS * rows
    figure.update_xaxes(**axis.layout())
    figure.update_layout(
        height=height + below,
        margin={"l": 8, "r": 16, "t": 30 if len(panels) > 1 else 12, "b": 64 + below},
        hovermode="closest",
        separators=SEPARATORS,
        legend={
            "orientation": "h",
            "x": 0,
            "y": -(70 / height),
            "yanchor": "top",
            "traceorder": "normal",
            "entrywidth": 240,
        },
        showlegend=bool(names),
    )
    _break_signs(figure, axis, len(panels))
    return figure


def lines_in_words(panels: Mapping[str, Sequence[Line]], label: str) -> str:
    """The figure as a sentence, for those who do not see it."""
    told = []
    for task, drawn in panels.items():
        ends = [
            f"{shorten(x.name, 40)} {number(float(x.values[x.last]))}"
            for x in drawn[:MOST_LINES]
            if x.last >= 0
        ]
        told.append(f"{shorten(task, 60)}: at the end {', '.join(ends) or 'no finite value'}")
    return f"Line chart of {label} over steps, {plural(len(panels), 'task')}. {'; '.join(told)}."


def lines_notes(panels: Mapping[str, Sequence[Line]]) -> list[str]:
    """What is not in the picture."""
    names = list(dict.fromkeys(line.name for drawn in panels.values() for line in drawn))
    notes = []
    if len(names) > MOST_LINES:
        notes.append(
            f"{MOST_LINES} of {len(names)} lines are drawn, spread from the smallest model to the largest; choose others in the "
            "sidebar."
        )
    bare = sum(
        1 for drawn in panels.values() for x in drawn if x.n_runs == 1 and not np.isfinite(x.errors).any()
    )
    if bare:
        notes.append(f"{plural(bare, 'line')} without a standard error: the source gives none.")
    return notes


def _drawn(panels: Mapping[str, Sequence[Line]]) -> list[str]:
    """Names of the lines to draw: all, or as many as can be told apart, with the first and the last among them."""
    names = list(dict.fromkeys(line.name for drawn in panels.values() for line in drawn))
    if len(names) <= MOST_LINES:
        return names
    return [names[k] for k in np.linspace(0, len(names) - 1, MOST_LINES).round().astype(int)]


def _run(table: pa.Table, gone: Sequence[tuple[str, float]], name: str) -> tuple[Floats, Floats, Floats]:
    """(steps, values, standard errors) of a run; a checkpoint that is left out becomes a gap."""
    rows = table.filter(pc.equal(table["run"], name))
    steps, values, errors = (floats(rows, c) for c in ("step", "value", "se"))
    missing = np.setdiff1d(np.array([step for run, step in gone if run == name], float), steps)
    blank = np.full(len(missing), np.nan)
    order = np.argsort(np.concatenate([steps, missing]), kind="stable")
    return (
        np.concatenate([steps, missing])[order],
        np.concatenate([values, blank])[order],
        np.concatenate([errors, blank])[order],
    )


def _mean(runs: Sequence[tuple[Floats, Floats, Floats]]) -> tuple[Floats, Floats, Floats]:
    """Mean and half width of its interval over runs, at the steps where every run has a finite value."""
    known = [
        {s: v for s, v in zip(steps, values, strict=True) if np.isfinite(v)} for steps, values, _ in runs
    ]
    shared = sorted(set(known[0]).intersection(*known[1:]))
    values = np.array([[of_run[s] for s in shared] for of_run in known]).reshape(len(runs), len(shared))
    half = t_half_width(values.std(axis=0, ddof=1), len(runs), LEVEL) if shared else np.array([])
    return np.array(shared, float), values.mean(axis=0), half


def _line(name: str, steps: Floats, values: Floats, errors: Floats, *, direction: str, n_runs: int) -> Line:
    best: int | None = None
    if direction != "neither" and np.isfinite(values).any():
        signed = -values if direction == "lower is better" else values
        best = int(np.nanargmax(signed))
    return Line(name, steps, values, errors, best, n_runs)


def _add(
    figure: go.Figure,
    line: Line,
    axis: StepAxis,
    stroke: Stroke,
    mark: str,
    label: str,
    place: Mapping[str, int],
    *,
    legend: bool,
) -> None:
    x, y = axis.cut(line.steps, line.values)
    _, errors = axis.cut(line.steps, line.errors)
    _, steps = axis.cut(line.steps, line.steps)
    sort = f"95% over {line.n_runs} runs" if line.n_runs > 1 else "se over items"
    words = [f" ± {e:.2g} ({sort})" if math.isfinite(e) else "" for e in errors]
    figure.add_scatter(
        x=x,
        y=y,
        error_y={"type": "data", "array": errors, "width": 0, "thickness": 1}
        if np.isfinite(errors).any()
        else None,
        mode="lines+markers",
        line={"color": stroke.colour, "dash": stroke.dash, "width": 1.8},
        marker={"symbol": mark, "size": 5, "color": stroke.colour},
        connectgaps=False,
        customdata=list(zip(steps, words, strict=True)),
        hovertemplate=f"<b>{fold(line.name)}</b><br>step %{{customdata[0]:,}}: %{{y:.4g}}%{{customdata[1]}}<extra></extra>",
        name=label,
        legendgroup=line.name,
        showlegend=legend,
        **place,
    )
    ends = [(line.last, "square", "last", 9)] if line.last >= 0 else []
    if line.best is not None:
        ends.append((line.best, "star-open", "best", 13))
    for at, symbol, word, size in ends:
        figure.add_scatter(
            x=axis.place(line.steps[at : at + 1]),
            y=line.values[at : at + 1],
            mode="markers",
            marker={
                "symbol": symbol,
                "size": size,
                "color": stroke.colour,
                "line": {"width": 1.6, "color": stroke.colour},
            },
            hovertemplate=f"<b>{fold(line.name)}</b><br>{word}: %{{y:.4g}} at step {line.steps[at]:,.0f}<extra></extra>",
            name=word,
            legendgroup=line.name,
            showlegend=False,
            **place,
        )


def hidden_values(panels: Mapping[str, Sequence[Line]]) -> int:
    """Values that a log y axis cannot show."""
    return sum(int((line.values <= 0).sum()) for drawn in panels.values() for line in drawn)


def _scale_y(
    figure: go.Figure, drawn: Sequence[Line], place: Mapping[str, int], title: str, y_scale: str
) -> None:
    """Quiet lines; by itself logarithmic where values span more than two powers of ten, as perplexities do."""
    values = np.concatenate([line.values for line in drawn]) if drawn else np.array([])
    finite = values[np.isfinite(values)]
    y: dict[str, object] = {"automargin": True, **LINE, **GRID}
    wide = len(finite) > 0 and finite.min() > 0 and decades(finite) > 2
    if y_scale == "log" or (y_scale == Y_SCALES[0] and wide):
        y |= {"type": "log", **log_ticks(finite), **(POWERS if decades(finite) >= 2 else {})}
    if place["col"] == 1:
        y["title"] = {"text": escape_plotly(shorten(title, 40)), "standoff": 8}
    figure.update_yaxes(**y, **place)


def _break_signs(figure: go.Figure, axis: StepAxis, n_panels: int) -> None:
    for k in range(n_panels):
        suffix = "" if k == 0 else str(k + 1)
        for sign in axis.mark():
            figure.add_annotation({**sign, "xref": f"x{suffix}", "yref": f"y{suffix} domain"})
