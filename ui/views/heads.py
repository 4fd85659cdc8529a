"""Heads: every attention head at a checkpoint, a finder, and one head over training in every run."""

import streamlit as st

from archive.store import Archive
from queries.head_score_history import HeadScoreHistory, head_score_history
from queries.head_scores import HeadScores, head_scores
from ui.models.component_sets import (
    ComponentSet,
    labels,
    measured_runs,
    measured_steps,
    named,
    which_of,
)
from ui.models.heads.page import CURVES, HeadChoices, best_head, first_label, head_names
from ui.models.series import RunChoice
from ui.models.suspects import at_step, suspects
from ui.models.text import escape_markdown
from ui.parts.component_page import component_page
from ui.parts.heads.attention import draw_attention
from ui.parts.heads.detail import draw_beside, draw_curves, known_head
from ui.parts.heads.finder import draw_finder, draw_grid
from ui.parts.heads.matches import draw_matches
from ui.parts.heads.page import TABLE, HeadsPage
from ui.pickers import pick_set, pick_step, scale_picker
from ui.state import ask, show
from ui.view import view

FILL = "pathscope ingest STUDY.toml --fill head.prefix_matching --fill head.previous_token"


@view(title="Heads", order=30, section="Inside", icon=":material/grid_view:", url_path="heads")
def render(archive: Archive) -> None:
    """Attention heads by layer at every checkpoint, a finder, and curves of one head in every run."""
    component_page(
        archive,
        title="Heads",
        table=TABLE,
        nothing="No attention head of these models has a score yet:",
        fill=FILL,
        page=_page,
    )


def _page(archive: Archive, runs: RunChoice, sets: list[ComponentSet]) -> None:
    with st.container(horizontal=True, vertical_alignment="bottom", gap="small"):
        chosen = _what(sets)
        measured = ask(archive, measured_runs, selection=runs.selection, known=chosen, table=TABLE)
        focus = st.selectbox(
            "Run",
            measured.runs,
            key="focus",
            bind="query-params",
            width=460,
            help="Whose heads are in the grid. A head's number names another head in every init.",
        )
    run = named(focus, excluded=runs.excluded)
    history = ask(
        archive,
        head_score_history,
        runs=run,
        measure=chosen.measure,
        top=1000,
        chosen_by="max",
        **which_of(chosen, suspect=runs.suspect),
    )
    steps = ask(archive, measured_steps, run=focus, known=chosen, table=TABLE, suspect=runs.suspect)
    box = st.container()
    with box:
        st.subheader("Layer × head", anchor=False)
        step = pick_step(steps, steps[-1])
    scores = ask(
        archive,
        head_scores,
        runs=run,
        measure=chosen.measure,
        step=step,
        **which_of(chosen, suspect=runs.suspect),
    )
    st.subheader("One head over training", anchor=False)
    head, curves, x_scale, y_scale = _which_head(history, scores)
    below, matched, looks = (st.container() for _ in range(3))
    st.subheader("Finder", anchor=False)
    choices = HeadChoices(
        measure=chosen.label,
        eval_set=chosen.eval_set,
        variant=chosen.rest,
        focus=focus,
        step=step,
        head=head,
        curves_of=curves,
        x_scale=x_scale,
        y_scale=y_scale,
    )
    page = HeadsPage(archive, runs, chosen, measured, choices)
    if runs.suspect:
        for line in at_step(ask(archive, suspects), (focus,), step):
            box.warning(escape_markdown(line))
    with below:
        found = known_head(page)
    with looks:
        page = draw_attention(page, found)
    with matched:
        page = draw_matches(page)
    page = draw_finder(page, scores, history)
    with box:
        draw_grid(page, scores, history)
    with below:
        draw_curves(page)
        if found is not None:
            draw_beside(page, found)


def _what(sets: list[ComponentSet]) -> ComponentSet:
    names = labels(sets)
    label = st.selectbox(
        "Measure",
        names,
        index=names.index(first_label(names)),
        key="measure",
        bind="query-params",
        width=260,
    )
    return pick_set(
        sets,
        label,
        help="Scores on different eval sets are different numbers; they are never drawn as if they were one.",
    )


def _which_head(history: HeadScoreHistory, scores: HeadScores) -> tuple[str, str, str, str]:
    best = best_head(history)
    with st.container(horizontal=True, vertical_alignment="bottom", gap="small"):
        head = st.selectbox(
            "Head",
            head_names(history, scores),
            index=None,
            key="head",
            bind="query-params",
            placeholder=f"{best} (highest at the end)",
            width=260,
            help="Or click a cell of the grid, or a row of the finder. Layers and heads count from 0.",
        )
        curves = st.segmented_control(
            "Draw",
            CURVES,
            default=CURVES[0],
            key="curves_of",
            bind="query-params",
            required=True,
            help="Runs of different inits number their heads differently: the best of each is then the better comparison.",
        )
        x_scale = scale_picker("x axis", "x_scale", "log")
        y_scale = scale_picker("y axis", "y_scale", "linear")
    return head or best, curves, x_scale, y_scale


if __name__ == "__main__":
    show(render)
