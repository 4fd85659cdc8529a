"""What the sections of the Benchmarks page share."""

from dataclasses import dataclass

from archive.store import Archive
from queries.reading.quantities import Which
from queries.reading.select import RunSelection
from ui.models.address import permalink
from ui.models.benchmarks.page import BenchmarkChoices, BenchmarkSet, Models
from ui.models.component_sets import named
from ui.models.series import RunChoice
from ui.widgets import here


@dataclass(frozen=True)
class BenchmarkPage:
    """The archive, the set of results, its models, and everything that was chosen."""

    archive: Archive
    runs: RunChoice
    known: BenchmarkSet
    models: Models
    choices: BenchmarkChoices

    @property
    def link(self) -> str:
        """The address that brings every choice back."""
        return permalink(here(), self.runs, self.choices)

    @property
    def which(self) -> Which:
        """How to ask a query for these numbers."""
        return Which(**self.known.which, with_suspect=True) if self.runs.suspect else self.known.which

    @property
    def sized(self) -> RunSelection:
        """The runs asked for, without those whose size nobody says."""
        if None not in self.models.sizes:
            return self.runs.selection
        known = [n for n, size in zip(self.models.names, self.models.sizes, strict=True) if size is not None]
        return named(*known, excluded=self.runs.excluded) if known else self.runs.selection
