"""What the sections of the Integrity page share."""

from dataclasses import dataclass

import streamlit as st

from archive.store import Archive
from queries.results import readable_sql
from ui.models.address import permalink
from ui.models.integrity.page import IntegrityChoices, RunChecks
from ui.models.series import RunChoice
from ui.widgets import here

TALL = 12  # rows that a table shows before it scrolls
WHEN = st.column_config.DatetimeColumn("When", format="YYYY-MM-DD HH:mm", timezone="UTC")
LINK = st.column_config.LinkColumn("More", width="small")


@dataclass(frozen=True)
class IntegrityPage:
    """The archive, the runs asked for (n_known: of how many), and the one in focus."""

    archive: Archive
    asked: RunChoice
    runs: list[RunChecks]
    n_known: int
    focus: RunChecks
    choices: IntegrityChoices

    @property
    def link(self) -> str:
        """The address that brings every choice back."""
        return permalink(here(), self.asked, self.choices)

    @property
    def database(self) -> str:
        """The path for commands."""
        return str(self.archive.layout.database)

    @property
    def ids(self) -> tuple[int, ...]:
        """run_id of every run asked for."""
        return tuple(run.run_id for run in self.runs)

    def sql(self, sql: str, **more: object) -> str:
        """A statement for the runs asked for, written out."""
        if len(self.runs) == self.n_known:  # a list of ten thousand numbers is no reading
            sql = sql.replace("(SELECT unnest($ids))", "(SELECT id FROM run)")
        return readable_sql(sql, {"ids": list(self.ids), **more})
