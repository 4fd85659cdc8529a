"""Detected changes: the table, the test behind a switch, and the series that was chosen with its control."""

from collections.abc import Mapping, Sequence

import pyarrow as pa
import streamlit as st

from archive.errors import NotComparable, UsageError
from queries.phase_transitions import PhaseTransitions, phase_transitions
from queries.stats.transitions import NOT_TESTED
from ui.menu import PLOTLY, share, under
from ui.models.grokking.progress import sorted_limits
from ui.models.text import escape_markdown, plural, shorten
from ui.models.transitions.curve import Panel, curve_figure, figure_in_words, panel_of
from ui.models.transitions.measures import Kind
from ui.models.transitions.page import asked_of, csv_rows, partner_of
from ui.models.transitions.table import MOST_ROWS, Row, headline_of, row_in_words, shown_table
from ui.parts.transitions.page import TransitionsPage
from ui.state import ask
from ui.widgets import CANNOT, say, warn

FACTS = (
    "measure",
    "series",
    "run",
    "onset",
    "midpoint",
    "between",
    "width",
    "share",
    "share_most",
    "spacing",
    "n_points",
)
TESTED = (
    "measure",
    "series",
    "run",
    "class",
    "q",
    "q_discrete",
    "q_linear",
    "midpoint",
    "width",
    "share",
    "share_most",
    "why",
)


def tested_of(page: TransitionsPage) -> dict[str, PhaseTransitions]:
    """What the test says, by measure; what it refuses is said in its place."""
    found = {}
    for kind in page.chosen:
        if kind.label not in page.described:
            continue
        asked = asked_of(
            kind,
            page.used,
            parts=page.choices.parts,
            suspect=page.runs.suspect,
            describe_only=False,
            pair=True,
        )
        try:
            with st.spinner(f"Testing {escape_markdown(kind.label)} against smooth curves …", show_time=True):
                found[kind.label] = ask(page.archive, phase_transitions, **asked)
        except (NotComparable, UsageError) as error:
            warn(error)
    return found


def draw_table(page: TransitionsPage, rows: Sequence[Row], tested: Mapping[str, PhaseTransitions]) -> None:
    """Every series; a row chooses it for the figure above."""
    table = shown_table(rows)
    number = st.column_config.NumberColumn
    text = st.column_config.TextColumn
    several = len(page.described) > 1
    columns = [c for c in (TESTED if tested else FACTS) if several or c != "measure"]
    unknown = {c for c in ("q_discrete",) if table[c].null_count == table.num_rows}
    st.dataframe(
        table,
        key="changes",
        placeholder="—",
        column_order=[c for c in columns if c not in unknown],
        hide_index=True,
        height=420 if table.num_rows > 10 else "content",
        on_select=lambda: _take_row(rows),
        selection_mode="single-row",
        alt="Series with onset, midpoint, width, the share that one octave holds, and what the test says",
        column_config={
            "measure": text("Measure"),
            "series": text("Part", pinned=True),
            "run": text("Run", width="medium"),
            "onset": number(
                "Onset by", format="localized", help="The first checkpoint at which 10% of the change is done"
            ),
            "midpoint": number(
                "Midpoint by", format="localized", help="The first checkpoint at which half of it is done"
            ),
            "between": text("Midpoint lies in", help="After the one checkpoint and by the other"),
            "width": text(
                "Width [octaves]",
                help="From 10 to 90% of the change: least and most that the checkpoints allow",
            ),
            "share": number(
                "In one octave",
                format="percent",
                help="The least of the change that one octave of steps holds",
            ),
            "share_most": number(
                "at most", format="percent", help="The most that one octave may hold between checkpoints"
            ),
            "class": text(
                "Verdict",
                help="major: half of the change within one octave; minor: more than smooth curves have; "
                "metric only: the discrete metric is sharp, the continuous one is not; axis only: sharp in linear time only",
            ),
            "q": number(
                "q",
                format="%.2g",
                help="Of the continuous metric in octaves (log axis), over all series of the measure",
            ),
            "q_discrete": number(
                "q, discrete", format="%.2g", help="Of the discrete metric of the pair, such as accuracy"
            ),
            "q_linear": number(
                "q, linear axis",
                format="%.2g",
                help="In windows of 5% of linear time, where nearly everything looks sharp",
            ),
            "why": text("Why not", width="large"),
            "spacing": number(
                "Spacing [octaves]",
                format="%.2g",
                help="Widest gap between checkpoints there: no smaller width can be claimed",
            ),
            "n_points": number("Points", format="localized"),
        },
    )
    answers = tested or page.described
    with under(f"{headline_of(rows)} A row chooses its series for the figure below."):
        share(
            link=page.link,
            python="\n".join(a.python for a in answers.values()),
            sql=";\n\n".join(a.sql for a in answers.values()),
            csv=lambda: pa.Table.from_pylist(csv_rows(answers)),
            name="phase_transitions",
        )
    missing, fine = sorted_limits(
        [line for a in answers.values() for line in a.limits if NOT_TESTED not in line]
    )
    cut = (
        [f"The first {MOST_ROWS} of {len(rows)} series; the CSV has all of them."]
        if len(rows) > MOST_ROWS
        else []
    )
    say([*page.used.words, *cut, *missing], [*_resolution(rows), *fine], "What this table cannot tell")
    _conditions(page, tested)


def draw_series(page: TransitionsPage, rows: Sequence[Row]) -> None:
    """The chosen series with the smooth curve it is held against, and the other member of its metric pair."""
    choices = page.choices
    row = next((r for r in rows if (r["run"], _name(r)) == (choices.focus, choices.series)), rows[0])
    kind = next(k for k in page.chosen if k.label == row["measure"])
    main = panel_of(page.described[kind.label], row["run"], row["series"])
    control = _control(page, kind, row)
    panels = [p for p in (main, control) if p is not None]
    st.plotly_chart(
        curve_figure(panels, x_scale=choices.x_scale, y_scale=choices.y_scale),
        key="series_curve",
        config=PLOTLY,
        alt=figure_in_words(panels, row["run"]),
    )
    words = (
        f"{shorten(row['run'], 80)}. Band: from before the onset to 90% of the change; darker where the midpoint lies; "
        "dotted: 10% is done."
    )
    if any(panel.is_fitted for panel in panels):
        words += " Dashed: the best of the smooth curves (powers, exponentials, logarithms, wide sigmoids)."
    with under(words):
        page.share(page.described[kind.label], "transition")
    st.markdown(escape_markdown(row_in_words(row)))
    missing = []
    if choices.y_scale == "log" and (hidden := sum(p.hidden for p in panels)):
        missing.append(f"{plural(hidden, 'value')} at or below 0 have no place on a log axis.")
    if control is None and partner_of(kind.measure):
        missing.append(f"{partner_of(kind.measure)} of the same answers is not there to compare with.")
    if main is not None and len(main.steps) < main.n_points:
        missing.append(f"{len(main.steps)} of {main.n_points} points are drawn; the CSV has all of them.")
    fine = [
        "On a linear axis nearly every curve looks sharp, and a discrete metric is sharp where items are alike: a "
        "transition has to be one of the continuous metric on the log axis.",
        "Onset, midpoint and width use the end of training: they describe a change and never predict one.",
        "The dashed curve is the best fit of all families; that a curve leaves it says nothing before it is tested.",
    ]
    say(missing, fine, CANNOT)


def series_of(rows: Sequence[Row]) -> tuple[list[str], dict[str, list[str]]]:
    """(runs, series of each run), the first row's first."""
    by_run: dict[str, list[str]] = {}
    for row in rows:
        by_run.setdefault(row["run"], []).append(_name(row))
    return list(by_run), by_run


def _control(page: TransitionsPage, kind: Kind, row: Row) -> Panel | None:
    """The other member of the metric pair on the same eval set; None where that is not there."""
    others = [k for k in page.known if k.measure == partner_of(kind.measure)]
    alike = [k for k in others if k.which == kind.which] or (others if len(others) == 1 else [])
    if not alike:
        return None
    asked = asked_of(
        alike[0],
        page.used,
        parts=page.choices.parts,
        suspect=page.runs.suspect,
        describe_only=True,
        pair=False,
    )
    try:
        return panel_of(ask(page.archive, phase_transitions, **asked), row["run"], row["series"])
    except (NotComparable, UsageError):
        return None


def _name(row: Row) -> str:
    """What the picker of series calls a row."""
    return " · ".join(w for w in (row["measure"], row["series"]) if w)


def _take_row(rows: Sequence[Row]) -> None:
    taken = st.session_state["changes"].selection.rows
    if taken:
        row = rows[taken[0]]
        st.session_state["focus"] = row["run"]
        st.session_state["series"] = _name(row)


def _resolution(rows: Sequence[Row]) -> list[str]:
    """Where checkpoints are too sparse for a width."""
    wide = [r for r in rows if r["midpoint_octaves"] is not None and r["midpoint_octaves"] > 2 / 3]
    if not wide:
        return []
    return [
        f"{plural(len(wide), 'series', 'series')} have checkpoints more than 2/3 octave apart around the midpoint: there the "
        "place is known, a width is not."
    ]


def _conditions(page: TransitionsPage, tested: Mapping[str, PhaseTransitions]) -> None:
    """Per condition how many runs have a transition, with the verdict as the query says it."""
    tables = []
    for label, answer in tested.items():
        found = page.overview(answer, "group")
        if found is not None:
            tables.append(found.add_column(0, "measure", pa.array([label] * found.num_rows, pa.string())))
    if tables:
        table = pa.concat_tables(tables, promote_options="default")
        st.dataframe(
            table,
            key="conditions",
            placeholder="—",
            hide_index=True,
            height="content",
            alt="Per condition and series how many resolved runs have a major transition, with the verdict",
        )
        with under("How many of its runs have a transition, with the verdict of the question."):
            share(
                link=page.link,
                python="\n".join(f"{a.python}.overview()" for a in tested.values()),
                sql=";\n\n".join(a.sql for a in tested.values()),
                csv=lambda: table,
                name="transitions_by_condition",
            )
