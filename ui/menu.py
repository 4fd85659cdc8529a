"""The menu beside a figure: its address, what gives its numbers, the numbers themselves, and what its camera saves."""

import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

import pyarrow as pa
import streamlit as st

from queries.results import Answer
from ui.models.copies import to_csv
from ui.models.text import with_code

if TYPE_CHECKING:
    from _collections_abc import dict_items

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
# of small figures among text: no button
STILL: dict[str, object] = PLOTLY | {"displayModeBar": False}


def share(
    *, link: str, python: str, sql: str, csv: Callable[[], pa.Table | str], name: str, command: str = ""
) -> None:
    """The menu beside a figure: its address, the Python and SQL that give its numbers, the numbers themselves.

    csv gives a table, or its text, with every value, not only the drawn ones; it is only called when somebody downloads.
    command: the command line that gives the same, where there is one.
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
                "Download CSV",
                lambda: _text(csv()),
                f"{name}.csv",
                "text/csv",
                icon=":material/download:",
                on_click="ignore",
            )
        for tab in in_shell:
            tab.code(command, language="bash", wrap_lines=True)
        _image_picker(f"{name} {python}")


def share_answer(answer: Answer, *, link: str, name: str) -> None:
    """The menu beside a figure of one answer: the question that gives it, and its whole table."""
    share(link=link, python=answer.python, sql=answer.sql, csv=lambda: answer.table, name=name)


def _text(csv: pa.Table | str) -> str:
    return csv if isinstance(csv, str) else to_csv(csv).decode()


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


@contextmanager
def under(words: str) -> Iterator[None]:
    """The line under a figure: its key on the left, whatever is drawn inside on the right."""
    left, right = st.columns([0.72, 0.28], vertical_alignment="top")
    left.caption(with_code(words))
    with right, st.container(horizontal=True, horizontal_alignment="right"):
        yield
