"""What the sections of the Neuron page share."""

from dataclasses import dataclass

from archive.store import Archive
from queries.neuron import Neuron
from ui.models.address import permalink
from ui.models.neuron.page import NeuronChoices
from ui.models.series import RunChoice
from ui.widgets import here

CANNOT = "What this page cannot tell"


@dataclass(frozen=True)
class NeuronPage:
    """The archive, the answer about one neuron of one run, and everything that was chosen."""

    archive: Archive
    runs: RunChoice
    choices: NeuronChoices
    found: Neuron

    @property
    def link(self) -> str:
        """The address that brings every choice back."""
        return permalink(here(), self.runs, self.choices)

    @property
    def run(self) -> str:
        """The run whose neuron it is."""
        return self.choices.focus
