"""Where the small one wins: verdicts, categories, tokens with their texts, kinds of token."""

from dataclasses import replace

import pyarrow as pa
import streamlit as st

from archive.errors import NotComparable, UsageError
from queries.capability_inclusion import CapabilityInclusion, capability_inclusion
from queries.smaller_beats_larger import SmallerBeatsLarger, smaller_beats_larger
from ui.menu import share, under
from ui.models.compare.text import legend_html, text_html, text_in_words
from ui.models.copies import in_python
from ui.models.grokking.progress import sorted_limits
from ui.models.sequences import nearest
from ui.models.sizes.difference import TokenDifference, sequence_rows
from ui.models.sizes.page import is_quick, seconds, with_labels
from ui.models.sizes.wins import (
    WON,
    better_somewhere,
    categories,
    does_it_all,
    kinds,
    sequence_of,
    tokens,
    tokens_in_words,
)
from ui.models.text import escape_markdown, plural
from ui.parts.sizes.page import SizesPage
from ui.state import ask
from ui.widgets import say, warn

ENDS = ("the large", "the small")  # A and B of the coloured text
MOST_LISTED = 50
NUMBER = st.column_config.NumberColumn


def draw_wins(page: SizesPage, counted: TokenDifference) -> SizesPage:
    """The section, and the page with what was chosen in it."""
    st.subheader("Where the small one wins", anchor=False)
    left, right = st.columns(2)
    try:
        with left, st.container(border=True, height="stretch"):
            st.markdown("Is the small one better somewhere?")
            with st.spinner("Comparing categories, tokens and kinds …"):
                found: SmallerBeatsLarger = ask(
                    page.archive, smaller_beats_larger, on="tokens", top=MOST_LISTED, **page.asked
                )
            _verdict(*better_somewhere(found))
        with right, st.container(border=True, height="stretch"):
            st.markdown("Can the large one do all that the small one can?")
            page, included = _inclusion(page)
    except (NotComparable, UsageError) as error:
        warn(error)
        return page
    st.caption(escape_markdown(f"{plural(found.n_runs, 'run')}. Verdicts are the queries' own."))
    won = st.segmented_control(
        "Where",
        WON,
        default=WON[0],
        key="won",
        bind="query-params",
        persist_state="page",
        required=True,
    )
    page = replace(page, choices=replace(page.choices, won=won))
    if won == WON[0]:
        _categories(page, found)
    elif won == WON[1]:
        page = _tokens(page, found, counted)
    else:
        _kinds(page, found)
    missing, fine = sorted_limits([*found.limits, *(included.limits if included else ())])
    small, large = page.small, page.large
    say(
        [with_labels(line, small, large) for line in missing],
        [with_labels(line, small, large) for line in fine],
        "What these verdicts cannot tell",
    )
    return page


def _verdict(verdict: str, shown: str) -> None:
    st.markdown(f"#### {escape_markdown(verdict)}")
    st.caption(escape_markdown(shown))


def _inclusion(page: SizesPage) -> tuple[SizesPage, CapabilityInclusion | None]:
    """The verdict of the query that takes longest, at once where tokens are few."""
    n = page.n_losses(page.small, page.large)
    if not is_quick(n, inclusion=True):
        wanted = st.toggle(
            f"Work it out (about {seconds(n, inclusion=True)} s)",
            key="inclusion",
            bind="query-params",
            persist_state="page",
        )
        page = replace(page, choices=replace(page.choices, inclusion=wanted))
        if not wanted:
            return page, None
    with st.spinner("Counting what every run can do …"):
        included: CapabilityInclusion = ask(
            page.archive, capability_inclusion, measure="token_loss", **page.asked
        )
    _verdict(*does_it_all(included))
    return page, included


def _categories(page: SizesPage, found: SmallerBeatsLarger) -> None:
    table = categories(found)
    st.dataframe(
        table,
        key="won_categories",
        hide_index=True,
        height="content" if table.num_rows < 26 else 900,
        alt="Mean lead of the small models at each kind of token, with its interval and share of tokens",
        column_config={
            "slice": st.column_config.TextColumn("Tokens", pinned=True),
            "delta": NUMBER("Small better by", format="%+.3f", help="Mean loss of large less small, nats."),
            "ci_low": NUMBER("95% low", format="%+.3f", help="Over runs and documents."),
            "ci_high": NUMBER("95% high", format="%+.3f", help="Over runs and documents."),
            "q": NUMBER("q", format="%.2g", help="One-sided p, corrected over all rows."),
            "found": st.column_config.CheckboxColumn("Found"),
            "small_only": NUMBER("All small beat all large", help="Share of tokens.", format="percent"),
            "by_chance": NUMBER("By chance", help="The same, were sizes alike.", format="percent"),
            "large_only": NUMBER("All large beat all small", help="Share of tokens.", format="percent"),
            "loss_small": NUMBER("Loss, small", format="%.3f"),
            "loss_large": NUMBER("Loss, large", format="%.3f"),
            "n_tokens": NUMBER("Tokens", format="localized"),
            "n_documents": NUMBER("Documents", format="localized"),
        },
    )
    _under(page, found, found.table, "", f"{with_labels(found.sentence, page.small, page.large)}")


def _tokens(page: SizesPage, found: SmallerBeatsLarger, counted: TokenDifference) -> SizesPage:
    table = tokens(found)
    if not table.num_rows:
        st.caption(tokens_in_words(table))
        return page
    st.dataframe(
        table,
        key="won_tokens",
        hide_index=True,
        height=320 if table.num_rows > 8 else "content",
        on_select=lambda: _take(table),
        selection_mode="single-row",
        alt=tokens_in_words(table),
        column_config={
            "token": st.column_config.TextColumn("Token", pinned=True),
            "separation": NUMBER(
                "Gap",
                format="%.3f",
                help="Loss of the best large run less that of the worst small run, nats.",
            ),
            "delta": NUMBER("Mean", format="%+.3f", help="Mean loss of large less small, nats."),
            "loss_small": NUMBER("Loss, small", format="%.3f"),
            "loss_large": NUMBER("Loss, large", format="%.3f"),
            "text": st.column_config.TextColumn("Text", width="large"),
            "categories": "Categories",
            "document": "Document",
            "sequence": NUMBER("Sequence", format="%d"),
        },
    )
    words = (
        f"{plural(table.num_rows, 'token')} at which every small run beats every large one, chosen for their gap, which is "
        "partly luck. A row shows its text."
    )
    _under(page, found, found.places, ".places", words)
    return _text(page, counted, table)


def _take(table: pa.Table) -> None:
    number = sequence_of(table, st.session_state["won_tokens"].selection.rows)
    if number is not None:
        st.session_state["sequence"] = number


def _text(page: SizesPage, counted: TokenDifference, table: pa.Table) -> SizesPage:
    """One text with its tokens coloured: that of the row, or of the number asked for."""
    with st.container(horizontal=True, vertical_alignment="bottom", gap="small"):
        asked = st.number_input(
            "Sequence",
            min_value=0,
            value=None,
            placeholder="first row's",
            step=1,
            key="sequence",
            bind="query-params",
            persist_state="page",
            width=170,
            help="One of the eval set's texts, numbered from 0.",
        )
        white = st.toggle("Mark every space", key="white", bind="query-params", persist_state="page")
    first = int(table["sequence"][0].as_py())
    number = nearest(list(counted.sequences), first if asked is None else int(asked))
    rows, sql = ask(
        page.archive,
        sequence_rows,
        runs=page.asked["runs"],
        small=page.small.asked,
        large=page.large.asked,
        step=page.step,
        which=page.which,
        sequence=number,
    )
    page = replace(page, choices=replace(page.choices, sequence=number, white=white))
    st.html(legend_html(counted.spread95, ENDS))
    with st.container(key="deltas"):
        st.html(text_html(rows, counted.spread95, spaces=white, ends=ENDS))
    with under(
        f"{text_in_words(rows, ends=ENDS)} Means over the runs of a size; above 0 the large are better."
    ):
        share(
            link=page.link,
            python=in_python(page.archive, sql),
            sql=sql,
            csv=lambda: pa.Table.from_pylist(rows),
            name=f"sequence_{number}",
        )
    return page


def _kinds(page: SizesPage, found: SmallerBeatsLarger) -> None:
    table = kinds(found)
    if not table.num_rows:
        st.caption(
            "No token id at which the small models are better in half of the documents by more than chance."
        )
        return
    st.dataframe(
        table,
        key="won_kinds",
        hide_index=True,
        height=320 if table.num_rows > 8 else "content",
        alt="Token ids with the largest lead of the small models in half of the documents, and their lead in the other half",
        column_config={
            "token": st.column_config.TextColumn("Token", pinned=True),
            "found": NUMBER("Where chosen", format="%+.3f", help="Nats, in the half that chose it."),
            "held_out": NUMBER("Held out", format="%+.3f", help="Nats, in the other half."),
            "shrunk": NUMBER("Expected", format="%+.3f", help="What the first lets expect of the second."),
            "q": NUMBER("q", format="%.2g"),
            "replicated": st.column_config.CheckboxColumn("Holds"),
            "n_tokens": NUMBER("Tokens", format="localized"),
            "n_documents": NUMBER("Documents", format="localized"),
        },
    )
    words = "Chosen in half of the documents; whether they hold is seen in the other half alone, and is so of these runs."
    _under(page, found, found.kinds, ".kinds", words)


def _under(page: SizesPage, found: SmallerBeatsLarger, table: pa.Table, of: str, words: str) -> None:
    with under(words):
        share(
            link=page.link,
            python=f"{found.python}{of}",
            sql=found.sql,
            csv=lambda: table,
            name="where_the_small_one_wins",
        )
