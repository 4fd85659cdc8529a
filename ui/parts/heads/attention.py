"""Where the chosen head looks in the stored texts: hover or step through the tokens, or read matrix and table."""

from dataclasses import replace
from pathlib import Path

import streamlit as st

from queries.head import Head
from ui.menu import CAMERA_ONLY, share, under
from ui.models.heads.attention import (
    LOOKS,
    Pattern,
    for_browser,
    matrix_csv,
    matrix_figure,
    pattern_in_words,
    pattern_sql,
    pattern_table,
    patterns_of,
    stored_items,
    token_texts,
)
from ui.models.text import escape_markdown, shorten
from ui.parts.heads.page import HeadsPage
from ui.state import ask
from ui.widgets import to_fill

HERE = Path(__file__).parent
FILL = "pathscope ingest STUDY.toml --fill attention_pattern"
OWN_TEXT = """\
[[eval_sets]]
kind = "text"
name = "my text"
files = ["my-text.txt"]
context = 64"""
MOST_TOKENS = 256

_TEXT = st.components.v2.component(
    "pathscope_attention_text",
    html='<div class="tokens" role="listbox" tabindex="0" aria-label="Tokens of the text"></div>'
    '<div class="told" role="status" aria-live="polite"></div>',
    css=(HERE / "attention.css").read_text(encoding="utf-8"),
    js=(HERE / "attention.js").read_text(encoding="utf-8"),
)


def draw_attention(page: HeadsPage, found: Head | None) -> HeadsPage:
    """The section, and the page with what was chosen in it. found: what is known of the head, None where that was refused."""
    st.subheader("Attention on stored texts", anchor=False)
    c = page.choices
    items = stored_items(found, c.focus) if found else ()
    if found is None or not items:
        to_fill("Up to this checkpoint no attention of this head on a text is stored:", FILL)
        return page
    texts = ask(page.archive, token_texts, run=c.focus, items=items, most=MOST_TOKENS)
    patterns = {p.name: p for p in patterns_of(found, c.focus, texts)}
    with st.container(horizontal=True, vertical_alignment="bottom", gap="small"):
        item = st.selectbox(
            "Text",
            list(patterns),
            key="item",
            bind="query-params",
            width=360,
        )
        look = st.segmented_control(
            f"A token … {c.head}",
            LOOKS,
            default=LOOKS[0],
            key="look",
            bind="query-params",
            required=True,
            help="Looks at: where its attention goes, adding up to 1. Is looked at by: how much each later token gives it.",
        )
    page = replace(page, choices=replace(c, item=item, look=look))
    _draw(page, patterns[item], found.python)
    _another_text()
    return page


def _draw(page: HeadsPage, pattern: Pattern, python: str) -> None:
    head, look = page.choices.head, page.choices.look
    left, right = st.columns([0.46, 0.54], gap="large")
    with left:
        _TEXT(key="attention-text", data=for_browser(pattern, look))
        where = f" From {escape_markdown(shorten(pattern.document, 40))}." if pattern.document else ""
        st.caption(f"Hover a token, or press Tab and the arrow keys.{where}")
        _table(pattern, head)
    with right:
        st.plotly_chart(
            matrix_figure(pattern),
            key="attention",
            config=CAMERA_ONLY,
            alt=pattern_in_words(pattern, head),
        )
    with under(f"{pattern_in_words(pattern, head)} No token sees a later one."):
        share(
            link=page.link,
            python=f"{python}.patterns",
            sql=pattern_sql(pattern, head),
            csv=lambda: matrix_csv(pattern),
            name=f"attention_{head}_{pattern.item}",
        )


def _table(pattern: Pattern, head: str) -> None:
    with st.expander("As a table"):
        st.dataframe(
            pattern_table(pattern),
            key="attention-table",
            hide_index=True,
            height=320,
            alt=f"What each token of the text looks at through {head}",
            column_config={
                "place": st.column_config.NumberColumn("Place", format="%d", width="small"),
                "token": st.column_config.TextColumn("Token"),
                "looks_at": st.column_config.TextColumn("Looks at", width="large"),
                "looked_at": st.column_config.NumberColumn(
                    "Is looked at", format="%.3f", help="Mean attention of itself and all tokens after it"
                ),
            },
        )


def _another_text() -> None:
    with st.expander("Attention on another text"):
        st.markdown(
            "This page runs no model. Add the text to the study with `[load]` that measured these checkpoints:"
        )
        st.code(OWN_TEXT, language="toml")
        st.code(FILL, language="bash")
        st.caption(
            "The first 4 sequences and 64 tokens of each eval set are stored; the text then is one of the choices above."
        )
