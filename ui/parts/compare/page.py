"""What the sections of the Compare page share."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TypedDict

import streamlit as st

from archive.store import Archive
from queries.reading.select import RunSelection
from ui.models.address import permalink
from ui.models.compare.page import CompareChoices, PointOf, has_both
from ui.models.component_sets import ComponentSet, labels
from ui.models.series import RunChoice
from ui.widgets import here, to_fill, with_later


class Ends(TypedDict):
    """A and B as queries take them."""

    run_a: str
    step_a: int
    run_b: str
    step_b: int


@dataclass(frozen=True)
class ComparePage:
    """The archive, its checkpoints, and everything that was chosen."""

    archive: Archive
    runs: RunChoice
    points: Mapping[str, Sequence[PointOf]]
    choices: CompareChoices

    @property
    def link(self) -> str:
        """The address that brings every choice back, also those of sections that are drawn further down."""
        return permalink(here(), self.runs, with_later(self.choices))

    @property
    def selection(self) -> RunSelection:
        """What queries need beside the names of A and B: whether excluded runs count."""
        return RunSelection(with_excluded=self.runs.excluded)

    @property
    def ends(self) -> Ends:
        """A and B as queries take them."""
        c = self.choices
        return Ends(run_a=c.run_a, step_a=c.step_a, run_b=c.run_b, step_b=c.step_b)

    @property
    def is_one_checkpoint(self) -> bool:
        """True where A and B are the same."""
        c = self.choices
        return (c.run_a, c.step_a) == (c.run_b, c.step_b)


def lacking(page: ComparePage, table: str, words: str, fill: str) -> bool:
    """True, and said with the command that fills it, where A or B has none of a table at its step."""
    told = has_both(page.points, page.choices, table)
    if told:
        to_fill(f"{words}: {'; '.join(told)}.", fill, "It measures checkpoints that were kept.")
    return bool(told)


def pick_label(sets: Sequence[ComponentSet], first: str, key: str) -> str:
    """Which measure, where there are several."""
    names = labels(sets)
    if len(names) == 1:
        return names[0]
    chosen: str = st.selectbox(
        "Measure",
        names,
        index=names.index(first),
        key=key,
        bind="query-params",
        persist_state="page",
        width=280,
    )
    return chosen
