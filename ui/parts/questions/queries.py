"""Every typed query: the table, and one with its parameters and the pages that show it."""

import shlex

import streamlit as st

from archive.store import Archive
from queries.registry import all_queries
from ui.models.questions.page import in_this_archive
from ui.models.questions.queries import own_parameters, pages_of, parameter_table, problems_of, query_table
from ui.models.text import escape_markdown
from ui.parts.questions.listing import choose


def draw_queries(archive: Archive) -> str:
    """The list, with what is known of the chosen one above it; gives its name, "" for none."""
    specs = all_queries()
    name: str | None = st.selectbox(
        "Query",
        list(specs),
        index=None,
        key="query",
        bind="query-params",
        placeholder="choose, or click a row below",
        width=420,
    )
    if name:
        _one(archive, name)
    st.caption(f"{len(specs)} queries. A row opens one; `pathscope queries` lists the same.")
    table = query_table()

    def take() -> None:
        rows = st.session_state["queries"].selection.rows
        if rows:
            st.session_state["query"] = table["query"][rows[0]].as_py()

    text = st.column_config.TextColumn
    st.dataframe(
        table,
        key="queries",
        hide_index=True,
        height=560,
        on_select=take,
        selection_mode="single-row",
        alt="Every typed query: name, question, pages that show it, problems that ask it, parameters",
        column_config={
            "query": text("Query", width=220, pinned=True),
            "question": text("Question", width=420),
            "pages": text("Page", width=120),
            "problems": text("Problems", width=120),
            "parameters": text("Parameters", width="large"),
        },
    )
    return name or ""


def _one(archive: Archive, name: str) -> None:
    spec = all_queries()[name]
    with st.container(border=True):
        st.subheader(escape_markdown(spec.title), anchor=False)
        st.markdown(escape_markdown(spec.doc))
        _links(name)
        where = shlex.quote(str(archive.layout.database))
        st.code(in_this_archive(f"pathscope query {name}", archive), language="bash", wrap_lines=True)
        st.code(
            f"import pathscope\n\npathscope.{name}(pathscope.open_archive({where!r}))",
            language="python",
            wrap_lines=True,
        )
        n_others = len(spec.fields) - len(own_parameters(spec))
        st.caption(
            f"{len(spec.fields)} parameters"
            + (f", {n_others} of them for where a measure has several variants" * bool(n_others))
            + "."
        )
        text = st.column_config.TextColumn
        st.dataframe(
            parameter_table(spec),
            key="parameters",
            hide_index=True,
            height="content",
            alt=f"Parameters of {name}: name, default, meaning",
            column_config={
                "parameter": text("Parameter", width=160, pinned=True),
                "default": text("Default", width=120),
                "meaning": text("Meaning", width="large"),
            },
        )


def _links(name: str) -> None:
    pages = pages_of().get(name, ())
    numbers = problems_of().get(name, ())
    with st.container(horizontal=True, vertical_alignment="center", gap="small"):
        st.caption("Shown on" if pages else "No page shows it yet; asked by its command.", width="content")
        for view in pages:
            st.page_link(view.file, label=view.title, icon=view.icon, width="content")
        if numbers:
            st.caption("Asked by problem", width="content")
        for number in numbers:
            st.button(number, key=f"problem-{number}", on_click=_open, args=(number,), type="tertiary")


def _open(number: str) -> None:
    st.session_state["list"] = "open problems"
    choose(number)
