"""What the sections of the Search page share."""

from dataclasses import dataclass, replace

import streamlit as st

from archive.store import Archive
from queries.reading.quantities import Which
from queries.reading.select import RunSelection
from ui.models.address import permalink
from ui.models.component_sets import ComponentSet, which_of
from ui.models.search.page import SearchChoices
from ui.models.series import RunChoice

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
        chosen = st.session_state.get("neuron") or st.query_params.get("neuron", "")
        choices = self.choices if self.choices.neuron else replace(self.choices, neuron=str(chosen))
        return permalink(st.context.url or "", self.runs, choices)

    @property
    def base(self) -> str:
        """The explorer's address, ending with "/"."""
        return (st.context.url or "").split("?")[0].rpartition("/")[0] + "/"

    @property
    def which(self) -> Which:
        """How to ask for the set."""
        return which_of(self.known, suspect=self.runs.suspect)
