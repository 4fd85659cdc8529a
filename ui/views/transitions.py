"""Transitions: when does it form, how suddenly, and would smooth curves with the same noise look like that."""

from collections.abc import Sequence

import streamlit as st
from streamlit.delta_generator import DeltaGenerator

from archive.errors import NotComparable, UsageError
from archive.store import Archive
from queries.phase_transitions import PhaseTransitions, phase_transitions
from ui.models.series import RunChoice, run_names
from ui.models.transitions.groups import groups_in_short
from ui.models.transitions.measures import Kind, chosen_of, kinds
from ui.models.transitions.page import (
    RunsUsed,
    TransitionChoices,
    asked_of,
    runs_used,
)
from ui.models.transitions.table import Row, joined
from ui.parts.transitions.changes import draw_series, draw_table, series_of, tested_of
from ui.parts.transitions.page import TransitionsPage
from ui.parts.transitions.pickers import (
    Reached,
    what_counts,
    what_together,
    whether_to_test,
    which_events,
    which_measures,
    which_series,
)
from ui.parts.transitions.together import (
    draw_circuits,
    draw_positions,
    draw_series_together,
    draw_tokens,
)
from ui.parts.transitions.when import draw_events, draw_times
from ui.pickers import run_pickers
from ui.state import ask, show
from ui.view import view
from ui.widgets import empty_archive, guarded, headline, to_fill, warn

SECTIONS = ("Detected changes", "One series", "When", "What changes together", "Order, lead and lag")


@view(title="Transitions", order=12, section="Training", icon=":material/moving:", url_path="transitions")
def render(archive: Archive) -> None:
    """When does it form, and is it a phase transition: onsets, widths, a test against smooth curves, times by run."""
    known = ask(archive, run_names)
    headline("Transitions")
    if not known:
        empty_archive(archive)
        return
    with st.sidebar:
        runs = run_pickers(known)
    there = ask(archive, kinds)
    if not there:
        to_fill(
            "Nothing of these runs was measured over training yet:", "pathscope ingest STUDY.toml --fill loss"
        )
        return
    try:
        used = ask(archive, runs_used, selection=runs.selection)
    except (NotComparable, UsageError) as error:
        warn(error)
        return
    _page(archive, runs, used, there)


def _page(archive: Archive, runs: RunChoice, used: RunsUsed, there: list[Kind]) -> None:
    """The controls of all sections come first, so that the link of each has the choices of all."""
    boxes = []
    for title in SECTIONS:
        boxes.append(st.container())
        boxes[-1].subheader(title, anchor=False)
    with boxes[0], st.container(horizontal=True, vertical_alignment="bottom", gap="small"):
        labels, parts = which_measures(there)
        chosen = chosen_of(there, labels)
        described, refusals = _described(archive, runs, used, chosen, parts)
        test = whether_to_test(described)
    rows = joined(described, {})
    runs_here, by_run = series_of(rows)
    focus, series, x_scale, y_scale = "", "", "log", "linear"
    if rows:
        with boxes[1]:
            focus, series, x_scale, y_scale = which_series(runs_here, by_run)
    with boxes[2]:
        reached = what_counts(archive, runs, used, there, chosen)
    with boxes[3]:
        circuits_of, position_level, position_order, tokens, n_token_runs = what_together(archive, used)
    with boxes[4]:
        events = which_events(there, reached)
    choices = TransitionChoices(
        measure=tuple(labels),
        parts=parts,
        test=test,
        focus=focus,
        series=series,
        x_scale=x_scale,
        y_scale=y_scale,
        event_of=reached.event.label if reached.event else "",
        event_part=reached.part,
        level=reached.level,
        rule=reached.rule,
        group_by=reached.group_by,
        compare=reached.compare,
        circuits_of=circuits_of,
        position_level=position_level,
        position_order=position_order,
        tokens=tokens,
        events=events,
    )
    short = ask(archive, groups_in_short, selection=used.selection)
    page = TransitionsPage(archive, runs, used, tuple(there), tuple(chosen), described, choices, short)
    with boxes[0]:
        for refusal in refusals:
            warn(refusal)
        if not rows and not refusals:
            st.caption("Choose at least one measure.")
    _draw(page, boxes, rows, reached, n_token_runs)


def _draw(
    page: TransitionsPage,
    boxes: Sequence[DeltaGenerator],
    rows: list[Row],
    reached: Reached,
    n_token_runs: int,
) -> None:
    """Every section into its box. rows: of what is described, before any test."""
    tested: dict[str, PhaseTransitions] = {}
    with boxes[0]:
        if rows:
            tested = tested_of(page) if page.choices.test else {}
            rows = joined(page.described, tested)
            draw_table(page, rows, tested)
    with boxes[1]:
        if rows:
            draw_series(page, rows)
        else:
            st.caption("No series was chosen.")
    with boxes[2]:
        event = reached.event
        if event is None or reached.level is None:
            st.caption("No scalar with a finite value is there to reach a level.")
        else:
            guarded(lambda: draw_times(page, event, direction="up" if reached.rises else "down"))
    with boxes[3]:
        draw_series_together(page, rows, tested)
        draw_circuits(page)
        draw_positions(page)
        _tokens(page, n_token_runs)
    with boxes[4]:
        draw_events(page)


def _tokens(page: TransitionsPage, n_runs: int) -> None:
    """Single tokens, where that is asked for. n_runs: how many runs have the losses of single tokens."""
    st.markdown("**Single tokens**")
    if page.choices.tokens and n_runs:
        draw_tokens(page)
    elif n_runs:
        st.caption("The switch above tests 1,000 tokens of each run against smooth curves with like noise.")
    else:
        to_fill(
            "Whether a smooth loss is made of many sharp steps needs the loss of single tokens:",
            "pathscope ingest STUDY.toml --fill token_loss",
        )


def _described(
    archive: Archive, runs: RunChoice, used: RunsUsed, chosen: list[Kind], parts: str
) -> tuple[dict[str, PhaseTransitions], list[Exception]]:
    """What is described of each measure, by its label; and what was refused."""
    described: dict[str, PhaseTransitions] = {}
    refusals: list[Exception] = []
    for kind in chosen:
        asked = asked_of(kind, used, parts=parts, suspect=runs.suspect, describe_only=True, pair=False)
        try:
            described[kind.label] = ask(archive, phase_transitions, **asked)
        except (NotComparable, UsageError) as error:
            refusals.append(error)
    return described, refusals


if __name__ == "__main__":
    show(render)
