"""What the sections of the Ingest page share, and how they get their numbers without being in anybody's way."""

import time
from dataclasses import dataclass, field

import streamlit as st

from archive.errors import ArchiveBusy
from archive.holders import Holder, ingests, writer
from archive.store import Archive
from archive.upkeep.waiting import Queue, read_queue
from ui.models.address import permalink
from ui.models.ingestion.page import IngestChoices
from ui.models.ingestion.reading import Reading, read
from ui.state import ask
from ui.widgets import here, with_later

EVERY = 5.0  # seconds between looks
# a look may take no more than this share of the time, however large the ledger is
SHARE = 0.05
PATIENCE = 0.5  # seconds; there are older numbers to show
_LAST = "_ingest_last_look"


@dataclass(frozen=True)
class Look:
    """What the database said, when, and how long it took to say it."""

    reading: Reading
    at: float
    seconds: float
    version: tuple[int, ...]


@dataclass(frozen=True)
class IngestPage:
    """The archive, the last look into it, and what lies beside it now.

    busy: why the numbers are older than the archive; "" where they are not.
    """

    archive: Archive
    look: Look
    choices: IngestChoices
    busy: str = ""
    queue: Queue = field(default_factory=lambda: Queue(0, 0, None, ()))
    writer: Holder | None = None
    ingests: dict[str, Holder] = field(default_factory=dict)
    now: float = 0.0

    @property
    def read(self) -> Reading:
        """What the database said."""
        return self.look.reading

    @property
    def link(self) -> str:
        """The address that brings every choice back, also that of the figure over time."""
        return permalink(here(), with_later(self.choices))

    @property
    def database(self) -> str:
        """The path for commands."""
        return str(self.archive.layout.database)

    def runs_now(self, study: str) -> bool:
        """Whether somebody carries out this study at this moment."""
        holder = self.ingests.get(study)
        return holder is not None and holder.alive


def look_around(archive: Archive, choices: IngestChoices) -> IngestPage:
    """The page's numbers now. The database is only opened when its file has changed, and not while it is being written.

    Raises ArchiveBusy where it is held at the very first look, and what an archive can go wrong with.
    """
    look, busy = _look(archive)
    layout = archive.layout
    return IngestPage(
        archive, look, choices, busy, read_queue(layout), writer(layout), ingests(layout), time.time()
    )


def _look(archive: Archive) -> tuple[Look, str]:
    last: Look | None = st.session_state.get(_LAST)
    version = archive.version
    if last is not None and last.version == version:
        return last, ""
    started = time.time()
    if last is not None and started - last.at < last.seconds / SHARE:
        return last, "reading it takes long, so it is read less often"
    # at first there is nothing to show yet, and the page waits as every page does
    reader = (
        archive
        if last is None
        else Archive(archive.layout.database, snapshot=archive.snapshot, patience=PATIENCE)
    )
    try:
        found = Look(ask(reader, read), started, time.time() - started, version)
    except ArchiveBusy:
        if last is None:
            raise
        return last, "it is being written now"
    st.session_state[_LAST] = found
    return found, ""
