"""What the sections of the Transitions page share."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import pyarrow as pa

from archive.store import Archive
from queries.phase_transitions import PhaseTransitions
from queries.results import Answer
from ui.menu import share_answer
from ui.models.address import permalink
from ui.models.series import RunChoice
from ui.models.transitions.groups import in_short, with_short
from ui.models.transitions.measures import Kind
from ui.models.transitions.page import RunsUsed, TransitionChoices
from ui.widgets import here


@dataclass(frozen=True)
class TransitionsPage:
    """The archive, the measures chosen with what is described of each, and everything else that was chosen.

    short: conditions in few words.
    """

    archive: Archive
    runs: RunChoice
    used: RunsUsed
    known: tuple[Kind, ...]
    chosen: tuple[Kind, ...]
    described: Mapping[str, PhaseTransitions]
    choices: TransitionChoices
    short: Mapping[str, str]

    def brief(self, text: str) -> str:
        """A sentence of an answer with conditions in few words."""
        return in_short(text, self.short)

    def overview(self, answer: Answer, *columns: str) -> pa.Table | None:
        """What an answer shows above its rows, with the conditions in these columns in few words; None without rows."""
        found = answer.overview()
        return with_short(found, columns, self.short) if found is not None and found.num_rows else None

    @property
    def link(self) -> str:
        """The address that brings every choice back."""
        return permalink(here(), self.runs, self.choices)

    @property
    def suspect(self) -> dict[str, Any]:
        """Whether suspect checkpoints are used, as queries take it."""
        return {"with_suspect": True} if self.runs.suspect else {}

    def share(self, answer: Answer, name: str) -> None:
        """The menu of a figure that shows one answer."""
        share_answer(answer, link=self.link, name=name)
