"""The first page: what is in this archive, and where to look first."""

import streamlit as st

from archive.store import Archive
from queries.results import readable_sql
from ui.menu import CAMERA_ONLY, share, under
from ui.models.address import permalink
from ui.models.copies import in_python
from ui.models.home.coverage import (
    FAILED,
    FULL,
    HALF,
    NONE,
    STEPS_SQL,
    SUSPECT,
    Coverage,
    coverage,
    coverage_figure,
    coverage_in_words,
    families,
)
from ui.models.home.page import MEASURES_SQL, HomeChoices, Overview, measures, overview, questions
from ui.models.text import count, escape_markdown, plural, shorten, size
from ui.state import ask, show
from ui.view import discover, view
from ui.widgets import empty_archive, headline, here, when

MOST_ROWS = 12  # a longer table scrolls by itself, so that the page does not


@view(title="Home", order=0, icon=":material/home:", url_path="home")
def render(archive: Archive) -> None:
    """What is in this archive, and three questions to start with."""
    found = ask(archive, overview)
    headline(archive.layout.database.stem, str(archive.layout.database))
    if found.is_empty:
        empty_archive(archive)
        return
    _numbers(found)
    _questions(archive)
    _measures(archive, _coverage(archive))


def _numbers(found: Overview) -> None:
    excluded = f"{count(found.n_excluded)} excluded" if found.n_excluded else ""
    suspect = f"{count(found.n_suspect)} suspect" if found.n_suspect else ""
    failed = f"{plural(found.n_failed, 'cell')} failed" if found.n_failed else ""
    cards = (
        ("Runs", count(found.n_runs), excluded or f"in {plural(found.n_conditions, 'condition')}"),
        ("Checkpoints", count(found.n_checkpoints), suspect or "none suspect"),
        ("Measured numbers", count(found.n_numbers), failed or "no failures"),
        ("On disk", size(found.n_bytes), f"last commit {when(found.last_commit)}"),
    )
    for column, (label, value, note) in zip(st.columns(len(cards)), cards, strict=True):
        column.metric(label, value, note, delta_color="off", delta_arrow="off", border=True)


def _questions(archive: Archive) -> None:
    st.subheader("Three questions to try", anchor=False)
    pages = {v.url_path: v for v in discover()}
    found = questions(ask(archive, measures))
    with st.container(key="questions"):
        for column, question in zip(st.columns(3), found, strict=False):
            with column.container(border=True, height="stretch"):
                st.page_link(
                    pages[question.page].file,
                    label=escape_markdown(shorten(question.text, 90)),
                    icon=":material/arrow_forward:",
                    icon_position="right",
                    query_params=dict(question.parameters),
                )
                st.caption(escape_markdown(shorten(question.shows, 90)))


def _coverage(archive: Archive) -> str:
    """The strip of one family; gives the address that brings the page back."""
    st.subheader("What is measured", anchor=False)
    every = ask(archive, families)
    n_runs = {f.family: f.n_runs for f in every}
    names = list(n_runs)
    family = names[0]
    if len(names) > 1:
        family = st.selectbox(
            "Family",
            names,
            key="coverage_of",
            bind="query-params",
            width=420,
        )
    link = permalink(here(), HomeChoices(family))
    found = ask(archive, coverage, family=family)
    if not found.measures or not found.n_columns:
        st.caption("No measure of this family is in the ledger yet.")
        return link
    words = coverage_in_words(found, f"{shorten(family, 60)}, {plural(n_runs[family], 'run')}")
    st.plotly_chart(coverage_figure(found), key="coverage", config=CAMERA_ONLY, alt=words)
    _legend(found)
    hidden = f" {plural(found.n_hidden, 'more measure')} in the table below." if found.n_hidden else ""
    sql = readable_sql(STEPS_SQL, {"family": family})
    with under(words + hidden):
        share(
            link=link,
            python=in_python(archive, sql),
            sql=sql,
            csv=lambda: archive.query(STEPS_SQL, {"family": family}),
            name="coverage",
        )
    return link


def _legend(found: Coverage) -> None:
    entries = [
        (f'<i style="background:{FULL}"></i>', "there"),
        (f'<i style="background:{NONE}"></i>', "not there"),
    ]
    if ((found.share > 0) & (found.share < 1)).any():
        entries.insert(1, (f'<i style="background:{HALF}"></i>', "some of the runs"))
    if found.n_failed.any():
        entries.append((f'<b style="color:{FAILED}">✕</b>', "failed"))
    if found.n_suspect.any():
        entries.append((f'<b style="color:{SUSPECT}">▲</b>', "suspect, left out of curves"))
    st.html(
        '<div class="legend">' + "".join(f"<span>{mark} {word}</span>" for mark, word in entries) + "</div>"
    )


def _measures(archive: Archive, link: str) -> None:
    table = ask(archive, measures).drop_columns(["table_name"])
    number = st.column_config.NumberColumn
    st.dataframe(
        table,
        key="measures",
        hide_index=True,
        height="content" if table.num_rows <= MOST_ROWS else 460,
        alt="Measures in this archive with their meaning, unit, runs, cells, numbers, failures and sources",
        column_config={
            "measure": st.column_config.TextColumn("Measure", pinned=True, width=190),
            "summary": st.column_config.TextColumn("Meaning", width="large"),
            "unit": "Unit",
            "n_variants": number(
                "Variants", help="Eval sets, versions, parameters and sources it was measured with"
            ),
            "n_runs": number("Runs", format="localized"),
            "n_cells": number(
                "Cells", help="Checkpoints (or runs, for logs) times variants", format="localized"
            ),
            "n_numbers": number("Numbers", format="localized"),
            "n_failed": number("Failed", format="localized"),
            "sources": "Sources",
        },
    )
    with under(plural(table.num_rows, "measure")):
        share(
            link=link,
            python=in_python(archive, MEASURES_SQL),
            sql=MEASURES_SQL,
            csv=lambda: table,
            name="measures",
        )


if __name__ == "__main__":
    show(render)
