"""Questions: every open problem with what this archive can say about it, every query, every registered hypothesis."""

import streamlit as st

from archive.store import Archive
from queries.problems.states import ProblemState
from ui.models.address import permalink
from ui.models.questions.hypotheses import Registered, every_hypothesis
from ui.models.questions.page import BRIEF, LISTS, QuestionChoices, counts, every_problem, neighbours
from ui.models.questions.scales import SCALES
from ui.models.series import RunChoice, run_names
from ui.parts.questions.hypotheses import draw_hypotheses
from ui.parts.questions.listing import choose, draw_counts, draw_list
from ui.parts.questions.problem import ProblemPage, ask_controls, draw_problem, scale_controls
from ui.parts.questions.queries import draw_queries
from ui.pickers import run_pickers
from ui.state import ask, show
from ui.view import view
from ui.widgets import headline, here


@view(title="Questions", order=5, icon=":material/help_center:", url_path="questions")
def render(archive: Archive) -> None:
    """Every open problem: whether this archive answers it, the answer, or exactly what is missing."""
    headline("Questions", "Open problems of training dynamics, and what this archive can say about each.")
    states = ask(archive, every_problem)
    with st.sidebar:
        runs = run_pickers(ask(archive, run_names))
        st.caption("The runs that a problem is asked of; without a choice, the most that have what it reads.")
    shown = st.segmented_control(
        "List",
        LISTS,
        default=LISTS[0],
        key="list",
        bind="query-params",
        required=True,
        label_visibility="collapsed",
    )
    if shown == "queries":
        draw_queries(archive)
    elif shown == "hypotheses":
        draw_hypotheses(archive, ask(archive, every_hypothesis))
    else:
        _problems(archive, states, runs, ask(archive, every_hypothesis))


def _problems(
    archive: Archive, states: list[ProblemState], runs: RunChoice, registered: list[Registered]
) -> None:
    number = _which(states)
    if not number:
        _list(states)
        return
    state = next(one for one in states if one.problem.number == number)
    names = tuple(one.hypothesis.name for one in registered)
    asked, options, hypothesis = ask_controls(state, names)
    x_axis, y_axis = scale_controls() if asked else (SCALES[0], SCALES[0])
    choices = QuestionChoices(
        problem=number, ask=asked, options=options, hypothesis=hypothesis, x_axis=x_axis, y_axis=y_axis
    )
    page = ProblemPage(archive, state, runs, choices, permalink(here(), runs, choices))
    draw_problem(page)


def _which(states: list[ProblemState]) -> str:
    """The number of the chosen problem; "" for the list."""
    numbers = [one.problem.number for one in states]
    with st.container(horizontal=True, vertical_alignment="bottom", gap="small"):
        number: str | None = st.selectbox(
            "Problem",
            numbers,
            index=None,
            key="problem",
            bind="query-params",
            placeholder="a number, or click a row below",
            on_change=_forget,
            width=260,
        )
        if number:
            before, after = neighbours(states, number)
            st.button("All problems", icon=":material/list:", on_click=choose, args=("",))
            st.button("Previous", key="previous", disabled=not before, on_click=choose, args=(before,))
            st.button("Next", key="next", disabled=not after, on_click=choose, args=(after,))
    return number or ""


def _forget() -> None:
    st.session_state["ask"] = False


def _list(states: list[ProblemState]) -> None:
    draw_counts(states)
    with st.container(horizontal=True, vertical_alignment="bottom", gap="small"):
        state = st.multiselect(
            "State",
            [BRIEF[one] for one, _ in counts(states)],
            key="state",
            bind="query-params",
            placeholder="all",
            width=340,
        )
        like = st.text_input(
            "Contains",
            key="like",
            bind="query-params",
            placeholder="word, measure, family, number",
            width=300,
        )
    draw_list(states, state=tuple(state), like=like or "")


if __name__ == "__main__":
    show(render)
