"""Ingest: what is coming in, what waits, how fast it goes, what failed and how to go on."""

import streamlit as st

from archive.errors import PathscopeError
from archive.store import Archive
from ui.models.ingestion.page import OTHERS, IngestChoices
from ui.models.ingestion.reading import read
from ui.models.text import escape_markdown
from ui.parts.ingestion.page import EVERY, look_around
from ui.parts.ingestion.sections import draw_failures, draw_now, draw_over_time, draw_studies
from ui.state import ask, show
from ui.view import view
from ui.widgets import headline


@view(
    title="Ingest",
    order=40,
    section="Archive",
    icon=":material/move_to_inbox:",
    url_path="ingest",
    refreshes=True,
)
def render(archive: Archive) -> None:
    """What is coming in: queue, rate, time left, failures with their messages, and the commands that go on."""
    headline(
        "Ingest",
        "What comes in, what waits, what failed. This page starts nothing: its commands are for a terminal.",
    )
    choices = _choices(archive)
    st.fragment(_draw, run_every=None if choices.paused else EVERY)(archive, choices)


def _choices(archive: Archive) -> IngestChoices:
    studies = [s for s in ask(archive, read).progress.studies if s.study]
    names = [s.study for s in studies]
    with st.container(horizontal=True, vertical_alignment="bottom", gap="small"):
        # what is not done is what somebody comes here for
        first = next((k for k, s in enumerate(studies) if not s.is_complete), 0)
        study = names[first] if names else OTHERS
        if len(names) > 1:
            study = st.selectbox(
                "Commands for",
                names,
                index=first,
                key="study",
                bind="query-params",
                width=320,
                help="Studies in this archive",
            )
        paused = st.toggle(
            "Hold still",
            key="paused",
            bind="query-params",
            help="Otherwise the page looks again every few seconds.",
        )
    return IngestChoices(study, paused)


def _draw(archive: Archive, choices: IngestChoices) -> None:
    """All that changes by itself. The page has read the archive once by now, or said why it could not."""
    try:
        page = look_around(archive, choices)
    except PathscopeError as error:
        st.warning(escape_markdown(str(error)), icon=":material/hourglass_top:")
        return
    draw_now(page)
    draw_studies(page)
    draw_over_time(page)
    draw_failures(page)


if __name__ == "__main__":
    show(render)
