"""One answer: sentence, facts, limits in sight, figure, tables, and where it comes from."""

import html

import pyarrow as pa
import streamlit as st

from archive.errors import PathscopeError
from archive.store import Archive
from queries.problems.asking import Part
from queries.render import GROUPS
from queries.results import Answer
from ui.menu import PLOTLY, share, under
from ui.models.questions.answers import ask_part, facts, origins, shown_rows
from ui.models.questions.figure import on_page
from ui.models.questions.options import Given
from ui.models.questions.scales import draw
from ui.models.text import escape_markdown, plural, with_code
from ui.state import ask
from ui.widgets import warn


def draw_answer(
    archive: Archive,
    *,
    number: str,
    letter: str,
    hypothesis: str,
    given: Given,
    scales: tuple[str, str],
    link: str,
    command: str,
) -> None:
    """Ask one question of a problem, with a clock while it takes long, and draw what comes back.

    scales: of the x and the y axis of its figure.
    """
    try:
        with st.spinner(f"Asking {number} ({letter}) …", show_time=True):
            part = ask(archive, ask_part, number=number, letter=letter, hypothesis=hypothesis, given=given)
    except PathscopeError as error:
        warn(error)
        return
    if part.answer is None:
        _no_answer(part)
        return
    answer = part.answer
    st.markdown(f"**{escape_markdown(answer.sentence)}**")
    st.html(_facts(facts(answer)))
    for line in answer.provenance.registered:
        st.caption(f":material/history_edu: {escape_markdown(line)}")
    notes = _figure(answer, letter, scales)
    with under(" ".join((f"{plural(answer.n_runs, 'run')}.", *notes))):
        share(
            link=link,
            python=answer.python,
            sql=answer.sql,
            csv=lambda: answer.table,
            name=f"{number}{letter}",
            command=command,
        )
    if answer.limits:
        st.markdown(
            "**What this cannot tell**\n" + "\n".join(f"- {with_code(line)}" for line in answer.limits)
        )
    _tables(answer, letter)
    with st.expander("Where it comes from"):
        st.html(_facts(origins(answer)))


def _no_answer(part: Part) -> None:
    """A refusal in its own words, or what is missing where nothing was asked."""
    if part.error is not None:
        warn(part.error)
    else:
        st.warning(escape_markdown(part.why_not), icon=":material/help:")


def _figure(answer: Answer, letter: str, scales: tuple[str, str]) -> list[str]:
    """The answer's own figure, where it has one; gives what to say under it."""
    try:
        figure, notes = draw(answer, x=scales[0], y=scales[1])
    except NotImplementedError:
        return []
    note = on_page(figure)
    st.plotly_chart(
        figure,
        key=f"answer-{letter}",
        config=PLOTLY,
        alt=f"Figure of the answer to: {answer.title} {answer.sentence}",
    )
    return [*notes, note] if note else notes


def _tables(answer: Answer, letter: str) -> None:
    """The overview in sight and the rows in a fold, or the rows in sight where there is no overview."""
    overview = answer.overview()
    has_overview = overview is not None and overview.num_rows > 0
    if overview is not None and has_overview:
        _table(overview, f"overview-{letter}", f"Overview of the answer to: {answer.title}")
    if answer.table.num_rows and has_overview:
        with st.expander(f"Rows ({answer.table.num_rows:,})"):
            _table(answer.table, f"rows-{letter}", f"Rows of the answer to: {answer.title}")
    elif answer.table.num_rows:
        _table(answer.table, f"rows-{letter}", f"Rows of the answer to: {answer.title}")


def _table(table: pa.Table, key: str, alt: str) -> None:
    shown, words = shown_rows(table)
    st.dataframe(
        shown,
        key=key,
        hide_index=True,
        height="content" if shown.num_rows <= 10 else 380,
        alt=alt,
        # names of groups are long and would push the numbers off the page
        column_config={
            name: st.column_config.TextColumn(width=220) for name in GROUPS if name in shown.column_names
        },
    )
    if words:
        st.caption(escape_markdown(words))


def _facts(entries: list[tuple[str, str]]) -> str:
    body = "".join(f"<dt>{html.escape(name)}</dt><dd>{html.escape(words)}</dd>" for name, words in entries)
    return f'<dl class="facts">{body}</dl>'
