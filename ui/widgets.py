"""Pieces that pages share: the headline, what to do where something is not there, and the page's own address."""

import shlex
import time
from collections.abc import Callable, Sequence
from dataclasses import fields, replace
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, TypeVar

import streamlit as st

from archive.errors import NotComparable, UsageError
from archive.holders import ingests, writer
from archive.store import Archive
from archive.upkeep.waiting import read_queue
from ui.models.ingestion.words import FIRST_RESULTS, holder_words, queue_words, under_way
from ui.models.text import age, escape_markdown, with_code
from ui.state import for_this_archive

if TYPE_CHECKING:
    from _typeshed import DataclassInstance

EVERY = 5.0  # seconds between looks at an archive that has nothing yet
CANNOT = "What this picture cannot tell"  # the usual name of the fold that `say` makes

Choices = TypeVar("Choices", bound="DataclassInstance")


def headline(title: str, note: str = "") -> None:
    """The page's title and one line under it; both are shown letter by letter."""
    st.title(escape_markdown(title), anchor=False)
    if note:
        st.caption(escape_markdown(note))


def empty_archive(archive: Archive) -> None:
    """What to do with an archive that has no runs: wait where somebody fills it, else the one command that does.

    The page draws itself again when something has come in: here nothing can move under the reader's eyes.
    """
    st.fragment(_empty, run_every=EVERY)(archive, archive.version)


def _empty(archive: Archive, drawn: tuple[int, ...]) -> None:
    if archive.version != drawn:
        st.rerun()
    layout = archive.layout
    held, writes, queue = ingests(layout), writer(layout), read_queue(layout)
    going_on = under_way(held, writes, queue)
    into = f"--archive {shlex.quote(str(layout.database))}"
    with st.container(border=True):
        if going_on:
            st.subheader("Results are on their way", anchor=False)
            st.markdown("\n".join(f"- {escape_markdown(line)}" for line in going_on))
            st.caption(escape_markdown(FIRST_RESULTS))
            return
        for line in (*holder_words(held, writes), *queue_words(queue)):
            st.caption(f":material/info: {escape_markdown(line)}")
        if queue.n_shards:
            st.subheader("Results wait to be entered", anchor=False)
            st.code(f"pathscope commit {into}", language="bash", wrap_lines=True)
            return
        st.subheader("Nothing in here yet", anchor=False)
        st.markdown("Train five small models, measure them and fill this archive (about a minute):")
        st.code(f"pathscope demo {into}", language="bash", wrap_lines=True)
        st.caption(
            with_code(
                f"Or bring published results in: `pathscope import auto PATH {into}`. This page notices by itself."
            )
        )


def when(moment: datetime | None) -> str:
    """How long ago a moment was."""
    return "never" if moment is None else age(time.time() - moment.astimezone(UTC).timestamp())


def to_fill(words: str, command: str, why: str = "") -> None:
    """What a part of a page would show, and the one command that measures what it lacks, into this archive."""
    with st.container(border=True):
        st.markdown(with_code(words))
        st.code(for_this_archive(command), language="bash", wrap_lines=True)
        if why:
            st.caption(with_code(why))


def say(missing: Sequence[str], fine: Sequence[str], about: str) -> None:
    """What is not in a picture, in sight; what it cannot tell, in a fold of that name."""
    for line in missing:
        st.caption(f":material/info: {with_code(line)}")
    if fine:
        with st.expander(about):
            st.markdown("\n".join(f"- {with_code(line)}" for line in fine))


def warn(error: Exception) -> None:
    """What a question refuses, in its own words, which say how to ask instead."""
    st.warning(with_code(str(error)).replace("\n", "  \n"), icon=":material/help:")


def guarded(draw: Callable[[], None]) -> None:
    """Draw a section; what its question refuses is said in its place and leaves the others alone."""
    try:
        draw()
    except (NotComparable, UsageError) as error:
        warn(error)


def here() -> str:
    """The page's own address."""
    return st.context.url or ""


def with_later(choices: Choices) -> Choices:
    """Choices with those of sections that are drawn further down, which only the session or the address knows yet."""
    later: dict[str, Any] = {}
    for field in fields(choices):
        chosen = getattr(choices, field.name)
        if chosen is False:
            asked = st.query_params.get(field.name) == "true"
            later[field.name] = bool(st.session_state.get(field.name, asked))
        elif chosen in ("", None):
            later[field.name] = st.session_state.get(field.name) or st.query_params.get(field.name, "")
    return replace(choices, **later)
