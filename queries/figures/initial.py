"""What initial weights tell, drawn: AUC of scores, and where winners stood."""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import plotly.graph_objects as go

from queries.figures.axes import GREY, colour, finish
from queries.reading.tables import shared_folder

if TYPE_CHECKING:
    from queries.predict_first_composition import PredictFirstComposition


def auc_by_score(
    rows: Sequence[Mapping[str, Any]], per_run: Sequence[Mapping[str, Any]], title: str
) -> go.Figure:
    """A line per score: its AUC with the interval over inits, every run's as a small circle, chance as a grey bar."""
    tested = [r for r in rows if r["auc"] is not None]
    names = [r["name"] for r in tested]
    figure = go.Figure()
    figure.add_bar(
        x=[r["null_high"] - r["null_low"] for r in tested],
        base=[r["null_low"] for r in tested],
        y=names,
        orientation="h",
        name="95 % by chance",
        marker={"color": "rgba(128,128,128,0.25)"},
        width=0.6,
        hoverinfo="skip",
    )
    single = [r for r in per_run if r["auc"] is not None]
    figure.add_scatter(
        x=[r["auc"] for r in single],
        y=[r["name"] for r in single],
        mode="markers",
        name="runs",
        marker={"color": colour(4), "symbol": "circle-open", "size": 6},
        text=[f"{r['run']}, init {r['init']}" for r in single],
        hovertemplate="%{text}: %{x:.3f}<extra></extra>",
    )
    auc = np.array([r["auc"] for r in tested], dtype=np.float64)
    low, high = (np.array([r[name] for r in tested], dtype=np.float64) for name in ("low", "high"))
    figure.add_scatter(
        x=auc,
        y=names,
        mode="markers",
        name="mean over inits",
        marker={
            "color": colour(0),
            "size": 10,
            "symbol": ["circle" if r["verdict"] == "yes" else "diamond-open" for r in tested],
        },
        error_x={
            "type": "data",
            "symmetric": False,
            "array": np.nan_to_num(high - auc),
            "arrayminus": np.nan_to_num(auc - low),
        },
        hovertemplate="%{y}: %{x:.3f}<extra></extra>",
    )
    figure.add_vline(x=0.5, line={"color": GREY, "dash": "dot", "width": 1})
    figure.update_xaxes(title="AUC: 0.5 no relation, 1 the higher ones get it", range=[-0.02, 1.02])
    figure.update_yaxes(
        autorange="reversed", type="category", categoryorder="array", categoryarray=names, automargin=True
    )
    return finish(figure, title).update_layout(height=max(380, 240 + 28 * len(names)))


def winners_before(answer: "PredictFirstComposition") -> go.Figure:
    """Percentile of every run's winner at step 0, by init; the mean with its interval, and what chance gives."""
    rows = [r for r in answer.table.to_pylist() if r["percentile"] is not None]
    cut = len(shared_folder(r["run"] for r in rows))
    figure = go.Figure()
    if np.isfinite(answer.null_low):
        figure.add_hrect(
            y0=answer.null_low,
            y1=answer.null_high,
            fillcolor=GREY,
            opacity=0.2,
            line_width=0,
            annotation_text="mean, 95 % by chance",
            annotation_position="bottom left",
        )
    figure.add_scatter(
        x=[r["init"] for r in rows],
        y=[r["percentile"] for r in rows],
        mode="markers",
        name="runs",
        marker={"color": colour(0), "size": 9},
        text=[f"{r['run'][cut:]}: {r['winner']}" for r in rows],
        hovertemplate="%{text}: %{y:.3f}<extra></extra>",
    )
    if np.isfinite(answer.estimate):
        figure.add_scatter(
            x=["mean"],
            y=[answer.estimate],
            mode="markers",
            name="mean over inits",
            marker={"color": colour(1), "size": 11, "symbol": "diamond"},
            error_y={
                "type": "data",
                "symmetric": False,
                "array": [np.nan_to_num(answer.ci_high - answer.estimate)],
                "arrayminus": [np.nan_to_num(answer.estimate - answer.ci_low)],
            },
        )
    figure.add_hline(y=0.5, line={"color": GREY, "dash": "dot", "width": 1})
    figure.update_xaxes(title="init", type="category")
    figure.update_yaxes(title="percentile at step 0 among pairs of its layers", range=[-0.02, 1.02])
    return finish(figure, f"pairs that compose most ({answer.mode.upper()}), before training")
