"""Figures of searches: how many neurons or heads have to do with a token, over training."""

from collections import defaultdict
from typing import TYPE_CHECKING

import numpy as np
import plotly.graph_objects as go
import pyarrow as pa

from queries.figures.axes import TimeAxis, colour, dash, finish, symbol
from queries.reading.tables import shared_folder

if TYPE_CHECKING:
    from queries.search_effects import SearchEffects
    from queries.search_heads import SearchHeads
    from queries.search_neurons import SearchNeurons


def neurons_found(answer: "SearchNeurons") -> go.Figure:
    """A line per run: neurons found at each checkpoint, all layers together."""
    figure = _counts(answer.history, "n_found")
    figure.update_yaxes(title="neurons found", rangemode="tozero")
    return finish(figure, f"neurons that fire on {_plain(answer.text)}")


def neurons_listing(answer: "SearchEffects") -> go.Figure:
    """A line per run: neurons that list the token, both directions together."""
    figure = _counts(answer.history, "n_listing")
    figure.update_yaxes(title="neurons that list it", rangemode="tozero")
    return finish(figure, f"neurons that change the logit of {_plain(answer.text)} most")


def heads_looking(answer: "SearchHeads") -> go.Figure:
    """Every head: attention on the token against evenly spread attention, one symbol per run; filled where found."""
    figure = go.Figure()
    rows = answer.table.to_pylist()
    runs = list(dict.fromkeys(r["run"] for r in rows))
    cut = len(shared_folder(runs))
    for k, run in enumerate(runs):
        mine = [r for r in rows if r["run"] == run]
        figure.add_scatter(
            x=[r["chance"] for r in mine],
            y=[r["attention"] for r in mine],
            mode="markers",
            marker={
                "color": colour(k),
                "symbol": [symbol(k) if r["found"] else f"{symbol(k)}-open" for r in mine],
                "size": 9,
            },
            text=[r["head"] for r in mine],
            hovertemplate="%{text}: %{y:.3f}, spread evenly %{x:.3f}<extra>%{fullData.name}</extra>",
            name=_plain(run[cut:]),
        )
    figure.update_xaxes(title="attention if it were spread evenly", rangemode="tozero")
    figure.update_yaxes(title="attention on the token", rangemode="tozero")
    return finish(figure, f"attention on {_plain(answer.text)}")


def _counts(history: pa.Table, column: str) -> go.Figure:
    sums: dict[str, dict[int, int]] = defaultdict(lambda: defaultdict(int))
    for run, step, n in zip(*(history[c].to_pylist() for c in ("run", "step", column)), strict=True):
        sums[run][step] += n
    figure = go.Figure()
    axis = TimeAxis([np.array(sorted(steps), float) for steps in sums.values()], "log")
    cut = len(shared_folder(sums))
    for k, (run, by_step) in enumerate(sums.items()):
        steps = np.array(sorted(by_step), float)
        figure.add_scatter(
            x=axis.place(steps),
            y=[by_step[int(s)] for s in steps],
            customdata=steps,
            mode="lines+markers",
            line={"color": colour(k), "dash": dash(k)},
            marker={"symbol": symbol(k)},
            name=_plain(run[cut:]),
            hovertemplate="step %{customdata:,}: %{y}<extra>%{fullData.name}</extra>",
        )
    figure = figure if figure.data else go.Figure(go.Scatter(x=[], y=[]))
    axis.apply(figure, "step")
    return figure


def _plain(text: str) -> str:
    """As plotly shows it: labels read a subset of HTML."""
    return text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;").replace("\n", "↵")
