"""Transition times by init × split, and whose part the variation is."""

from collections.abc import Sequence
from typing import Literal

import streamlit as st

from archive.errors import NotComparable, UsageError
from queries.grokking_progress import GrokkingProgress
from queries.reading.select import Selected, select_runs
from queries.transition_times import TransitionTimes, transition_times
from queries.variance_components import variance_components
from ui.menu import CAMERA_ONLY, share, share_answer, under
from ui.models.grokking.progress import sorted_limits
from ui.models.grokking.seed_shares import MOST_GROUPS, crossed_factors, shares_figure, shares_in_words
from ui.models.grokking.transition_grid import (
    TEST_ACCURACY,
    Time,
    grid,
    grid_figure,
    grid_in_words,
    grid_notes,
    times_of_level,
    times_of_phase,
)
from ui.models.text import plural
from ui.parts.grokking.page import GrokkingPage
from ui.state import ask
from ui.widgets import CANNOT, say


def draw_times(page: GrokkingPage, progress: GrokkingProgress) -> None:
    """A row an init, a column a split, and the shares of variance where the seeds are crossed."""
    choices = page.choices
    answer: TransitionTimes | GrokkingProgress = progress
    if choices.event == TEST_ACCURACY:
        level = choices.level if choices.level is not None else 1.0
        answer = ask(
            page.archive,
            transition_times,
            runs=page.asked.selection,
            measure="accuracy",
            part="test",
            level=level,
            **page.which,
        )
        times, event = times_of_level(answer), f"test accuracy ≥ {level:g}"
    else:
        times, event = times_of_phase(progress, choices.event), choices.event
    selected = ask(page.archive, select_runs, page.asked.selection)
    found = grid(times, selected.runs)
    if not found.cells:
        say([_no_times(times, event, progress), *grid_notes(found)], [], CANNOT)
        return
    st.plotly_chart(grid_figure(found), key="times", config=CAMERA_ONLY, alt=grid_in_words(found, event))
    numbers = answer.table if isinstance(answer, TransitionTimes) else progress.ends
    with under(f"Step of {event}, {plural(found.n_runs, 'run')}. {answer.sentence}"):
        share(
            link=page.link,
            python=answer.python,
            sql=answer.sql,
            csv=lambda: numbers,
            name="transition_times",
        )
    missing, fine = sorted_limits(answer.limits)
    say([*grid_notes(found), *missing], fine, CANNOT)
    if found.is_crossed:
        _whose(page, selected)


def _whose(page: GrokkingPage, selected: Selected) -> None:
    """How much of the test loss at the slider's step is the init's, the data order's, the split's."""
    step: int | Literal["final"] = "final" if page.choices.step is None else page.choices.step
    at = "at the last step" if step == "final" else f"at step {step:,} (the slider's)"
    st.markdown(f"**Whose part is it?** Variance of log₂ test loss {at} over crossed seeds")
    try:
        found = ask(
            page.archive,
            variance_components,
            runs=page.asked.selection,
            part="test",
            step=step,
            scale="log2",
            factors=crossed_factors(selected.runs),
            **page.which,
        )
    except (NotComparable, UsageError) as error:
        say([str(error)], [], CANNOT)
        return
    st.plotly_chart(shares_figure(found), key="shares", config=CAMERA_ONLY, alt=shares_in_words(found))
    with under(found.sentence):
        share_answer(found, link=page.link, name="variance_components")
    missing, fine = sorted_limits(found.limits)
    n_groups = len(found.table["group"].unique())
    if n_groups > MOST_GROUPS:
        missing.append(f"{MOST_GROUPS} of {n_groups} conditions are drawn; choose others in the sidebar.")
    say(missing, fine, CANNOT)


def _no_times(times: Sequence[Time], event: str, progress: GrokkingProgress) -> str:
    if times:
        return "No run of these has both a known init seed and a known split seed."
    return f"The step of {event} is not known for any run. {progress.sentence}"
