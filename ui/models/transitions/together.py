"""What changes together: the share of series in transition step by step, and of positions that are there."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import plotly.graph_objects as go
import pyarrow as pa
from numpy.typing import NDArray

from queries.reading.series import CONTINUOUS
from queries.transitions_per_position import TransitionsPerPosition
from ui.models.axes import GRID, LINE, SEPARATORS
from ui.models.palette import STROKES
from ui.models.steps import StepAxis
from ui.models.text import distinguish, escape_plotly, fold, plural, shorten
from ui.models.transitions.table import Row, step

Floats = NDArray[np.float64]

PIXELS = 300
FOUND = ("major_transition", "minor_transition")
ALL = "all of these"
MOST_LINES = 12


@dataclass(frozen=True)
class InTransition:
    """Of one measure, how many series are in an octave with a transition, by step. n: tested; n_found: with one."""

    label: str
    steps: Floats
    counts: NDArray[np.int64]
    n: int
    n_found: int
    n_runs: int

    @property
    def busiest(self) -> tuple[float, int]:
        """(first step with the most at once, how many)."""
        k = int(np.argmax(self.counts))
        return float(self.steps[k]), int(self.counts[k])


def in_transition(rows: Sequence[Row]) -> list[InTransition]:
    """Per measure, and over all where there are several; only series that could be tested count.

    Of a metric pair only the continuous member counts, since both have its verdict.
    """
    tested = [r for r in rows if r["tested"] and r["q"] is not None]
    there = {r["measure"] for r in tested}
    tested = [r for r in tested if CONTINUOUS.get(r["measure"]) not in there]
    labels = list(dict.fromkeys(r["measure"] for r in tested))
    groups = {label: [r for r in tested if r["measure"] == label] for label in labels}
    if len(labels) > 1:
        groups[ALL] = tested
    ends = {float(r[k]) for r in tested for k in ("event_start", "event_end") if r[k] is not None}
    if not ends:
        return []
    steps = np.array(sorted(ends))
    result = []
    for label, mine in groups.items():
        found = [r for r in mine if r["class"] in FOUND]
        counts = np.array(
            [sum(r["event_start"] <= s < r["event_end"] for r in found) for s in steps], np.int64
        )
        result.append(
            InTransition(label, steps, counts, len(mine), len(found), len({r["run"] for r in mine}))
        )
    return result


def counts_table(found: Sequence[InTransition]) -> pa.Table:
    """A row per measure and step from which on the count holds."""
    return pa.Table.from_pylist(
        [
            {"measure": f.label, "from_step": at, "in_transition": int(n), "tested": f.n, "share": n / f.n}
            for f in found
            for at, n in zip(f.steps.tolist(), f.counts.tolist(), strict=True)
        ]
    )


def together_figure(found: Sequence[InTransition], *, x_scale: str) -> go.Figure:
    """A stepped line a measure: the share of its tested series whose octave covers the step."""
    axis = StepAxis.of(np.concatenate([f.steps for f in found]), x_scale)
    figure = go.Figure()
    for k, f in enumerate(found):
        stroke = STROKES[k % len(STROKES)]
        figure.add_scatter(
            x=axis.place(f.steps),
            y=f.counts / f.n,
            mode="lines",
            line={"color": stroke.colour, "dash": stroke.dash, "width": 2, "shape": "hv"},
            name=escape_plotly(f"{shorten(f.label, 40)} ({f.n} series, {plural(f.n_runs, 'run')})"),
            customdata=np.column_stack([f.steps, f.counts]),
            hovertemplate="from step %{customdata[0]:,}: %{customdata[1]} series, %{y:.0%}<extra></extra>",
        )
    return _finished(figure, axis, "share in transition", len(found))


def together_in_words(found: Sequence[InTransition], fdr: float) -> list[str]:
    """The figure in sentences, with what is there by chance."""
    lines = []
    for f in found:
        if f.n_found:
            at, n = f.busiest
            most = f"at most {n} at once, from step {step(at)}"
            lines.append(
                f"{f.label}: {f.n_found} of {f.n} tested series have a transition, {most}; up to {fdr:.0%} of those found "
                "are expected to be wrong."
            )
        else:
            lines.append(f"{f.label}: none of {f.n} tested series has a transition.")
    return lines


def positions_figure(answer: TransitionsPerPosition, *, x_scale: str) -> go.Figure:
    """A stepped line a run: the share of its positions that are at the level by a step."""
    rows = answer.table.to_pylist()
    runs = list(dict.fromkeys(r["run"] for r in rows))[:MOST_LINES]
    steps = [float(v) for r in rows for v in (r["reached"], r["last"]) if v is not None]
    axis = StepAxis.of(np.array(steps or [1.0]), x_scale)
    figure = go.Figure()
    for k, (run, label) in enumerate(zip(runs, distinguish(runs, 30), strict=True)):
        mine = [r for r in rows if r["run"] == run]
        x, y = _arrivals(mine)
        stroke = STROKES[k % len(STROKES)]
        figure.add_scatter(
            x=axis.place(x),
            y=y,
            mode="lines",
            line={"color": stroke.colour, "dash": stroke.dash, "width": 1.8, "shape": "hv"},
            name=escape_plotly(label),
            hovertemplate=f"<b>{fold(run)}</b><br>%{{y:.0%}} by step %{{x:,}}<extra></extra>",
        )
    return _finished(figure, axis, "positions there", len(runs))


def _arrivals(rows: Sequence[Mapping[str, Any]]) -> tuple[Floats, Floats]:
    """Steps and the share of positions there by then, to the last step."""
    known = [r for r in rows if r["kind"] != "no data"]
    times = np.sort([float(r["reached"]) for r in known if r["reached"] is not None and r["kind"] != "never"])
    last = max((float(r["last"]) for r in known), default=1.0)
    x = np.append(times, last)
    y = np.append(np.arange(1, len(times) + 1), len(times)) / max(len(known), 1)
    return x, y


def _finished(figure: go.Figure, axis: StepAxis, title: str, n_lines: int) -> go.Figure:
    legend = 24 * (1 + n_lines // 3)
    return figure.update_layout(
        height=PIXELS + legend,
        margin={"l": 70, "t": 12, "b": 52 + legend, "r": 16},
        separators=SEPARATORS,
        hovermode="closest",
        showlegend=True,
        legend={"orientation": "h", "x": 0, "y": -0.2, "yanchor": "top"},
        xaxis=axis.layout(),
        yaxis={
            "title": {"text": title, "standoff": 12},
            "tickformat": ".0%",
            "range": [0, 1.02],
            **LINE,
            **GRID,
        },
        annotations=axis.mark(),
    )
