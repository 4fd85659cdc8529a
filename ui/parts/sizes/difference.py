"""Small minus large, token by token: squares of both log-probabilities, or bars of their difference."""

from dataclasses import replace

import streamlit as st

from archive.errors import NotComparable, UsageError
from ui.menu import CAMERA_ONLY, PLOTLY, share, under
from ui.models.copies import opened
from ui.models.grokking.progress import sorted_limits
from ui.models.sizes.difference import TokenDifference, bars_table, squares_table, token_difference
from ui.models.sizes.difference_figure import (
    PICTURES,
    bars_figure,
    bars_in_words,
    basis_in_words,
    difference_limits,
    picture_key,
    share_in_words,
    squares_figure,
    squares_in_words,
)
from ui.models.sizes.page import MOST_RUNS_OF_SIZE
from ui.models.text import escape_markdown
from ui.parts.sizes.page import SizesPage
from ui.state import ask
from ui.widgets import CANNOT, say, warn


def draw_difference(page: SizesPage) -> tuple[SizesPage, TokenDifference | None]:
    """The section; the page with what was chosen in it, and what was counted, where that could be done."""
    try:
        with st.spinner("Counting tokens …"):
            found = ask(
                page.archive,
                token_difference,
                runs=page.asked["runs"],
                small=page.small.asked,
                large=page.large.asked,
                step=page.step,
                which=page.which,
            )
    except (NotComparable, UsageError) as error:
        warn(error)
        return page, None
    small, large = escape_markdown(page.small.label), escape_markdown(page.large.label)
    st.markdown(f"Against **{large}**, **{small}** is {escape_markdown(share_in_words(found))}.")
    picture = st.segmented_control(
        "Show log-probabilities",
        PICTURES,
        default=PICTURES[0],
        key="picture",
        bind="query-params",
        persist_state="page",
        required=True,
    )
    page = replace(page, choices=replace(page.choices, picture=picture))
    against = picture == PICTURES[0]
    st.plotly_chart(
        squares_figure(found) if against else bars_figure(found),
        key="squares" if against else "bars",
        config=PLOTLY if against else CAMERA_ONLY,
        alt=squares_in_words(found) if against else bars_in_words(found),
    )
    counted = squares_table(found) if against else bars_table(found)
    with under(f"{basis_in_words(found)} {picture_key(picture, found)}"):
        share(
            link=page.link,
            python=_python(page),
            sql=found.sql,
            csv=lambda: counted,
            name="small_against_large",
        )
    missing, fine = sorted_limits(found.limits)
    say([*_absent(page, found), *missing], [*difference_limits(found), *fine], CANNOT)
    return page, found


def _python(page: SizesPage) -> str:
    """The query that reads the same losses; its answer has the mean difference by kind of token."""
    words = {"small": page.small.asked, "large": page.large.asked, "step": page.step, **page.which}
    told = "".join(f", {name}={value!r}" for name, value in words.items())
    return f"pathscope.smaller_beats_larger({opened(page.archive)}, on='tokens'{told})"


def _absent(page: SizesPage, found: TokenDifference) -> list[str]:
    lines = []
    if len(found.steps) > 1:
        lines.append("Runs end at different steps: part of what differs is the length of training.")
    if found.absent:
        lines.append(f"{len(found.absent)} run(s) have no losses there (first: {found.absent[0]}).")
    for size in (page.small, page.large):
        if len(size.runs) > MOST_RUNS_OF_SIZE:
            lines.append(f"{MOST_RUNS_OF_SIZE} of {len(size.runs)} runs of {size.label} are used.")
    return lines
