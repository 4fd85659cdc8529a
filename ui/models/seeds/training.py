"""Agreement over training: a thin line a pair of runs, the mean over pairs with its interval over runs."""

import math
from collections.abc import Mapping, Sequence

import numpy as np
import plotly.graph_objects as go
from numpy.typing import NDArray

from ui.models.axes import GRID, LINE, POWERS, SEPARATORS, log_ticks
from ui.models.palette import HUES, MUTED, STROKES, Stroke, see_through
from ui.models.seeds.agreement import UNITS, YARDSTICKS, Agreement, Mean, mean_names, shares_of, sharing
from ui.models.seeds.page import Kind, SeedRun
from ui.models.steps import StepAxis
from ui.models.text import distinguish, escape_plotly, fold, number, plural

Floats = NDArray[np.float64]

HEIGHT = 420
MOST_GROUPS = 6  # pairs of conditions with a mean of their own; more bands hide one another
# of pairs by what their seeds share; colour and dash, so that neither stands alone
_SHARED: Mapping[str, Stroke] = {
    "same init and data order": Stroke(HUES[3], "solid"),
    "same init": Stroke(HUES[1], "dash"),
    "same data order": Stroke(HUES[2], "dot"),
    "no seed in common": Stroke(HUES[3], "dashdot"),
    "other condition": Stroke(MUTED, "longdash"),
}
_PLAIN = Stroke(MUTED, "solid")


def training_figure(
    found: Sequence[Agreement], runs: Sequence[SeedRun], kind: Kind, *, step: int, x_scale: str, y_scale: str
) -> go.Figure:
    """Pairs thin, by what their seeds share; means with bands; the yardstick dashed; the slider's step dotted."""
    steps = np.array([at.step for at in found], float)
    axis = StepAxis.of(steps, x_scale)
    figure = go.Figure()
    _pairs(figure, found, runs, axis, y_scale)
    drawn = [_no_negative(line, y_scale) for line in mean_lines(found)]
    for k, line in enumerate(drawn[:MOST_GROUPS]):
        _mean(figure, line, STROKES[k], axis, steps, several=len(drawn) > 1)
    _yardsticks(figure, drawn[:MOST_GROUPS], kind, axis, steps)
    at = axis.place(np.array([float(step)]))[0]
    figure.add_shape(
        type="line",
        x0=at,
        x1=at,
        y0=0,
        y1=1,
        xref="x",
        yref="y domain",
        line={"color": MUTED, "width": 1.5, "dash": "dot"},
    )
    unit = f" [{UNITS[kind.label]}]" if kind.label in UNITS else ""
    values = np.array([p.value for a in found for p in a.pairs])
    figure.update_layout(
        height=HEIGHT,
        margin={"l": 72, "r": 16, "t": 30, "b": 52},
        separators=SEPARATORS,
        hovermode="closest",
        xaxis=axis.layout(),
        yaxis={
            "title": {"text": escape_plotly(kind.label + unit), "standoff": 8},
            "type": y_scale,
            **LINE,
            **GRID,
            **({**POWERS, **log_ticks(values)} if y_scale == "log" else {}),
        },
        legend={"orientation": "h", "x": 0, "y": 1, "yanchor": "bottom", "font": {"size": 12}},
        annotations=axis.mark(),
    )
    return figure


class MeanLine:
    """The mean of the pairs of two conditions at every step; NaN where there is none."""

    def __init__(self, name: str, n_steps: int) -> None:
        """name: which pairs; all numbers start as NaN."""
        self.name = name
        self.n_runs, self.n_pairs = 0, 0
        self.mean, self.low, self.high, self.null = (np.full(n_steps, math.nan) for _ in range(4))

    def put(self, k: int, m: Mean) -> None:
        """Enter step k."""
        self.n_runs, self.n_pairs = max(self.n_runs, m.n_runs), max(self.n_pairs, m.n_pairs)
        self.mean[k], self.low[k], self.high[k], self.null[k] = m.mean, m.low, m.high, m.null


def mean_lines(found: Sequence[Agreement]) -> list[MeanLine]:
    """One a pair of conditions, in the order in which they first appear."""
    told = mean_names(found)
    lines = {group: MeanLine(name, len(found)) for group, name in told.items()}
    for k, at in enumerate(found):
        for m in at.means:
            lines[m.group].put(k, m)
    return list(lines.values())


def training_in_words(found: Sequence[Agreement], kind: Kind) -> str:
    """The figure as a sentence, for those who do not see it."""
    start = f"Line chart of {kind.label} of pairs of runs at {plural(len(found), 'step')}"
    lines = [line for line in mean_lines(found) if np.isfinite(line.mean).any()]
    if not lines:
        return f"{start}; no mean over pairs."
    told = []
    for line in lines[:4]:
        known = np.flatnonzero(np.isfinite(line.mean))
        first, last = (
            f"{number(float(line.mean[k]))} at step {found[k].step:,}" for k in (known[0], known[-1])
        )
        name = f"{line.name}: " if len(lines) > 1 else ""
        told.append(f"{name}from {first} to {last} ({line.n_runs} runs)")
    return f"{start}. Mean {'; '.join(told)}."


def training_notes(found: Sequence[Agreement]) -> list[str]:
    """What is not in the picture."""
    n = len(mean_lines(found))
    return [f"Means of {MOST_GROUPS} of {n} pairs of conditions are drawn; choose others in the sidebar."] * (
        n > MOST_GROUPS
    )


def _pairs(
    figure: go.Figure,
    found: Sequence[Agreement],
    runs: Sequence[SeedRun],
    axis: StepAxis,
    y_scale: str,
) -> None:
    """One trace for all pairs that share alike, cut by gaps: hundreds of traces would be slow."""
    known = {r.run: r for r in runs}
    labels = dict(zip(known, distinguish(list(known), 34), strict=True)) if known else {}
    steps = np.array([at.step for at in found], float)
    values: dict[tuple[str, str], Floats] = {}
    for k, at in enumerate(found):
        for p in at.pairs:
            values.setdefault((p.run_a, p.run_b), np.full(len(found), math.nan))[k] = p.value
    ways = shares_of(runs)
    for way in ways:
        mine = [pair for pair in values if sharing(known[pair[0]], known[pair[1]]) == way]
        if not mine:
            continue
        stroke = _SHARED[way] if len(ways) > 1 else _PLAIN
        xs, ys, told = [], [], []
        for a, b in mine:
            y = values[a, b]
            known_at = np.isfinite(y) & ((y > 0) | (y_scale == "linear"))
            x, y = axis.cut(steps, np.where(known_at, y, math.nan))
            shown = axis.cut(steps, steps)[1]
            xs += [*x.tolist(), None]
            ys += [*(None if math.isnan(v) else v for v in y.tolist()), None]
            told += [
                *(
                    f"{fold(labels[a])}<br>{fold(labels[b])}<br>step {s:,.0f}: {number(v)}<br>{way}"
                    if math.isfinite(v)
                    else ""
                    for s, v in zip(shown.tolist(), y.tolist(), strict=True)
                ),
                "",
            ]
        figure.add_scatter(
            x=xs,
            y=ys,
            mode="lines+markers" if len(found) < 4 else "lines",
            name=f"{way} ({plural(len(mine), 'pair')})" if len(ways) > 1 else plural(len(mine), "pair"),
            line={"color": see_through(stroke.colour, 0.7), "width": 1.2, "dash": stroke.dash},
            marker={"size": 5, "color": see_through(stroke.colour, 0.55)},
            hovertext=told,
            hoverinfo="text",
        )


def _mean(
    figure: go.Figure, line: MeanLine, stroke: Stroke, axis: StepAxis, steps: Floats, *, several: bool
) -> None:
    known = np.isfinite(line.mean)
    if not known.any():
        return
    banded = known & np.isfinite(line.low) & np.isfinite(line.high)
    for part in _stretches(banded, axis, steps):
        x = axis.place(steps[part])
        figure.add_scatter(
            x=[*x.tolist(), *x[::-1].tolist()],
            y=[*line.high[part].tolist(), *line.low[part][::-1].tolist()],
            mode="lines",
            line={"width": 0},
            fill="toself",
            fillcolor=see_through(stroke.colour, 0.16),
            hoverinfo="skip",
            showlegend=False,
        )
    x, y = axis.cut(steps, line.mean)
    bounds = [
        f", interval {number(low)} to {number(high)}" if math.isfinite(low) else ", no interval"
        for low, high in zip(line.low.tolist(), line.high.tolist(), strict=True)
    ]
    told = [
        f"{fold(line.name)}<br>step {s:,.0f}: mean {number(m)}{b}<br>{line.n_pairs} pairs of {line.n_runs} runs"
        for s, m, b in zip(steps.tolist(), line.mean.tolist(), bounds, strict=True)
    ]
    if len(x) > len(told):  # the gap of a broken axis
        told.insert(int((steps <= 0).sum()), "")
    whose = f"{line.name}: mean" if several else "mean"
    figure.add_scatter(
        x=x,
        y=y,
        mode="lines+markers",
        name=escape_plotly(f"{whose} ({plural(line.n_runs, 'run')})"),
        line={"color": stroke.colour, "width": 2.5, "dash": stroke.dash},
        marker={"size": 6, "color": stroke.colour},
        hovertext=told,
        hoverinfo="text",
    )


def _yardsticks(
    figure: go.Figure, lines: Sequence[MeanLine], kind: Kind, axis: StepAxis, steps: Floats
) -> None:
    """What unlike runs would give, where the query has it; one line, of the first conditions that have one."""
    line = next((found for found in lines if np.isfinite(found.null).any()), None)
    if line is None or kind.label not in YARDSTICKS:
        return
    x, y = axis.cut(steps, line.null)
    figure.add_scatter(
        x=x,
        y=y,
        mode="lines",
        name=f"yardstick: {YARDSTICKS[kind.label]}",
        line={"color": MUTED, "width": 1.5, "dash": "dash"},
        hovertemplate=f"{YARDSTICKS[kind.label]} %{{y:.4g}}<extra></extra>",
    )


def _no_negative(line: MeanLine, y_scale: str) -> MeanLine:
    """On a log axis what is not above 0 has no place."""
    if y_scale == "log":
        for name in ("mean", "low", "high", "null"):
            values = getattr(line, name)
            values[~(values > 0)] = math.nan
    return line


def _stretches(known: NDArray[np.bool_], axis: StepAxis, steps: Floats) -> list[slice]:
    """Runs of neighbours with an interval, not over the break of a log axis."""
    found, start = [], None
    for k, yes in enumerate([*known.tolist(), False]):
        crosses = k > 0 and k < len(steps) and axis.broken and steps[k - 1] <= 0 < steps[k]
        if start is not None and (not yes or crosses):
            found.append(slice(start, k))
            start = None
        if yes and start is None:
            start = k
    return [part for part in found if part.stop - part.start > 1]
