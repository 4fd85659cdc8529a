"""What changes together: series in transition step by step, circuits, positions and single tokens."""

from collections.abc import Mapping, Sequence

import streamlit as st

from archive.errors import NotComparable, UsageError
from queries.circuit_transition_rate import CircuitTransitionRate, circuit_transition_rate
from queries.phase_transitions import PhaseTransitions
from queries.quanta_histogram import QuantaHistogram, quanta_histogram
from queries.transitions_per_position import TransitionsPerPosition, transitions_per_position
from ui.menu import CAMERA_ONLY, share, under
from ui.models.grokking.progress import sorted_limits
from ui.models.transitions.page import SECONDS_PER_RUN_OF_TOKENS, duration
from ui.models.transitions.table import Row
from ui.models.transitions.together import (
    MOST_LINES,
    counts_table,
    in_transition,
    positions_figure,
    together_figure,
    together_in_words,
)
from ui.models.transitions.tokens import MOST_RUNS, tokens_figure
from ui.parts.transitions.page import TransitionsPage
from ui.state import ask
from ui.widgets import CANNOT, say, to_fill, warn

TOKENS = 1000  # of the eval set: enough for a share of a few per cent, in seconds a run


def draw_series_together(
    page: TransitionsPage, rows: Sequence[Row], tested: Mapping[str, PhaseTransitions]
) -> None:
    """The share of tested series that are in an octave with a transition, by step."""
    st.markdown("**Series in transition, step by step**")
    found = in_transition(rows)
    if not found:
        words = (
            "None of these series could be tested."
            if tested
            else "The test above says which series have a transition."
        )
        st.caption(words)
        return
    lines = together_in_words(found, max(a.fdr for a in tested.values()))
    st.plotly_chart(
        together_figure(found, x_scale=page.choices.x_scale),
        key="together",
        config=CAMERA_ONLY,
        alt=" ".join(lines),
    )
    with under(" ".join(lines)):
        share(
            link=page.link,
            python="\n".join(a.python for a in tested.values()),
            sql=";\n\n".join(a.sql for a in tested.values()),
            csv=lambda: counts_table(found),
            name="in_transition",
        )
    fine = [
        "A series counts during the octave that holds most more than its smooth curve; series that cannot be told are in the "
        "number tested, so the share is a least one.",
        "Series of one run are not independent: what the run does at once, such as the end of its warm-up, moves all of them.",
        "Measures that were chosen because they jump say nothing of all measures.",
    ]
    say([], fine, CANNOT)


def draw_circuits(page: TransitionsPage) -> None:
    """How many of the heads with a role came to it within an octave."""
    st.markdown("**Circuits**")
    try:
        answer: CircuitTransitionRate = ask(
            page.archive,
            circuit_transition_rate,
            runs=page.used.selection,
            task=page.choices.circuits_of,
            **page.suspect,
        )
    except NotComparable as error:
        warn(error)
        return
    except UsageError as error:
        scores = (
            "--fill head.prefix_matching --fill head.previous_token"
            if page.choices.circuits_of == "induction"
            else "--fill head.logit_attribution --fill head.role_attention:end_to_io"
        )
        to_fill(
            "Whether circuits form suddenly needs the scores by which their heads are found:",
            f"pathscope ingest STUDY.toml {scores}",
            str(error),
        )
        return
    overview = page.overview(answer, "group")
    if overview is not None:
        st.dataframe(
            overview,
            key="circuits",
            placeholder="—",
            hide_index=True,
            height="content",
            alt="Per role and condition how many circuits formed within one octave, with interval and verdict",
        )
    with under(page.brief(answer.sentence)):
        page.share(answer, "circuit_transition_rate")
    missing, fine = sorted_limits(answer.limits)
    say([page.brief(m) for m in missing], [page.brief(f) for f in fine], "What this share cannot tell")


def draw_positions(page: TransitionsPage) -> None:
    """How many read positions are at a level, by step."""
    st.markdown("**Positions**")
    if not page.choices.position_order:
        st.caption(
            "The switch above works out when every position gets there, and whether runs agree on an order."
        )
        return
    try:
        answer: TransitionsPerPosition = ask(
            page.archive,
            transitions_per_position,
            runs=page.used.selection,
            level=page.choices.position_level,
            **page.suspect,
        )
    except NotComparable as error:
        warn(error)
        return
    except UsageError as error:
        to_fill(
            "Whether positions learn at once needs their losses:",
            "pathscope ingest STUDY.toml --fill position_loss",
            str(error),
        )
        return
    # without one that is there the figure would have nothing in it
    if "observed" in answer.table["kind"].to_pylist():
        st.plotly_chart(
            positions_figure(answer, x_scale=page.choices.x_scale),
            key="positions",
            config=CAMERA_ONLY,
            alt=f"Share of positions there by step, a line a run. {answer.sentence}",
        )
    with under(f"{answer.label}, a line a run, {answer.n_runs} runs. {answer.sentence}"):
        page.share(answer, "transitions_per_position")
    missing, fine = sorted_limits(answer.limits)
    if answer.n_runs > MOST_LINES:
        missing.insert(
            0, f"The first {MOST_LINES} of {answer.n_runs} runs are drawn; the CSV has all of them."
        )
    say([page.brief(m) for m in missing], [page.brief(f) for f in fine], CANNOT)


def token_cost(n_runs: int) -> str:
    """About how long the test of single tokens takes."""
    return duration(SECONDS_PER_RUN_OF_TOKENS * n_runs)


def draw_tokens(page: TransitionsPage) -> None:
    """How many tokens change more suddenly than smooth curves do."""
    try:
        with st.spinner("Testing tokens against smooth curves …", show_time=True):
            answer: QuantaHistogram = ask(
                page.archive,
                quanta_histogram,
                runs=page.used.selection,
                max_tokens=TOKENS,
                **page.suspect,
            )
    except (NotComparable, UsageError) as error:
        warn(error)
        return
    st.plotly_chart(
        tokens_figure(answer, x_scale=page.choices.x_scale),
        key="quanta",
        config=CAMERA_ONLY,
        alt=answer.sentence,
    )
    with under(page.brief(answer.sentence)):
        page.share(answer, "quanta_histogram")
    overview = page.overview(answer, "group")
    if overview is not None:
        st.dataframe(
            overview,
            key="quanta_shares",
            placeholder="—",
            hide_index=True,
            height="content",
            alt="Per condition the share of tokens beyond smooth curves, with the interval over runs and the verdict",
        )
    missing, fine = sorted_limits(answer.limits)
    if answer.n_runs > MOST_RUNS:
        missing.insert(
            0, f"The first {MOST_RUNS} of {answer.n_runs} runs are drawn; the CSV has all of them."
        )
    say([page.brief(m) for m in missing], [page.brief(f) for f in fine], CANNOT)
