"""The partner of the chosen head in every other run, by what heads do, against heads with nothing in common."""

from dataclasses import replace

import streamlit as st

from archive.errors import NotComparable, UsageError
from queries.head_scores import HeadScores, head_scores
from queries.match_heads import MOST_RUNS, match_heads
from ui.menu import share_answer, under
from ui.models.component_sets import named
from ui.models.grokking.progress import sorted_limits
from ui.models.heads.matches import (
    head_matches,
    matches_in_words,
    matches_table,
    runs_to_match,
    signature_steps,
)
from ui.parts.heads.page import HeadsPage
from ui.state import ask
from ui.widgets import CANNOT, here, say, to_fill, warn

FILL = "pathscope ingest STUDY.toml --fill head.signature"


def draw_matches(page: HeadsPage) -> HeadsPage:
    """The section, and the page with what was chosen in it."""
    c = page.choices
    st.subheader("Matched heads", anchor=False)
    steps = ask(page.archive, signature_steps, run=c.focus, suspect=page.runs.suspect)
    if not steps:
        to_fill("Heads of runs are matched by signatures of what they do, and this run has none:", FILL)
        return page
    at = max((s for s in steps if s <= c.step), default=None)
    if at is None:
        st.caption(f"Signatures of heads were first taken at step {steps[0]:,}, after the slider's step.")
        return page
    runs, n_runs = ask(
        page.archive,
        runs_to_match,
        runs=page.measured.runs,
        focus=c.focus,
        step=at,
        suspect=page.runs.suspect,
    )
    if len(runs) < 2:
        st.caption(f"No other run chosen has signatures of its heads at step {at:,}.")
        return page
    matched = st.toggle(
        f"Match the heads of {len(runs)} runs at step {at:,}",
        key="matched",
        bind="query-params",
        help="Works out partners and what chance gives with 200 rotations of every pair of runs: from one second to a minute.",
    )
    page = replace(page, choices=replace(c, matched=matched))
    if matched:
        try:
            _matches(page, runs, n_runs, at)
        except (NotComparable, UsageError) as error:
            warn(error)
    return page


def _matches(page: HeadsPage, runs: tuple[str, ...], n_runs: int, at: int) -> None:
    c = page.choices
    suspect = {"with_suspect": True} if page.runs.suspect else {}
    with st.spinner("Matching heads …"):
        found = ask(
            page.archive,
            match_heads,
            runs=named(*runs, excluded=page.runs.excluded),
            step=at,
            **suspect,  # type: ignore[arg-type]  # one of the fields of Which
        )
    rows = head_matches(found, c.focus, c.head)
    words = {"measure": c.measure, "eval_set": c.eval_set, "variant": c.variant}
    table = matches_table(rows, _scores(page), here(), at, words)
    number = st.column_config.NumberColumn
    columns = [n for n in table.column_names if n != "identity_gap" or table[n].null_count < table.num_rows]
    st.dataframe(
        table,
        key="matched-heads",
        column_order=columns,
        hide_index=True,
        height="content",
        alt=f"The partner of {c.head} in every other run at step {at}",
        column_config={
            "run": st.column_config.TextColumn("Run", width="medium"),
            "match": st.column_config.TextColumn("Partner", pinned=True),
            "excess": number(
                "Excess", format="%.3f", help="Correlation less that of partners under the null"
            ),
            "similarity": number(
                "Similarity", format="%.3f", help="Correlation of what both heads do, −1 to 1"
            ),
            "null_mean": number(
                "Null", format="%.3f", help="Of partners when signatures are rotated, or numbers permuted"
            ),
            "beyond": st.column_config.TextColumn("Beyond", help="Above the 99th percentile of the null"),
            "score": number(
                "Its score", format="%.3f", help=f"{c.measure} of the partner, at step {c.step:,}"
            ),
            "how": st.column_config.TextColumn(
                "Compared", help="By number where both runs began with the same weights"
            ),
            "identity_gap": number(
                "Identity gap",
                format="%.3f",
                help="How much more alike partners by what they do are than heads of one number, over the whole pair of runs",
            ),
            "page": st.column_config.LinkColumn("Its page", display_text="open"),
        },
    )
    with under(matches_in_words(rows, c.head, at)):
        share_answer(found, link=page.link, name=f"matched_heads_{c.head}")
    missing, fine = sorted_limits(found.limits)
    if n_runs > len(runs):
        missing = [
            f"{len(runs)} of {n_runs} runs are matched, at most {MOST_RUNS}; choose others in the sidebar.",
            *missing,
        ]
    say(missing, [f"All heads: {found.sentence}", *fine], CANNOT)


def _scores(page: HeadsPage) -> HeadScores | None:
    """Scores of all runs drawn at the slider's step; None where there are none to compare."""
    try:
        return ask(
            page.archive,
            head_scores,
            runs=page.drawn,
            measure=page.chosen.measure,
            step=page.choices.step,
            **page.which,
        )
    except (NotComparable, UsageError):
        return None
