"""Neurons of several models, and what their layers say, drawn."""

import math
from collections import Counter
from typing import TYPE_CHECKING

import plotly.graph_objects as go

from queries.figures.axes import GREY, colour, dash, finish, symbol
from queries.reading.tables import shared_folder

if TYPE_CHECKING:
    from queries.match_neurons import MatchNeurons
    from queries.representation_similarity import RepresentationSimilarity
    from queries.universal_neurons import UniversalNeurons


def excess_by_layer(answer: "MatchNeurons") -> go.Figure:
    """A line per start: mean excess of each layer of the first model, with a point per pair at the left for all layers."""
    figure = go.Figure()
    rows = answer.layers.to_pylist()
    for k, start in enumerate(dict.fromkeys(r["start"] for r in rows)):
        mine = [r for r in rows if r["start"] == start]
        figure.add_scatter(
            x=[r["layer"] for r in mine],
            y=[r["excess"] for r in mine],
            mode="lines+markers",
            name=f"start {start}",
            legendgroup=start,
            line={"color": colour(k), "dash": dash(k)},
            marker={"symbol": symbol(k)},
            text=[f"{r['share_above']:.2%} above {answer.threshold:g}" for r in mine],
            hovertemplate="layer %{x}: %{y:.3f}, %{text}<extra>%{fullData.name}</extra>",
        )
        pairs = [r for r in answer.pairs.to_pylist() if r["start"] == start and r["excess"] is not None]
        cut = len(shared_folder(run for r in pairs for run in (r["run_a"], r["run_b"])))
        figure.add_scatter(
            x=[-0.5] * len(pairs),
            y=[r["excess"] for r in pairs],
            mode="markers",
            name="each pair, all layers",
            legendgroup=start,
            marker={"color": colour(k), "symbol": f"{symbol(k)}-open", "size": 7},
            text=[f"{r['run_a'][cut:]} in {r['run_b'][cut:]}" for r in pairs],
            hovertemplate="%{text}: %{y:.3f}<extra></extra>",
        )
    figure.add_hline(y=0, line={"color": GREY, "dash": "dot", "width": 1}, annotation_text="rotated layers")
    figure.update_xaxes(title="layer of the neuron", dtick=1, zeroline=False)
    figure.update_yaxes(title="correlation above that with rotated layers")
    return finish(figure, "neurons and their matches in another run")


def universal_by_layer(answer: "UniversalNeurons") -> go.Figure:
    """A line per run: share of the neurons of each layer that are universal."""
    rows = answer.layers.to_pylist()
    runs = list(dict.fromkeys(r["run"] for r in rows))
    cut = len(shared_folder(runs))
    figure = go.Figure()
    for k, run in enumerate(runs):
        mine = [r for r in rows if r["run"] == run]
        figure.add_scatter(
            x=[r["layer"] for r in mine],
            y=[r["share"] for r in mine],
            mode="lines+markers",
            name=run[cut:],
            line={"color": colour(k), "dash": dash(k)},
            marker={"symbol": symbol(k)},
            text=[f"{r['n_universal']} of {r['n_neurons']}" for r in mine],
            hovertemplate="layer %{x}: %{y:.2%} (%{text})<extra>%{fullData.name}</extra>",
        )
    figure.update_xaxes(title="layer", dtick=1)
    figure.update_yaxes(title=f"share with excess above {answer.threshold:g}", rangemode="tozero")
    return finish(figure, "neurons that other runs have too")


def layers_by_layers(answer: "RepresentationSimilarity") -> go.Figure:
    """Layers of the first run down, of the second across: mean CKA over pairs of runs with the most common shape."""
    shapes = Counter((r["n_layers_a"], r["n_layers_b"]) for r in answer.pairs.to_pylist())
    (n_a, n_b), n_pairs = shapes.most_common(1)[0]
    mine = {
        (r["run_a"], r["step_a"], r["run_b"], r["step_b"])
        for r in answer.pairs.to_pylist()
        if (r["n_layers_a"], r["n_layers_b"]) == (n_a, n_b)
    }
    cells: dict[tuple[int, int], list[float]] = {}
    for r in answer.table.to_pylist():
        if (r["run_a"], r["step_a"], r["run_b"], r["step_b"]) in mine and math.isfinite(r["cka"]):
            cells.setdefault((r["layer_a"], r["layer_b"]), []).append(r["cka"])
    grid = [
        [sum(found) / len(found) if (found := cells.get((a, b))) else None for b in range(n_b)]
        for a in range(n_a)
    ]
    figure = go.Figure(
        go.Heatmap(
            z=grid,
            zmin=0,
            zmax=1,
            colorscale="Viridis",
            hovertemplate="layer %{y} with layer %{x}: %{z:.3f}<extra></extra>",
        )
    )
    figure.update_xaxes(title="layer of the second run", dtick=1)
    figure.update_yaxes(title="layer of the first run", dtick=1)
    return finish(figure, f"CKA of layers, mean over {n_pairs} pair{'' if n_pairs == 1 else 's'} of runs")
