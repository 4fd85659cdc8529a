"""What the sections of the Sources page share."""

from dataclasses import dataclass

import streamlit as st

from archive.store import Archive
from ui.models.address import permalink
from ui.models.sources.page import SourceChoices, SourceFacts


@dataclass(frozen=True)
class SourcePage:
    """The archive, the chosen source, and which of its files are looked at."""

    archive: Archive
    facts: SourceFacts
    word: str = ""
    number: int = 1

    @property
    def link(self) -> str:
        """The address that brings every choice back."""
        return permalink(st.context.url or "", SourceChoices(self.facts.source, self.word, self.number))

    def python(self, sql: str) -> str:
        """The line that repeats a statement."""
        copy = ", snapshot=True" if self.archive.snapshot else ""
        opened = f"pathscope.open_archive({str(self.archive.layout.database)!r}{copy})"
        return f'{opened}.query("""\n{sql}\n""")'
