"""Figures of language-model checkpoints: tasks, heads, pairs of heads, neurons and pairs of runs."""

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
import plotly.graph_objects as go
import pyarrow as pa

from queries.figures.axes import GREY, Scale, TimeAxis, colour, dash, finish, symbol
from queries.reading.tables import floats, shared_folder, stretches

if TYPE_CHECKING:
    from queries.composition_history import CompositionHistory
    from queries.head import Head
    from queries.neuron import Neuron
    from queries.output_agreement import OutputAgreement
    from queries.replicate_induction_transition import ReplicateInductionTransition
    from queries.task_scores import Metric, TaskScores


def task_curves(answer: "TaskScores", metric: "Metric", *, x_scale: Scale = "log") -> go.Figure:
    """A line per run and task with ± one standard error; guessing as a dotted line."""
    from queries.task_scores import METRICS

    figure = lines(
        answer.table, ("run", "task", "tokenizer"), metric, x_scale=x_scale, error=f"{metric}_se", by="task"
    )
    chance = METRICS[metric][1]
    if chance is not None:
        figure.add_hline(
            y=chance, line={"color": GREY, "dash": "dot", "width": 1}, annotation_text="guessing"
        )
    words = metric.replace("_", " ")
    figure.update_yaxes(
        title=f"{words} [{answer.unit}]" if metric == answer.metric and answer.unit else words
    )
    return finish(figure, words)


def composition_curves(answer: "CompositionHistory", of: str, *, x_scale: Scale = "log") -> go.Figure:
    """A line per run and pair of heads, a colour a run."""
    figure = lines(answer.table, ("run", "src", "dst"), of, x_scale=x_scale, by="run")
    figure.update_yaxes(title=of)
    return finish(figure, f"{answer.mode.upper()}-composition")


def head_curves(answer: "Head", *, x_scale: Scale = "log") -> go.Figure:
    """A line per run and score, a colour a score; its chance, where it is one number, in the same colour, dotted."""
    figure = lines(
        answer.table,
        ("run", "score", "eval_set", "quantity_id"),
        "value",
        x_scale=x_scale,
        error="se",
        by="score",
    )
    rows = answer.summary.to_pylist() if answer.summary is not None else []
    for k, score in enumerate(dict.fromkeys(answer.table["score"].to_pylist())):
        chances = {r["chance"] for r in rows if r["score"] == score and math.isfinite(r["chance"])}
        if len(chances) == 1:
            figure.add_hline(y=chances.pop(), line={"color": colour(k), "dash": "dot", "width": 1})
    figure.update_yaxes(title="score")
    return finish(figure, answer.label)


def neuron_curves(answer: "Neuron", of: str, *, x_scale: Scale = "log") -> go.Figure:
    """A line per run over training; a run with one checkpoint is a point."""
    figure = lines(answer.history, ("run",), of, x_scale=x_scale, by="run")
    words = {"maximum": "highest activation", "turnover": "share of examples that are new"}.get(of, of)
    figure.update_yaxes(title=words.replace("_", " "))
    return finish(figure, f"{answer.label}: {words.replace('_', ' ')}")


def formation_curves(answer: "ReplicateInductionTransition", *, x_scale: Scale = "log") -> go.Figure:
    """The best head's score of every run; the level of an induction head, and where half of each rise is done."""
    figure = lines(answer.curves, ("run",), "score", x_scale=x_scale, by="run")
    figure.add_hline(
        y=answer.level, line={"color": GREY, "dash": "dot", "width": 1}, annotation_text="induction head"
    )
    if answer.axis == "step":
        rows = answer.table.to_pylist()
        for k, r in enumerate(rows):
            if r["t50"] is not None:
                figure.add_vrect(
                    x0=max(r["t50_after"] or r["t50"], 1e-9),
                    x1=r["t50"],
                    fillcolor=colour(k),
                    opacity=0.15,
                    line_width=0,
                )
    figure.update_yaxes(title=answer.label)
    return finish(figure, "formation of induction heads")


def pair_grid(answer: "OutputAgreement") -> go.Figure:
    """Runs × runs: the divergence where it is known, else the rank correlation of losses, else the most likely token."""
    rows = answer.table.to_pylist()
    known = ("js", "spearman", "top1")
    of = next((n for n in known if any(r[n] is not None and math.isfinite(r[n]) for r in rows)), "js")
    runs = list(dict.fromkeys(r[end] for end in ("run_a", "run_b") for r in rows))
    cut = len(shared_folder(runs))
    grid = np.full((len(runs), len(runs)), np.nan)
    for r in rows:
        a, b = runs.index(r["run_a"]), runs.index(r["run_b"])
        grid[a, b] = grid[b, a] = math.nan if r[of] is None else r[of]
    names = [run[cut:] for run in runs]
    title = {
        "js": "Jensen-Shannon divergence [nats]",
        "spearman": "rank correlation of losses",
        "top1": "same most likely token",
    }[of]
    figure = go.Figure(
        go.Heatmap(
            z=[[None if math.isnan(v) else v for v in row] for row in grid.tolist()],
            x=names,
            y=names,
            colorscale="Viridis",
            hovertemplate="%{y} and %{x}: %{z:.4g}<extra></extra>",
        )
    )
    figure.update_xaxes(type="category")
    figure.update_yaxes(type="category", autorange="reversed")
    return finish(figure, title)


def lines(
    table: pa.Table,
    keys: Sequence[str],
    value: str,
    *,
    x_scale: Scale,
    by: str,
    error: str | None = None,
) -> go.Figure:
    """A line per stretch of rows that agree in `keys`, coloured by the column `by`."""
    axis = TimeAxis([floats(table, "step")], x_scale)
    times, values = floats(table, "step"), floats(table, value)
    errors = floats(table, error) if error else np.full(len(values), np.nan)
    colours = list(dict.fromkeys(table[by].to_pylist()))
    cut = len(shared_folder(table["run"].unique().to_pylist()))
    figure = go.Figure()
    for a, b in zip(*stretches(table, keys), strict=True):
        known = np.isfinite(values[a:b])
        if not known.any():
            continue
        parts = [str(table[key][int(a)].as_py()) for key in keys if key != "quantity_id"]
        k = colours.index(table[by][int(a)].as_py())
        se = errors[a:b][known]
        at = times[a:b][known]
        figure.add_scatter(
            x=axis.place(at),
            y=values[a:b][known],
            error_y={"type": "data", "array": se, "width": 0, "thickness": 1}
            if np.isfinite(se).any()
            else None,
            name=" · ".join([parts[0][cut:], *parts[1:]]),
            legendgroup=str(colours[k]),
            mode="lines+markers",
            line={"color": colour(k), "dash": dash(k), "width": 1.2},
            marker={"symbol": symbol(k), "size": 4},
            customdata=at,
            hovertemplate="%{y:.4g} at step %{customdata:,}<extra>%{fullData.name}</extra>",
        )
    axis.apply(figure, "step")
    return figure
