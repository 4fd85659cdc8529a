"""Events foretold: predicted against observed times, and by cutoff how well runs are put in order."""

import math
from typing import TYPE_CHECKING, Any

import numpy as np
import plotly.graph_objects as go
from plotly.subplots import make_subplots

from queries.figures.axes import GREY, colour, finish, symbol
from queries.reading.tables import shared_folder

if TYPE_CHECKING:
    from queries.predict_onset import PredictOnset


def predicted_and_observed(answer: "PredictOnset") -> go.Figure:
    """Brackets of observed times over predicted ones, and the C-index by cutoff beside that of settings alone.

    An arrow where the event was not seen; the predictor itself in place of a prediction where there is none.
    """
    rows = [r for r in answer.table.to_pylist() if r["cutoff"] == answer.shown and r["status"] == "at risk"]
    predicted = any(r["predicted"] is not None for r in rows)
    figure = make_subplots(cols=2, column_widths=[0.6, 0.4], horizontal_spacing=0.12)
    groups = list(dict.fromkeys(r["group"] for r in rows))
    cut = len(shared_folder(groups))
    for k, group in enumerate(groups):
        mine = [r for r in rows if r["group"] == group]
        _brackets(figure, mine, group[cut:] or group, k, predicted=predicted)
    _by_cutoff(figure, answer)
    if predicted:
        ends = [float(r["predicted"]) for r in rows]
        ends += [float(v) for r in rows for v in (r["after"], r["reached"]) if v]
        figure.add_scatter(
            x=[min(ends), max(ends)],
            y=[min(ends), max(ends)],
            mode="lines",
            line={"color": GREY, "width": 1, "dash": "dot"},
            showlegend=False,
            hoverinfo="skip",
            row=1,
            col=1,
        )
    if predicted:
        figure.update_xaxes(title=f"predicted at step {answer.shown:,}", type="log", row=1, col=1)
    else:
        figure.update_xaxes(title=f"{answer.predictor[0]} by step {answer.shown:,}", row=1, col=1)
    figure.update_yaxes(title=f"step of {answer.event}", type="log", row=1, col=1)
    cutoffs = answer.summary["cutoff"].to_pylist() if answer.summary is not None else []
    figure.update_xaxes(
        title="cutoff",
        type="category",
        categoryorder="array",
        categoryarray=[f"{c:,}" for c in cutoffs],
        row=1,
        col=2,
    )
    figure.update_yaxes(title="C-index, runs left out", range=[0, 1.02], row=1, col=2)
    figure.add_hline(y=0.5, line={"color": GREY, "width": 1, "dash": "dot"}, row=1, col=2)
    return finish(figure, f"{', '.join(answer.predictor)} and {answer.event}")


def _brackets(figure: go.Figure, rows: list[dict[str, Any]], group: str, k: int, *, predicted: bool) -> None:
    """One condition: a bar from the last point before to the first point there; an arrow from the last point seen."""

    def x(r: dict[str, Any]) -> float:
        return float(r["predicted"]) if predicted else float(r["values"][0])

    seen = [r for r in rows if r["reached"] is not None]
    never = [r for r in rows if r["reached"] is None]
    middle = [math.sqrt(max(float(r["after"] or 0), 0.5) * float(r["reached"])) for r in seen]
    if seen:
        figure.add_scatter(
            x=[x(r) for r in seen],
            y=middle,
            error_y={
                "type": "data",
                "array": [float(r["reached"]) - m for r, m in zip(seen, middle, strict=True)],
                "arrayminus": [
                    m - max(float(r["after"] or 0), 0.5) for r, m in zip(seen, middle, strict=True)
                ],
                "thickness": 1.5,
                "width": 3,
            },
            mode="markers",
            marker={"color": colour(k), "symbol": symbol(k), "size": 6},
            name=group,
            legendgroup=group,
            customdata=[r["run"] for r in seen],
            hovertemplate="%{customdata}: %{x:.4g}, seen by %{y:.4g}<extra></extra>",
            row=1,
            col=1,
        )
    if never:
        figure.add_scatter(
            x=[x(r) for r in never],
            y=[float(r["after"]) for r in never],
            mode="markers",
            marker={"color": colour(k), "symbol": "triangle-up-open", "size": 11},
            name=group if not seen else f"{group}: not by then",
            legendgroup=group,
            showlegend=not seen,
            customdata=[r["run"] for r in never],
            hovertemplate="%{customdata}: not there by %{y:,}<extra></extra>",
            row=1,
            col=1,
        )


def _by_cutoff(figure: go.Figure, answer: "PredictOnset") -> None:
    rows = answer.summary.to_pylist() if answer.summary is not None else []
    for k, (name, value, low, high) in enumerate(
        (
            ("with the predictor", "c_index", "c_low", "c_high"),
            ("settings alone", "c_baseline", "baseline_low", "baseline_high"),
        )
    ):
        mine = [r for r in rows if r[value] is not None]
        c, ends = (
            np.array([r[value] for r in mine], float),
            np.array([[r[low], r[high]] for r in mine], float),
        )
        figure.add_scatter(
            x=[f"{r['cutoff']:,}" for r in mine],
            y=c,
            error_y={
                "type": "data",
                "array": (ends[:, 1] - c) if len(mine) else [],
                "arrayminus": (c - ends[:, 0]) if len(mine) else [],
                "thickness": 1,
            },
            mode="lines+markers",
            marker={"symbol": "circle" if k == 0 else "square-open", "size": 8},
            line={"color": "#D55E00" if k == 0 else GREY, "width": 1.5},
            name=name,
            hovertemplate="%{y:.3g} at step %{x}<extra>%{fullData.name}</extra>",
            row=1,
            col=2,
        )
