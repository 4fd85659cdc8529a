"""What a source measured as a grid: a row a measure, a column a run."""

import numpy as np
import plotly.graph_objects as go
import pyarrow as pa

from queries.reading.tables import counting
from ui.models.axes import NO_GRID
from ui.models.palette import HUES, MUTED, see_through
from ui.models.text import count, distinguish, escape_plotly, fold, plural, shorten

MOST_MEASURES, MOST_RUNS = 40, 200
MOST_NAMED = 30  # more names than these cannot be read under an axis
ROW_PIXELS, AROUND_PIXELS, NAME_PIXELS = 22, 56, 6
_NOTHING = see_through(MUTED, 0.14)


def grid_figure(grid: pa.Table) -> go.Figure:
    """A cell a measure and run, the fuller the more results it has, next to the run of that measure with most; pale = none.

    grid: as `source_grid` gives it. The first `MOST_MEASURES` measures and `MOST_RUNS` runs; `grid_notes` says so.
    """
    measures, runs = _names(grid)
    rows = {name: i for i, name in enumerate(measures[:MOST_MEASURES])}
    columns = {name: j for j, name in enumerate(runs[:MOST_RUNS])}
    shape = (len(rows), len(columns))
    n_numbers = np.zeros(shape)
    told = np.full(shape, "", dtype=object)
    for row in grid.to_pylist():
        if row["measure"] in rows and row["run"] in columns:
            at = rows[row["measure"]], columns[row["run"]]
            n_numbers[at] = row["n_numbers"]
            told[at] = _told(row)
    for i, measure in enumerate(rows):
        for j, run in enumerate(columns):
            told[i, j] = f"<b>{fold(measure)}</b><br>{fold(run)}<br>{told[i, j] or 'none'}"
    largest = np.maximum(n_numbers.max(axis=1, keepdims=True, initial=0), 1)
    figure = go.Figure()
    figure.add_heatmap(
        z=np.where(n_numbers > 0, 0.3 + 0.7 * n_numbers / largest, 0),
        zmin=0,
        zmax=1,
        colorscale=[[0, _NOTHING], [0.001, see_through(HUES[0], 0.2)], [1, see_through(HUES[0], 0.85)]],
        showscale=False,
        xgap=1 if len(columns) <= MOST_NAMED * 2 else 0,
        ygap=2,
        hovertext=told,
        hoverinfo="text",
    )
    named = len(columns) <= MOST_NAMED
    labels = distinguish(list(columns), 22) if named and columns else []
    below = NAME_PIXELS * max((len(label) for label in labels), default=0) if named else 0
    figure.update_layout(
        height=AROUND_PIXELS + ROW_PIXELS * max(len(rows), 1) + below,
        margin={"l": 8, "r": 16, "t": 8, "b": 48 + below if named else 44},
        xaxis={
            "tickvals": list(range(len(labels))),
            "ticktext": [escape_plotly(label) for label in labels],
            "tickangle": -60 if below > 60 else 0,
            "title": {"text": "run" if named else f"{len(columns)} runs, by name: hover for a name"},
            "range": [-0.5, max(len(columns), 1) - 0.5],
            "zeroline": False,
            "fixedrange": True,
            **NO_GRID,
        },
        yaxis={
            "tickvals": list(range(len(rows))),
            "ticktext": [escape_plotly(shorten(name, 44)) + "  " for name in rows],
            "autorange": "reversed",
            "zeroline": False,
            "fixedrange": True,
            "automargin": True,
            **NO_GRID,
        },
        showlegend=False,
    )
    return figure


def grid_in_words(grid: pa.Table, source: str) -> str:
    """The figure as a sentence, for those who do not see it."""
    measures, runs = _names(grid)
    whole = grid.num_rows == len(measures) * len(runs)
    gaps = (
        "every run has every measure"
        if whole
        else f"{grid.num_rows} of {len(measures) * len(runs)} cells have results"
    )
    shape = f"{plural(len(measures), 'measure')} by {plural(len(runs), 'run')}"
    return f"Grid of what {shorten(source, 60)} measured: {shape}; {gaps}."


def grid_notes(grid: pa.Table) -> list[str]:
    """What is not in the picture."""
    measures, runs = _names(grid)
    lines = []
    if len(measures) > MOST_MEASURES:
        lines.append(
            f"The first {MOST_MEASURES} of {len(measures)} measures are drawn; the CSV has all of them."
        )
    if len(runs) > MOST_RUNS:
        lines.append(f"The first {MOST_RUNS} of {count(len(runs))} runs are drawn; the CSV has all of them.")
    return lines


def _names(grid: pa.Table) -> tuple[list[str], list[str]]:
    measures, runs = (set(grid[column].to_pylist()) for column in ("measure", "run"))
    return sorted(measures), sorted(runs, key=counting)


def _told(row: dict[str, int]) -> str:
    where = plural(row["n_steps"], "step") if row["n_steps"] else "training log"
    return f"{plural(row['n_numbers'], 'row')}, {where}"
