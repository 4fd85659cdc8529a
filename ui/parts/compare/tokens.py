"""Losses of tokens at two checkpoints: one text with its tokens coloured, and the whole eval set."""

from collections.abc import Sequence
from dataclasses import replace

import pyarrow as pa
import streamlit as st

from archive.errors import NotComparable, UsageError
from queries.per_token_delta import PerTokenDelta, per_token_delta, sequence_text
from queries.reading.token_deltas import SliceBy
from ui.menu import CAMERA_ONLY, share, share_answer, under
from ui.models.compare.page import TOKENS
from ui.models.compare.text import legend_html, scale_of, text_html, text_in_words
from ui.models.compare.tokens import (
    DIRECTIONS,
    histogram_figure,
    histogram_in_words,
    largest,
    metrics,
    metrics_note,
    sequences,
    slices_figure,
    slices_in_words,
    slices_key,
)
from ui.models.component_sets import ComponentSet, which_of
from ui.models.grokking.progress import sorted_limits
from ui.models.sequences import nearest
from ui.models.text import plural
from ui.parts.compare.page import ComparePage, lacking
from ui.pickers import pick_set, sequence_buttons
from ui.state import ask
from ui.widgets import CANNOT, say, warn

FILL = "pathscope ingest STUDY.toml --fill token_loss"
SLICES: tuple[SliceBy, ...] = ("class", "rarity", "position")


def draw_tokens(page: ComparePage, sets: Sequence[ComponentSet]) -> ComparePage:
    """The section, and the page with what was chosen in it."""
    st.subheader("Loss, token by token", anchor=False)
    if lacking(page, TOKENS, "Losses of single tokens are needed at both checkpoints", FILL):
        return page
    mine = [s for s in sets if s.measure == "token_loss"]
    bar = st.container(horizontal=True, vertical_alignment="bottom", gap="small")
    with bar:
        chosen = pick_set(mine, mine[0].label, persist="page")
        number = st.number_input(
            "Sequence",
            min_value=0,
            step=1,
            key="sequence",
            bind="query-params",
            persist_state="page",
            width=130,
            help="One of the eval set's texts, numbered from 0.",
        )
    which = which_of(chosen, suspect=page.runs.suspect)
    try:
        found = ask(
            page.archive,
            per_token_delta,
            runs=page.selection,
            **page.ends,
            slices=SLICES,
            top=50,
            **which,
        )
        known = sequences(found)
        number = nearest(known, number)
        c = page.choices
        text = ask(
            page.archive,
            sequence_text,
            runs=page.selection,
            ends=(c.run_a, c.step_a, c.run_b, c.step_b),
            sequence=number,
            which=which,
        )
    except (NotComparable, UsageError) as error:
        warn(error)
        return page
    with bar:
        sequence_buttons(known, number)
        white = st.toggle(
            "Mark every space",
            key="white",
            bind="query-params",
            persist_state="page",
            help="Line breaks and tabs always have a sign.",
        )
    choices = replace(
        page.choices, eval_set=chosen.eval_set, variant=chosen.rest, sequence=number, white=white
    )
    page = replace(page, choices=choices)
    _text(page, found, text, number)
    _whole(page, found)
    return _largest(page, found)


def _text(page: ComparePage, found: PerTokenDelta, text: pa.Table, number: int) -> None:
    rows = text.to_pylist()
    scale = scale_of(found)
    st.html(legend_html(scale))
    with st.container(key="deltas"):
        st.html(text_html(rows, scale, spaces=page.choices.white))
    with under(text_in_words(rows)):
        share(
            link=page.link,
            python=f"{found.python.removesuffix(')')}, sequence={number}).text",
            sql=found.sql,
            csv=lambda: text,
            name=f"sequence_{number}",
        )


def _whole(page: ComparePage, found: PerTokenDelta) -> None:
    st.markdown("**The whole eval set**")
    with st.container(horizontal=True, gap="small"):
        for words, value, meaning in metrics(found):
            st.metric(words, value, help=meaning, border=True, width="content")
    st.caption(metrics_note(found))
    left, right = st.columns([0.42, 0.58], gap="medium")
    with left:
        st.plotly_chart(
            histogram_figure(found), key="differences", config=CAMERA_ONLY, alt=histogram_in_words(found)
        )
    with right:
        st.plotly_chart(slices_figure(found), key="slices", config=CAMERA_ONLY, alt=slices_in_words(found))
    with under(slices_key(found)):
        share_answer(found, link=page.link, name="difference_by_kind_of_token")
    missing, fine = sorted_limits(found.limits)
    say(missing, fine, CANNOT)


def _largest(page: ComparePage, found: PerTokenDelta) -> ComparePage:
    direction = st.segmented_control(
        "Tokens that changed most",
        DIRECTIONS,
        default=DIRECTIONS[0],
        key="direction",
        bind="query-params",
        persist_state="page",
        required=True,
    )
    page = replace(page, choices=replace(page.choices, direction=direction))
    table = largest(found, direction)
    if not table.num_rows:
        st.caption(f"No token is {direction}.")
        return page
    number = st.column_config.NumberColumn
    st.dataframe(
        table,
        key="largest",
        hide_index=True,
        height=320 if table.num_rows > 8 else "content",
        on_select=lambda: _take(table["sequence"].to_pylist()),
        selection_mode="single-row",
        alt=f"Tokens that are {direction} by most, with their losses and the text around",
        column_config={
            "token": st.column_config.TextColumn("Token", pinned=True),
            "delta": number("B − A", format="%+.3f"),
            "loss_a": number("A", format="%.3f"),
            "loss_b": number("B", format="%.3f"),
            "text": st.column_config.TextColumn("Text", width="large"),
            "document": "Document",
            "sequence": number("Sequence", format="%d"),
        },
    )
    with under(f"{plural(table.num_rows, 'token')}, chosen from all. A row shows its sequence above."):
        share(
            link=page.link,
            python=f"{found.python}.largest",
            sql=found.sql,
            csv=lambda: found.largest,
            name="largest_differences",
        )
    return page


def _take(numbers: Sequence[int]) -> None:
    rows = st.session_state["largest"].selection.rows
    if rows:
        st.session_state["sequence"] = numbers[rows[0]]
