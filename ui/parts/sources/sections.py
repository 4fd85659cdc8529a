"""One source: what is known of it, what it measured of which runs, its files, and what is odd."""

import shlex
from dataclasses import replace
from functools import partial

import pyarrow.compute as pc
import streamlit as st

from queries.results import readable_sql
from ui.menu import CAMERA_ONLY, share, under
from ui.models.copies import in_python
from ui.models.sources.figure import grid_figure, grid_in_words, grid_notes
from ui.models.sources.files import (
    FILES_SQL,
    MOST_PROBLEMS,
    PROBLEMS_SQL,
    files_in_words,
    files_page,
    problems,
    problems_in_words,
)
from ui.models.sources.page import (
    GRID_SQL,
    MEASURES_SQL,
    facts_html,
    imported_when,
    is_unknown,
    source_grid,
    source_measures,
)
from ui.models.text import count, escape_markdown, plural, shorten, size
from ui.parts.sources.page import SourcePage
from ui.state import ask
from ui.widgets import say, when

CANNOT = "What these counts cannot tell"


def draw_facts(page: SourcePage) -> None:
    """Counts, licence, citation, where it came from."""
    facts = page.facts
    if facts.is_unlicensed:
        st.warning(
            "**No licence was found: for use on this machine only.** Whoever passes these numbers on needs the "
            "authors' leave. If you know the licence, drop the source and import it again with `--licence`.",
            icon=":material/gavel:",
        )
    described = (
        f"{count(facts.n_described)} described" if facts.n_described > facts.n_runs else "with results"
    )
    cards = [
        ("Rows of results", count(facts.n_numbers), plural(facts.n_measures, "measure")),
        ("Runs", count(facts.n_runs), described),
    ]
    if not facts.is_here:
        cards.append(("Files", count(facts.n_files), size(facts.n_bytes)))
        cards.append(("Imported", when(facts.last_import), imported_when(facts)))
    for column, (label, value, note) in zip(st.columns(len(cards)), cards, strict=True):
        column.metric(label, value, note, delta_color="off", delta_arrow="off", border=True)
    if facts.is_here:
        st.caption(
            "Source 0: what pathscope measured itself. A question takes these numbers first where every run asked for has them."
        )
        return
    with st.container(border=True):
        st.html(facts_html(facts))
    if not is_unknown(facts.citation):
        st.caption("Cite it as")
        st.code(facts.citation, language=None, wrap_lines=True)
    quoted = escape_markdown(f"--source {shlex.quote(facts.source)}")
    st.caption(
        "Its numbers stay its own. A question answers from one source for all its runs: from what was measured here where "
        f"every run has it, from this set where it is told to ({quoted}) or where nobody else has it; and it says which."
    )


def draw_measures(page: SourcePage) -> None:
    """A table of its measures, and which run has how many."""
    facts = page.facts
    st.subheader("What it measured", anchor=False)
    table = ask(page.archive, source_measures, source_id=facts.source_id)
    if not table.num_rows:
        st.caption("No result: it describes runs and checkpoints only.")
        return
    grid = ask(page.archive, source_grid, source_id=facts.source_id)
    if grid.num_rows:
        st.plotly_chart(
            grid_figure(grid),
            key="grid_of_runs",
            config=CAMERA_ONLY,
            alt=grid_in_words(grid, facts.source),
        )
        sql = readable_sql(GRID_SQL, {"source_id": facts.source_id})
        with under(
            "A cell is fuller the more rows a run has of that measure, beside the run with most; grey: none."
        ):
            share(
                link=page.link,
                python=in_python(page.archive, sql),
                sql=sql,
                csv=lambda: source_grid(page.archive, source_id=facts.source_id),
                name=f"source_{facts.source_id}_runs",
            )
        say(grid_notes(grid), [], CANNOT)
    number = partial(st.column_config.NumberColumn, format="localized")
    st.dataframe(
        table,
        key="measures",
        hide_index=True,
        height="content" if table.num_rows <= 12 else 420,
        placeholder="",
        alt=f"Measures of {shorten(facts.source, 60)} with meaning, unit, variants, runs, cells, rows and who else has them",
        column_config={
            "measure": st.column_config.TextColumn("Measure", pinned=True, width=260),
            "meaning": st.column_config.TextColumn("Meaning", width="large"),
            "unit": "Unit",
            "n_variants": number("Variants", help="Eval sets, versions and parameters it was measured with"),
            "n_runs": number("Runs"),
            "n_cells": number("Cells", help="Checkpoints (or runs, for logs) times variants"),
            "n_numbers": number("Rows"),
            "others": st.column_config.TextColumn(
                "Also from", help="Sources with the same measure: beside it, not in it"
            ),
        },
    )
    sql = readable_sql(MEASURES_SQL, {"source_id": facts.source_id})
    with under(plural(table.num_rows, "measure")):
        share(
            link=page.link,
            python=in_python(page.archive, sql),
            sql=sql,
            csv=lambda: table,
            name=f"source_{facts.source_id}_measures",
        )


def draw_files(page: SourcePage) -> SourcePage:
    """Its files, a page at a time, searched in the database; returns the page with what was searched for."""
    st.subheader("Files", anchor=False)
    facts = page.facts
    with st.container(horizontal=True, vertical_alignment="bottom", gap="small"):
        word = st.text_input(
            "Path contains",
            key="file",
            bind="query-params",
            width=420,
            placeholder="any part of a path",
            max_chars=300,
        )
        beside = st.container(width="content")
    number = int(st.session_state.get("file_page") or 1)
    found = ask(page.archive, files_page, source=facts.source, word=word, page=number)
    if found.n_pages > 1:
        with beside:
            number = st.number_input(
                f"Page of {found.n_pages}",
                min_value=1,
                max_value=found.n_pages,
                value=1,
                key="file_page",
                bind="query-params",
                width=150,
            )
        found = ask(page.archive, files_page, source=facts.source, word=word, page=number)
    page = replace(page, word=word, number=found.page)
    if found.table.num_rows:
        st.dataframe(
            found.table.set_column(5, "sha256", pc.utf8_slice_codeunits(found.table["sha256"], 0, 12)),
            key="files",
            hide_index=True,
            height="content" if found.table.num_rows <= 10 else 390,
            alt=files_in_words(found, facts.source),
            column_config={
                "path": st.column_config.TextColumn("Path", width=520, pinned=True),
                "format": "Format",
                "n_rows": st.column_config.NumberColumn("Rows", format="localized"),
                "bytes": st.column_config.NumberColumn("Size", format="bytes"),
                "imported_at": st.column_config.DatetimeColumn(
                    "Imported", format="YYYY-MM-DD HH:mm", timezone="UTC"
                ),
                "sha256": st.column_config.TextColumn("SHA-256", help="The first 12 digits; the CSV has all"),
            },
        )
    asked = {"source": facts.source, "word": word}
    sql = readable_sql(FILES_SQL, asked)
    with under(found.sentence):
        share(
            link=page.link,
            python=in_python(page.archive, sql),
            sql=sql,
            csv=lambda: page.archive.query(FILES_SQL, asked),
            name=f"source_{facts.source_id}_files",
        )
    return page


def draw_problems(page: SourcePage) -> None:
    """What qualifies its numbers; where the rest was said."""
    st.subheader("Problems", anchor=False)
    facts = page.facts
    found = ask(page.archive, problems, source=facts.source)
    if found.num_rows:
        st.markdown("\n".join(f"- {line}" for line in problems_in_words(found)))
        sql = readable_sql(PROBLEMS_SQL, {"source": facts.source})
        cut = f"The first {MOST_PROBLEMS} of {found.num_rows} kinds; the CSV has all of them."
        with under(cut if found.num_rows > MOST_PROBLEMS else ""):
            share(
                link=page.link,
                python=in_python(page.archive, sql),
                sql=sql,
                csv=lambda: found,
                name=f"source_{facts.source_id}_problems",
            )
    else:
        st.caption(
            "None is recorded: no file without rows, no failed result, no suspect checkpoint, no note about a run."
        )
    if not facts.is_here:
        folder = facts.folders[0] if len(facts.folders) == 1 else "PATH"
        words = "Files that were refused are not kept. Importing again names them with their reasons, and adds nothing twice:"
        st.caption(words)
        database = shlex.quote(str(page.archive.layout.database))
        again = f"pathscope import auto {shlex.quote(folder)} --archive {database}"
        st.code(again, language="bash", wrap_lines=True)
