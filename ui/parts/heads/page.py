"""What the sections of the Heads page share."""

from dataclasses import dataclass

from archive.store import Archive
from queries.reading.quantities import Which
from queries.reading.select import RunSelection
from ui.models.address import permalink
from ui.models.component_sets import ComponentSet, Measured, named, which_of
from ui.models.heads.page import HeadChoices, runs_drawn
from ui.models.series import RunChoice
from ui.widgets import here

TABLE = "fact_head"


@dataclass(frozen=True)
class HeadsPage:
    """The archive, what was measured, and everything that was chosen."""

    archive: Archive
    runs: RunChoice
    chosen: ComponentSet
    measured: Measured
    choices: HeadChoices

    @property
    def link(self) -> str:
        """The address that brings every choice back."""
        return permalink(here(), self.runs, self.choices)

    @property
    def which(self) -> Which:
        """How to ask a query for these scores."""
        return which_of(self.chosen, suspect=self.runs.suspect)

    @property
    def drawn(self) -> RunSelection:
        """The run in focus and the first others, by their names."""
        return named(*runs_drawn(self.measured.runs, self.choices.focus), excluded=self.runs.excluded)

    @property
    def focus(self) -> RunSelection:
        """The run in focus."""
        return named(self.choices.focus, excluded=self.runs.excluded)

    @property
    def not_drawn(self) -> list[str]:
        """What to say where there are more runs than a figure can hold."""
        n_drawn, n = len(runs_drawn(self.measured.runs, self.choices.focus)), len(self.measured.runs)
        return [f"{n_drawn} of {n} runs are drawn; choose others in the sidebar."] if n_drawn < n else []
