"""One head: its score over training in every run, its partners, where it looks, its other scores."""

from functools import partial
from typing import Any

import pyarrow as pa
import streamlit as st

from archive.errors import NotComparable, UsageError
from queries.head import Head
from queries.head import head as ask_head
from queries.head_score_history import head_score_history
from queries.reading.heads import parse_head
from ui.menu import CAMERA_ONLY, PLOTLY, share, share_answer, under
from ui.models.copies import to_csv
from ui.models.grokking.progress import sorted_limits
from ui.models.heads.curves import head_curves_figure, head_curves_in_words, hidden_scores
from ui.models.heads.page import CURVES
from ui.models.heads.partners import (
    last_of,
    partners_step,
    partners_table,
    profile_figure,
    profile_in_words,
    profile_sql,
    profile_table,
    profiles,
    scores_table,
    sparse_steps,
)
from ui.models.suspects import in_use, in_use_words, suspects
from ui.models.text import escape_markdown, plural
from ui.parts.heads.page import HeadsPage
from ui.state import ask
from ui.widgets import CANNOT, say, to_fill, warn

PARTNERS = 5
FILL = "pathscope ingest STUDY.toml --fill q_composition --fill k_composition --fill v_composition"


def draw_curves(page: HeadsPage) -> None:
    """A line a run, with the level of chance."""
    choices = page.choices
    of_each = choices.curves_of == CURVES[1]
    found = ask(
        page.archive,
        head_score_history,
        runs=page.drawn,
        measure=page.chosen.measure,
        heads=() if of_each else (choices.head,),
        top=1,
        **page.which,
    )
    what = "the best head at the end" if of_each else choices.head
    used = in_use(ask(page.archive, suspects), [found.table]) if page.runs.suspect else set()
    st.plotly_chart(
        head_curves_figure(
            found,
            choices.focus,
            step=choices.step,
            x_scale=choices.x_scale,
            y_scale=choices.y_scale,
            in_use=used,
        ),
        key="curves",
        config=PLOTLY,
        alt=head_curves_in_words(found, what, choices.focus),
    )
    with under(f"A line a run, of {what}; no mean. Dotted: the slider's step. {found.sentence}"):
        share_answer(found, link=page.link, name=f"head_{choices.head}")
    missing, fine = sorted_limits(found.limits)
    n_hidden = hidden_scores(found) if choices.y_scale == "log" else 0
    if n_hidden:
        words = "has" if n_hidden == 1 else "have"
        missing.insert(0, f"{plural(n_hidden, 'score')} at or below 0 {words} no place on a log axis.")
    say([*in_use_words(used), *page.not_drawn, *missing], fine, CANNOT)


def known_head(page: HeadsPage) -> Head | None:
    """Everything but the curves of the chosen head; None where that is refused, which is said then."""
    choices = page.choices
    layer, number = parse_head(choices.head)
    suspect: dict[str, Any] = {"with_suspect": True} if page.runs.suspect else {}
    # of the slider's steps only those where it changes anything are asked about
    steps = ask(page.archive, sparse_steps, run=choices.focus)
    try:
        return ask(
            page.archive,
            ask_head,
            runs=page.focus,
            layer=layer,
            head=number,
            step=last_of(steps, choices.step),
            top=PARTNERS,
            **suspect,
        )
    except (NotComparable, UsageError) as error:
        warn(error)
        return None


def draw_beside(page: HeadsPage, found: Head) -> None:
    """Partners, profiles and other scores of the head in the run in focus."""
    choices = page.choices
    left, right = st.columns(2, gap="large")
    with left:
        st.markdown(f"**Composition partners of {choices.head}**")
        _partners(page, found)
    with right:
        st.markdown(f"**Where {choices.head} looks**")
        _profiles(page, found)
    with st.expander(f"Every score of {choices.head}"):
        _scores(page, found)


def _partners(page: HeadsPage, found: Head) -> None:
    table = partners_table(found, page.choices.focus)
    if not table.num_rows:
        to_fill("Up to this checkpoint nobody has measured which heads it reads from and writes to:", FILL)
        return
    number = st.column_config.NumberColumn
    st.dataframe(
        table,
        key="partners",
        hide_index=True,
        height="content" if table.num_rows <= 10 else 380,
        alt=f"Heads that {page.choices.head} composes with, the largest z first",
        column_config={
            "partner": st.column_config.TextColumn("Partner", pinned=True),
            "way": st.column_config.TextColumn(
                f"{page.choices.head} …", help="Through queries (Q), keys (K) or values (V) of the later head"
            ),
            "z": number(
                "z", format="%.3g", help="Distance from rotated weights in their standard deviations"
            ),
            "score": number("Score", format="%.3g", help="Composition of the weights, 0 to 1"),
            "baseline": number("Rotated", format="%.3g", help="What weights rotated at random give"),
        },
    )
    st.caption(
        f"Step {partners_step(found, page.choices.focus):,}. The {PARTNERS} largest z of each way, chosen among many heads and "
        "so too high. Weights alone decide them."
    )
    # in half a page there is no room for the menu beside the words
    share(
        link=page.link,
        python=f"{found.python}.partners",
        sql=found.sql,
        csv=lambda: found.partners,
        name=f"partners_{page.choices.head}",
    )


def _profiles(page: HeadsPage, found: Head) -> None:
    known = profiles(found, page.choices.focus)
    if not known:
        words = "Up to this checkpoint nobody has measured how its attention is spread:"
        to_fill(words, "pathscope ingest STUDY.toml --fill head.distance_profile --fill head.class_profile")
        return
    for k, profile in enumerate(known):
        table = profile_table(profile)
        st.plotly_chart(
            profile_figure(profile, unit="attention"),
            key=f"profile-{k}",
            config=CAMERA_ONLY,
            alt=profile_in_words(profile, page.choices.head),
        )
        st.caption(escape_markdown(f"On {profile['eval_set']}, step {profile['step']:,}."))
        share(
            link=page.link,
            python=f"{found.python}.profiles",
            sql=profile_sql(profile, *parse_head(page.choices.head)),
            csv=partial(_csv, table),
            name=f"{page.choices.head}_profile_{k}",
        )


def _csv(table: pa.Table) -> str:
    return to_csv(table).decode()


def _scores(page: HeadsPage, found: Head) -> None:
    number = st.column_config.NumberColumn
    st.dataframe(
        scores_table(found, page.choices.focus),
        key="scores",
        hide_index=True,
        alt=f"Every score of {page.choices.head} with its first, last and largest value",
        column_config={
            "score": st.column_config.TextColumn("Score", pinned=True),
            "eval_set": "Eval set",
            "first": number("First", format="%.4g"),
            "last": number("Last", format="%.4g"),
            "chance": number("Chance", format="%.3g"),
            "last_z": number("z", format="%.3g"),
            "largest": number("Largest", format="%.4g"),
            "largest_at": number("At step", format="localized"),
        },
    )
    with under(found.sentence):
        share_answer(found, link=page.link, name=f"scores_{page.choices.head}")
