"""Two tables of the Benchmarks page: small models that beat large ones, and results that decline late in training."""

from collections.abc import Sequence
from functools import partial
from typing import Literal

import pyarrow as pa
import streamlit as st

from archive.errors import NotComparable, UsageError
from queries.benchmark_curves import benchmark_curves
from queries.smaller_beats_larger import SmallerBeatsLarger, smaller_beats_larger
from ui.menu import share, share_answer, under
from ui.models.benchmarks.page import FINAL
from ui.models.benchmarks.tables import (
    CORRECTIONS,
    MOST_ROWS,
    beaten,
    beaten_conditions,
    beaten_in_words,
    beaten_key,
    declines,
    declines_in_words,
)
from ui.models.grokking.progress import sorted_limits
from ui.models.text import count, plural
from ui.parts.benchmarks.page import BenchmarkPage
from ui.state import ask
from ui.widgets import CANNOT, say, warn

_NUMBER = partial(st.column_config.NumberColumn, format="%.4g")
_STEP = partial(st.column_config.NumberColumn, format="localized")


def draw_beaten(page: BenchmarkPage) -> None:
    """Every comparison in which the smaller model is ahead, at the slider's step, corrected for their number."""
    final = page.choices.step == FINAL
    at: int | Literal["final"] = "final" if final else int(page.choices.step)
    correction = page.choices.correction
    n = page.models.sizes.count(None)
    unsized = [f"{plural(n, 'model')} of unknown size not compared."] if n else []
    try:
        found = ask(
            page.archive,
            smaller_beats_larger,
            runs=page.sized,
            tasks=page.known.every_task,
            metric=page.known.metric,
            shots=page.known.n_shots,
            series=page.known.series_asked,
            step=at,
            correction="holm" if correction == CORRECTIONS[0] else "bh",
            **page.which,
        )
    except (NotComparable, UsageError) as error:
        say([str(error), *unsized], [], CANNOT)
        return
    shown, n_ahead = beaten(found)
    adjusted = "Adjusted p" if correction == CORRECTIONS[0] else "q"
    if n_ahead:
        st.dataframe(
            shown,
            key="beaten",
            hide_index=True,
            height="content" if n_ahead <= 10 else 390,
            on_select=partial(_take_task, "beaten", shown["task"].to_pylist()),
            selection_mode="single-row",
            placeholder="",
            alt=beaten_in_words(shown, n_ahead),
            column_config={
                "task": st.column_config.TextColumn("Task", pinned=True, width=190),
                "smaller": st.column_config.TextColumn("Smaller", width=150),
                "larger": st.column_config.TextColumn("Larger", width=150),
                "smaller_value": _NUMBER("Value of smaller"),
                "larger_value": _NUMBER("Of larger"),
                "difference": _NUMBER("Ahead by"),
                "se": _NUMBER("± se", format="%.2g"),
                "z": _NUMBER(
                    "z", format="%.3g", help="In standard errors that hold if both were equally good"
                ),
                "p": _NUMBER("p", format="%.2g", help="One-sided, of this comparison alone"),
                "p_adjusted": _NUMBER(adjusted, format="%.2g", help="Of all comparisons together"),
                "found": st.column_config.CheckboxColumn("Beyond chance"),
            },
        )
    where = "at each model's last step" if final else f"at step {at:,}"
    with under(beaten_key(found, correction, where)):
        share_answer(found, link=page.link, name="smaller_beats_larger")
    groups = beaten_conditions(found)
    if groups.num_rows:
        _by_condition(page, found, groups, adjusted)
    missing, fine = sorted_limits(found.limits)
    say([*_cut(n_ahead), *unsized, *_news(missing)], fine, CANNOT)


def _by_condition(page: BenchmarkPage, found: SmallerBeatsLarger, groups: pa.Table, adjusted: str) -> None:
    with st.expander("By condition, over all pairs of runs"):
        st.dataframe(
            groups,
            key="beaten_conditions",
            hide_index=True,
            height="content" if groups.num_rows <= 10 else 390,
            alt="Per task and pair of conditions: pairs of runs, in how many the smaller is ahead, mean and largest difference",
            column_config={
                "task": st.column_config.TextColumn("Task", pinned=True),
                "smaller_group": "Smaller",
                "larger_group": "Larger",
                "n_pairs": _STEP("Pairs of runs"),
                "n_ahead": _STEP("Smaller ahead"),
                "n_found": _STEP("Beyond chance"),
                "mean_difference": _NUMBER("Mean difference"),
                "largest": _NUMBER("Largest"),
                "p_adjusted": _NUMBER(f"Smallest {adjusted[0].lower()}{adjusted[1:]}", format="%.2g"),
            },
        )
        with under("A row a task and pair of conditions, over all of their pairs of runs."):
            share(
                link=page.link,
                python=f"{found.python}.summary",
                sql=found.sql,
                csv=lambda: groups if found.summary is None else found.summary,
                name="smaller_beats_larger_by_condition",
            )


def draw_declines(page: BenchmarkPage) -> None:
    """Every curve of every task that was better before its last checkpoint."""
    try:
        found = ask(
            page.archive,
            benchmark_curves,
            runs=page.runs.selection,
            task=page.known.every_task,
            metric=page.known.metric,
            shots=page.known.n_shots,
            series=page.known.series_asked,
            **page.which,
        )
    except (NotComparable, UsageError) as error:
        warn(error)
        return
    shown, n_fallen = declines(found)
    if n_fallen:
        st.dataframe(
            shown,
            key="declines",
            hide_index=True,
            height="content" if n_fallen <= 10 else 390,
            on_select=partial(_take_task, "declines", shown["task"].to_pylist()),
            selection_mode="single-row",
            placeholder="",
            alt=declines_in_words(shown, n_fallen),
            column_config={
                "task": st.column_config.TextColumn("Task", pinned=True, width=190),
                "run": st.column_config.TextColumn("Run", width=170),
                "best": _NUMBER("Best"),
                "best_se": _NUMBER("se of best", format="%.2g"),
                "best_step": _STEP("Its step"),
                "final": _NUMBER("Final"),
                "final_se": _NUMBER("se of final", format="%.2g"),
                "final_step": _STEP("Final step"),
                "decline": _NUMBER("Lost"),
                "decline_in_se": _NUMBER(
                    "In se", format="%.3g", help="Best less final, in standard errors of the difference"
                ),
                "p": _NUMBER(
                    "p",
                    format="%.2g",
                    help="Of no checkpoint being truly better than the last; pays for the choice",
                ),
                "q": _NUMBER(
                    "q", format="%.2g", help="Over all curves of this table and those that did not fall"
                ),
                "declined": st.column_config.CheckboxColumn("Beyond chance"),
            },
        )
    with under(f"{found.sentence}{' A row opens its task above.' if n_fallen else ''}"):
        share(
            link=page.link,
            python=found.python,
            sql=found.sql,
            csv=lambda: found.summary if found.summary is not None else found.table,
            name="late_declines",
        )
    missing, fine = sorted_limits(found.limits)
    say([*_cut(n_fallen), *_news(missing)], fine, CANNOT)


def _cut(n_rows: int) -> list[str]:
    return (
        [f"The first {MOST_ROWS} of {count(n_rows)} rows; the CSV has all of them."]
        if n_rows > MOST_ROWS
        else []
    )


def _news(missing: Sequence[str]) -> list[str]:
    """What the figures above have not said already."""
    return [line for line in missing if "asked for have no such measure" not in line]


def _take_task(key: str, tasks: Sequence[str]) -> None:
    rows = st.session_state[key].selection.rows
    if rows:
        st.session_state["task"] = [tasks[rows[0]]]
