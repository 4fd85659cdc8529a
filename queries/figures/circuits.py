"""Figures of circuits: heads with a role, roles over training, catalogued attention patterns."""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import plotly.graph_objects as go
import pyarrow as pa

from queries.figures.axes import GREY, Scale, colour, finish, symbol
from queries.figures.language import lines
from queries.reading.tables import floats, shared_folder, stretches

if TYPE_CHECKING:
    from queries.attention_pattern_catalogue import AttentionPatternCatalogue
    from queries.circuit_heads import CircuitHeads
    from queries.circuit_transition_rate import CircuitTransitionRate
    from queries.role_history import RoleHistory


def heads_by_layer(answer: "CircuitHeads") -> go.Figure:
    """A point per head and role: layer across, score up; the bound as a line, heads without the role open."""
    rows = answer.table.to_pylist()
    roles = list(dict.fromkeys(r["role"] for r in answer.per_run.to_pylist()))
    figure = go.Figure()
    for k, role in enumerate(roles):
        aside = 0.6 * ((k + 0.5) / len(roles) - 0.5)
        mine = [r for r in rows if r["role"] == role]
        layers = np.array([int(r["head"][1:].split("H")[0]) for r in mine], float)
        _points(figure, mine, layers + aside, "score", role, k, [r["verdict"] == "yes" for r in mine])
    figure.add_hline(
        y=1, line={"color": GREY, "dash": "dot", "width": 1}, annotation_text="beyond every bound"
    )
    figure.update_xaxes(title="layer", dtick=1, zeroline=False)
    figure.update_yaxes(title="least of value over bound")
    return finish(figure, f"heads with a role in {answer.task}")


def _points(
    figure: go.Figure,
    rows: Sequence[Mapping[str, Any]],
    at: np.ndarray,
    height: str,
    name: str,
    k: int,
    filled: Sequence[bool],
) -> None:
    cut = len(shared_folder(r["run"] for r in rows))
    figure.add_scatter(
        x=at,
        y=[r[height] for r in rows],
        mode="markers",
        name=name,
        marker={
            "color": colour(k),
            "symbol": [symbol(k) if solid else f"{symbol(k)}-open" for solid in filled],
            "size": [9 if solid else 5 for solid in filled],
        },
        text=[f"{r['head']} · {r['run'][cut:]}" for r in rows],
        hovertemplate="%{text}: %{y:.4g}<extra>%{fullData.name}</extra>",
    )


def role_curves(answer: "RoleHistory", *, x_scale: Scale = "log") -> go.Figure:
    """The best head's score of every run and role over training, a colour a role; the bound as a line."""
    figure = lines(answer.table, ("run", "role"), "score", x_scale=x_scale, by="role")
    figure.add_hline(y=1, line={"color": GREY, "dash": "dot", "width": 1}, annotation_text="at every bound")
    figure.update_yaxes(title="best head: least of value over bound")
    return finish(figure, f"roles of {answer.task}")


def circuit_curves(answer: "CircuitTransitionRate", *, x_scale: Scale = "log") -> go.Figure:
    """The score that is followed, of every head with a role, as a share of its largest size; a colour a role."""
    curves = answer.curves
    starts, ends = stretches(curves, ("run", "role", "head"))
    values = floats(curves, "value").copy()
    for a, b in zip(starts, ends, strict=True):
        values[a:b] /= np.nanmax(np.abs(values[a:b])) or 1.0
    table = curves.append_column("relative", pa.array(values))
    figure = lines(table, ("run", "role", "head"), "relative", x_scale=x_scale, by="role")
    figure.update_yaxes(title="score over its largest size")
    return finish(figure, f"circuits of {answer.task}")


def scores_by_mask(answer: "AttentionPatternCatalogue") -> go.Figure:
    """A point per head and mask, side by side for runs; heads that are found filled."""
    rows = answer.table.to_pylist()
    masks = list(dict.fromkeys((r["mask"], r["eval_set"]) for r in rows))
    runs = list(dict.fromkeys(r["run"] for r in rows))
    cut = len(shared_folder(runs))
    figure = go.Figure()
    for k, run in enumerate(runs):
        aside = 0.6 * ((k + 0.5) / len(runs) - 0.5)
        mine = [r for r in rows if r["run"] == run]
        at = np.array([masks.index((r["mask"], r["eval_set"])) for r in mine], float)
        _points(figure, mine, at + aside, "score", run[cut:], k, [r["found"] for r in mine])
    several = len({eval_set for _, eval_set in masks}) > 1
    figure.update_xaxes(
        title="mask",
        tickvals=list(range(len(masks))),
        ticktext=[f"{mask}<br>{eval_set}" if several else mask for mask, eval_set in masks],
        zeroline=False,
    )
    figure.update_yaxes(title="mean attention on the mask's places")
    return finish(figure, "attention patterns")
