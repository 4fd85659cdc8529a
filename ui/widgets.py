"""Pieces that pages share: the headline, the empty archive, and the menu that every figure has."""

import shlex
import time
import zlib
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import TYPE_CHECKING

import streamlit as st

from archive.store import Archive
from ui.models.series import RunChoice, RunNames
from ui.models.text import age, escape_markdown

if TYPE_CHECKING:
    from _collections_abc import dict_items

MOST_RUN_OPTIONS = 1000
IMAGES = ("SVG", "PNG")
IMAGE = "image"  # the word in the address
_IMAGE_STATE = "_image_format"


def image_format() -> str:
    """What a figure's camera saves: as chosen in this session, else as the address says, else SVG."""
    chosen = st.session_state.get(_IMAGE_STATE) or str(st.query_params.get(IMAGE, "")).upper()
    return chosen if chosen in IMAGES else IMAGES[0]


def image_word() -> str:
    """What a link to a page needs beside its own words; "" where figures are saved as SVG."""
    chosen = image_format()
    return "" if chosen == IMAGES[0] else f"&{IMAGE}={chosen.lower()}"


class _Camera(dict[str, object]):
    """Options of the camera; the format is looked up when a figure is sent, because it is chosen in each session.

    A PNG has twice the pixels, so that it can be printed.
    """

    def items(self) -> "dict_items[str, object]":
        """What the browser gets; a figure's config is turned into JSON through this."""
        chosen = image_format()
        more = {"format": chosen.lower(), **({"scale": 2} if chosen == "PNG" else {})}
        return {**self, **more}.items()


PLOTLY: dict[str, object] = {
    "displaylogo": False,
    "modeBarButtonsToRemove": ["select2d", "lasso2d", "autoScale2d"],
    "toImageButtonOptions": _Camera(format="svg", filename="pathscope"),
}
# of figures in which there is nothing to zoom: the camera and no other button
CAMERA_ONLY: dict[str, object] = PLOTLY | {"modeBarButtons": [["toImage"]]}


def headline(title: str, note: str = "") -> None:
    """The page's title and one line under it; both are shown letter by letter."""
    st.title(escape_markdown(title), anchor=False)
    if note:
        st.caption(escape_markdown(note))


def empty_archive(archive: Archive) -> None:
    """What to do with an archive that has no runs: the one command that fills it."""
    with st.container(border=True):
        st.subheader("Nothing in here yet", anchor=False)
        st.markdown("Train five small models, measure them and fill this archive (about a minute):")
        st.code(f"pathscope demo --archive {shlex.quote(str(archive.layout.database))}", language="bash")
        st.caption("Or bring published results in: pathscope import auto PATH. This page notices by itself.")


def run_pickers(runs: Sequence[RunNames], *, leaves_out: bool = True) -> RunChoice:
    """Which runs a page is about: family, condition, names and patterns, and what is left out by default.

    leaves_out: False for a page that is about what others leave out, and so has all of it.
    """
    st.subheader("Runs", anchor=False)
    families = list(dict.fromkeys(r.family for r in runs))
    family = st.multiselect("Family", families, key="family", bind="query-params", placeholder="all")
    narrowed = [r for r in runs if not family or r.family in family]
    conditions = list(dict.fromkeys(r.condition for r in narrowed if r.condition))
    condition = st.multiselect(
        "Condition", conditions, key="condition", bind="query-params", placeholder="all"
    )
    narrowed = [r for r in narrowed if not condition or r.condition in condition]
    run = st.multiselect(
        "Run",
        [r.run for r in narrowed[:MOST_RUN_OPTIONS]],
        key="run",
        bind="query-params",
        placeholder="all",
        accept_new_options=True,
        help="Choose, or type a name, an alias, or a pattern such as *-s1. The list shows the first 1000 runs.",
    )
    if not leaves_out:
        return RunChoice(tuple(family), tuple(condition), tuple(run))
    excluded = st.toggle(
        "Use excluded runs",
        key="excluded",
        bind="query-params",
        help="Runs that somebody excluded, with a reason.",
    )
    suspect = st.toggle(
        "Use suspect checkpoints",
        key="suspect",
        bind="query-params",
        help="Checkpoints that are known or found to be broken: duplicates, out of order, defects.",
    )
    return RunChoice(tuple(family), tuple(condition), tuple(run), excluded, suspect)


def share(*, link: str, python: str, sql: str, csv: Callable[[], str], name: str, command: str = "") -> None:
    """The menu beside a figure: its address, the Python and SQL that give its numbers, the numbers themselves.

    csv is only called when somebody downloads, and gives every value, not only the drawn ones. command: the command line
    that gives the same, where there is one.
    """
    with st.popover("Copy or download", icon=":material/ios_share:", type="tertiary"):
        titles = ["Link", "Python", "SQL", "CSV", *(["Command"] if command else [])]
        address, in_python, in_sql, numbers, *in_shell = st.tabs(titles)
        with address:
            st.caption("Opens this page with exactly these choices.")
            st.code(link + image_word(), language=None, wrap_lines=True)
        with in_python:
            st.code(f"import pathscope\n\n{python}", language="python", wrap_lines=True)
        with in_sql:
            st.code(sql, language="sql", wrap_lines=True, height=360)
        with numbers:
            st.caption("Every value, also those that were left out of the drawing to keep it quick.")
            st.download_button(
                "Download CSV", csv, f"{name}.csv", "text/csv", icon=":material/download:", on_click="ignore"
            )
        for tab in in_shell:
            tab.code(command, language="bash", wrap_lines=True)
        _image_picker(f"{name} {python}")


def _image_picker(figure: str) -> None:
    """What every figure's camera saves. One choice for all of them, shown in each menu; the address keeps it."""
    key = f"image-{zlib.crc32(figure.encode()):08x}"
    st.session_state[key] = image_format()
    st.segmented_control(
        "Image as",
        IMAGES,
        key=key,
        required=True,
        on_change=lambda: _take_image_format(st.session_state[key]),
        help="The camera at a figure's upper right corner saves it so. PNG has twice the pixels of the screen.",
    )


def _take_image_format(chosen: str) -> None:
    st.session_state[_IMAGE_STATE] = chosen
    if chosen == IMAGES[0]:
        st.query_params.pop(IMAGE, None)
    else:
        st.query_params[IMAGE] = chosen.lower()


def when(moment: datetime | None) -> str:
    """How long ago a moment was."""
    return "never" if moment is None else age(time.time() - moment.astimezone(UTC).timestamp())


def to_fill(words: str, command: str, why: str = "") -> None:
    """What a part of a page would show, and the one command that measures what it lacks."""
    with st.container(border=True):
        st.markdown(escape_markdown(words))
        st.code(command, language="bash", wrap_lines=True)
        if why:
            st.caption(escape_markdown(why))


def scale_picker(label: str, key: str, default: str) -> str:
    """Linear or log, bound to the address."""
    return st.segmented_control(
        label, ["linear", "log"], default=default, key=key, bind="query-params", required=True
    )


def say(missing: Sequence[str], fine: Sequence[str], about: str) -> None:
    """What is not in a picture, in sight; what it cannot tell, in a fold of that name."""
    for line in missing:
        st.caption(f":material/info: {escape_markdown(line)}")
    if fine:
        with st.expander(about):
            st.markdown("\n".join(f"- {escape_markdown(line)}" for line in fine))


def warn(error: Exception) -> None:
    """What a question refuses, in its own words, which say how to ask instead."""
    st.warning(escape_markdown(str(error)).replace("\n", "  \n"), icon=":material/help:")


@contextmanager
def under(words: str) -> Iterator[None]:
    """The line under a figure: its key on the left, whatever is drawn inside on the right."""
    left, right = st.columns([0.72, 0.28], vertical_alignment="top")
    left.caption(escape_markdown(words))
    with right, st.container(horizontal=True, horizontal_alignment="right"):
        yield
