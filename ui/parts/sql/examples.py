"""Statements to start from: short examples, and the worked questions of docs/sql.md."""

import streamlit as st

from ui.models.sql.examples import Example, every_example
from ui.models.text import with_code
from ui.parts.sql.schema import take


def draw_examples() -> None:
    """A list to choose from, and what to know of the answer of the chosen one while its statement is unchanged."""
    by_title: dict[str, Example] = {one.title: one for one in every_example()}

    def fill() -> None:
        if title := st.session_state["example"]:
            take(by_title[title].sql)

    title = st.selectbox(
        "Start from a question",
        list(by_title),
        index=None,
        key="example",
        on_change=fill,
        placeholder="choose one, then change its SQL",
        width=640,
    )
    if title and by_title[title].note and st.session_state.get("sql") == by_title[title].sql:
        st.caption(with_code(by_title[title].note))
