"""Where a text stands in the eval set, what to search for instead, and which heads look at it."""

from collections.abc import Sequence

import streamlit as st

from archive.errors import NotComparable, UsageError
from queries.search_heads import SearchHeads, search_heads
from queries.search_neurons import SearchNeurons
from ui.menu import share, share_answer, under
from ui.models.component_sets import ComponentSet, component_sets, which_of
from ui.models.grokking.progress import sorted_limits
from ui.models.marked_text import with_signs
from ui.models.search.page import KINDS, LOSSES, PATTERNS, heads_table, hits_table, steps_of
from ui.models.text import escape_markdown, plural
from ui.parts.search.page import SearchPage
from ui.state import ask
from ui.widgets import here, say, to_fill, warn

HEADS_FILL = "pathscope ingest STUDY.toml --fill attention_pattern"


def draw_suggestions(found: SearchNeurons) -> None:
    """Where the eval set has no match: tokens that look like it, and the way to find it across tokens."""
    with st.container(border=True, key="suggestions"):
        st.markdown(escape_markdown(found.sentence))

        def search(text: str, kind: str) -> None:
            st.session_state["text"], st.session_state["kind"] = text, kind

        if found.nearest:
            st.caption("Tokens of the eval set that look like it:")
            with st.container(horizontal=True, gap="small"):
                for k, token in enumerate(found.nearest):
                    st.button(
                        escape_markdown(with_signs(token)),
                        key=f"nearest_{k}",
                        on_click=search,
                        args=(token, KINDS[0]),
                        help="Search for this token",
                    )
        if len(found.spelling) > 1:
            told = " + ".join(with_signs(piece) for piece in found.spelling[:20])
            more = " …" if len(found.spelling) > 20 else ""
            st.caption(escape_markdown(f"No single token: {told}{more}, by the longest tokens that fit."))
            if found.by == "token":
                st.button("Search across tokens", key="across", on_click=search, args=(found.text, KINDS[1]))


def draw_hits(page: SearchPage, found: SearchNeurons) -> None:
    """Documents that hold it."""
    if not found.hits.num_rows:
        return
    st.subheader("In the eval set", anchor=False)
    losses = [s for s in ask(page.archive, component_sets, table=LOSSES) if s.measure == "token_loss"]
    linked = any(s.eval_set == page.known.eval_set for s in losses)
    number = st.column_config.NumberColumn
    st.dataframe(
        hits_table(found, here(), page.known.eval_set, linked=linked),
        key="hits",
        hide_index=True,
        height=320 if found.hits.num_rows > 8 else "content",
        alt="Documents of the eval set that hold what was searched for, with the first place in each",
        column_order=None if linked else ("document", "places", "tokens", "text", "sequence"),
        column_config={
            "document": st.column_config.TextColumn("Document", pinned=True),
            "places": number("Places", format="%d", help="Tokens that match"),
            "tokens": number("Tokens", format="localized"),
            "text": st.column_config.TextColumn("First place", width="large"),
            "sequence": number("Sequence", format="%d"),
            "open": st.column_config.LinkColumn(
                "Text", display_text="open", help="Opens the sequence on Compare, with its losses"
            ),
        },
    )
    with under(
        f"{found.share:.3%} of the eval set's tokens match; the {plural(found.hits.num_rows, 'document')} with most."
    ):
        share(
            link=page.link,
            python=f"{found.python}.hits",
            sql=found.sql,
            csv=lambda: found.hits.drop_columns(["tokens", "marked"]),
            name="search_hits",
        )


def draw_heads(page: SearchPage) -> None:
    """Heads that look at it on the stored frozen items."""
    st.subheader("Heads that look at it", anchor=False)
    sets = ask(page.archive, component_sets, table=PATTERNS)
    if not sets:
        to_fill(
            "Which heads look at a token is read from attention patterns on a few frozen items, which nobody has stored yet:",
            HEADS_FILL,
        )
        return
    if not page.choices.text:
        st.caption("Write what to search for.")
        return
    try:
        found = _ask_heads(page, sets)
    except (NotComparable, UsageError) as error:
        warn(error)
        return
    st.markdown(escape_markdown(found.sentence))
    if found.n_places:
        _heads_table(page, found)
    missing, fine = sorted_limits(found.limits)
    say(missing, fine, "What this cannot tell of heads")


def _ask_heads(page: SearchPage, sets: Sequence[ComponentSet]) -> SearchHeads:
    """At the slider's step, or at the last checkpoint with patterns before it: they are measured on fewer."""
    known = next((s for s in sets if s.eval_set == page.known.eval_set), sets[0])
    steps = ask(
        page.archive,
        steps_of,
        selection=page.selection,
        known=known,
        table=PATTERNS,
        suspect=page.runs.suspect,
    ).steps
    step = max((s for s in steps if s <= page.choices.step), default=min(steps, default=page.choices.step))
    if step != page.choices.step:
        st.caption(f"Patterns are stored on fewer checkpoints: these are of step {step:,}.")
    return ask(
        page.archive,
        search_heads,
        runs=page.selection,
        text=page.choices.text,
        by=page.choices.by,
        same_case=page.choices.same_case,
        step=step,
        **which_of(known, suspect=page.runs.suspect),
    )


def _heads_table(page: SearchPage, found: SearchHeads) -> None:
    number = st.column_config.NumberColumn
    st.dataframe(
        heads_table(found, here()),
        key="heads_found",
        hide_index=True,
        height=320 if found.table.num_rows > 8 else "content",
        alt="Heads with their attention on it and that of evenly spread attention, the highest first",
        column_config={
            "head": st.column_config.TextColumn("Head", pinned=True),
            "attention": number("Attention", format="%.3f", help="Mean over queries and items"),
            "chance": number("Spread evenly", format="%.3f"),
            "excess": number("Above", format="%+.3f"),
            "q": number("q", format="%.2g", help="Over all heads at this step"),
            "found": st.column_config.TextColumn("Found"),
            "since": number("Since", format="localized"),
            "open": st.column_config.LinkColumn("Page", display_text="open", help="Opens the head's page"),
            "run": st.column_config.TextColumn("Run", width="medium"),
        },
    )
    with under(f"{plural(found.n_runs, 'run')}, {plural(found.n_places, 'place')} in the frozen items."):
        share_answer(found, link=page.link, name="search_heads")
