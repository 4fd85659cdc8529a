"""Registered hypotheses: what was claimed, by which measure, when, and whether results came before."""

import streamlit as st

from archive.store import Archive
from ui.menu import share, under
from ui.models.copies import in_python
from ui.models.questions.hypotheses import HYPOTHESES_SQL, Registered, hypothesis_table, register_command
from ui.widgets import here, to_fill


def draw_hypotheses(archive: Archive, found: list[Registered]) -> None:
    """The table, and the command that registers one."""
    if found:
        text = st.column_config.TextColumn
        st.dataframe(
            hypothesis_table(found),
            key="hypotheses",
            hide_index=True,
            height="content" if len(found) <= 12 else 460,
            row_height=72,
            alt="Registered hypotheses: name, statement, measure, level, how it stands, when, runs, by whom",
            column_config={
                "name": text("Name", width="small", pinned=True),
                "statement": text("Statement", width=310),
                "measure": text("Measure", width="small"),
                "alpha": st.column_config.NumberColumn("Alpha", format="%.4g"),
                "state": text("State", width=250),
                "registered": text("Registered", width="small", help="UTC"),
                "runs": text("Runs", width="medium"),
                "who": text("By", width="small"),
            },
        )
        with under("Choose one beside “Ask this archive” to ask a problem of its runs, at its level."):
            share(
                link=f"{here().split('?')[0]}?list=hypotheses",
                python=in_python(archive, HYPOTHESES_SQL),
                sql=HYPOTHESES_SQL,
                csv=lambda: hypothesis_table(found),
                name="hypotheses",
            )
    to_fill(
        "Register what you expect before its runs have results:"
        if found
        else "No hypothesis is registered yet:",
        register_command(archive),
        "It cannot be changed afterwards. Answers about its measure and its runs then say whether it came in time.",
    )
