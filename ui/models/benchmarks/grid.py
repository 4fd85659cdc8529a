"""Models × tasks at one checkpoint as a heat map: values, or how far each lies from the mean of its task."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
import plotly.graph_objects as go
import pyarrow as pa
from numpy.typing import NDArray

from archive.store import Archive
from queries.reading.benchmarks import Benchmarks, read_benchmarks
from queries.reading.quantities import Which
from queries.reading.select import RunSelection, select_runs
from ui.models.axes import NO_GRID, decades
from ui.models.benchmarks.page import FINAL, BenchmarkSet, Models
from ui.models.palette import HUES, see_through
from ui.models.text import distinguish, escape_plotly, fold, number, plural, shorten

Floats = NDArray[np.float64]

COLOURS = ("value", "against the task's mean")
ORDERS = ("largest spread first", "by name")
MOST_TASKS, MOST_MODELS = 40, 30
MOST_NUMBERED = 20  # columns whose cells are wide enough for a number
ROW_PIXELS, AROUND_PIXELS, NAME_PIXELS = 21, 60, 6
FULL = 0.7  # words must stay readable on the fullest cell, on light and dark ground


@dataclass(frozen=True)
class Grid:
    """Values of tasks (rows) and models (columns, from small to large); NaN where there is none.

    steps: of each value, 0 where there is none. n_tasks, n_models: before anything was cut.
    """

    tasks: tuple[str, ...]
    models: tuple[str, ...]
    values: Floats
    ses: Floats
    steps: NDArray[np.int64]
    n_tasks: int
    n_models: int

    @property
    def centred(self) -> Floats:
        """Each value less the mean of its task over the models that have it; NaN where fewer than two have."""
        n = np.isfinite(self.values).sum(axis=1, keepdims=True)
        mean = np.where(n > 1, np.nansum(self.values, axis=1, keepdims=True) / np.maximum(n, 1), np.nan)
        found: Floats = self.values - mean
        return found


def grid_rows(
    archive: Archive, *, selection: RunSelection, known: BenchmarkSet, step: str, suspect: bool
) -> Benchmarks:
    """Every task of a set at one step (a number as text, or `final`); raises what `read_benchmarks` does."""
    which = Which(**known.which, with_suspect=True) if suspect else known.which
    at: int | Literal["final"] = "final" if step == FINAL else int(step)
    return read_benchmarks(
        archive,
        select_runs(archive, selection),
        known.every_task,
        known.metric,
        which,
        shots=known.n_shots,
        series=known.series_asked,
        at=at,
    )


def grid(rows: pa.Table, models: Models, *, like: str, order: str) -> Grid:
    """The rows as a matrix. like: a part of the names of the tasks that are wanted, whatever its case."""
    tasks = [t for t in sorted(set(rows["task"].to_pylist())) if like.lower() in t.lower()]
    at_task, at_model = ({name: k for k, name in enumerate(names)} for names in (tasks, models.names))
    shape = (len(tasks), len(models.names))
    values, ses, steps = np.full(shape, np.nan), np.full(shape, np.nan), np.zeros(shape, np.int64)
    for row in rows.to_pylist():
        if row["task"] in at_task and row["run"] in at_model and row["value"] is not None:
            at = at_task[row["task"]], at_model[row["run"]]
            values[at], steps[at] = row["value"], row["step"]
            ses[at] = np.nan if row["se"] is None else row["se"]
    there = np.flatnonzero(np.isfinite(values).any(axis=1))
    if order == ORDERS[0] and len(there):
        spread = np.nanmax(values[there], axis=1) - np.nanmin(values[there], axis=1)
        there = there[np.argsort(-spread, kind="stable")]
    kept = there[:MOST_TASKS]
    return Grid(
        tasks=tuple(tasks[i] for i in kept),
        models=models.names[:MOST_MODELS],
        values=values[kept, :MOST_MODELS],
        ses=ses[kept, :MOST_MODELS],
        steps=steps[kept, :MOST_MODELS],
        n_tasks=len(there),
        n_models=len(models.names),
    )


def grid_figure(found: Grid, known: BenchmarkSet, *, colours: str) -> go.Figure:
    """A cell a task and model, with its value; hover for the standard error and the step."""
    centred = colours == COLOURS[1]
    low, high, z, scale, title = _colours(found, known, centred=centred)
    labels = distinguish(found.models, 32) if found.models else []
    below = NAME_PIXELS * max((len(label) for label in labels), default=0)
    written = len(found.models) <= MOST_NUMBERED
    shown = found.centred if centred else found.values
    texts = [[_short(v, signed=centred) for v in row] for row in shown]
    figure = go.Figure()
    figure.add_heatmap(
        z=z,
        zmin=low,
        zmax=high,
        colorscale=scale,
        xgap=2,
        ygap=2,
        hovertext=[[_told(found, i, j) for j in range(len(found.models))] for i in range(len(found.tasks))],
        hoverinfo="text",
        hoverongaps=False,
        text=texts if written else None,
        texttemplate="%{text}" if written else None,
        textfont={"size": 11},
        # a bar as low as a few rows has no room for its numbers
        showscale=len(found.tasks) >= 6,
        colorbar={
            "title": {"text": escape_plotly(title), "side": "right", "font": {"size": 11}},
            "thickness": 9,
            "outlinewidth": 0,
            "tickfont": {"size": 10},
            "nticks": 5,
            "ypad": 0,
        },
    )
    figure.update_layout(
        height=AROUND_PIXELS + ROW_PIXELS * max(len(found.tasks), 1) + below,
        margin={"l": 8, "r": 8, "t": 8, "b": 44 + below},
        xaxis={
            "tickvals": list(range(len(labels))),
            "ticktext": [escape_plotly(label) for label in labels],
            "tickangle": -60,
            "title": {"text": "model, from small to large"},
            "range": [-0.5, max(len(labels), 1) - 0.5],
            "zeroline": False,
            "fixedrange": True,
            **NO_GRID,
        },
        yaxis={
            "tickvals": list(range(len(found.tasks))),
            "ticktext": [escape_plotly(shorten(task, 34)) + "  " for task in found.tasks],
            "autorange": "reversed",
            "zeroline": False,
            "fixedrange": True,
            "automargin": True,
            **NO_GRID,
        },
        showlegend=False,
    )
    return figure


def grid_in_words(found: Grid, known: BenchmarkSet, step: str) -> str:
    """The figure as a sentence, for those who do not see it."""
    where = "each model's last checkpoint" if step == FINAL else f"step {int(step):,}"
    start = f"Grid of {known.label} of {plural(len(found.tasks), 'task')} by {plural(len(found.models), 'model')} at {where}"
    if not np.isfinite(found.values).any():
        return f"{start}: no value is finite."
    i, j = np.unravel_index(np.nanargmax(found.values), found.values.shape)
    largest = f"{shorten(found.models[j], 40)} on {shorten(found.tasks[i], 40)}, {number(float(found.values[i, j]))}"
    return f"{start}. Largest: {largest}."


def grid_notes(found: Grid) -> list[str]:
    """What is not in the picture."""
    notes = []
    if found.n_tasks > len(found.tasks):
        notes.append(
            f"{len(found.tasks)} of {found.n_tasks} tasks are drawn; say which by a part of their names. The CSV has all."
        )
    if found.n_models > len(found.models):
        notes.append(
            f"{len(found.models)} of {found.n_models} models are drawn; choose others in the sidebar. The CSV has all."
        )
    absent = int((~np.isfinite(found.values)).all(axis=0).sum())
    if absent:
        notes.append(f"{absent} of {plural(len(found.models), 'model')} have no result there.")
    return notes


def whose_steps(found: Grid) -> str:
    """At which steps the models are, in words."""
    known = np.isfinite(found.values)
    if not known.any():
        return "No model has a result there."
    last = np.where(known, found.steps, 0).max(axis=0)[known.any(axis=0)]
    if len(set(last.tolist())) == 1:
        return f"Step {last[0]:,}."
    counted = [f"{step:,} ({int((last == step).sum())})" for step in np.unique(last).tolist()]
    return f"Each model's last step (number of models): {', '.join(counted[:8])}{', …' if len(counted) > 8 else ''}."


def _colours(
    found: Grid, known: BenchmarkSet, *, centred: bool
) -> tuple[float, float, Floats, Sequence[Sequence[object]], str]:
    """(low, high, z, scale, title): from nothing to full colour, so that it reads on light and dark ground."""
    up = [see_through(HUES[0], FULL * share) for share in (0.0, 0.5, 1.0)]
    if centred:
        z = found.centred
        top = float(np.nanmax(np.abs(z))) if np.isfinite(z).any() else 0.0
        down = [see_through(HUES[1], FULL * share) for share in (1.0, 0.5, 0.0)]
        both = list(zip((0.0, 0.25, 0.5, 0.5, 0.75, 1.0), [*down, *up], strict=True))
        return -(top or 1.0), top or 1.0, z, both, f"{known.metric} less the task's mean"
    scale = list(zip((0.0, 0.5, 1.0), up, strict=True))
    finite = found.values[np.isfinite(found.values)]
    if known.bounds == (0.0, 1.0) or not len(finite):
        return 0.0, 1.0, found.values, scale, known.metric
    if finite.min() > 0 and decades(finite) > 2:
        with np.errstate(invalid="ignore"):
            logs = np.log10(found.values)
        return float(np.nanmin(logs)), float(np.nanmax(logs)), logs, scale, f"log₁₀ {known.metric}"
    return float(finite.min()), float(finite.max()), found.values, scale, known.metric


def _told(found: Grid, i: int, j: int) -> str:
    value, se, step = float(found.values[i, j]), float(found.ses[i, j]), int(found.steps[i, j])
    words = f"<b>{fold(found.tasks[i])}</b><br>{fold(found.models[j])}"
    if not np.isfinite(value):
        return f"{words}<br>no value"
    words += f", step {step:,}<br>{number(value)}" + (
        f" ± {se:.2g}" if np.isfinite(se) else ", no standard error"
    )
    n = int(np.isfinite(found.values[i]).sum())
    if n > 1:
        words += f"<br>{_short(float(found.centred[i, j]), signed=True)} from the mean of {n} models"
    return words


def _short(value: float, *, signed: bool = False) -> str:
    """Two decimals, fewer for large numbers; nothing where there is none."""
    if not np.isfinite(value):
        return ""
    words = f"{value:+.2f}" if signed else f"{value:.2f}"
    if abs(value) >= 100:
        words = f"{value:+.3g}" if signed else f"{value:.3g}"
    return words.replace("-", "−")
