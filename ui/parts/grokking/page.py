"""What the sections of the Grokking page share."""

from dataclasses import dataclass
from typing import Any

from archive.store import Archive
from ui.models.address import permalink
from ui.models.grokking.progress import GrokkingChoices
from ui.models.series import RunChoice
from ui.widgets import here, with_later


@dataclass(frozen=True)
class GrokkingPage:
    """The archive, and everything that was chosen. asked: the runs, or the first of them where they are many."""

    archive: Archive
    runs: RunChoice
    choices: GrokkingChoices
    asked: RunChoice

    @property
    def link(self) -> str:
        """The address that brings every choice back, also those of sections that are drawn further down."""
        return permalink(here(), self.runs, with_later(self.choices))

    @property
    def which(self) -> dict[str, Any]:
        """Whether suspect checkpoints are used, as queries take it."""
        return which(self.runs)


def which(runs: RunChoice) -> dict[str, Any]:
    """Whether suspect checkpoints are used, as queries take it."""
    return {"with_suspect": True} if runs.suspect else {}
