"""Tokens on which seeds disagree most: a table, and one text with its tokens coloured."""

from collections.abc import Sequence

import pyarrow as pa
import streamlit as st

from archive.errors import NotComparable, UsageError
from ui.menu import share, under
from ui.models.component_sets import ComponentSet
from ui.models.copies import in_python
from ui.models.seeds.text import legend_html, text_html, text_in_words
from ui.models.seeds.tokens import (
    SORTS,
    Disagreement,
    disagreement,
    disagreement_text,
    tokens_fine,
    tokens_missing,
    tokens_note,
)
from ui.models.sequences import nearest
from ui.models.text import plural
from ui.parts.seeds.page import SeedsPage
from ui.pickers import sequence_buttons
from ui.state import ask
from ui.widgets import say, to_fill, warn

FILL = "pathscope ingest STUDY.toml --fill token_loss"
ABOUT = "What these tokens cannot tell"


def draw_tokens(page: SeedsPage, sets: Sequence[ComponentSet], step: int | None) -> SeedsPage:
    """The table and the text; the page with what was chosen."""
    st.subheader("Tokens where seeds disagree most", anchor=False)
    if not sets or step is None:
        to_fill("Losses of single tokens are needed, of two runs of one condition:", FILL)
        return page
    with st.container(horizontal=True, vertical_alignment="bottom", gap="small"):
        known = _which(sets)
        sort = st.segmented_control(
            "Disagree by",
            SORTS,
            default=SORTS[0],
            key="sort",
            bind="query-params",
            required=True,
            help="The spread of a token's loss over runs, or how many different tokens the runs think most likely there.",
        )
    page = page.chose(tokens_on=known.label_on, sort=sort)
    try:
        found = ask(
            page.archive,
            disagreement,
            selection=page.selection,
            known=known.set,
            step=step,
            suspect=page.runs.suspect,
            sort=sort,
        )
    except (NotComparable, UsageError) as error:
        warn(error)
        return page
    if sort == SORTS[1] and not found.n_listed:
        st.info(
            "No list of likely tokens of all these runs at this step, so the spread of the loss decides.",
            icon=":material/help:",
        )
    _table(page, found)
    return _text(page, found, known.set, step)


class _Known:
    """A set of losses, and the word that the address has for it."""

    def __init__(self, found: ComponentSet, several: bool) -> None:
        self.set = found
        self.label_on = words_of(found) if several else ""


def words_of(found: ComponentSet) -> str:
    """What tells a set of losses from others."""
    return " · ".join(words for words in (found.eval_set, found.rest) if words)


def _which(sets: Sequence[ComponentSet]) -> _Known:
    if len(sets) == 1:
        return _Known(sets[0], several=False)
    names = [words_of(s) for s in sets]
    chosen = st.selectbox(
        "Losses on", names, key="tokens_on", bind="query-params", width=260, help="Eval sets are never mixed."
    )
    return _Known(sets[names.index(chosen)], several=True)


def _table(page: SeedsPage, found: Disagreement) -> None:
    numbers: Sequence[int] = found.largest["sequence"].to_pylist()
    number = st.column_config.NumberColumn
    st.dataframe(
        found.largest,
        key="disagreed",
        hide_index=True,
        height=320 if found.largest.num_rows > 8 else "content",
        on_select=lambda: _take(numbers),
        selection_mode="single-row",
        alt="Tokens on which runs disagree most, with the spread of their losses and the text around",
        column_order=[name for name in found.largest.column_names if name != "n_tops" or found.n_listed],
        column_config={
            "token": st.column_config.TextColumn("Token", pinned=True),
            "spread": number(
                "Spread", format="%.3f", help="Standard deviation of the loss over runs, in nats."
            ),
            "mean_loss": number("Mean loss", format="%.2f"),
            "lowest": number("Lowest", format="%.2f"),
            "highest": number("Highest", format="%.2f"),
            "n_tops": number(
                "Most likely", help="How many different tokens the runs think most likely there."
            ),
            "text": st.column_config.TextColumn("Text", width="large"),
            "document": "Document",
            "sequence": number("Sequence", format="%d"),
            "position": number("Position", format="%d", help="The token before, at which it is predicted."),
        },
    )
    with under(
        f"{plural(found.largest.num_rows, 'token')}, chosen from {plural(found.n_tokens, 'token')} for being extreme: they "
        "show what is possible, not what is usual. A row shows its sequence below."
    ):
        share(
            link=page.link,
            python=in_python(page.archive, found.sql),
            sql=found.sql,
            csv=lambda: found.largest,
            name="largest_disagreements",
        )
    st.caption(tokens_note(found))
    say(tokens_missing(found), tokens_fine(found), ABOUT)


def _text(page: SeedsPage, found: Disagreement, known: ComponentSet, step: int) -> SeedsPage:
    """One sequence: the one asked for, until then that of the largest disagreement."""
    known_sequences = list(found.sequences)
    first = int(found.largest["sequence"][0].as_py())
    with st.container(horizontal=True, vertical_alignment="bottom", gap="small"):
        asked = st.number_input(
            "Sequence",
            min_value=0,
            value=None,
            step=1,
            key="sequence",
            bind="query-params",
            persist_state="page",
            width=190,
            placeholder=f"{first} (largest)",
            help="One of the eval set's texts, numbered from 0; until one is chosen that of the largest disagreement.",
        )
        number = nearest(known_sequences, first if asked is None else int(asked))
        sequence_buttons(known_sequences, number)
        white = st.toggle(
            "Mark every space",
            key="white",
            bind="query-params",
            persist_state="page",
            help="Line breaks and tabs always have a sign.",
        )
    page = page.chose(sequence=number, white=white)
    rows = ask(
        page.archive,
        disagreement_text,
        selection=page.selection,
        known=known,
        step=step,
        suspect=page.runs.suspect,
        sequence=number,
    )
    st.html(legend_html(found.scale))
    with st.container(key="disagreements"):
        st.html(text_html(rows, found.scale, spaces=white))
    table = pa.Table.from_pylist(
        [
            {
                "sequence": number,
                "place": r["place"],
                "token": r["token"],
                "spread": r["spread"],
                "run": run,
                "loss": loss,
                "most_likely": dict(r["tops"]).get(run),
            }
            for r in rows
            for run, loss in r["losses"]
        ]
    )
    with under(text_in_words(rows)):
        share(
            link=page.link,
            python=in_python(page.archive, found.sql),
            sql=found.sql,
            csv=lambda: table,
            name=f"sequence_{number}_by_run",
        )
    return page


def _take(numbers: Sequence[int]) -> None:
    rows = st.session_state["disagreed"].selection.rows
    if rows:
        st.session_state["sequence"] = numbers[rows[0]]
