"""When each run gets there: a dot with its bracket, run by run under its group, and the group's median."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import plotly.graph_objects as go
import pyarrow as pa

from queries.transition_times import TransitionTimes
from ui.models.axes import GRID, LINE, NO_GRID, SEPARATORS
from ui.models.palette import STROKES
from ui.models.steps import StepAxis
from ui.models.text import distinguish, escape_plotly, fold, plural
from ui.models.transitions.table import bracket, step

ROW_PIXELS, AROUND_PIXELS = 23, 92
MOST_ROWS = 60  # of a figure; with more only groups are drawn
SYMBOLS = ("circle", "square", "triangle-up", "pentagon", "hexagon", "star")


@dataclass(frozen=True)
class Group:
    """Runs that are repeats of one another. row: its line of the answer's summary."""

    name: str
    label: str
    row: Mapping[str, Any]
    runs: tuple[Mapping[str, Any], ...]

    @property
    def reached(self) -> str:
        """Such as `3 of 5 runs`."""
        return f"{self.row['n_reached']} of {plural(self.row['n_runs'], 'run')}"


def groups_of(answer: TransitionTimes, short: Mapping[str, str]) -> list[Group]:
    """The groups of an answer with their runs that have data; short: their names in few words."""
    summary = answer.summary.to_pylist() if answer.summary is not None else []
    members: dict[str, list[dict[str, Any]]] = {}
    for row in answer.table.to_pylist():
        if row["kind"] != "no data":
            members.setdefault(row["group"], []).append(row)
    return [
        Group(row["group"], short.get(row["group"], row["group"]), row, tuple(members.get(row["group"], ())))
        for row in summary
    ]


def drawn_rows(groups: Sequence[Group]) -> tuple[bool, int]:
    """(whether runs have rows of their own, how many groups are drawn)."""
    n = len(groups) + sum(len(g.runs) for g in groups)
    return n <= MOST_ROWS, min(len(groups), MOST_ROWS)


def when_figure(groups: Sequence[Group], *, x_scale: str, unit: str) -> go.Figure:
    """A line per bracket, a dot at its later end; an open triangle where a run was never seen to get there.

    A group's row has its median as a diamond and the interval of it as a thick line.
    """
    with_runs, n_groups = drawn_rows(groups)
    ends = [v for g in groups for r in g.runs for v in (r["after"], r["reached"], r["last"]) if v is not None]
    axis = StepAxis.of(np.array(ends or [1.0], float), x_scale)
    figure = go.Figure()
    ticks: list[str] = []
    runs = [r["run"] for g in groups for r in g.runs]
    short = (
        dict(zip(dict.fromkeys(runs), distinguish(list(dict.fromkeys(runs)), 30), strict=True))
        if runs
        else {}
    )
    for k, group in enumerate(groups[:n_groups]):
        stroke = STROKES[k % len(STROKES)]
        colour, symbol = stroke.colour, SYMBOLS[k // 4 % len(SYMBOLS)]
        _add_median(figure, group, axis, len(ticks), colour)
        ticks.append(
            f"<b>{escape_plotly(group.label)}</b>, {group.reached}"
            if len(groups) > 1
            else f"<b>{group.reached}</b>"
        )
        if not with_runs:
            continue
        for row in group.runs:
            _add_run(figure, row, axis, len(ticks), colour, symbol)
            ticks.append(escape_plotly(short[row["run"]]))
    figure.update_layout(
        height=AROUND_PIXELS + ROW_PIXELS * max(len(ticks), 3),
        margin={"l": 16 + int(6.8 * max((_length(t) for t in ticks), default=0)), "t": 12, "b": 52, "r": 40},
        separators=SEPARATORS,
        hovermode="closest",
        showlegend=False,
        xaxis=axis.layout("optimiser step" if unit == "steps" else unit) | GRID,
        yaxis={
            "tickvals": list(range(len(ticks))),
            "ticktext": ticks,
            "range": [len(ticks) - 0.4, -0.6],
            **LINE,
            **NO_GRID,
            "ticks": "",
        },
        annotations=axis.mark(),
    )
    return figure


def when_in_words(groups: Sequence[Group], label: str) -> str:
    """The figure as a sentence, for those who do not see it."""
    told = "; ".join(f"{g.label}: {g.reached}, median {_median(g)}" for g in groups[:12])
    return f"When runs reach {label}, with the checkpoints between which it lies. {told}."


def summary_table(groups: Sequence[Group]) -> pa.Table:
    """One row a group: how many got there, median with interval, spread."""
    return pa.Table.from_pylist(
        [
            {
                "group": g.label,
                "reached": f"{g.row['n_reached']} of {g.row['n_runs']}",
                "median": _whole(g.row["median"]),
                "low": _whole(g.row["median_low"]),
                "high": _whole(g.row["median_high"]),
                "sd": g.row["sd_octaves"],
                "detectable": g.row["mde_octaves"],
                "how": g.row["median_method"],
            }
            for g in groups
        ]
    )


def _add_median(figure: go.Figure, group: Group, axis: StepAxis, at: int, colour: str) -> None:
    row = group.row
    if row["median"] is None or row["n_runs"] < 2:
        return
    low, high = _finite(row["median_low"]), _finite(row["median_high"])
    # an interval without an end on one side is none that a line could show
    if low is not None and high is not None:
        figure.add_scatter(
            x=axis.place(np.array([low, high])),
            y=[at, at],
            mode="lines",
            line={"color": colour, "width": 6},
            opacity=0.35,
            hoverinfo="skip",
        )
    interval = f"{bracket(low, high)}" if low is not None and high is not None else "no bounded interval"
    figure.add_scatter(
        x=axis.place(np.array([row["median"]], float)),
        y=[at],
        mode="markers",
        marker={"symbol": "diamond", "size": 11, "color": colour},
        hovertext=f"<b>{fold(group.name)}</b><br>median step {step(row['median'])}, interval {interval}<br>{group.reached}",
        hoverinfo="text",
    )


def _add_run(
    figure: go.Figure, row: Mapping[str, Any], axis: StepAxis, at: int, colour: str, symbol: str
) -> None:
    after, reached = row["after"], row["reached"]
    there = row["kind"] != "never"
    words = f"<b>{fold(row['run'])}</b><br>step {bracket(after, reached if there else None)}"
    if there and after is not None:
        figure.add_scatter(
            x=axis.place(np.array([after, reached], float)),
            y=[at, at],
            mode="lines",
            line={"color": colour, "width": 2},
            hoverinfo="skip",
        )
    figure.add_scatter(
        x=axis.place(np.array([reached if there else after], float)),
        y=[at],
        mode="markers" if there else "markers+text",
        text=None if there else f"> {step(after)}",
        textposition="middle left",
        marker={
            "symbol": symbol if there else "triangle-right-open",
            "size": 8 if there else 11,
            "color": colour,
        },
        hovertext=words,
        hoverinfo="text",
        cliponaxis=False,
    )


def _median(group: Group) -> str:
    return "not reached by half" if group.row["median"] is None else step(group.row["median"])


def _finite(value: float | None) -> float | None:
    return None if value is None or not np.isfinite(value) else float(value)


def _whole(value: float | None) -> int | None:
    """The nearest whole step."""
    finite = _finite(value)
    return None if finite is None else round(finite)


def _length(tick: str) -> int:
    return len(tick.replace("<b>", "").replace("</b>", ""))
