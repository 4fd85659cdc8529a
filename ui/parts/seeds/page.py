"""What the sections of the Seeds page share."""

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import streamlit as st

from archive.store import Archive
from queries.reading.select import RunSelection
from ui.models.address import permalink
from ui.models.component_sets import labels
from ui.models.seeds.page import (
    QUICK,
    Compared,
    Kind,
    SeedsChoices,
    first_kind,
)
from ui.models.series import RunChoice
from ui.models.text import escape_markdown
from ui.pickers import pick_set
from ui.widgets import here, with_later


@dataclass(frozen=True)
class SeedsPage:
    """The archive, what runs are compared by, and everything that was chosen."""

    archive: Archive
    runs: RunChoice
    choices: SeedsChoices
    kind: Kind | None = None
    compared: Compared | None = None

    @property
    def link(self) -> str:
        """The address that brings every choice back, also those of sections that are drawn further down."""
        return permalink(here(), self.runs, with_later(self.choices))

    @property
    def selection(self) -> RunSelection:
        """The runs that are compared, by name where not all that have the numbers are."""
        asked = self.runs.selection
        return asked if self.compared is None else self.compared.selection(asked)

    def chose(self, **chosen: Any) -> "SeedsPage":
        """The page with more choices made."""
        return replace(self, choices=replace(self.choices, **chosen))


def pick_kind(known: Sequence[Kind]) -> Kind:
    """By what, on which eval set, and which variant; each asked for where there are several."""
    names = labels(known)
    label = st.selectbox(
        "Agreement by",
        names,
        index=names.index(first_kind(known)),
        key="by",
        bind="query-params",
        width=260,
        help="What this archive can compare runs by.",
    )
    return pick_set(known, label)


def asked_for(label: str, key: str, seconds: float, most: float = math.inf) -> bool:
    """True where it takes no longer than `QUICK` or `most`; else there is a switch, bound to the address, that says how long."""
    if seconds <= min(QUICK, most):
        return True
    about = f"about {max(round(seconds), 1)} s" if seconds < 90 else f"about {round(seconds / 60)} min"
    wanted: bool = st.toggle(
        escape_markdown(f"{label} ({about})"),
        key=key,
        bind="query-params",
        help="It is kept until the archive changes.",
    )
    return wanted
