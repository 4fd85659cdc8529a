"""Figures of fine-tuning: components before against after, and what the loss did on every eval set."""

import math
from typing import TYPE_CHECKING

import plotly.graph_objects as go

from queries.figures.axes import GREY, colour, dash, finish, symbol
from queries.reading.tables import shared_folder
from queries.stats.component_categories import CATEGORIES

if TYPE_CHECKING:
    from queries.component_change import ComponentChange
    from queries.finetune_shift import FinetuneShift

# components named in the figure, of the largest changes
_NAMED = 8


def before_after(answer: "ComponentChange") -> go.Figure:
    """A point per component, effect before across and after up; open where none or nothing is shown.

    On the dotted line nothing changed. Small grey squares are the yardstick: the same between adjacent late checkpoints.
    """
    rows = answer.table.to_pylist()
    several = len({(r["run_a"], r["step_a"], r["run_b"], r["step_b"]) for r in rows}) > 1
    cut = len(shared_folder(r["run_b"] for r in rows))
    named = {
        id(r) for r in sorted(rows, key=lambda r: -abs(r["change"]))[:_NAMED] if r["category"] != "unresolved"
    }
    figure = go.Figure()
    near = answer.yardstick.to_pylist()
    if near:
        figure.add_scatter(
            x=[r["effect_before"] for r in near],
            y=[r["effect_after"] for r in near],
            mode="markers",
            marker={"color": GREY, "symbol": "square-open", "size": 5, "opacity": 0.5},
            name="between adjacent late checkpoints",
            text=[r["component"] for r in near],
            hovertemplate="%{text}: %{x:.3g} → %{y:.3g}<extra>%{fullData.name}</extra>",
        )
    for k, category in enumerate(CATEGORIES):
        mine = [r for r in rows if r["category"] == category]
        if not mine:
            continue
        open_ = category in ("unchanged", "unresolved")
        figure.add_scatter(
            x=[r["effect_before"] for r in mine],
            y=[r["effect_after"] for r in mine],
            error_x=_errors([r["se_before"] for r in mine]),
            error_y=_errors([r["se_after"] for r in mine]),
            mode="markers+text",
            marker={
                "color": GREY if category == "unresolved" else colour(k),
                "symbol": f"{symbol(k)}-open" if open_ else symbol(k),
                "size": [5 if r["kind"] == "head" else 9 for r in mine] if open_ else 10,
            },
            name=f"{category} ({len(mine)})",
            text=[r["component"] if id(r) in named else "" for r in mine],
            textposition="top center",
            hovertext=[
                f"{r['component']}{' of ' + r['run_b'][cut:] if several else ''}, signatures "
                f"{'not known' if r['similarity'] is None else format(r['similarity'], '.2f')}"
                for r in mine
            ],
            hovertemplate="%{hovertext}: %{x:.3g} → %{y:.3g}<extra>%{fullData.name}</extra>",
        )
    ends = [v for r in (*rows, *near) for v in (r["effect_before"], r["effect_after"]) if v is not None]
    reach = [min(ends, default=0.0), max(ends, default=1.0)]
    figure.add_scatter(
        x=reach,
        y=reach,
        mode="lines",
        line={"color": GREY, "dash": "dot", "width": 1},
        showlegend=False,
        hoverinfo="skip",
    )
    figure.update_xaxes(title="before")
    figure.update_yaxes(title="after")
    return finish(figure, answer.label)


def _errors(values: list[float | None]) -> dict[str, object]:
    return {
        "type": "data",
        "array": [v if v is not None and math.isfinite(v) else 0.0 for v in values],
        "thickness": 1,
        "width": 0,
    }


def shift_curves(answer: "FinetuneShift") -> go.Figure:
    """Mean change of the loss by step of fine-tuning: a colour an eval set, a line a run; dots where it is judged."""
    rows = answer.curve.to_pylist()
    ends = answer.table.to_pylist()
    sets = list(dict.fromkeys(r["eval_set"] for r in ends))
    cut = len(shared_folder(r["run_b"] for r in ends))
    figure = go.Figure()
    for k, eval_set in enumerate(sets):
        for j, run in enumerate(dict.fromkeys(r["run"] for r in rows if r["eval_set"] == eval_set)):
            mine = [r for r in rows if (r["eval_set"], r["run"]) == (eval_set, run)]
            figure.add_scatter(
                x=[r["at"] for r in mine],
                y=[r["mean_delta"] for r in mine],
                mode="lines",
                line={"color": colour(k), "dash": dash(k), "width": 1.5},
                name=eval_set,
                legendgroup=eval_set,
                showlegend=j == 0,
                text=[run[cut:]] * len(mine),
                hovertemplate="%{text} at %{x}: %{y:.4g} nats<extra>%{fullData.name}</extra>",
            )
        last = [r for r in ends if r["eval_set"] == eval_set]
        figure.add_scatter(
            x=[r["step_b"] for r in last],
            y=[r["mean_delta"] for r in last],
            error_y={
                "type": "data",
                "symmetric": False,
                "array": [_reach(r["ci_high"], r["mean_delta"]) for r in last],
                "arrayminus": [_reach(r["mean_delta"], r["ci_low"]) for r in last],
                "thickness": 1,
                "width": 0,
            },
            mode="markers",
            marker={"color": colour(k), "symbol": symbol(k), "size": 8},
            name=f"{eval_set}, at the end",
            legendgroup=eval_set,
            text=[r["run_b"][cut:] for r in last],
            hovertemplate="%{text}: %{y:.4g} nats<extra>%{fullData.name}</extra>",
        )
    figure.add_hrect(
        y0=-answer.margin,
        y1=answer.margin,
        line_width=0,
        fillcolor=GREY,
        opacity=0.2,
        annotation_text="no change",
    )
    figure.add_hline(y=0, line={"color": GREY, "dash": "dot", "width": 1})
    figure.update_xaxes(title="step of the tuned run")
    figure.update_yaxes(title="loss − loss where it began [nats]")
    return finish(figure, "change of the loss by fine-tuning")


def _reach(high: float | None, low: float | None) -> float:
    return 0.0 if high is None or low is None else high - low
