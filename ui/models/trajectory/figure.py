"""Trajectories in their principal components: planes of two, and each over steps."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import plotly.graph_objects as go
import pyarrow.compute as pc
from numpy.typing import NDArray

from queries.reading.tables import floats
from queries.trajectory_pca import TrajectoryPca
from ui.models.axes import GRID, LINE, SEPARATORS
from ui.models.palette import STROKES, Stroke, see_through
from ui.models.steps import StepAxis
from ui.models.text import distinguish, escape_plotly, fold, plural

Floats = NDArray[np.float64]

COMPONENTS = (1, 2, 3)
PLANES = ((1, 2), (1, 3), (2, 3))
DOMAINS = ((0.0, 0.285), (0.36, 0.645), (0.715, 1.0))
PLANES_PIXELS, ROW_PIXELS = 430, 150
FAINTEST = 0.2
LEGEND_ROW, LEGEND_WIDTH = 22, 620  # pixels; narrower than any figure, so that no name is cut
_LEGEND = {
    "orientation": "h",
    "x": 0,
    "y": 0,
    "yref": "container",
    "yanchor": "bottom",
    "groupclick": "togglegroup",
}
SYMBOLS = ("circle", "square", "diamond")  # one a dash, so that a dot says as much as a line


@dataclass(frozen=True)
class Path:
    """One run. scores: by component, NaN where it has so few checkpoints that there is none."""

    run: str
    label: str
    stroke: Stroke
    symbol: str
    steps: Floats
    scores: Mapping[int, Floats]
    turn: Mapping[str, float] | None


def paths(found: TrajectoryPca) -> list[Path]:
    """The runs of an answer, each in a stroke of its own."""
    runs = list(dict.fromkeys(found.table["run"].to_pylist()))
    labels = distinguish(runs, 24)
    turns = {r["run"]: r for r in (found.summary.to_pylist() if found.summary is not None else [])}
    drawn = []
    for k, (run, label) in enumerate(zip(runs, labels, strict=True)):
        rows = found.table.filter(pc.equal(found.table["run"], run))
        turn = turns.get(run)
        drawn.append(
            Path(
                run,
                label,
                STROKES[k % len(STROKES)],
                SYMBOLS[k // 4 % len(SYMBOLS)],
                floats(rows, "step"),
                {c: floats(rows, f"pc{c}") for c in COMPONENTS},
                turn if turn and turn["turn_step"] is not None else None,
            )
        )
    return drawn


def planes_figure(drawn: Sequence[Path]) -> go.Figure:
    """Three planes side by side; a run has a colour, and its dots are the fuller the later.

    Ring: first checkpoint; square: last; star: largest turn, filled where p ≤ 0.05.
    """
    figure = go.Figure()
    for panel, (across, up) in enumerate(PLANES):
        axes = {"xaxis": f"x{panel + 1}", "yaxis": f"y{panel + 1}"} if panel else {}
        for path in drawn:
            x, y = path.scores[across], path.scores[up]
            figure.add_scatter(
                x=x,
                y=y,
                mode="lines+markers",
                name=escape_plotly(path.label),
                legendgroup=path.run,
                showlegend=panel == 0,
                line={"color": see_through(path.stroke.colour, 0.6), "dash": path.stroke.dash, "width": 1.2},
                marker={
                    "size": 5,
                    "color": path.stroke.colour,
                    "opacity": fading(path.steps),
                    "symbol": path.symbol,
                    "line": {"width": 0},
                },
                customdata=path.steps,
                hovertemplate=f"<b>{fold(path.run)}</b><br>step %{{customdata:,}}<extra></extra>",
                **axes,
            )
            figure.add_scatter(
                x=x[[0, -1]],
                y=y[[0, -1]],
                mode="markers",
                legendgroup=path.run,
                showlegend=False,
                marker={
                    "symbol": ["circle-open", "square"],
                    "size": [9, 8],
                    "color": path.stroke.colour,
                    "line": {"width": 1.5, "color": path.stroke.colour},
                },
                hoverinfo="skip",
                **axes,
            )
            _mark_turn(figure, path, x, y, axes)
    layout: dict[str, object] = {}
    for panel, (across, up) in enumerate(PLANES):
        n = str(panel + 1) if panel else ""
        layout[f"xaxis{n}"] = {
            "domain": DOMAINS[panel],
            "anchor": f"y{n}",
            "title": {"text": f"PC{across}", "standoff": 6},
            "nticks": 5,
            **LINE,
            **GRID,
        }
        layout[f"yaxis{n}"] = {
            "anchor": f"x{n}",
            "title": {"text": f"PC{up}", "standoff": 4},
            "nticks": 6,
            **LINE,
            **GRID,
        }
    legend = _legend_pixels(drawn)
    figure.update_layout(
        height=PLANES_PIXELS + legend,
        margin={"l": 62, "t": 8, "b": 48 + legend, "r": 8},
        separators=SEPARATORS,
        hovermode="closest",
        legend=_LEGEND,
        **layout,
    )
    return figure


def fading(steps: Floats) -> Floats:
    """Opacity of the dot of each checkpoint, from `FAINTEST` at the first to 1 at the last, even in log time."""
    places = np.log(StepAxis.of(steps, "log").place(steps))
    length = float(np.ptp(places))
    return FAINTEST + (1 - FAINTEST) * (places - places.min()) / length if length else np.ones(len(steps))


def over_steps_figure(drawn: Sequence[Path], *, x_scale: str) -> go.Figure:
    """Components 1 to 3 over steps, one under the other; a line a run, its largest turn starred."""
    axis = StepAxis.of(np.concatenate([p.steps for p in drawn]), x_scale)
    figure = go.Figure()
    layout: dict[str, object] = {}
    for panel, component in enumerate(COMPONENTS):
        n = str(panel + 1) if panel else ""
        axes = {"yaxis": f"y{n}"} if panel else {}
        for path in drawn:
            scores = path.scores[component]
            x, y = axis.cut(path.steps, scores)
            steps, _ = axis.cut(path.steps, path.steps)
            figure.add_scatter(
                x=x,
                y=y,
                mode="lines+markers",
                name=escape_plotly(path.label),
                legendgroup=path.run,
                showlegend=panel == 0,
                line={"color": path.stroke.colour, "dash": path.stroke.dash, "width": 1.4},
                marker={"size": 3, "color": path.stroke.colour, "symbol": path.symbol},
                customdata=np.where(steps == axis.zero_at, 0, steps) if axis.broken else steps,
                hovertemplate=f"<b>{fold(path.run)}</b><br>step %{{customdata:,}}: %{{y:.4g}}<extra></extra>",
                **axes,
            )
            _mark_turn(figure, path, axis.place(path.steps), scores, axes)
        top = 1 - panel / 3
        layout[f"yaxis{n}"] = {
            "domain": (top - 1 / 3 + 0.025, top - 0.005),
            "title": {"text": f"PC{component}", "standoff": 6},
            "anchor": "x",
            "nticks": 5,
            **LINE,
            **GRID,
        }
    legend = _legend_pixels(drawn)
    figure.update_layout(
        height=3 * ROW_PIXELS + 60 + legend,
        margin={"l": 62, "t": 8, "b": 52 + legend, "r": 8},
        separators=SEPARATORS,
        hovermode="closest",
        xaxis=axis.layout() | {"anchor": "y3"},
        legend=_LEGEND,
        **layout,
    )
    return figure


def trajectory_in_words(found: TrajectoryPca, show: str) -> str:
    """The figure as a sentence, for those who do not see it."""
    kind = "Three planes of components 1 to 3" if show == "planes" else "Components 1 to 3 over steps"
    return f"{kind}, one line for each of {plural(found.n_runs, 'run')}. {found.sentence}"


def _mark_turn(figure: go.Figure, path: Path, x: Floats, y: Floats, axes: Mapping[str, str]) -> None:
    if path.turn is None:
        return
    turn = path.turn
    at = int(np.flatnonzero(path.steps == turn["turn_step"])[0])
    beyond = turn["p_turn"] <= 0.05
    figure.add_scatter(
        x=[x[at]],
        y=[y[at]],
        mode="markers",
        legendgroup=path.run,
        showlegend=False,
        marker={
            "symbol": "star" if beyond else "star-open",
            "size": 12 if beyond else 10,
            "color": path.stroke.colour,
            "line": {"width": 1, "color": path.stroke.colour},
        },
        hovertext=f"<b>{fold(path.run)}</b><br>turns {turn['turn_degrees']:.0f}° at step {turn['turn_step']:,}; "
        f"its walks {turn['null_turn']:.0f}°, p = {turn['p_turn']:.2g}",
        hoverinfo="text",
        **axes,
    )


def _legend_pixels(drawn: Sequence[Path]) -> int:
    """Height of the legend: its rows follow from the lengths of the names."""
    width = sum(56 + 7 * len(path.label) for path in drawn)
    return LEGEND_ROW * max(1, -(-width // LEGEND_WIDTH))
