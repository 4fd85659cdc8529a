"""Sources: every imported set beside what was measured here, with licence, citation, files, and what it measured."""

import shlex
from functools import partial

import streamlit as st

from archive.store import Archive
from ui.menu import share, under
from ui.models.copies import in_python
from ui.models.sources.page import SOURCES_SQL, SourceFacts, overview, overview_in_words, sources
from ui.models.text import escape_markdown, plural, shorten
from ui.parts.sources.page import SourcePage
from ui.parts.sources.sections import draw_facts, draw_files, draw_measures, draw_problems
from ui.state import ask, show
from ui.view import view
from ui.widgets import headline, here, to_fill


@view(title="Sources", order=44, section="Archive", icon=":material/menu_book:", url_path="sources")
def render(archive: Archive) -> None:
    """Who measured what: every imported set with its repository, commit, licence, citation and rows."""
    found = ask(archive, sources)
    headline("Sources")
    if not any(f.n_numbers or f.n_files or f.n_described for f in found):
        _how_to_import(archive)
        return
    st.caption(escape_markdown(overview_in_words(found)))
    _overview(archive, found)
    if all(f.is_here for f in found):
        _how_to_import(archive)
    facts = _which(found)
    page = SourcePage(archive, facts)
    st.subheader(escape_markdown(shorten(facts.source, 80)), anchor=False)
    draw_facts(page)
    draw_measures(page)
    if not facts.is_here:
        page = draw_files(page)
    draw_problems(page)


def _how_to_import(archive: Archive) -> None:
    to_fill(
        "No published results are in this archive yet. Point it at a clone or a folder that you have:",
        f"pathscope import auto PATH --archive {shlex.quote(str(archive.layout.database))}",
        "Nothing is downloaded. The command pathscope import --list says which formats it reads.",
    )


def _overview(archive: Archive, found: list[SourceFacts]) -> None:
    number = partial(st.column_config.NumberColumn, format="localized")
    names = [f.source for f in found]

    def take() -> None:
        rows = st.session_state["sources"].selection.rows
        if rows:
            st.session_state["source"] = names[rows[0]]

    st.dataframe(
        overview(found),
        key="sources",
        hide_index=True,
        height="content" if len(found) <= 12 else 440,
        on_select=take,
        selection_mode="single-row",
        placeholder="",
        alt=f"{plural(len(found), 'source')} with licence, files, rows, runs, measures, formats and time of import",
        column_config={
            "source": st.column_config.TextColumn("Source", pinned=True, width=170),
            "who": "Kind",
            "licence": st.column_config.TextColumn("Licence", width=190),
            "n_files": number("Files"),
            "n_numbers": number("Rows", help="Rows of results, such as one metric of one checkpoint"),
            "n_runs": number("Runs", help="Runs it has results of; several sources may describe one run"),
            "n_measures": number("Measures"),
            "formats": "Formats",
            "imported": st.column_config.DatetimeColumn(
                "Imported", format="YYYY-MM-DD HH:mm", timezone="UTC"
            ),
            "link": st.column_config.LinkColumn("Repository", width="medium"),
        },
    )
    with under("A row shows its source below."):
        share(
            link=here().split("?")[0],
            python=in_python(archive, SOURCES_SQL),
            sql=SOURCES_SQL,
            csv=lambda: overview(found),
            name="sources",
        )


def _which(found: list[SourceFacts]) -> SourceFacts:
    names = [f.source for f in found]
    # the newest set is what somebody has just brought in
    first = names.index(max(found, key=lambda f: f.source_id).source)
    # no format: the address has the words that are shown
    name = st.selectbox(
        "Source",
        names,
        index=first,
        key="source",
        bind="query-params",
        width=420,
    )
    return next(f for f in found if f.source == name)


if __name__ == "__main__":
    show(render)
