"""Curves: any scalar over training, one thin line a run, mean and interval over everything but the seed."""

from collections.abc import Sequence
from functools import partial

import streamlit as st

from archive.errors import NotComparable, UsageError
from archive.store import Archive
from queries.loss_curves import LossCurves, loss_curves
from queries.reading.select import select_runs
from ui.menu import PLOTLY, share, under
from ui.models.address import permalink
from ui.models.curves.figure import curve_figure, cut_intervals, figure_in_words, hidden_values
from ui.models.curves.page import (
    Choices,
    as_csv,
    drawable,
    ends,
    notes,
    parameters,
    points_per_run,
)
from ui.models.series import Series, Variant, catalogue, first_measure, run_names, runs_with
from ui.models.suspects import in_use, in_use_words, suspects
from ui.models.text import escape_markdown, shorten
from ui.pickers import run_pickers
from ui.state import ask, show
from ui.view import view
from ui.widgets import empty_archive, headline, here, warn


@view(title="Curves", order=10, section="Training", icon=":material/show_chart:", url_path="curves")
def render(archive: Archive) -> None:
    """Any scalar over training: every seed drawn, with mean and interval on top."""
    known = {series.measure: series for series in ask(archive, catalogue)}
    headline("Curves")
    if not known:
        empty_archive(archive)
        return
    runs = ask(archive, run_names)
    with st.sidebar:
        chosen = run_pickers(runs)
    with st.container(horizontal=True, vertical_alignment="bottom", gap="small"):
        series, variant, parts = _what(known)
    with st.container(horizontal=True, vertical_alignment="bottom", gap="medium"):
        axis, x_scale, y_scale, colour_by = _how(has_tokens=any(r.has_tokens for r in runs))
    choices = Choices(
        measure=series.measure,
        part=parts,
        variant=variant.label,
        family=chosen.family,
        condition=chosen.condition,
        run=chosen.run,
        axis=axis,
        x_scale=x_scale,
        y_scale=y_scale,
        colour_by=colour_by,
        excluded=chosen.excluded,
        suspect=chosen.suspect,
    )
    try:
        _answer(archive, series, variant, choices)
    except (NotComparable, UsageError) as error:
        warn(error)


def _what(known: dict[str, Series]) -> tuple[Series, Variant, tuple[str, ...]]:
    names = list(known)
    first = first_measure(list(known.values()))
    measure = st.selectbox(
        "Measure", names, index=names.index(first), key="measure", bind="query-params", width=260
    )
    series = known[measure]
    variant = series.variants[0]
    if len(series.variants) > 1:
        label = st.selectbox(
            "Variant",
            [v.label for v in series.variants],
            key="variant",
            bind="query-params",
            width=320,
            help="Numbers of different eval sets, parameters or sources are never drawn as if they were one. "
            "The variant on most runs comes first.",
        )
        variant = series.variant(label)
    part: list[str] = []
    if len(variant.parts) > 1:
        part = st.multiselect(
            variant.part_kind.capitalize() or "Part",
            [p for p in variant.parts if p],
            default=[p for p in variant.default_parts if p],
            key="part",
            bind="query-params",
            placeholder="the whole" if "" in variant.parts else "choose one or more",
            max_selections=4,
            width=320,
        )
    return series, variant, tuple(part)


def _how(*, has_tokens: bool) -> tuple[str, str, str, str]:
    scales = ["linear", "log"]
    axis = "step"
    if has_tokens:
        axis = st.segmented_control(
            "Against", ["step", "tokens"], default="step", key="axis", bind="query-params", required=True
        )
    x_scale = st.segmented_control(
        "x axis", scales, default="log", key="x_scale", bind="query-params", required=True
    )
    y_scale = st.segmented_control(
        "y axis", scales, default="linear", key="y_scale", bind="query-params", required=True
    )
    colour_by = st.segmented_control(
        "One colour per",
        ["condition", "run"],
        default="condition",
        key="colour_by",
        bind="query-params",
        required=True,
        help="A condition is everything but the seed; its runs share a colour, a mean and an interval.",
    )
    return axis, x_scale, y_scale, colour_by


def _answer(archive: Archive, series: Series, variant: Variant, choices: Choices) -> None:
    parts = choices.part or (("",) if "" in variant.parts else ("auto",))
    having = ask(archive, runs_with, quantity_ids=variant.quantity_ids)
    selected = ask(archive, select_runs, choices.selection).only(having)
    selection, n_drawn, n_groups = drawable(selected, choices, len(parts))
    n_points = points_per_run(len(selected.runs) * len(parts))
    asked = [parameters(series, choices, selection, part) for part in parts]
    answers = [ask(archive, loss_curves, **p, max_points=n_points) for p in asked]
    # what training loops logged is of no checkpoint
    known = ask(archive, suspects) if choices.suspect and asked[0]["origin"] == "checkpoint" else []
    used = in_use(known, [a.table for a in answers])
    figure = curve_figure(
        answers,
        x_scale=choices.x_scale,
        y_scale=choices.y_scale,
        colour_by=choices.colour_by,
        in_use=used,
    )
    st.plotly_chart(
        figure,
        key="curves",
        config=PLOTLY,
        alt=figure_in_words(answers, x_scale=choices.x_scale, y_scale=choices.y_scale),
    )
    link = permalink(here(), choices)
    with st.container(horizontal=True, horizontal_alignment="distribute", vertical_alignment="center"):
        st.caption(_key(answers, choices))
        share(
            link=link,
            python="\n".join(a.python for a in answers),
            sql=";\n\n".join(a.sql for a in answers),
            csv=lambda: as_csv([loss_curves(archive, **p) for p in asked]),
            name=shorten(series.measure, 60).replace(" ", "_"),
        )
    # one colour a run draws no mean
    bands = [a.bands for a in answers] if choices.colour_by == "condition" else []
    for line in in_use_words(used):
        st.caption(escape_markdown(line))
    _limits(answers, choices, n_drawn, n_groups, cut=cut_intervals(figure, bands))
    _ends(answers, link)


def _key(answers: Sequence[LossCurves], choices: Choices) -> str:
    if choices.colour_by == "run":
        return "One line a run; no mean is drawn."
    summaries = [a.summary for a in answers if a.summary is not None]
    if not any(n > 1 for summary in summaries for n in summary["n_runs"].to_pylist()):
        return "One line a run; a mean and its interval take two runs of a condition."
    return f"Thin lines are runs. Thick lines and bands: mean and {answers[0].ci_level:.0%} interval over the runs."


def _ends(answers: Sequence[LossCurves], link: str) -> None:
    level = f"{answers[0].ci_level:.0%}"
    table = ends(answers)
    number = partial(st.column_config.NumberColumn, format="%.4g")
    st.dataframe(
        table,
        key="ends",
        hide_index=True,
        alt="Mean and interval of each curve at the last point that all of its runs have",
        column_config={
            "curve": "Curve",
            "group": st.column_config.TextColumn("Condition", width="medium"),
            "n_runs": "Runs",
            "step": st.column_config.NumberColumn("Last step of all", format="localized"),
            "tokens_seen": st.column_config.NumberColumn("Last tokens of all", format="compact"),
            "mean": number("Mean"),
            "low": number(f"{level} low"),
            "high": number(f"{level} high"),
            "sd": number("SD over runs"),
        },
    )
    with under("Where the curves end: at the last point that all runs of a condition have."):
        share(
            link=link,
            python="\n".join(f"{a.python}.summary" for a in answers),
            sql=";\n\n".join(a.sql for a in answers),
            csv=lambda: table,
            name="ends_of_curves",
        )


def _limits(
    answers: Sequence[LossCurves], choices: Choices, n_drawn: int, n_groups: int, *, cut: int
) -> None:
    """What is not in the picture, always in sight, and what the picture cannot tell."""
    hidden = hidden_values(answers) if choices.y_scale == "log" else 0
    told, fine = notes(answers, n_drawn=n_drawn, n_groups=n_groups, hidden=hidden, cut=cut)
    for line in told:
        st.caption(f":material/info: {escape_markdown(line)}")
    if fine:
        with st.expander("What this picture cannot tell"):
            st.markdown("\n".join(f"- {escape_markdown(line)}" for line in fine))


if __name__ == "__main__":
    show(render)
