"""The open problems by section: counts by state, filters, and a row to choose one."""

from collections.abc import Sequence

import streamlit as st

from queries.problems.states import ProblemState
from ui.models.questions.page import BRIEF, MARKS, Section, counts, matching, sections
from ui.models.text import plural


def choose(number: str) -> None:
    """Open a problem, or none; what was asked of another is not asked of this one."""
    st.session_state["problem"] = number or None
    st.session_state["ask"] = False


def draw_counts(states: Sequence[ProblemState]) -> None:
    """A tile a state, with how many problems are in it."""
    with st.container(horizontal=True, gap="small", key="states"):
        for state, n in counts(states):
            st.metric(
                f"{MARKS[state]} {BRIEF[state]}",
                n,
                border=True,
                width=188,
            )


def draw_list(states: Sequence[ProblemState], *, state: Sequence[str], like: str) -> None:
    """A table a section with the problems that were not filtered out."""
    found = matching(states, state=state, like=like)
    if not found:
        st.info("No problem is in one of these states and has all of these words: change the filters above.")
        return
    st.caption(
        f"{len(found)} of {plural(len(states), 'problem')}. A row opens one. “Answered here” says that the question can be "
        "asked of runs in this archive, not that the answer is yes."
    )
    for k, section in enumerate(sections(found)):
        _section(section, k)


def _section(section: Section, k: int) -> None:
    st.subheader(section.title, anchor=False)
    key = f"section-{k}"

    def take() -> None:
        rows = st.session_state[key].selection.rows
        if rows:
            choose(section.numbers[rows[0]])

    text = st.column_config.TextColumn
    st.dataframe(
        section.table,
        key=key,
        hide_index=True,
        height="content",
        on_select=take,
        selection_mode="single-row",
        alt=f"Open problems of the section {section.title}: number, title, state, how many of its questions can be asked",
        column_config={
            "number": text("No.", width=55, pinned=True),
            "state": text("State", width=160),
            "title": text("Problem", width=490),
            "answers": text("Can be asked", width=110, help="How many of its questions, of how many runs"),
        },
    )
