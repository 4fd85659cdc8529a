"""Two sizes of models token by token, drawn: categories, and found differences beside what is left of them elsewhere."""

from typing import TYPE_CHECKING

import numpy as np
import plotly.graph_objects as go

from queries.figures.axes import GREY, colour, finish, symbol

if TYPE_CHECKING:
    from queries.smaller_beats_larger import SmallerBeatsLarger


def sizes_by_category(answer: "SmallerBeatsLarger") -> go.Figure:
    """Left: difference of every category with its interval, filled where found. Right: kinds of token, found against held out.

    Points on the dashed line would be as large in the half that did not choose them; those on the dotted one were luck.
    """
    figure = go.Figure()
    rows = answer.table.to_pylist()
    pairs = list(dict.fromkeys((r["small"], r["large"]) for r in rows))
    names = list(dict.fromkeys(r["slice"] for r in rows))
    for k, pair in enumerate(pairs):
        mine = [r for r in rows if (r["small"], r["large"]) == pair and r["delta"] is not None]
        label = " against ".join(pair)
        figure.add_scatter(
            x=[r["delta"] for r in mine],
            y=[names.index(r["slice"]) + 0.5 * ((k + 0.5) / len(pairs) - 0.5) for r in mine],
            error_x={
                "type": "data",
                "symmetric": False,
                "array": [_reach(r["ci_high"], r["delta"]) for r in mine],
                "arrayminus": [_reach(r["delta"], r["ci_low"]) for r in mine],
                "thickness": 1,
                "width": 0,
            },
            mode="markers",
            name=label,
            legendgroup=label,
            marker={
                "color": colour(k),
                "symbol": [symbol(k) if r["found"] else f"{symbol(k)}-open" for r in mine],
                "size": 8,
            },
            text=[f"{r['slice']}: {r['n_tokens']:,} tokens" for r in mine],
            hovertemplate="%{text}, %{x:.4g} nats<extra>%{fullData.name}</extra>",
        )
        _kinds(figure, answer, pair, k, label)
    figure.add_vline(x=0, line={"color": GREY, "dash": "dot", "width": 1}, xref="x")
    figure.update_layout(
        xaxis={"title": "smaller better by [nats]"},
        yaxis={"tickvals": list(range(len(names))), "ticktext": names, "autorange": "reversed"},
    )
    if answer.kinds is not None and answer.kinds.num_rows:
        figure.update_layout(
            xaxis={"domain": [0, 0.55]},
            xaxis2={"domain": [0.66, 1], "title": "found in one half [nats]", "anchor": "y2"},
            yaxis2={"title": "in the other half [nats]", "anchor": "x2", "side": "left"},
        )
    return finish(figure, "where the smaller models are better")


def _kinds(
    figure: go.Figure, answer: "SmallerBeatsLarger", pair: tuple[str, str], k: int, label: str
) -> None:
    if answer.kinds is None:
        return
    rows = [r for r in answer.kinds.to_pylist() if (r["small"], r["large"]) == pair]
    if not rows:
        return
    found = np.array([r["found"] for r in rows])
    figure.add_scatter(
        x=found,
        y=[r["held_out"] for r in rows],
        mode="markers",
        name=label,
        legendgroup=label,
        showlegend=False,
        marker={
            "color": colour(k),
            "symbol": [symbol(k) if r["replicated"] else f"{symbol(k)}-open" for r in rows],
            "size": 7,
        },
        text=[repr(r["token"]) if r["token"] is not None else f"token {r['token_id']}" for r in rows],
        hovertemplate="%{text}: %{x:.3g} → %{y:.3g} nats<extra>%{fullData.name}</extra>",
        xaxis="x2",
        yaxis="y2",
    )
    ends = [0.0, float(found.max())]
    for height, style in ((1.0, "dash"), (0.0, "dot")):
        figure.add_scatter(
            x=ends,
            y=[height * end for end in ends],
            mode="lines",
            line={"color": GREY, "dash": style, "width": 1},
            showlegend=False,
            hoverinfo="skip",
            xaxis="x2",
            yaxis="y2",
        )


def _reach(high: float | None, low: float | None) -> float:
    return 0.0 if high is None or low is None else high - low
