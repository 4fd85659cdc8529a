"""Curves as a figure: thin lines per run under the mean and its interval, step 0 kept on a log axis."""

import math
from collections.abc import Collection, Sequence

import numpy as np
import plotly.graph_objects as go
import pyarrow as pa
from numpy.typing import NDArray

from queries.loss_curves import LossCurves
from queries.reading.tables import floats
from queries.results import Answer
from ui.models.axes import GRID, LINE, NO_GRID, POWERS, SEPARATORS, decades, log_ticks, spread
from ui.models.bundles import Bundle, bundles, measure_of, part_of
from ui.models.palette import MUTED, see_through
from ui.models.suspects import Mark
from ui.models.text import escape_plotly, fold, plural, shorten

Floats = NDArray[np.float64]

HEIGHT = 500
TOP, BOTTOM = 16, 52
LABEL_PIXELS = 17
MOST_LABELS = 12
MOST_TRACES = 80  # beyond it the runs of a group share one trace, and WebGL draws it
# "compute" is that of training: six operations a parameter and token
TIMES = {
    "step": "optimiser step",
    "tokens": "tokens seen",
    "compute": "operations of training (6 × parameters × tokens)",
}
BAND = "band"  # what tells intervals from what is measured among the traces
BAND_ROOM = 0.15  # of the height of lines and means: so much bands may add to the y axis at either end
ZERO_DOMAIN, REST_DOMAIN = (0.0, 0.04), (0.075, 1.0)


def curve_figure(
    answers: Sequence[LossCurves],
    *,
    x_scale: str,
    y_scale: str,
    colour_by: str,
    in_use: Collection[Mark] = (),
) -> go.Figure:
    """Draw the answers, one per part, on shared axes. in_use: suspect checkpoints that they rest on.

    On a log x axis step 0 stands on an axis of its own, left of a break: it has no logarithm, and log(step + 1)
    would bend every curve. Values at or below 0 have no place on a log y axis; `hidden_values` counts them.
    """
    first = answers[0]
    what = measure_of(first) + (f" [{first.unit}]" if first.unit not in ("", "1") else "")
    marks = left_out(answers) | set(in_use) if first.axis == "step" else set()
    drawn = bundles(answers, colour_by=colour_by)
    return draw_bundles(drawn, x_scale=x_scale, y_scale=y_scale, axis=first.axis, title=what, marks=marks)


def draw_bundles(
    drawn: Sequence[Bundle],
    *,
    x_scale: str,
    y_scale: str,
    axis: str,
    title: str,
    marks: Collection[Mark] = (),
    height: int = HEIGHT,
) -> go.Figure:
    """Draw bundles of lines on shared axes, as `curve_figure` says.

    title: of the y axis. marks: along the ground. height: in pixels; names at the lines' ends keep apart in it.
    """
    every = np.concatenate([line.times for b in drawn for line in b.lines])
    broken = x_scale == "log" and bool((every <= 0).any())
    figure = go.Figure()
    floor = _floor(drawn) if y_scale == "log" else -math.inf
    together = sum(len(b.lines) for b in drawn) > MOST_TRACES
    for bundle in drawn:
        _add_band(figure, bundle, floor, broken)
    for bundle in drawn:
        _add_lines(figure, bundle, broken, together)
    for bundle in drawn:
        _add_mean(figure, bundle, broken)
    _mark(figure, marks, broken)
    _axes(figure, axis, title, every, x_scale, y_scale, broken)
    figure.update_layout(height=height)
    _fit_y(figure, y_scale)
    _name_lines(figure, drawn, y_scale)
    return figure


def left_out(answers: Sequence[Answer]) -> set[Mark]:
    """Every suspect checkpoint that no curve uses."""
    return {
        (str(e["run"]), float(str(e["step"])), str(e["why"])) for a in answers for e in a.provenance.left_out
    }


def hidden_values(answers: Sequence[LossCurves]) -> int:
    """Values that a log y axis cannot show."""
    return sum(int((floats(a.table, "value") <= 0).sum()) for a in answers)


def cut_intervals(figure: go.Figure, bands: Sequence[pa.Table]) -> int:
    """How many of the intervals drawn in a figure reach beyond its y axis."""
    if figure.layout.yaxis.range is None:
        return 0
    low, high = (10**v if figure.layout.yaxis.type == "log" else v for v in figure.layout.yaxis.range)
    return sum(int(((floats(b, "low") < low) | (floats(b, "high") > high)).sum()) for b in bands)


def figure_in_words(answers: Sequence[LossCurves], *, x_scale: str, y_scale: str) -> str:
    """The figure as a sentence, for those who do not see it."""
    first = answers[0]
    parts = " and ".join(part_of(a) for a in answers if part_of(a))
    what = measure_of(first) + (f" ({parts})" if parts else "")
    return f"Line chart of {what} over {first.axis}, {x_scale} x axis, {y_scale} y axis. {first.sentence}"


def _add_lines(figure: go.Figure, bundle: Bundle, broken: bool, together: bool) -> None:
    many = len(bundle.lines) > 1
    pen = {
        "color": see_through(bundle.stroke.colour, 0.45 if many else 1.0),
        "width": 1 if many else 2.2,
        "dash": bundle.stroke.dash,
    }
    gap = np.array([np.nan])
    groups = [bundle.lines] if together and many else [(line,) for line in bundle.lines]
    for lines in groups:
        x = np.concatenate([piece for line in lines for piece in (line.times, gap)][:-1])
        y = np.concatenate([piece for line in lines for piece in (line.values, gap)][:-1])
        name = fold(lines[0].run) if len(lines) == 1 else escape_plotly(bundle.label)
        text = None
        if len(lines) > 1:
            text = [
                t for line in lines for t in [escape_plotly(shorten(line.run, 24))] * (len(line.times) + 1)
            ][:-1]
        for zero, at_x, at_y, at_text in _split(x, y, text, broken):
            kind = go.Scattergl if len(lines) > 1 and not zero else go.Scatter
            few = np.isfinite(at_y).sum() <= 2
            figure.add_trace(
                kind(
                    x=at_x,
                    y=at_y,
                    xaxis="x2" if zero else "x",
                    mode="markers" if zero else ("lines+markers" if few else "lines"),
                    line=pen,
                    marker={"color": bundle.stroke.colour, "size": 5, "opacity": 0.6 if many else 1},
                    connectgaps=False,
                    name=name,
                    text=at_text,
                    customdata=at_x,
                    hovertemplate=_hover(bundle, "%{text}" if at_text is not None else f"<b>{name}</b>"),
                    showlegend=False,
                )
            )


def _add_band(figure: go.Figure, bundle: Bundle, floor: float, broken: bool) -> None:
    x, low, high = (floats(bundle.band, name) for name in (bundle.at, "low", "high"))
    known = np.isfinite(low) & np.isfinite(high) & (high > floor)
    x, low, high = x[known], np.maximum(low[known], floor), high[known]
    on_axis = x > 0 if broken else np.ones(len(x), bool)
    # one polygon per unbroken stretch would need the gaps of the mean; means have none that runs do not share
    figure.add_scatter(
        x=np.concatenate([x[on_axis], x[on_axis][::-1]]),
        y=np.concatenate([high[on_axis], low[on_axis][::-1]]),
        fill="toself",
        fillcolor=see_through(bundle.stroke.colour, 0.16),
        line={"width": 0},
        mode="lines",
        meta=BAND,
        hoverinfo="skip",
        showlegend=False,
    )
    for a, b in zip(low[~on_axis], high[~on_axis], strict=True):
        figure.add_scatter(
            x=[0, 0],
            y=[a, b],
            xaxis="x2",
            mode="lines",
            line={"width": 8, "color": see_through(bundle.stroke.colour, 0.2)},
            meta=BAND,
            hoverinfo="skip",
            showlegend=False,
        )


def _add_mean(figure: go.Figure, bundle: Bundle, broken: bool) -> None:
    if not bundle.band.num_rows:
        return
    x, y = floats(bundle.band, bundle.at), floats(bundle.band, "mean")
    half = floats(bundle.band, "high") - y
    words = [
        f"mean of {plural(n, 'run')}" + (f" ± {h:.3g}" if math.isfinite(h) else "")
        for n, h in zip(bundle.band["n_runs"].to_pylist(), half, strict=True)
    ]
    for zero, at_x, at_y, text in _split(x, y, words, broken):
        figure.add_scatter(
            x=at_x,
            y=at_y,
            xaxis="x2" if zero else "x",
            mode="markers" if zero else "lines",
            line={"color": bundle.stroke.colour, "width": 2.6, "dash": bundle.stroke.dash},
            marker={"color": bundle.stroke.colour, "size": 9, "symbol": "diamond"},
            text=text,
            customdata=at_x,
            name=escape_plotly(bundle.label),
            hovertemplate=_hover(bundle, f"<b>{fold(bundle.name)}</b><br>%{{text}}"),
            showlegend=False,
        )


def _split(
    x: Floats, y: Floats, text: list[str] | None, broken: bool
) -> Sequence[tuple[bool, Floats, Floats, list[str] | None]]:
    """(is step 0, x, y, text): on a broken axis step 0 apart from the rest."""
    if not broken:
        return [(False, x, y, text)]
    zero = x <= 0
    pick = [(z, keep) for z, keep in ((True, zero), (False, ~zero)) if keep.any()]
    return [
        (z, x[keep], y[keep], None if text is None else [t for t, k in zip(text, keep, strict=True) if k])
        for z, keep in pick
    ]


def _hover(bundle: Bundle, head: str) -> str:
    time = {"step": "step %{customdata:,}", "compute": "%{customdata:.3g} operations"}.get(
        bundle.at, "tokens %{customdata:,}"
    )
    return f"{head}<br>{time}: %{{y:.4g}} {escape_plotly(bundle.unit)}<extra></extra>"


def _mark(figure: go.Figure, entries: Collection[Mark], broken: bool) -> None:
    for zero in (False, True):
        marks = sorted(e for e in entries if (broken and e[1] <= 0) == zero)
        if marks:
            figure.add_scatter(
                x=[step for _, step, _ in marks],
                y=[0.015] * len(marks),
                xaxis="x2" if zero else "x",
                yaxis="y2",
                mode="markers",
                marker={"symbol": "triangle-up", "size": 8, "color": MUTED},
                hovertext=[
                    f"<b>{fold(run)}</b><br>step {step:,.0f}: {fold(why)}" for run, step, why in marks
                ],
                hoverinfo="text",
                showlegend=False,
                cliponaxis=False,
            )


def _axes(
    figure: go.Figure, axis: str, title: str, times: Floats, x_scale: str, y_scale: str, broken: bool
) -> None:
    time = TIMES[axis]
    x = {"title": {"text": time, "standoff": 8}, "anchor": "y", **LINE, **NO_GRID}
    if x_scale == "log":
        x |= {
            "type": "log",
            "exponentformat": "none" if axis == "step" else "SI",
            "separatethousands": True,
            **log_ticks(times),
        }
        x["domain"] = REST_DOMAIN if broken else (0, 1)
    else:
        x |= {"type": "linear", "exponentformat": "SI", "separatethousands": True}
    y = {
        "title": {"text": escape_plotly(shorten(title, 60)), "standoff": 10},
        "type": y_scale,
        "automargin": True,
        **LINE,
        **GRID,
    }
    if y_scale == "log":
        heights = _heights(figure)
        y |= log_ticks(heights) | (POWERS if decades(heights) >= 2 else {})
    figure.update_layout(
        margin={"l": 8, "t": TOP, "b": BOTTOM, "pad": 0},
        hovermode="closest",
        separators=SEPARATORS,
        xaxis=x,
        yaxis=y,
        yaxis2={"overlaying": "y", "range": [0, 1], "visible": False, "fixedrange": True},
        showlegend=False,
    )
    if broken:
        figure.update_layout(
            yaxis={"anchor": "free", "position": 0},
            xaxis2={
                "domain": ZERO_DOMAIN,
                "anchor": "y",
                "range": [-1, 1],
                "tickvals": [0],
                "ticktext": ["0"],
                "fixedrange": True,
                **LINE,
                **NO_GRID,
            },
        )
        figure.add_annotation(
            text="//",
            xref="paper",
            yref="paper",
            x=sum((ZERO_DOMAIN[1], REST_DOMAIN[0])) / 2,
            y=0,
            yanchor="middle",
            showarrow=False,
            font={"size": 13, "color": MUTED},
        )


def _heights(figure: go.Figure, *, bands: bool = False) -> Floats:
    """Every y that is drawn as a value. bands: ends of intervals too."""
    drawn = [t.y for t in figure.data if t.yaxis != "y2" and (bands or t.meta != BAND)]
    values = np.concatenate([np.asarray(y, float) for y in drawn])
    finite: Floats = values[np.isfinite(values)]
    return finite


def _floor(drawn: Sequence[Bundle]) -> float:
    """Where intervals that reach 0 end on a log axis: out of the picture, as far below its runs as those are high."""
    values = np.concatenate([line.values for b in drawn for line in b.lines])
    positive = values[np.isfinite(values) & (values > 0)]
    return float(positive.min() ** 2 / positive.max() / 10) if len(positive) else 0.0


def _fit_y(figure: go.Figure, y_scale: str) -> None:
    """Make the y axis that of runs and means.

    Intervals may add `BAND_ROOM` at either end and are cut there: over two runs they are 13 standard deviations wide,
    and an axis that showed all of that would show nothing else.
    """
    scale = np.log10 if y_scale == "log" else np.asarray
    values, every = (
        scale(v[(v > 0) | (y_scale == "linear")]) for v in (_heights(figure), _heights(figure, bands=True))
    )
    if not len(values):
        return
    room = BAND_ROOM * float(np.ptp(values))
    low, high = (
        max(float(values.min()) - room, float(every.min())),
        min(float(values.max()) + room, float(every.max())),
    )
    margin = 0.05 * (high - low) or 0.5
    figure.layout.yaxis.range = [low - margin, high + margin]


def _name_lines(figure: go.Figure, drawn: Sequence[Bundle], y_scale: str) -> None:
    """Each line's name at its right end, pushed apart where they would overlap."""
    named = [b for b in drawn if math.isfinite(b.end) and (y_scale == "linear" or b.end > 0)][:MOST_LABELS]
    if not named:
        figure.update_layout(margin={"r": 16})
        return
    scale = np.log10 if y_scale == "log" else np.asarray
    low, high = figure.layout.yaxis.range
    heights = spread(
        [(float(scale(b.end)) - low) / (high - low) for b in named],
        LABEL_PIXELS / (figure.layout.height - TOP - BOTTOM),
    )
    for bundle, height in zip(named, heights, strict=True):
        figure.add_annotation(
            text=escape_plotly(bundle.label),
            xref="paper",
            yref="paper",
            x=1,
            y=height,
            xanchor="left",
            yanchor="middle",
            xshift=8,
            showarrow=False,
            font={"color": bundle.stroke.colour, "size": 13},
        )
    figure.update_layout(margin={"r": 20 + int(7.2 * max(len(b.label) for b in named))})
