"""Curves of the chosen tasks, and models by tasks at a checkpoint."""

import streamlit as st

from archive.errors import NotComparable, UsageError
from queries.benchmark_curves import benchmark_curves
from ui.menu import CAMERA_ONLY, PLOTLY, share, share_answer, under
from ui.models.benchmarks.grid import (
    grid,
    grid_figure,
    grid_in_words,
    grid_notes,
    grid_rows,
    whose_steps,
)
from ui.models.benchmarks.lines import (
    LINES,
    Line,
    hidden_values,
    lines,
    lines_figure,
    lines_in_words,
    lines_notes,
)
from ui.models.copies import in_python
from ui.models.grokking.progress import sorted_limits
from ui.models.text import plural
from ui.parts.benchmarks.page import BenchmarkPage
from ui.state import ask
from ui.widgets import CANNOT, say, warn


def draw_curves(page: BenchmarkPage) -> None:
    """A panel a task, a line a model or a condition."""
    if not page.choices.task:
        st.caption("Choose at least one task.")
        return
    try:
        answer = ask(
            page.archive,
            benchmark_curves,
            runs=page.runs.selection,
            task=page.choices.task,
            metric=page.known.metric,
            shots=page.known.n_shots,
            series=page.known.series_asked,
            **page.which,
        )
    except (NotComparable, UsageError) as error:
        warn(error)
        return
    panels = {
        task: lines(
            answer, task, by=page.choices.lines, direction=page.known.direction, order=page.models.names
        )
        for task in page.choices.task
    }
    title = page.known.metric + (f" [{page.known.unit}]" if page.known.unit else "")
    st.plotly_chart(
        lines_figure(panels, x_scale=page.choices.x_scale, y_scale=page.choices.y_scale, title=title),
        key="curves",
        config=PLOTLY,
        alt=lines_in_words(panels, page.known.label),
    )
    with under(f"{_key(page, panels)} {answer.sentence}"):
        share_answer(answer, link=page.link, name="benchmark_curves")
    missing, fine = sorted_limits(answer.limits)
    if page.choices.y_scale == "log" and (n := hidden_values(panels)):
        missing.insert(0, f"{plural(n, 'value')} at or below 0: they have no place on a log axis.")
    say([*lines_notes(panels), *missing], fine, CANNOT)


def _key(page: BenchmarkPage, panels: dict[str, list[Line]]) -> str:
    bars = "Bars: ± one standard error over the task's items."
    if page.choices.lines == LINES[1]:
        bars = "Bars: 95% interval over the runs of a condition, with the number of runs in the legend; over items for one run."
    best = "" if page.known.direction == "neither" else " ☆ best,"
    n = max((len(drawn) for drawn in panels.values()), default=0)
    return f"{plural(n, 'line')};{best} ■ last checkpoint. {bars}"


def draw_grid(page: BenchmarkPage) -> None:
    """Every task and model at one checkpoint."""
    choices = page.choices
    try:
        read = ask(
            page.archive,
            grid_rows,
            selection=page.runs.selection,
            known=page.known,
            step=choices.step,
            suspect=page.runs.suspect,
        )
    except (NotComparable, UsageError) as error:
        warn(error)
        return
    found = grid(read.finite, page.models, like=choices.like, order=choices.order)
    if not found.tasks:
        st.caption("No task with these words in its name has a result there.")
        return
    st.plotly_chart(
        grid_figure(found, page.known, colours=choices.colours),
        key="grid_of_tasks",
        config=CAMERA_ONLY,
        alt=grid_in_words(found, page.known, choices.step),
    )
    with under(f"{whose_steps(found)} {plural(found.n_tasks, 'task')} by {plural(found.n_models, 'model')}."):
        share(
            link=page.link,
            python=in_python(page.archive, read.sql),
            sql=read.sql,
            csv=lambda: read.table.drop_columns(["run_id"]),
            name="benchmarks",
        )
    fine = [
        "Tasks have different chance levels: a value says little across tasks, and neighbours in a column are no ranking.",
        "Standard errors (on hover) are over items; small differences between models of one task are often within them.",
    ]
    missing, more = sorted_limits(read.limits)
    say([*grid_notes(found), *missing], [*fine, *more], CANNOT)
