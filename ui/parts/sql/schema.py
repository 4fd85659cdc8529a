"""The schema browser: one view or macro with its meaning, its columns, and a statement to start from."""

import pyarrow as pa
import streamlit as st

from archive.store import Archive
from ui.models.sql.schema import PublicView, macro_names, public_views, table_macro
from ui.models.text import escape_markdown
from ui.state import ask

FIRST = "v_curve"


def draw_schema(archive: Archive) -> str:
    """Views first, then macros; a button shows the first rows of the chosen one. Gives its name."""
    st.subheader("Views and macros", anchor=False)
    by_name = {v.name: v for v in ask(archive, public_views)}
    names = [*by_name, *macro_names()]
    name = st.selectbox(
        "View",
        names,
        index=names.index(FIRST) if FIRST in names else 0,
        key="view",
        bind="query-params",
        label_visibility="collapsed",
        help="v_… are views, the public tables; m_… are macros, tables with arguments.",
    )
    chosen = by_name[name] if name in by_name else ask(archive, table_macro, name=name)
    if chosen.signature:
        st.code(chosen.signature, language="sql", wrap_lines=True)
    st.caption(escape_markdown(chosen.about))
    st.button(
        "Show 20 rows",
        icon=":material/table_rows:",
        on_click=take,
        args=(chosen.sample,),
        width="stretch",
    )
    _columns(chosen)
    return name


def take(sql: str) -> None:
    """Put a statement into the editor; the same rerun asks it."""
    st.session_state["sql"] = sql


def _columns(chosen: PublicView) -> None:
    st.dataframe(
        pa.table({"Column": [c for c, _ in chosen.columns], "Type": [t.lower() for _, t in chosen.columns]}),
        hide_index=True,
        height="content",
        alt=f"Columns of {chosen.name} with their types",
    )
