"""What the sections of the Seeds page share."""

import math
from collections.abc import Sequence
from dataclasses import dataclass, fields, replace
from typing import Any

import streamlit as st

from archive.store import Archive
from queries.reading.select import RunSelection
from ui.models.address import permalink
from ui.models.seeds.page import (
    QUICK,
    Compared,
    Kind,
    SeedsChoices,
    eval_sets_of,
    first_kind,
    labels_of,
    rests_of,
)
from ui.models.series import RunChoice
from ui.models.text import escape_markdown, shorten

CANNOT = "What this picture cannot tell"


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
        further: dict[str, Any] = {}
        for field in fields(self.choices):
            chosen = getattr(self.choices, field.name)
            if chosen is False:
                asked = st.query_params.get(field.name) == "true"
                further[field.name] = bool(st.session_state.get(field.name, asked))
            elif chosen in ("", None):
                further[field.name] = st.session_state.get(field.name) or st.query_params.get(field.name, "")
        return permalink(st.context.url or "", self.runs, replace(self.choices, **further))

    @property
    def base(self) -> str:
        """The explorer's address, ending with "/"."""
        return (st.context.url or "").split("?")[0].rpartition("/")[0] + "/"

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
    names = labels_of(known)
    label = st.selectbox(
        "Agreement by",
        names,
        index=names.index(first_kind(known)),
        key="by",
        bind="query-params",
        width=260,
        help="What this archive can compare runs by.",
    )
    sets = eval_sets_of(known, label)
    eval_set = sets[0]
    if len(sets) > 1:
        eval_set = st.selectbox(
            "Eval set",
            sets,
            key="eval_set",
            bind="query-params",
            width=240,
            help="Numbers of different ones are never mixed.",
        )
    mine = rests_of(known, label, eval_set)
    if len(mine) == 1:
        return mine[0]
    rest = st.selectbox(
        "Variant",
        [k.rest for k in mine],
        key="variant",
        bind="query-params",
        format_func=lambda words: shorten(words, 60),
        width=240,
    )
    return next(k for k in mine if k.rest == rest)


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
