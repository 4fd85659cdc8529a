"""One open problem: what it asks and reads, what is missing, and its answer when somebody presses for it."""

from collections.abc import Sequence
from dataclasses import dataclass

import streamlit as st

from archive.errors import PathscopeError
from archive.store import Archive
from queries.problems.states import WORDS, ProblemState, QuestionState
from queries.registry import all_queries
from ui.models.questions.needs import (
    answered_of,
    parameters,
    reads,
    study_file,
    unreachable,
    ways,
)
from ui.models.questions.options import Given, command, given_to
from ui.models.questions.page import MARKS, QuestionChoices
from ui.models.questions.queries import pages_of
from ui.models.questions.scales import SCALES
from ui.models.series import RunChoice
from ui.models.text import escape_markdown, with_code
from ui.parts.questions.answer import draw_answer
from ui.widgets import to_fill, warn

LETTERS = "abcdefghijklmnopqrstuvwxyz"


@dataclass(frozen=True)
class ProblemPage:
    """What the sections of one problem draw from. link: the address with every choice."""

    archive: Archive
    state: ProblemState
    runs: RunChoice
    choices: QuestionChoices
    link: str


def draw_problem(page: ProblemPage) -> None:
    """Title, statement and state; its questions, each with its answer where it was asked; what is missing."""
    problem = page.state.problem
    st.subheader(escape_markdown(f"{problem.number}  {problem.title}"), anchor=False)
    st.markdown(escape_markdown(problem.statement))
    note = f", {page.state.note}" if page.state.note else ""
    words = f"{MARKS[page.state.state]} {WORDS[page.state.state]}{note}"
    st.caption(escape_markdown(f"{problem.group} · {words}"))
    given = _given(page)
    for letter, one in zip(LETTERS, page.state.questions, strict=False):
        with st.container(border=True):
            _question(page, letter, one, given)
    if not problem.questions:
        st.info(
            "Nothing here is tested: the pages of the explorer, Search and SQL among them, are for looking around."
        )
    st.markdown(f"**What an answer cannot tell.** {with_code(problem.limit)}")
    draw_missing(page.archive, page.state)


def draw_missing(archive: Archive, state: ProblemState) -> None:
    """What keeps questions from being asked, and the exact commands that bring it in."""
    found = ways(archive, state)
    if not found:
        return
    st.subheader("What would answer the rest", anchor=False)
    for way in found:
        to_fill(way.words, "\n".join(way.commands), way.note)
    study = study_file(archive, state.problem)
    if study is None:
        return
    with st.expander(escape_markdown(f"The study {study.name}, as {study.file}")):
        st.download_button(
            "Download it",
            study.text,
            study.file,
            "application/toml",
            icon=":material/download:",
            on_click="ignore",
        )
        st.code(study.text, language="toml", wrap_lines=True, height=420)
        if others := unreachable(state.problem):
            st.caption(escape_markdown(f"Also made for it: {', '.join(others)}."))


def ask_controls(state: ProblemState, hypotheses: Sequence[str]) -> tuple[bool, str, str]:
    """Whether it is asked, with which options, and by which registered hypothesis; all in the address."""
    if not state.questions:
        return False, "", ""
    with st.container(horizontal=True, vertical_alignment="bottom", gap="small"):
        options = st.text_input(
            "Options",
            key="options",
            bind="query-params",
            placeholder="as on the command line: --level 0.4",
            help=f"Parameters of its queries, as `pathscope ask {state.problem.number} --help` lists them; the list Queries "
            "has their meaning. Runs are chosen in the sidebar.",
            width=380,
        )
        hypothesis = None
        if hypotheses:
            hypothesis = st.selectbox(
                "Hypothesis",
                hypotheses,
                index=None,
                key="hypothesis",
                bind="query-params",
                placeholder="none",
                help="Asks of its runs, at its level, unless runs are chosen in the sidebar.",
                width=240,
            )
        asked = st.toggle(
            "Ask this archive",
            key="ask",
            bind="query-params",
            help="Some answers take seconds to minutes, because they resample runs. The press is in the address, so that a "
            "link brings the answer back.",
        )
    return asked, options or "", hypothesis or ""


def scale_controls() -> tuple[str, str]:
    """Scales of the axes of every figure of the problem, for somebody who wants others than those it was drawn with."""
    with st.container(horizontal=True, gap="small"):
        x, y = (
            st.segmented_control(
                f"{letter} axis",
                SCALES,
                default=SCALES[0],
                key=f"{letter}_axis",
                bind="query-params",
                required=True,
            )
            for letter in "xy"
        )
    return x, y


def _given(page: ProblemPage) -> Given | None:
    """What its questions are asked with; None where nothing is asked, or it cannot be read, which is said."""
    if not page.choices.ask:
        return None
    try:
        return given_to(page.state.problem, page.runs, page.choices.options)
    except PathscopeError as error:
        warn(error)
        return None


def _question(page: ProblemPage, letter: str, one: QuestionState, given: Given | None) -> None:
    question = one.question
    several = len(page.state.questions) > 1
    st.markdown(f"**{escape_markdown(f'({letter}) ' if several else '')}{escape_markdown(question.asks)}**")
    told = [f"Asks `{question.query}`"]
    if parameter := parameters(question):
        told.append(f"with {escape_markdown('; '.join(parameter))}")
    st.caption(" ".join(told))
    _needs(one)
    _links(question.query)
    chosen = given is not None and "runs" in dict(given)
    can_be_asked = one.fit is not None or chosen or bool(page.choices.hypothesis)
    if given is None or question.query not in all_queries():
        return
    if not can_be_asked:
        st.caption(
            ":material/info: Not asked, since no run has what it reads. Runs chosen in the sidebar are asked all the same."
        )
        return
    draw_answer(
        page.archive,
        number=page.state.problem.number,
        letter=letter,
        hypothesis=page.choices.hypothesis,
        given=given,
        scales=(page.choices.x_axis, page.choices.y_axis),
        link=page.link,
        command=command(
            page.archive,
            page.state.problem,
            page.runs,
            page.choices.options,
            hypothesis=page.choices.hypothesis,
        ),
    )


def _needs(one: QuestionState) -> None:
    lines = [
        f"- Reads of every run: {escape_markdown('; '.join(reads(one.question)) or 'nothing beyond the run itself')}"
    ]
    if of := answered_of(one):
        lines.append(f"- Can be asked here of {escape_markdown(of)}")
    lines += [f"- Missing: {with_code(text)}" for text in one.missing]
    st.markdown("\n".join(lines))


def _links(query: str) -> None:
    pages = pages_of().get(query, ())
    if pages:
        with st.container(horizontal=True, vertical_alignment="center", gap="small"):
            st.caption("Its numbers are also on", width="content")
            for view in pages:
                st.page_link(view.file, label=view.title, icon=view.icon, width="content")
