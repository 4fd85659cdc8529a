"""When each run reaches a level: brackets, groups, whether one is earlier, and the order of events."""

from typing import Any

import streamlit as st

from archive.errors import NotComparable, UsageError
from queries.compare_transition_times import compare_transition_times
from queries.event_order import EventOrder, event_order
from queries.lead_lag import LeadLag, lead_lag
from queries.transition_times import TransitionTimes, transition_times
from ui.menu import CAMERA_ONLY, share, under
from ui.models.grokking.progress import sorted_limits
from ui.models.transitions.measures import Kind
from ui.models.transitions.when import (
    MOST_ROWS,
    Group,
    drawn_rows,
    groups_of,
    summary_table,
    when_figure,
    when_in_words,
)
from ui.parts.transitions.page import TransitionsPage
from ui.state import ask
from ui.widgets import CANNOT, say, warn

MOST_GROUPS = 12  # compared in pairs


def draw_times(page: TransitionsPage, kind: Kind, *, direction: str) -> None:
    """A row a run under its group, and the groups' medians."""
    choices = page.choices
    asked: dict[str, Any] = {
        "runs": page.used.selection,
        "measure": kind.measure,
        "part": choices.event_part or "auto",
        "level": choices.level,
        "rule": choices.rule,
        "direction": "auto" if kind.directed else direction,
        **kind.which,
        **page.suspect,
    }
    answer: TransitionTimes = ask(page.archive, transition_times, **asked)
    groups = groups_of(answer, page.short)
    st.plotly_chart(
        when_figure(groups, x_scale=choices.x_scale, unit=answer.unit),
        key="when",
        config=CAMERA_ONLY,
        alt=when_in_words(groups, answer.label),
    )
    words = (
        "Line: between these two checkpoints; the dot is the later one. ▷: not by its last checkpoint. ◆: the group's median, "
        f"with its {answer.ci_level:.0%} interval. {answer.label}, {answer.n_runs} runs."
    )
    with under(words):
        page.share(answer, "transition_times")
    _summary(page, answer, groups)
    with_runs, n_groups = drawn_rows(groups)
    missing, fine = sorted_limits(answer.limits)
    if not with_runs:
        missing.insert(
            0, f"More than {MOST_ROWS} rows: groups only; choose fewer runs in the sidebar to see each."
        )
    if n_groups < len(groups):
        missing.insert(0, f"{n_groups} of {len(groups)} groups are drawn.")
    say([*page.used.words, *missing], fine, CANNOT)
    if choices.compare:
        _compare(page, asked)


def draw_events(page: TransitionsPage) -> None:
    """Whether events come in one order in every run, and by how much each comes before the last."""
    events = page.choices.events
    if len(events) < 2:
        st.caption(
            "Name at least two events, such as accuracy\\[train\\] >= 0.99 or head.prefix\\_matching >= 0.3."
        )
        return
    asked: dict[str, Any] = {"runs": page.used.selection, "rule": page.choices.rule, **page.suspect}
    try:
        leads: LeadLag = ask(page.archive, lead_lag, measures=events[:-1], event=events[-1], **asked)
    except (NotComparable, UsageError) as error:
        warn(error)
        return
    st.dataframe(
        page.overview(leads, "group"),
        key="leads",
        placeholder="—",
        hide_index=True,
        height="content",
        alt="Per group and event in how many runs it comes before the last one, by how many octaves, and the verdict",
    )
    with under(page.brief(leads.sentence)):
        page.share(leads, "lead_lag")
    missing, fine = sorted_limits(leads.limits)
    say([page.brief(m) for m in missing], [page.brief(f) for f in fine], "What this table cannot tell")
    try:
        order: EventOrder = ask(page.archive, event_order, events=events, **asked)
    except (NotComparable, UsageError) as error:
        warn(error)
        return
    pairs = page.overview(order, "group")
    if pairs is not None:
        st.dataframe(
            pairs,
            key="order",
            placeholder="—",
            hide_index=True,
            height="content",
            alt="Per pair of events in how many runs the first certainly comes first, with the interval of that chance",
        )
    with under(page.brief(order.sentence)):
        page.share(order, "event_order")
    missing, fine = sorted_limits(order.limits)
    say([page.brief(m) for m in missing], [page.brief(f) for f in fine], "What these orders cannot tell")


def _summary(page: TransitionsPage, answer: TransitionTimes, groups: list[Group]) -> None:
    number = st.column_config.NumberColumn
    level = f"{answer.ci_level:.0%}"
    table = summary_table(groups)
    st.dataframe(
        table,
        key="medians",
        placeholder="—",
        hide_index=True,
        height="content",
        alt="Per group how many runs got there, the median with its interval, and the spread between runs",
        column_config={
            "group": st.column_config.TextColumn("Condition", width="medium"),
            "reached": st.column_config.TextColumn("Runs there"),
            "median": number("Median step", format="localized"),
            "low": number(f"{level} low", format="localized"),
            "high": number(f"{level} high", format="localized"),
            "sd": number(
                "SD [octaves]", format="%.2g", help="Between runs, by a log-normal fit to the brackets"
            ),
            "detectable": number(
                "Detectable [octaves]",
                format="%.2g",
                help="Another group of as many runs would have to be so much earlier or later to be found",
            ),
            "how": st.column_config.TextColumn("Median by"),
        },
    )
    with under("Medians and spread over the runs of a group."):
        share(
            link=page.link,
            python=f"{answer.python}.summary",
            sql=answer.sql,
            csv=lambda: table,
            name="transition_medians",
        )


def _compare(page: TransitionsPage, asked: dict[str, Any]) -> None:
    """Groups against one another, where there are several."""
    by = page.choices.group_by
    try:
        answer = ask(page.archive, compare_transition_times, group_by=by, **asked)
    except (NotComparable, UsageError) as error:
        warn(error)
        return
    if answer.groups.num_rows < 2:
        return
    st.markdown(f"**Is one {by} earlier?**")
    if answer.groups.num_rows <= MOST_GROUPS:
        st.dataframe(
            page.overview(answer, "earlier", "later"),
            key="compared",
            placeholder="—",
            hide_index=True,
            height="content" if answer.groups.num_rows < 5 else 320,
            alt="Per pair of groups how many octaves the second is later, with interval, p and verdict",
        )
    with under(
        page.brief(answer.sentence)
        if answer.groups.num_rows <= 3
        else f"{answer.groups.num_rows} groups, all pairs corrected."
    ):
        page.share(answer, "compare_transition_times")
    missing, fine = sorted_limits(answer.limits)
    if answer.groups.num_rows > MOST_GROUPS:
        missing.insert(
            0, f"{answer.groups.num_rows} groups make too many pairs to read here: the CSV has the times."
        )
    say([page.brief(m) for m in missing], [page.brief(f) for f in fine], "What this comparison cannot tell")
