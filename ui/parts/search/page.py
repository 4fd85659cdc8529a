"""What the sections of the Search page share."""

from dataclasses import dataclass

from archive.store import Archive
from queries.reading.quantities import Which
from queries.reading.select import RunSelection
from ui.models.address import permalink
from ui.models.component_sets import ComponentSet, which_of
from ui.models.search.page import SearchChoices
from ui.models.series import RunChoice
from ui.widgets import here, with_later

CANNOT = "What this search cannot tell"


@dataclass(frozen=True)
class SearchPage:
    """The archive, the set of numbers that is searched, and everything that was chosen. selection: the runs asked."""

    archive: Archive
    runs: RunChoice
    known: ComponentSet
    choices: SearchChoices
    selection: RunSelection

    @property
    def link(self) -> str:
        """The address that brings every choice back, also that of the section further down."""
        return permalink(here(), self.runs, with_later(self.choices))

    @property
    def which(self) -> Which:
        """How to ask for the set."""
        return which_of(self.known, suspect=self.runs.suspect)
