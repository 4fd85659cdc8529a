"""What the pages of heads and of neurons have in common: choosing runs, and saying what is not there."""

from collections.abc import Callable

import streamlit as st

from archive.errors import NotComparable, UsageError
from archive.store import Archive
from ui.models.component_sets import ComponentSet, component_sets
from ui.models.series import RunChoice, run_names
from ui.pickers import run_pickers
from ui.state import ask
from ui.widgets import empty_archive, headline, to_fill, warn

Page = Callable[[Archive, RunChoice, list[ComponentSet]], None]


def component_page(archive: Archive, *, title: str, table: str, nothing: str, fill: str, page: Page) -> None:
    """Draw `page` for the runs chosen and the sets of numbers of a fact table; without any, what fills it."""
    known = ask(archive, run_names)
    headline(title)
    if not known:
        empty_archive(archive)
        return
    sets = ask(archive, component_sets, table=table)
    with st.sidebar:
        runs = run_pickers(known)
    if not sets:
        to_fill(nothing, fill)
        return
    try:
        page(archive, runs, sets)
    except (NotComparable, UsageError) as error:
        warn(error)
