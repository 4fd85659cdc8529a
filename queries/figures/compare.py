"""Figures of two checkpoints side by side: slices of tokens, and what neurons keep by layer."""

import math
from typing import TYPE_CHECKING

import plotly.graph_objects as go

from queries.figures.axes import GREY, colour, finish, symbol
from queries.reading.tables import shared_folder

if TYPE_CHECKING:
    from queries.neuron_change import NeuronChange
    from queries.per_token_delta import PerTokenDelta


def slice_dots(answer: "PerTokenDelta") -> go.Figure:
    """A row per slice, a dot per pair with its interval over documents; a vertical line at no difference."""
    rows = answer.table.to_pylist()
    names = list(dict.fromkeys(r["slice"] for r in rows))
    cut = len(shared_folder(r["run_b"] for r in rows))
    pairs = list(dict.fromkeys((r["run_a"], r["step_a"], r["run_b"], r["step_b"]) for r in rows))
    figure = go.Figure()
    for k, pair in enumerate(pairs):
        mine = [r for r in rows if (r["run_a"], r["step_a"], r["run_b"], r["step_b"]) == pair]
        figure.add_scatter(
            x=[r["mean_delta"] for r in mine],
            y=[names.index(r["slice"]) + 0.5 * (k / len(pairs) - 0.25) for r in mine],
            error_x={
                "type": "data",
                "symmetric": False,
                "array": [_reach(r["ci_high"], r["mean_delta"]) for r in mine],
                "arrayminus": [_reach(r["mean_delta"], r["ci_low"]) for r in mine],
                "thickness": 1,
                "width": 0,
            },
            mode="markers",
            marker={"color": colour(k), "symbol": symbol(k), "size": 8},
            name=f"{pair[2][cut:]} {pair[1]:,} → {pair[3]:,}",
            text=[f"{r['slice']}: {r['n_tokens']:,} tokens" for r in mine],
            hovertemplate="%{text}, %{x:.4g} nats<extra>%{fullData.name}</extra>",
        )
    figure.add_vline(x=0, line={"color": GREY, "dash": "dot", "width": 1})
    figure.update_yaxes(tickvals=list(range(len(names))), ticktext=names, autorange="reversed")
    figure.update_xaxes(title="loss at B − loss at A [nats]")
    return finish(figure, "difference of the loss by kind of token")


def kept_by_layer(answer: "NeuronChange") -> go.Figure:
    """Mean overlap of top examples by layer, a line per pair; what other neurons of the layer share is dotted."""
    rows = answer.summary.to_pylist() if answer.summary is not None else []
    pairs = list(dict.fromkeys((r["run_a"], r["step_a"], r["run_b"], r["step_b"]) for r in rows))
    cut = len(shared_folder(r["run_b"] for r in rows))
    figure = go.Figure()
    for k, pair in enumerate(pairs):
        mine = [r for r in rows if (r["run_a"], r["step_a"], r["run_b"], r["step_b"]) == pair]
        for column, line in (("mean_overlap", "solid"), ("other_overlap", "dot")):
            figure.add_scatter(
                x=[r["layer"] for r in mine],
                y=[r[column] for r in mine],
                mode="lines+markers",
                line={"color": colour(k), "dash": line, "width": 1.5},
                marker={"symbol": symbol(k), "size": 6},
                name=f"{pair[2][cut:]} {pair[1]:,} → {pair[3]:,}"
                + (", other neurons" if line == "dot" else ""),
                legendgroup=str(k),
                hovertemplate="layer %{x}: %{y:.3g}<extra>%{fullData.name}</extra>",
            )
    figure.update_xaxes(title="layer", dtick=1 if len({r["layer"] for r in rows}) < 20 else None)
    figure.update_yaxes(title="share of top examples in common", range=[0, 1.02])
    return finish(figure, answer.label)


def _reach(high: float, low: float) -> float:
    return high - low if math.isfinite(high - low) else 0.0
