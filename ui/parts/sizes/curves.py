"""Any scalar over training, a line and a band a size."""

from dataclasses import replace

import pyarrow.compute as pc
import streamlit as st

from archive.errors import NotComparable, UsageError
from queries.loss_curves import LossCurves, loss_curves
from ui.menu import PLOTLY, share, under
from ui.models.address import page_address, permalink
from ui.models.bundles import measure_of
from ui.models.curves.figure import cut_intervals, draw_bundles, hidden_values, left_out
from ui.models.curves.page import Choices, as_csv, notes, points_per_run
from ui.models.series import Series, Variant, catalogue, first_measure, run_names
from ui.models.sizes.curves import (
    COMPUTE,
    FLOPS_PER_PARAMETER_AND_TOKEN,
    STEP,
    TOKENS,
    Drawn,
    axes,
    curve_notes,
    drawn_sizes,
    ends_table,
    first_part,
    of_several_sizes,
    size_bundles,
)
from ui.models.sizes.page import sizes_by_quantity
from ui.models.suspects import in_use, in_use_words, suspects
from ui.models.text import escape_markdown, shorten
from ui.parts.sizes.page import SizesPage
from ui.pickers import scale_picker
from ui.state import ask
from ui.widgets import CANNOT, here, say, warn


def draw_curves(page: SizesPage) -> SizesPage:
    """The section, and the page with what was chosen in it."""
    st.subheader("Curves by size", anchor=False)
    there = ask(page.archive, sizes_by_quantity, sizes=page.alike, tables=("fact_scalar", "fact_log"))
    known = {s.measure: s for s in of_several_sizes(ask(page.archive, catalogue), there)}
    if not known:
        st.caption("No scalar over training is there for two of these sizes.")
        return page
    with st.container(horizontal=True, vertical_alignment="bottom", gap="small"):
        series, variant, part = _what(known)
        has_tokens = all(r.has_tokens for r in ask(page.archive, run_names))
        axis, x_scale, y_scale = _how(axes(page.alike, has_tokens=has_tokens))
    page = replace(
        page,
        choices=replace(
            page.choices,
            measure=series.measure,
            curve_variant=variant.label,
            part=part,
            axis=axis,
            x_scale=x_scale,
            y_scale=y_scale,
        ),
    )
    try:
        drawn = ask(
            page.archive,
            drawn_sizes,
            sizes=page.alike,
            quantity_ids=variant.quantity_ids,
            ends=(page.small, page.large),
            excluded=page.runs.excluded,
        )
        if drawn is None:
            st.caption(escape_markdown(f"None of these sizes has {series.measure}: choose another measure."))
            return page
        _draw(page, series, variant, drawn)
    except (NotComparable, UsageError) as error:
        warn(error)
    return page


def _what(known: dict[str, Series]) -> tuple[Series, Variant, str]:
    names = list(known)
    first = first_measure(list(known.values()))
    measure = st.selectbox(
        "Measure",
        names,
        index=names.index(first),
        key="measure",
        bind="query-params",
        persist_state="page",
        width=240,
    )
    series = known[measure]
    variant = series.variants[0]
    if len(series.variants) > 1:
        label = st.selectbox(
            "Variant",
            [v.label for v in series.variants],
            key="curve_variant",
            bind="query-params",
            persist_state="page",
            width=240,
            help="Numbers of different eval sets, parameters or sources are never drawn as if they were one.",
        )
        variant = series.variant(label)
    part = first_part(variant)
    parts = [p for p in variant.parts if p]
    if len(variant.parts) > 1:
        options = [*(["the whole"] if "" in variant.parts else []), *parts]
        chosen = st.selectbox(
            variant.part_kind.capitalize() or "Part",
            options,
            index=options.index(part or "the whole"),
            key="part",
            bind="query-params",
            persist_state="page",
            width=150,
        )
        part = "" if chosen == "the whole" else chosen
    return series, variant, part


def _how(known: list[str]) -> tuple[str, str, str]:
    axis = known[0]
    if len(known) > 1:
        axis = st.segmented_control(
            "Against",
            known,
            default=STEP,
            key="axis",
            bind="query-params",
            persist_state="page",
            required=True,
            help=f"Compute: {FLOPS_PER_PARAMETER_AND_TOKEN} operations per parameter and token, an estimate for dense "
            "transformers with short contexts.",
        )
    return axis, scale_picker("x axis", "x_scale", "log"), scale_picker("y axis", "y_scale", "linear")


def _draw(page: SizesPage, series: Series, variant: Variant, drawn: Drawn) -> None:
    choices = page.choices
    n_points = points_per_run(drawn.n_runs)
    asked = {
        "runs": drawn.selection,
        "measure": series.measure,
        "part": choices.part if choices.part or "" in variant.parts else "auto",
        "axis": STEP if choices.axis == STEP else TOKENS,
        # the name alone decides between training log and checkpoints: never swap one for the other
        "origin": "log" if series.measure.startswith("log.") else "checkpoint",
        **variant.which,
    } | ({"with_suspect": True} if page.runs.suspect else {})
    answer: LossCurves = ask(page.archive, loss_curves, **asked, max_points=n_points)  # type: ignore[arg-type]  # validated there
    known = ask(page.archive, suspects) if page.runs.suspect and asked["origin"] == "checkpoint" else []
    used = in_use(known, [answer.table])
    title = measure_of(answer) + (f" [{answer.unit}]" if answer.unit not in ("", "1") else "")
    lines = size_bundles(answer, drawn, choices.axis)
    figure = draw_bundles(
        lines,
        x_scale=choices.x_scale,
        y_scale=choices.y_scale,
        axis=choices.axis,
        title=title,
        marks=left_out([answer]) | used if choices.axis == STEP else (),
    )
    st.plotly_chart(
        figure,
        key="curves_by_size",
        config=PLOTLY,
        alt=f"Line chart of {answer.label} over {choices.axis}, a line a size, {choices.x_scale} x axis, "
        f"{choices.y_scale} y axis.",
    )
    key = f"Thin lines are runs. Thick lines and bands: mean and {answer.ci_level:.0%} interval over the runs of a size."
    with under(key):
        share(
            link=page.link,
            python=answer.python,
            sql=answer.sql,
            csv=lambda: as_csv([loss_curves(page.archive, **asked)]),  # type: ignore[arg-type]  # validated there
            name=f"{shorten(series.measure, 60).replace(' ', '_')}_by_size",
        )
    _ends(page, answer, drawn)
    missing, fine = notes(
        [answer],
        n_drawn=len(drawn.sizes),
        n_groups=len(drawn.sizes),
        hidden=hidden_values([answer]) if choices.y_scale == "log" else 0,
        cut=cut_intervals(figure, [line.band for line in lines]),
    )
    shown = len(pc.unique(answer.table["step"]))
    own = [line for line in missing if "points drawn" not in line]
    if choices.axis == COMPUTE:
        fine.append(
            "Compute is an estimate: attention over long contexts, embeddings that are only looked up and recomputation are not "
            "in six operations a parameter and token."
        )
    say([*in_use_words(used), *curve_notes(answer, drawn, shown), *own], fine, CANNOT)
    curves = Choices(
        measure=series.measure,
        part=(choices.part,) if choices.part else (),
        variant=variant.label,
        family=page.runs.family,
        condition=page.runs.condition,
        run=page.runs.run,
    )
    link = permalink(page_address(here(), "curves"), curves)
    st.markdown(
        f"By condition instead of size, every part of it, or one colour a run: [the Curves page]({link})."
    )


def _ends(page: SizesPage, answer: LossCurves, drawn: Drawn) -> None:
    level = f"{answer.ci_level:.0%}"
    table = ends_table(answer, drawn)
    st.dataframe(
        table,
        key="ends_by_size",
        hide_index=True,
        height="content",
        alt="Mean and interval of each size at the last point that all of its runs have",
        column_config={
            "size": st.column_config.TextColumn("Size", pinned=True),
            "n_params": st.column_config.NumberColumn("Parameters", format="localized"),
            "n_runs": "Runs",
            "step": st.column_config.NumberColumn("Last step of all", format="localized"),
            "tokens_seen": st.column_config.NumberColumn("Last tokens of all", format="compact"),
            "mean": st.column_config.NumberColumn("Mean", format="%.4g"),
            "low": st.column_config.NumberColumn(f"{level} low", format="%.4g"),
            "high": st.column_config.NumberColumn(f"{level} high", format="%.4g"),
            "sd": st.column_config.NumberColumn("SD over runs", format="%.4g"),
        },
    )
    with under("Where the curves end: at the last point that all runs of a size have."):
        share(
            link=page.link,
            python=f"{answer.python}.summary",
            sql=answer.sql,
            csv=lambda: table,
            name="ends_by_size",
        )
