"""Pieces that pages share: the headline, the empty archive, and the menu that every figure has."""

import shlex
import time
from collections.abc import Callable
from datetime import UTC, datetime

import streamlit as st

from archive.store import Archive
from ui.models.text import age, escape_markdown

PLOTLY = {
    "displaylogo": False,
    "modeBarButtonsToRemove": ["select2d", "lasso2d", "autoScale2d"],
    "toImageButtonOptions": {"format": "svg", "filename": "pathscope"},
}


def headline(title: str, note: str = "") -> None:
    """The page's title and one line under it; both are shown letter by letter."""
    st.title(escape_markdown(title), anchor=False)
    if note:
        st.caption(escape_markdown(note))


def empty_archive(archive: Archive) -> None:
    """What to do with an archive that has no runs: the one command that fills it."""
    with st.container(border=True):
        st.subheader("Nothing in here yet", anchor=False)
        st.markdown("Train five small models, measure them and fill this archive (about a minute):")
        st.code(f"pathscope demo --archive {shlex.quote(str(archive.layout.database))}", language="bash")
        st.caption("Or bring published results in: pathscope import auto PATH. This page notices by itself.")


def share(*, link: str, python: str, sql: str, csv: Callable[[], str], name: str) -> None:
    """The menu beside a figure: its address, the Python and SQL that give its numbers, the numbers themselves.

    csv is only called when somebody downloads, and gives every value, not only the drawn ones.
    """
    with st.popover("Copy or download", icon=":material/ios_share:", type="tertiary"):
        address, in_python, in_sql, numbers = st.tabs(["Link", "Python", "SQL", "CSV"])
        with address:
            st.caption("Opens this page with exactly these choices.")
            st.code(link, language=None, wrap_lines=True)
        with in_python:
            st.code(f"import pathscope\n\n{python}", language="python", wrap_lines=True)
        with in_sql:
            st.code(sql, language="sql", wrap_lines=True, height=360)
        with numbers:
            st.caption("Every value, also those that were left out of the drawing to keep it quick.")
            st.download_button(
                "Download CSV", csv, f"{name}.csv", "text/csv", icon=":material/download:", on_click="ignore"
            )
        st.caption("The camera at the figure's upper right corner saves it as SVG.")


def when(moment: datetime | None) -> str:
    """How long ago a moment was."""
    return "never" if moment is None else age(time.time() - moment.astimezone(UTC).timestamp())
