"""Benchmarks: model × task × step, small models that beat large ones, and results that decline late in training."""

import shlex

import streamlit as st

from archive.errors import NotComparable, UsageError
from archive.store import Archive
from ui.models.benchmarks.grid import COLOURS, ORDERS
from ui.models.benchmarks.lines import LINES, Y_SCALES
from ui.models.benchmarks.page import (
    FINAL,
    FIRST_METRIC,
    MAIN,
    MOST_COMPARISONS,
    MOST_TASKS,
    BenchmarkChoices,
    BenchmarkSet,
    Models,
    benchmark_sets,
    models,
    n_comparisons,
    opening_tasks,
    options,
    steps_of,
)
from ui.models.benchmarks.tables import CORRECTIONS
from ui.models.series import RunChoice, run_names
from ui.models.text import count
from ui.parts.benchmarks.page import BenchmarkPage
from ui.parts.benchmarks.sections import draw_curves, draw_grid
from ui.parts.benchmarks.tables import draw_beaten, draw_declines
from ui.pickers import run_pickers, scale_picker
from ui.state import ask, show
from ui.view import view
from ui.widgets import headline, to_fill, warn

SECTIONS = ("Over training", "Models × tasks", "Small beats large", "Late declines")


@view(title="Benchmarks", order=26, section="Runs", icon=":material/leaderboard:", url_path="benchmarks")
def render(archive: Archive) -> None:
    """Benchmark results by model, task and step: curves, a heat map, small beats large, late declines."""
    headline("Benchmarks")
    sets = ask(archive, benchmark_sets)
    if not sets:
        to_fill(
            "No benchmark result is in this archive yet. Point it at published ones, such as those of lm-evaluation-harness:",
            f"pathscope import auto PATH --archive {shlex.quote(str(archive.layout.database))}",
        )
        return
    known = ask(archive, run_names)
    with st.sidebar:
        runs = run_pickers(known)
    chosen = _which(sets)
    try:
        found = ask(archive, models, selection=runs.selection, quantity_ids=chosen.quantity_ids)
    except (NotComparable, UsageError) as error:
        warn(error)
        return
    if not found.names:
        st.info(f"None of the runs asked for has {chosen.label}: choose others in the sidebar.")
        return
    _sections(archive, runs, chosen, found)


def _sections(archive: Archive, runs: RunChoice, chosen: BenchmarkSet, found: Models) -> None:
    """The controls of all sections come first, so that the link of each has the choices of all."""
    boxes = []
    for title in SECTIONS:
        boxes.append(st.container())
        boxes[-1].subheader(title, anchor=False)
    with boxes[0]:
        tasks, by, x_scale, y_scale = _what(chosen)
    steps = ask(
        archive,
        steps_of,
        quantity_ids=chosen.quantity_ids,
        run_ids=found.run_ids,
        suspect=runs.suspect,
    )
    with boxes[1]:
        step, colours, order, like = _where(steps)
    n = n_comparisons(found, len(chosen.tasks))
    with boxes[2]:
        correction, compare_all = _how(n)
    choices = BenchmarkChoices(
        metric=chosen.metric,
        shots=chosen.shots,
        series=chosen.series,
        source=chosen.source,
        dtype=chosen.dtype,
        task=tasks,
        lines=by,
        x_scale=x_scale,
        y_scale=y_scale,
        step=step,
        colours=colours,
        order=order,
        like=like,
        correction=correction,
        compare_all=compare_all,
    )
    page = BenchmarkPage(archive, runs, chosen, found, choices)
    with boxes[0]:
        draw_curves(page)
    with boxes[1]:
        draw_grid(page)
    if compare_all or n <= MOST_COMPARISONS:
        with boxes[2]:
            draw_beaten(page)
    with boxes[3]:
        draw_declines(page)


def _which(sets: list[BenchmarkSet]) -> BenchmarkSet:
    """One set of results that may stand side by side; a choice is only offered where there is one."""
    with st.container(horizontal=True, vertical_alignment="bottom", gap="small"):
        metrics = options(sets, "metric", FIRST_METRIC)
        metric = st.selectbox("Metric", metrics, key="metric", bind="query-params", width=220)
        left = [s for s in sets if s.metric == metric]
        for field, label, first in (
            ("shots", "Shots", "0"),
            ("series", "Series", MAIN),
            ("source", "Source", ""),
            ("dtype", "Number type", ""),
        ):
            values = options(left, field, first)
            value = values[0]
            if len(values) > 1:
                value = st.selectbox(label, values, key=field, bind="query-params", width=160)
            left = [s for s in left if getattr(s, field) == value]
    return left[0]


def _what(chosen: BenchmarkSet) -> tuple[tuple[str, ...], str, str, str]:
    with st.container(horizontal=True, vertical_alignment="bottom", gap="small"):
        tasks = st.multiselect(
            "Tasks",
            chosen.tasks,
            default=opening_tasks(chosen),
            key="task",
            bind="query-params",
            max_selections=MOST_TASKS,
            placeholder=f"up to {MOST_TASKS}",
            width=460,
        )
        by = st.segmented_control(
            "One line per",
            LINES,
            default=LINES[0],
            key="lines",
            bind="query-params",
            required=True,
            help="A condition is everything but the seed: its line is the mean over its runs, with their number.",
        )
        x_scale = scale_picker("x axis", "x_scale", "linear")
        y_scale = st.segmented_control(
            "y axis",
            Y_SCALES,
            default=Y_SCALES[0],
            key="y_scale",
            bind="query-params",
            required=True,
            help="auto: log for a task whose values span more than two powers of ten, as perplexities do.",
        )
    return tuple(tasks), by, x_scale, y_scale


def _where(steps: list[int]) -> tuple[str, str, str, str]:
    with st.container(horizontal=True, vertical_alignment="bottom", gap="small"):
        colours = st.segmented_control(
            "Colours", COLOURS, default=COLOURS[0], key="colours", bind="query-params", required=True
        )
        order = st.segmented_control(
            "Tasks in order", ORDERS, default=ORDERS[0], key="order", bind="query-params", required=True
        )
        like = st.text_input(
            "Task contains", key="like", bind="query-params", width=220, placeholder="all", max_chars=100
        )
    if len(steps) < 2:
        return FINAL, colours, order, like
    # no format: the address has the words that are shown
    step = st.select_slider("Step", [*map(str, steps), FINAL], value=FINAL, key="step", bind="query-params")
    return step, colours, order, like


def _how(n: int) -> tuple[str, bool]:
    correction = st.segmented_control(
        "Correct for many comparisons by",
        CORRECTIONS,
        default=CORRECTIONS[0],
        key="correction",
        bind="query-params",
        required=True,
        help="holm: hardly ever a single wrong find. bh: q values, a few percent of the finds are expected to be wrong. The "
        "models are taken at the slider's step.",
    )
    if n <= MOST_COMPARISONS:
        return correction, False
    return correction, st.toggle(
        f"Make all of up to {count(n)} comparisons",
        key="compare_all",
        bind="query-params",
        help="So many take a while. Fewer runs, chosen in the sidebar, are compared at once.",
    )


if __name__ == "__main__":
    show(render)
