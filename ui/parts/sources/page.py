"""What the sections of the Sources page share."""

from dataclasses import dataclass

from archive.store import Archive
from ui.models.address import permalink
from ui.models.sources.page import SourceChoices, SourceFacts
from ui.widgets import here


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
        return permalink(here(), SourceChoices(self.facts.source, self.word, self.number))
