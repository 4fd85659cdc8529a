"""Scores of heads at two checkpoints: changes head by head, or both distributions where numbers are not shared."""

from collections.abc import Sequence
from dataclasses import replace

import streamlit as st

from archive.errors import NotComparable, UsageError
from queries.head_scores import HeadScores, head_scores
from ui.menu import CAMERA_ONLY, PLOTLY, share, under
from ui.models.compare.heads import (
    MOST_ROWS,
    change_figure,
    change_in_words,
    change_of,
    change_table,
    hidden_scores,
    sorted_figure,
    sorted_in_words,
)
from ui.models.compare.page import HEADS, common_numbering
from ui.models.component_sets import ComponentSet, labels, named, which_of
from ui.models.copies import to_csv
from ui.models.grokking.progress import sorted_limits
from ui.models.heads.page import first_label
from ui.models.text import escape_markdown, plural, shorten
from ui.parts.compare.page import ComparePage, lacking, pick_label
from ui.pickers import pick_set, scale_picker
from ui.state import ask
from ui.widgets import CANNOT, say, warn

FILL = "pathscope ingest STUDY.toml --fill head.prefix_matching --fill head.previous_token"


def draw_heads(page: ComparePage, sets: Sequence[ComponentSet]) -> ComparePage:
    """The section, and the page with what was chosen in it."""
    st.subheader("Attention heads", anchor=False)
    if lacking(page, HEADS, "Scores of heads are needed at both checkpoints", FILL):
        return page
    with st.container(horizontal=True, vertical_alignment="bottom", gap="small"):
        label = pick_label(sets, first_label(labels(sets)), "measure")
        chosen = pick_set(sets, label, on="heads_on", variant="heads_variant", persist="page")
    page = replace(
        page,
        choices=replace(page.choices, measure=label, heads_on=chosen.eval_set, heads_variant=chosen.rest),
    )
    c = page.choices
    try:
        a, b = (_asked(page, chosen, run, step) for run, step in ((c.run_a, c.step_a), (c.run_b, c.step_b)))
        same, why = ask(page.archive, common_numbering, run_a=c.run_a, run_b=c.run_b)
    except (NotComparable, UsageError) as error:
        warn(error)
        return page
    if same:
        _changes(page, chosen, a, b, why)
        return page
    return _sorted(page, chosen, a, b, why)


def _asked(page: ComparePage, chosen: ComponentSet, run: str, step: int) -> HeadScores:
    return ask(
        page.archive,
        head_scores,
        runs=named(run, excluded=page.runs.excluded),
        measure=chosen.measure,
        step=step,
        **which_of(chosen, suspect=page.runs.suspect),
    )


def _changes(page: ComparePage, chosen: ComponentSet, a: HeadScores, b: HeadScores, why: str) -> None:
    found = change_of(a, b)
    table = change_table(found)
    left, right = st.columns([0.56, 0.44], gap="medium")
    with left:
        st.plotly_chart(
            change_figure(found, unit=chosen.unit),
            key="head_changes",
            config=CAMERA_ONLY,
            alt=change_in_words(found, chosen.label),
        )
    number = st.column_config.NumberColumn
    with right:
        st.dataframe(
            table.slice(0, MOST_ROWS),
            key="changed_heads",
            hide_index=True,
            height=300 if table.num_rows > 8 else "content",
            alt=f"Heads by the change of {chosen.label}, the largest first",
            column_config={
                "head": st.column_config.TextColumn("Head", pinned=True),
                "a": number("A", format="%.3f"),
                "b": number("B", format="%.3f"),
                "change": number("B − A", format="%+.3f"),
                "se": number("SE", format="%.2g", help="As if A and B were measured on different items"),
                "z": number(
                    "z", format="%.3g", help="Change / standard error, of one head picked beforehand"
                ),
            },
        )
    words = (
        f"{plural(table.num_rows, 'head')} that both checkpoints have, compared by number: {why}. Orange rose, blue fell. "
        "Whether other seeds change alike, one pair cannot tell."
    )
    with under(words):
        _share(page, a, b)
    n_cut = table.num_rows - MOST_ROWS
    missing = [f"The first {MOST_ROWS} of {table.num_rows} heads."] if n_cut > 0 else []
    if found.n_missing:
        missing.append(f"{found.n_missing} head(s) lack a finite score at one of the two (✕).")
    _say(missing, a, b)


def _sorted(page: ComparePage, chosen: ComponentSet, a: HeadScores, b: HeadScores, why: str) -> ComparePage:
    c = page.choices
    st.info(
        escape_markdown(
            f"Heads of {c.run_a} and {c.run_b} have no common numbering ({why}): L0H1 of one is no partner of L0H1 of the "
            "other. Shown are the scores of all heads of each, sorted."
        ),
        icon=":material/join_inner:",
    )
    with st.container(horizontal=True, gap="small"):
        x_scale = scale_picker("x axis", "x_scale", "linear")
        y_scale = scale_picker("y axis", "y_scale", "linear")
    page = replace(page, choices=replace(c, x_scale=x_scale, y_scale=y_scale))
    names = tuple(
        f"{end}: {shorten(run, 30)} at step {step:,}"
        for end, run, step in (("A", c.run_a, c.step_a), ("B", c.run_b, c.step_b))
    )
    st.plotly_chart(
        sorted_figure(a, b, (names[0], names[1]), label=chosen.label, x_scale=x_scale, y_scale=y_scale),
        key="sorted_heads",
        config=PLOTLY,
        alt=sorted_in_words(a, b, chosen.label),
    )
    with under(sorted_in_words(a, b, chosen.label)):
        _share(page, a, b)
    n = hidden_scores(a, b) if y_scale == "log" else 0
    _say([f"{plural(n, 'score')} at or below 0 have no place on a log axis."] if n else [], a, b)
    return page


def _share(page: ComparePage, a: HeadScores, b: HeadScores) -> None:
    share(
        link=page.link,
        python=f"a = {a.python}\nb = {b.python}",
        sql=f"{a.sql};\n\n-- B\n{b.sql}",
        csv=lambda: to_csv(a.table).decode() + to_csv(b.table).decode().partition("\n")[2],
        name="heads_of_two_checkpoints",
    )


def _say(missing: Sequence[str], a: HeadScores, b: HeadScores) -> None:
    out, fine = sorted_limits([*a.limits, *b.limits])
    say([*missing, *out], fine, CANNOT)
