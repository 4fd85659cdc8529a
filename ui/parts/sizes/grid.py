"""What each size can do: kinds of token by size, tasks of prompts by size, and the way to benchmarks."""

from dataclasses import replace

import streamlit as st

from archive.errors import NotComparable, UsageError
from queries.reading.select import select_runs
from queries.task_scores import METRICS, TaskScores, task_scores
from ui.menu import CAMERA_ONLY, share, under
from ui.models.address import page_address, permalink
from ui.models.copies import in_python
from ui.models.grokking.progress import sorted_limits
from ui.models.sizes.grid import SizeGrid, category_grid, task_grid
from ui.models.sizes.grid_figure import grid_figure, grid_in_words, grid_key, grid_notes
from ui.models.sizes.page import (
    group_names,
    has_rows,
    is_quick,
    seconds,
    selection_of,
    sizes_by_quantity,
    suspects,
)
from ui.models.text import count
from ui.parts.sizes.page import SizesPage
from ui.state import ask
from ui.widgets import CANNOT, here, say, to_fill, warn

FILL = "pathscope ingest STUDY.toml --fill token_loss --fill task_accuracy"
FINE = (
    "Intervals (on hover) are Student t over the runs of a size: they say nothing of other texts.",
    "Colours compare sizes within a row; rows differ in how hard they are, so neighbours in a column are no ranking.",
    "The grid tests nothing: which differences hold is in the section above.",
)


def draw_grid(page: SizesPage) -> SizesPage:
    """The section, and the page with what was chosen in it."""
    st.subheader("Capability by size", anchor=False)
    page, drawn = _categories(page)
    if ask(page.archive, sizes_by_quantity, sizes=page.alike, tables=("fact_item",)):
        page, more = _tasks(page)
        drawn = drawn or more
    if ask(page.archive, has_rows, table="fact_benchmark"):
        link = permalink(page_address(here(), "benchmarks"), page.runs)
        st.markdown(
            f"Benchmarks by model, from small to large, and which small models beat larger ones beyond chance: "
            f"[the Benchmarks page]({link})."
        )
    elif not drawn:
        to_fill("Nothing here says what each size can do: no losses of tokens, no tasks of prompts.", FILL)
    return page


def _categories(page: SizesPage) -> tuple[SizesPage, bool]:
    sizes = tuple(size for size in page.alike if page.losses.of(size, page.choices.eval_set))
    if page.known is None or not sizes:
        return page, False
    n = page.n_losses(*sizes)
    if not is_quick(n):
        every = st.toggle(
            f"Read the {count(n)} losses of all sizes (about {seconds(n)} s)",
            key="grid_losses",
            bind="query-params",
            persist_state="page",
        )
        page = replace(page, choices=replace(page.choices, grid_losses=every))
        if not every:
            return page, True
    try:
        found = ask(
            page.archive,
            category_grid,
            runs=selection_of(sizes, excluded=page.runs.excluded),
            sizes=sizes,
            step=page.step,
            which=page.which,
        )
    except (NotComparable, UsageError) as error:
        warn(error)
        return page, True
    _figure(page, found, "the loss by kind of token", "kinds_by_size")
    return page, True


def _tasks(page: SizesPage) -> tuple[SizesPage, bool]:
    """Scores of tasks of prompts at the last checkpoint of every run."""
    sizes = page.alike
    try:
        found: TaskScores = ask(
            page.archive,
            task_scores,
            runs=selection_of(sizes, excluded=page.runs.excluded),
            steps=page.step,
            **suspects({}, suspect=page.runs.suspect),
        )
    except (NotComparable, UsageError) as error:
        warn(error)
        return page, True
    rows = found.summary.to_pylist() if found.summary is not None else []
    metrics = [m for m in METRICS if any(r["metric"] == m for r in rows)]
    if not metrics:
        return page, False
    first = "accuracy" if "accuracy" in metrics else metrics[0]
    metric = first
    if len(metrics) > 1:
        metric = st.segmented_control(
            "Tasks of prompts: score",
            metrics,
            default=first,
            key="task_metric",
            bind="query-params",
            persist_state="page",
            required=True,
        )
    page = replace(page, choices=replace(page.choices, task_metric=metric))
    selected = ask(page.archive, select_runs, selection_of(sizes, excluded=page.runs.excluded))
    unit = "logits" if metric == "logit_diff" else ""
    grid = task_grid(found, group_names(selected, sizes), sizes, metric, unit)
    _figure(page, grid, f"{metric} of tasks", "tasks_by_size", python=found.python)
    return page, True


def _figure(page: SizesPage, found: SizeGrid, what: str, key: str, *, python: str = "") -> None:
    st.plotly_chart(
        grid_figure(found),
        key=key,
        config=CAMERA_ONLY,
        alt=grid_in_words(found, what),
    )
    with under(grid_key(found)):
        share(
            link=page.link,
            python=python or in_python(page.archive, found.sql),
            sql=found.sql,
            csv=lambda: found.table,
            name=key,
        )
    missing, fine = sorted_limits(found.limits)
    say([*grid_notes(found), *missing], [*FINE, *fine], CANNOT)
