"""What may be chosen on the Transitions page; every choice is in the address."""

import math
from dataclasses import dataclass

import streamlit as st

from archive.errors import NotComparable, UsageError
from archive.store import Archive
from queries.compare_transition_times import GroupBy
from queries.phase_transitions import PhaseTransitions, phase_transitions
from queries.stats.intervals import Rule
from ui.models.component_sets import component_sets
from ui.models.series import RunChoice
from ui.models.text import shorten
from ui.models.transitions.measures import Kind, chosen_of
from ui.models.transitions.page import (
    CIRCUITS,
    GROUPS,
    MAIN,
    MOST_MEASURES,
    PAIRS_AT_ONCE,
    PARTS,
    POSITIONS_AT_ONCE,
    RULES,
    SECONDS_PER_PAIR,
    Circuits,
    RunsUsed,
    asked_of,
    duration,
    event_words,
    half_way,
    pairs_of_groups,
    partner_of,
    positions_of,
    test_seconds,
)
from ui.parts.transitions.together import token_cost
from ui.pickers import scale_picker
from ui.state import ask

PREFIX = "head.prefix_matching >= 0.3"


@dataclass(frozen=True)
class Reached:
    """What counts as there, and how runs are compared by when they were. event: None without any scalar.

    level: None where there is no finite value to go by. rises: the curves go up to it.
    """

    event: Kind | None = None
    part: str = ""
    level: float | None = None
    rule: Rule = RULES[0]
    group_by: GroupBy = GROUPS[0]
    compare: bool = False
    rises: bool = True


def which_measures(there: list[Kind]) -> tuple[list[str], str]:
    """Labels of measures, and whether every part of each is a series."""
    labels = st.multiselect(
        "Measures",
        [k.label for k in there],
        default=[there[0].label],
        key="measure",
        bind="query-params",
        max_selections=MOST_MEASURES,
        format_func=lambda label: shorten(label, 70),
        width=430,
        help="Any number per checkpoint, logged step, position, head, pair of heads, prompt set or benchmark.",
    )
    parts = MAIN
    if any(k.can_split for k in chosen_of(there, labels)):
        parts = st.segmented_control(
            "Series of",
            PARTS,
            default=MAIN,
            key="parts",
            bind="query-params",
            required=True,
            help="The test split or the only part; or a series for every split, tensor and class.",
        )
    return labels, parts


def whether_to_test(described: dict[str, PhaseTransitions]) -> bool:
    """Whether to test, with what it costs."""
    seconds = test_seconds(list(described.values()))
    cost = f"up to {duration(seconds)}" if seconds else "nothing is long enough for it"
    return st.toggle(
        f"Test against smooth curves ({cost})",
        key="test",
        bind="query-params",
        help="Powers, exponentials, logarithms and wide sigmoids are fitted again in every draw of a bootstrap with serial "
        "noise. The answer is kept until the archive changes.",
    )


def which_series(runs_here: list[str], by_run: dict[str, list[str]]) -> tuple[str, str, str, str]:
    """Run, series, and the scales of both axes."""
    with st.container(horizontal=True, vertical_alignment="bottom", gap="small"):
        focus = st.selectbox("Run", runs_here, key="focus", bind="query-params", width=300)
        series = st.selectbox(
            "Series",
            by_run.get(focus, [""]),
            key="series",
            bind="query-params",
            width=280,
            help="Or choose a row of the table.",
        )
        x_scale = scale_picker("x axis", "x_scale", "log")
        y_scale = scale_picker("y axis", "y_scale", "linear")
    return focus, series, x_scale, y_scale


def what_counts(
    archive: Archive,
    runs: RunChoice,
    used: RunsUsed,
    there: list[Kind],
    chosen: list[Kind],
) -> Reached:
    """What counts as there. The level is half-way between where the curves start and end, until somebody says another."""
    scalars = [k for k in there if k.is_scalar]
    if not scalars:
        return Reached()
    first = next((k for k in chosen if k.is_scalar), scalars[0])
    with st.container(horizontal=True, vertical_alignment="bottom", gap="small"):
        event, part = _event(scalars, first)
        level, rises = _middle(archive, runs, used, event, part)
        given = st.number_input(
            "reaches",
            value=None,
            placeholder="half-way" if math.isnan(level) else f"{level:g} (half-way)",
            key="level",
            bind="query-params",
            format="%g",
            width=170,
            help="One absolute level for all runs. Half-way between the median first and last value of these runs until you "
            "say another: that knows the end of training, so it describes and does not foretell.",
        )
        rule = st.segmented_control(
            "Counts",
            RULES,
            default=RULES[0],
            key="rule",
            bind="query-params",
            required=True,
            help="The first checkpoint there, or the first from which it stays there.",
        )
        group_by = st.segmented_control(
            "Compare by",
            GROUPS,
            default=GROUPS[0],
            key="group_by",
            bind="query-params",
            required=True,
        )
        n_pairs = ask(archive, pairs_of_groups, selection=used.selection, by=group_by)
        compare = 0 < n_pairs <= PAIRS_AT_ONCE
        if n_pairs > PAIRS_AT_ONCE:
            compare = st.toggle(
                f"Compare {n_pairs:,} pairs (up to {duration(SECONDS_PER_PAIR * n_pairs)})",
                key="compare",
                bind="query-params",
                help="Exact permutation tests, corrected for all pairs. Fewer runs, chosen in the sidebar, are compared at once.",
            )
    used_level = given if given is not None else level
    at = None if math.isnan(used_level) else float(used_level)
    return Reached(event, part, at, rule, group_by, compare, rises)


def _event(scalars: list[Kind], first: Kind) -> tuple[Kind, str]:
    """The scalar that is to reach a level, and which part of it; "" where it has but one."""
    label = st.selectbox(
        "Until",
        [k.label for k in scalars],
        index=scalars.index(first),
        key="event_of",
        bind="query-params",
        format_func=lambda words: shorten(words, 60),
        width=240,
    )
    event = next(k for k in scalars if k.label == label)
    if not event.can_split:
        return event, ""
    part = st.selectbox("Part", list(event.parts), key="event_part", bind="query-params", width=140)
    return event, part


def _middle(archive: Archive, runs: RunChoice, used: RunsUsed, event: Kind, part: str) -> tuple[float, bool]:
    asked = asked_of(event, used, parts=MAIN, suspect=runs.suspect, describe_only=True, pair=False)
    if part:
        asked["part"] = part
    try:
        return half_way(ask(archive, phase_transitions, **asked))
    except (NotComparable, UsageError):
        return math.nan, True


def what_together(archive: Archive, used: RunsUsed) -> tuple[Circuits, float, bool, bool, int]:
    """Which circuits, the level of positions, whether to order them, whether to test tokens, how many runs have those."""
    sets = ask(archive, component_sets, table="fact_token")
    n_runs = min(used.n_used, max((s.n_runs for s in sets if s.measure == "token_loss"), default=0))
    positions = ask(archive, positions_of, selection=used.selection)
    position_order = positions.seconds <= POSITIONS_AT_ONCE
    tokens, position_level = False, positions.level
    with st.container(horizontal=True, vertical_alignment="bottom", gap="small"):
        circuits_of = st.segmented_control(
            "Circuits of",
            CIRCUITS,
            default=CIRCUITS[0],
            key="circuits_of",
            bind="query-params",
            required=True,
        )
        if positions.n:
            given = st.number_input(
                "Positions: loss ≤ [nats]",
                min_value=0.0,
                value=None,
                placeholder=f"{positions.level:g} ({'half-way' if positions.half_way else 'half a coin'})",
                key="position_level",
                bind="query-params",
                format="%g",
                width=200,
                help="The same level for all positions. Until you say another: 0.35, half the loss of a fair coin, where most "
                "positions end below it; else half-way between the median first and last loss of these runs, which knows the "
                "end of training, so it describes and does not foretell.",
            )
            position_level = positions.level if given is None else float(given)
        if positions.seconds > POSITIONS_AT_ONCE:
            position_order = st.toggle(
                f"Order the positions (about {duration(positions.seconds)})",
                key="position_order",
                bind="query-params",
                help="When every position gets there, with intervals, and whether the runs agree on an order.",
            )
        if n_runs:
            tokens = st.toggle(
                f"Test single tokens (about {token_cost(n_runs)})",
                key="tokens",
                bind="query-params",
                help="Problem 5.31: is a smooth loss the sum of many small sharp steps?",
            )
    return circuits_of, position_level, position_order, tokens, n_runs


def which_events(there: list[Kind], reached: Reached) -> tuple[str, ...]:
    """Events in words; the last is the one that the others may come before."""
    first: list[str] = []
    event, level, rises = reached.event, reached.level, reached.rises
    if event is not None and level is not None:
        names = {k.measure for k in there}
        last = event_words(event, reached.part, level, rises=rises)
        if "head.prefix_matching" in names:
            first = [PREFIX, last]
        elif len(event.parts) > 1:
            other = next(p for p in event.parts if p != reached.part)
            first = [event_words(event, other, level, rises=rises), last]
        elif partner_of(event.measure) in names:
            first = [last]
    events = st.multiselect(
        "Events; the last is the one that the others may come before",
        first,
        default=first,
        key="events",
        bind="query-params",
        accept_new_options=True,
        max_selections=6,
        placeholder="measure[part] >= level",
        help="Such as accuracy[train] >= 0.99, restricted_loss{frequencies=final}[test] <= 0.1, head.prefix_matching >= 0.3 "
        "(any head), or an event that authors give. Levels are absolute: a share of the final value would know the future.",
    )
    return tuple(events)
