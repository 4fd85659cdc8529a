"""How many neurons have to do with a token over training: runs with their mean, and a cell a layer and checkpoint."""

from collections import defaultdict
from collections.abc import Sequence
from typing import Any

import numpy as np
import plotly.graph_objects as go
from numpy.typing import NDArray

from ui.models.axes import GRID, LINE, NO_GRID, SEPARATORS, log_ticks
from ui.models.conditions import condition_labels
from ui.models.palette import HUES, MUTED, STROKES, see_through
from ui.models.steps import StepAxis
from ui.models.text import escape_plotly, number, plural, shorten

Floats = NDArray[np.float64]
Rows = Sequence[dict[str, Any]]

HEIGHT = 300
OFF = 1e-6  # where an interval that reaches 0 ends on a log axis: below any count
MOST_GROUPS, MOST_LINES = 8, 60  # conditions and runs that are drawn


def runs_figure(
    rows: Rows, means: Rows, *, step: int, x_scale: str, what: str, y_scale: str = "linear"
) -> go.Figure:
    """Every run thin, all layers together; per condition the mean over its runs and its 95 % interval.

    means: as `course` gives them. At most 60 runs and 8 conditions are drawn; a condition of one run is its line.
    """
    totals: dict[str, dict[int, int]] = defaultdict(lambda: defaultdict(int))
    group_of: dict[str, str] = {}
    for r in rows:
        totals[r["run"]][r["step"]] += r["n"]
        group_of[r["run"]] = r["group"]
    axis = StepAxis.of(np.array([step, *(s for by in totals.values() for s in by)], float), x_scale)
    groups = drawn_groups(rows)
    labels = condition_labels(groups)
    figure = go.Figure()
    for run in [r for r in totals if group_of[r] in labels][:MOST_LINES]:
        stroke = STROKES[groups.index(group_of[run])]
        known = sorted(totals[run])
        _line(
            figure,
            axis,
            np.array(known, float),
            np.array([totals[run][s] for s in known], float),
            {"color": see_through(stroke.colour, 0.45), "width": 1, "dash": stroke.dash},
            escape_plotly(shorten(run, 60)),
        )
    for group, label in labels.items():
        mine = [r for r in means if r["group"] == group]
        if not mine:
            continue
        steps, heights, low, high = (
            np.array([np.nan if r[c] is None else r[c] for r in mine], float)
            for c in ("step", "mean", "low", "high")
        )
        stroke = STROKES[groups.index(group)]
        if y_scale == "log":
            low = np.where(low > 0, low, OFF)
        _band(figure, axis, steps, low, high, stroke.colour)
        name = f"{escape_plotly(label)} ({plural(mine[0]['n_runs'], 'run')})"
        _line(
            figure,
            axis,
            steps,
            heights,
            {"color": stroke.colour, "width": 2.5, "dash": stroke.dash},
            name,
            True,
        )
    _at(figure, axis, step)
    up: dict[str, object] = {"rangemode": "tozero", "nticks": 5}
    if y_scale == "log":
        drawn = [trace.y for trace in figure.data if trace.fill is None]
        every = np.concatenate([np.asarray(y, float) for y in drawn]) if drawn else np.array([])
        up = {"type": "log", **_log_range(every), **log_ticks(every)}
    figure.update_layout(
        height=HEIGHT + 18 * len(labels),
        margin={"l": 52, "t": 8, "b": 48, "r": 12},
        separators=SEPARATORS,
        xaxis=axis.layout() | NO_GRID,
        yaxis={"title": {"text": what, "standoff": 8}, **LINE, **GRID, **up},
        legend={"orientation": "h", "y": 1.02, "yanchor": "bottom", "x": 0},
        hovermode="closest",
        annotations=axis.mark(),
    )
    return figure


def drawn_groups(rows: Rows) -> list[str]:
    """The conditions that are drawn, the first of those there are."""
    return list(dict.fromkeys(r["group"] for r in rows))[:MOST_GROUPS]


def not_drawn(rows: Rows) -> list[str]:
    """What the figure of runs leaves out, in words."""
    n_groups, groups = len({r["group"] for r in rows}), drawn_groups(rows)
    n_runs = len({r["run"] for r in rows if r["group"] in groups})
    lines = []
    if n_groups > MOST_GROUPS:
        lines.append(f"{MOST_GROUPS} of {n_groups} conditions are drawn; the CSV has all of them.")
    if n_runs > MOST_LINES:
        lines.append(f"{MOST_LINES} of {n_runs} runs are drawn as thin lines; means are over all of them.")
    return lines


def layers_figure(rows: Rows, *, step: int, x_scale: str) -> go.Figure:
    """A cell a layer and checkpoint: neurons a run on average, over the runs that have the checkpoint."""
    steps = np.array(sorted({r["step"] for r in rows}), float)
    layers = sorted({r["layer"] for r in rows})
    sums, runs = (np.zeros((len(layers), len(steps))) for _ in range(2))
    column = {int(s): k for k, s in enumerate(steps)}
    for r in rows:
        sums[layers.index(r["layer"]), column[r["step"]]] += r["n"]
        runs[layers.index(r["layer"]), column[r["step"]]] += 1
    with np.errstate(invalid="ignore", divide="ignore"):
        means = np.where(runs > 0, sums / runs, np.nan)
    axis = StepAxis.of(np.append(steps, step), x_scale)
    figure = go.Figure(
        go.Heatmap(
            x=axis.edges(steps),
            y=[f"layer {layer}" for layer in layers],
            z=means,
            zmin=0,
            zmax=max(1.0, float(np.nanmax(means, initial=0.0))),
            colorscale=[[0, see_through(HUES[0], 0.04)], [1, HUES[0]]],
            xgap=1,
            ygap=1,
            text=[
                [
                    f"layer {layer}, step {s:,.0f}: {number(m)} a run ({plural(int(n), 'run')})"
                    for s, m, n in zip(steps.tolist(), row, of, strict=True)
                ]
                for layer, row, of in zip(layers, means.tolist(), runs.tolist(), strict=True)
            ],
            hovertemplate="%{text}<extra></extra>",
            colorbar={"title": {"text": "a run"}, "thickness": 10, "outlinewidth": 0, "nticks": 4},
        )
    )
    _at(figure, axis, step)
    figure.update_layout(
        height=min(900, max(HEIGHT, 70 + 22 * len(layers))),
        margin={"l": 62, "t": 8, "b": 48, "r": 8},
        separators=SEPARATORS,
        xaxis=axis.layout() | NO_GRID,
        yaxis={"autorange": "reversed", **LINE, **NO_GRID, "ticks": ""},
        annotations=axis.mark(),
    )
    return figure


def counts_in_words(rows: Rows, what: str) -> str:
    """Both figures as a sentence, for those who do not see them."""
    steps = sorted({r["step"] for r in rows})
    if not steps:
        return f"No checkpoint has {what}."
    total = {s: sum(r["n"] for r in rows if r["step"] == s) for s in steps}
    n_runs = len({r["run"] for r in rows})
    first = next((s for s in steps if total[s]), None)
    told = "none at any checkpoint" if first is None else f"the first at step {first:,}"
    return f"{what} over {len(steps)} checkpoints of {plural(n_runs, 'run')}: {told}, {total[steps[-1]]:,} at step {steps[-1]:,}."


def _line(
    figure: go.Figure,
    axis: StepAxis,
    steps: Floats,
    heights: Floats,
    line: dict[str, object],
    name: str,
    legend: bool = False,
) -> None:
    places, cut = axis.cut(steps, heights)
    figure.add_scatter(
        x=places,
        y=cut,
        mode="lines+markers",  # a step alone beside a gap has no line
        line=line,
        marker={"size": 5 if legend else 3},
        name=name,
        hovertemplate=f"{name}: %{{y:.3g}}<extra></extra>",
        showlegend=legend,
        connectgaps=False,
        cliponaxis=False,
    )


def _band(figure: go.Figure, axis: StepAxis, steps: Floats, low: Floats, high: Floats, colour: str) -> None:
    """The interval; step 0 stands alone left of the break and has a bar instead."""
    known = np.isfinite(low) & np.isfinite(high) & ((steps > 0) | (axis.scale == "linear"))
    places = axis.place(steps)
    figure.add_scatter(
        x=np.r_[places[known], places[known][::-1]],
        y=np.r_[high[known], low[known][::-1]],
        fill="toself",
        fillcolor=see_through(colour, 0.15),
        line={"width": 0},
        mode="lines",
        hoverinfo="skip",
        showlegend=False,
    )
    for k in np.flatnonzero(~known & np.isfinite(low)):
        figure.add_scatter(
            x=[places[k], places[k]],
            y=[low[k], high[k]],
            mode="lines",
            line={"color": see_through(colour, 0.4), "width": 6},
            hoverinfo="skip",
            showlegend=False,
        )


def _log_range(values: Floats) -> dict[str, object]:
    """Of the lines alone: an interval that reaches 0 has no end on a log axis."""
    positive = np.log10(values[values > 0])
    return {"range": [float(positive.min()) - 0.1, float(positive.max()) + 0.1]} if len(positive) else {}


def _at(figure: go.Figure, axis: StepAxis, step: int) -> None:
    at = float(axis.place(np.array([float(step)]))[0])
    figure.add_shape(
        type="line",
        x0=at,
        x1=at,
        y0=0,
        y1=1,
        xref="x",
        yref="paper",
        line={"color": MUTED, "width": 1.5, "dash": "dot"},
    )
