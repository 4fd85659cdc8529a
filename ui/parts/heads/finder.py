"""The grid of one run's heads, and the finder: every head in a table, the highest first."""

from collections.abc import Sequence
from dataclasses import replace

import streamlit as st

from archive.errors import NotComparable, UsageError
from queries.head_score_history import HeadScoreHistory
from queries.head_scores import HeadScores, head_scores
from ui.menu import CAMERA_ONLY, share_answer, under
from ui.models.grokking.progress import sorted_limits
from ui.models.heads.grid import grid_figure, grid_in_words, grid_notes
from ui.models.heads.page import MOST_ROWS, finder, grid, peak_of, usable_sorts
from ui.parts.heads.page import HeadsPage
from ui.state import ask
from ui.widgets import CANNOT, say, warn

# a narrow window shows the first of them
COLUMNS = {
    "one run": ("head", "value", "course", "chance", "above", "z", "peak", "peak_at"),
    "all runs": ("head", "value", "run", "chance", "above", "z"),
}
SHOWN = tuple(COLUMNS)


def draw_grid(page: HeadsPage, scores: HeadScores, history: HeadScoreHistory) -> None:
    """A cell a head; a click chooses it."""
    found = grid(scores, history, page.choices.focus)
    st.plotly_chart(
        grid_figure(found, page.choices.head, unit=page.chosen.unit),
        key="grid",
        config=CAMERA_ONLY,
        alt=grid_in_words(found, page.choices.measure),
        on_select=_take_cell,
        selection_mode="points",
    )
    words = f"Colours span the scores of all of training. Frame: {page.choices.head}. {scores.sentence}"
    with under(words):
        share_answer(scores, link=page.link, name=f"heads_step_{page.choices.step}")
    missing, fine = sorted_limits(scores.limits)
    say([*grid_notes(found), *missing], fine, CANNOT)


def draw_finder(page: HeadsPage, scores: HeadScores, history: HeadScoreHistory) -> HeadsPage:
    """The table, and the page with what was chosen above it."""
    with st.container(horizontal=True, vertical_alignment="bottom", gap="small"):
        shown = st.segmented_control(
            "Heads of", SHOWN, default=SHOWN[0], key="show", bind="query-params", required=True
        )
        sorts = usable_sorts(scores)
        sort = sorts[0]
        if len(sorts) > 1:
            sort = st.segmented_control(
                "Highest first by",
                sorts,
                default=sorts[0],
                key="sort",
                bind="query-params",
                required=True,
                help="z: how many standard errors a score lies above the level of chance.",
            )
    page = replace(page, choices=replace(page.choices, show=shown, sort=sort))
    if shown == "all runs" and len(page.measured.runs) > 1:
        try:
            scores = ask(
                page.archive,
                head_scores,
                runs=page.drawn,
                measure=page.chosen.measure,
                step=page.choices.step,
                **page.which,
            )
        except (NotComparable, UsageError) as error:
            warn(error)
            return page
    table, n_rows = finder(scores, history, sort)
    number = st.column_config.NumberColumn
    highest = max((v for v in table["value"].to_pylist() if v is not None), default=1.0)
    st.dataframe(
        table,
        key="finder",
        column_order=COLUMNS[shown],
        hide_index=True,
        height=420 if table.num_rows > 10 else "content",
        on_select=lambda: _take_row(table["run"].to_pylist(), table["head"].to_pylist()),
        selection_mode="single-row",
        alt=f"Heads with their scores of {page.choices.measure} at step {page.choices.step}, the highest first",
        column_config={
            "run": st.column_config.TextColumn("Run", width="medium"),
            "head": st.column_config.TextColumn("Head", pinned=True),
            "value": st.column_config.ProgressColumn(
                "Score", format="%.4g", min_value=0.0, max_value=highest if highest > 0 else 1.0
            ),
            "chance": number("Chance", format="%.3g"),
            "above": number("Above chance", format="%.4g"),
            "z": number("z", format="%.3g", help="(score − chance) / standard error"),
            "peak": number("Peak", format="%.4g", help="The largest score in training"),
            "peak_at": number("Peak at step", format="localized"),
            "course": st.column_config.LineChartColumn(
                "Training",
                y_min=0.0,
                y_max=peak_of(history),
                help="The score over checkpoints, all on one scale",
            ),
        },
    )
    missing = []
    if n_rows > table.num_rows:
        missing.append(f"The first {MOST_ROWS} of {n_rows} heads; the CSV has all of them.")
    if shown == "all runs":
        missing += page.not_drawn
        n_there = len(set(scores.table["run"].to_pylist()))
        n_asked = len(page.drawn.names)
        if n_there < n_asked:
            missing.append(f"{n_asked - n_there} of {n_asked} runs have no checkpoint at that very step.")
    with under("A row chooses its head for the figures above."):
        share_answer(scores, link=page.link, name="finder")
    say(missing, [], CANNOT)
    return page


def _take_cell() -> None:
    points = st.session_state["grid"].selection.points
    if points:
        taken = points[0]["customdata"]
        st.session_state["head"] = taken if isinstance(taken, str) else taken[0]


def _take_row(runs: Sequence[str], heads: Sequence[str]) -> None:
    rows = st.session_state["finder"].selection.rows
    if rows:
        st.session_state["head"] = heads[rows[0]]
        st.session_state["focus"] = runs[rows[0]]
