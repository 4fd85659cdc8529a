"""One head over training: a line a run, the run in focus full, with the level of chance."""

from collections.abc import Collection

import numpy as np
import plotly.graph_objects as go
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from queries.head_score_history import HeadScoreHistory
from queries.reading.tables import floats
from ui.models.bundles import Bundle, Line
from ui.models.curves.figure import draw_bundles, left_out
from ui.models.numbers import or_nan
from ui.models.palette import HUES, MUTED, Stroke
from ui.models.suspects import Mark
from ui.models.text import distinguish, number, plural

Floats = NDArray[np.float64]

HEIGHT = 380
_NO_BAND = pa.table({name: pa.array([], pa.float64()) for name in ("step", "mean", "low", "high", "n_runs")})


def head_curves_figure(
    found: HeadScoreHistory,
    focus: str,
    *,
    step: int,
    x_scale: str,
    y_scale: str = "linear",
    in_use: Collection[Mark] = (),
) -> go.Figure:
    """Every run thin but the one in focus; no mean, because a head's number names another head in every init.

    The level of chance is dashed, the slider's step a dotted vertical line. in_use: suspect checkpoints among the scores.
    """
    drawn = _bundles(found, focus)
    unit = f" [{found.unit}]" if found.unit else ""
    figure = draw_bundles(
        drawn,
        x_scale=x_scale,
        y_scale=y_scale,
        axis="step",
        title=found.label + unit,
        marks=left_out([found]) | set(in_use),
        height=HEIGHT,
    )
    # no mean lies on top of the other runs here, so they need not be faint
    figure.for_each_trace(
        lambda trace: trace.update(line={"color": HUES[2], "width": 1.3}) if trace.line.width == 1 else None
    )
    _chance(figure, found, focus, x_scale, y_scale)
    if step > 0 or x_scale == "linear":
        figure.add_shape(
            type="line",
            x0=step,
            x1=step,
            y0=0,
            y1=1,
            xref="x",
            yref="y domain",
            line={"color": MUTED, "width": 1.5, "dash": "dot"},
        )
    return figure


def hidden_scores(found: HeadScoreHistory) -> int:
    """Scores that a log y axis cannot show."""
    return int((floats(found.table, "value") <= 0).sum())


def head_curves_in_words(found: HeadScoreHistory, head: str, focus: str) -> str:
    """The figure as a sentence, for those who do not see it."""
    last = {r["run"]: r["last"] for r in found.summary.to_pylist()} if found.summary is not None else {}
    told = "; ".join(f"{run}: {number(or_nan(value))}" for run, value in list(last.items())[:12])
    return (
        f"Line chart of {found.label} of {head} over steps, {plural(found.n_runs, 'run')}, in focus {focus}. "
        f"At the end {told}."
    )


def _bundles(found: HeadScoreHistory, focus: str) -> list[Bundle]:
    gone: dict[str, list[float]] = {}
    for entry in found.provenance.left_out:
        gone.setdefault(str(entry["run"]), []).append(float(str(entry["step"])))
    lines = {
        run: _line(found, run, gone.get(run, [])) for run in dict.fromkeys(found.table["run"].to_pylist())
    }
    short = dict(zip(lines, distinguish(list(lines), 24), strict=True)) if lines else {}
    mine = lines.pop(focus, None)
    drawn = []
    if lines:
        others = tuple(lines.values())
        label = plural(len(others), "other run") if len(others) > 1 else short[others[0].run]
        if not mine:
            label = plural(len(others), "run")
        drawn.append(Bundle(label, label, Stroke(HUES[2], "solid"), others, _NO_BAND, found.unit, "step"))
    if mine:
        stroke = Stroke(HUES[0], "solid")
        drawn.append(Bundle(focus, short[focus], stroke, (mine,), _NO_BAND, found.unit, "step"))
    return drawn


def _line(found: HeadScoreHistory, run: str, gone: list[float]) -> Line:
    """A run's scores; a checkpoint that is left out becomes a gap, not a straight line over it."""
    rows = found.table.filter(pc.equal(found.table["run"], run))
    steps, values = floats(rows, "step"), floats(rows, "value")
    missing = np.setdiff1d(np.array(gone), steps)
    x, y = np.concatenate([steps, missing]), np.concatenate([values, np.full(len(missing), np.nan)])
    order = np.argsort(x, kind="stable")
    return Line(run, x[order], y[order])


def _chance(figure: go.Figure, found: HeadScoreHistory, focus: str, x_scale: str, y_scale: str) -> None:
    """The level of chance of the run in focus (of the first run where that has none), and room for it on the axis."""
    rows = found.table.filter(pc.equal(found.table["run"], focus))
    rows = rows if rows.num_rows else found.table
    steps, chance = floats(rows, "step"), floats(rows, "chance")
    known = np.isfinite(chance) & ((steps > 0) | (x_scale == "linear"))
    known &= (chance > 0) | (y_scale == "linear")
    if not known.any():
        return
    steps, chance = steps[known], chance[known]
    # labels and ranges of a log axis are in powers of ten
    heights = np.log10(chance) if y_scale == "log" else chance
    figure.add_scatter(
        x=steps,
        y=chance,
        mode="lines",
        line={"color": HUES[1], "width": 1.5, "dash": "dash"},
        hovertemplate="chance %{y:.4g}<extra></extra>",
        showlegend=False,
    )
    figure.add_annotation(
        text="chance",
        xref="paper",
        x=1,
        xanchor="right",
        y=float(heights[-1]),
        yanchor="bottom",
        showarrow=False,
        font={"size": 12, "color": HUES[1]},
    )
    low, high = figure.layout.yaxis.range or (heights.min(), heights.max())
    figure.layout.yaxis.range = [min(low, float(heights.min())), max(high, float(heights.max()))]
