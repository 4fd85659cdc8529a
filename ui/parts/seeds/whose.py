"""Whose part it is: shares of variance of init and data order where seeds are crossed, and the path-dependence index."""

from typing import Literal

import streamlit as st

from archive.errors import NotComparable, UsageError
from queries.path_dependence import path_dependence
from queries.reading.quantities import Which
from queries.reading.select import select_runs
from queries.results import Answer
from queries.variance_components import variance_components
from ui.menu import PLOTLY, share_answer, under
from ui.models.component_sets import ComponentSet, which_of
from ui.models.grokking.progress import sorted_limits
from ui.models.grokking.seed_shares import MOST_GROUPS, crossed_factors, shares_figure, shares_in_words
from ui.models.seeds.crossing import is_crossed
from ui.models.seeds.index import index_figure, index_in_words
from ui.models.series import catalogue
from ui.models.text import escape_markdown
from ui.models.transitions.groups import in_few_words, in_short
from ui.parts.seeds.page import SeedsPage, asked_for
from ui.state import ask
from ui.widgets import CANNOT, say, to_fill, warn

CROSS = "pathscope ingest STUDY.toml"
BESIDE = 0.3  # seconds that it may add to every move of the slider unasked
PER_LOSS = 0.8e-6  # seconds of the index per token and run, with its floor and its other cuts of difficulty


def draw_whose(
    page: SeedsPage, losses: ComponentSet | None, step: int | None, n_tokens: int, n_runs: int
) -> None:
    """Shares in the loss, and how far apart runs are against chance."""
    st.subheader("Whose part is it?", anchor=False)
    _shares(page, step)
    if losses is not None and step is not None:
        _index(page, losses, step, PER_LOSS * n_tokens * n_runs * 3)


def _shares(page: SeedsPage, step: int | None) -> None:
    """Init, data order, split and what they do together, of the loss of runs whose seeds are crossed."""
    selected = ask(page.archive, select_runs, runs=page.runs.selection)
    factors = crossed_factors(selected.runs)
    series = next((s for s in ask(page.archive, catalogue) if s.measure == "loss"), None)
    if series is None or not is_crossed(selected.runs, factors):
        to_fill(
            "Shares of init and data order need runs in which each init meets each data order. A study whose [seeds] have "
            'mode = "crossed" trains them:',
            CROSS,
        )
        return
    variant = series.variants[0]
    part = "test" if "test" in variant.parts else "auto"
    at: int | Literal["final"] = "final" if step is None else step
    where = "the last step" if step is None else f"step {step:,}"
    st.markdown(escape_markdown(f"Variance of the loss at {where} over crossed seeds"))
    which = Which(**variant.which, with_suspect=True) if page.runs.suspect else variant.which
    try:
        found = ask(
            page.archive,
            variance_components,
            runs=page.runs.selection,
            part=part,
            step=at,
            factors=factors,
            **which,
        )
    except (NotComparable, UsageError) as error:
        warn(error)
        return
    st.plotly_chart(shares_figure(found), key="shares", config=PLOTLY, alt=shares_in_words(found))
    _below(page, found, "variance_components")
    n_groups = len(found.table["group"].unique())
    missing, fine = sorted_limits(found.limits)
    if n_groups > MOST_GROUPS:
        missing.append(f"{MOST_GROUPS} of {n_groups} conditions are drawn; choose others in the sidebar.")
    say(missing, fine, CANNOT)


def _index(page: SeedsPage, losses: ComponentSet, step: int, seconds: float) -> None:
    """How far repeated runs differ token by token, against chance and against a run's own checkpoint before."""
    if not asked_for("Work out how far apart repeated runs are", "index", seconds, BESIDE):
        return
    try:
        found = ask(
            page.archive,
            path_dependence,
            runs=page.selection,
            step=step,
            **which_of(losses, suspect=page.runs.suspect),
        )
    except (NotComparable, UsageError) as error:
        warn(error)
        return
    st.markdown("**How far apart are repeated runs, token by token?**")
    st.plotly_chart(index_figure(found), key="path_index", config=PLOTLY, alt=index_in_words(found))
    _below(page, found, "path_dependence")
    missing, fine = sorted_limits(found.limits)
    say(missing, fine, CANNOT)


def _below(page: SeedsPage, found: Answer, name: str) -> None:
    verdict = f" Verdict: {found.verdict}." if found.verdict else ""
    short = in_few_words(found.table["group"].to_pylist())
    with under(f"{in_short(found.sentence, short)} {found.n_runs} runs.{verdict}"):
        share_answer(found, link=page.link, name=name)
