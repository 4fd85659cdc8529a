"""Runs × runs at one step, and pairs over training."""

import streamlit as st

from archive.errors import NotComparable, UsageError
from ui.menu import PLOTLY, share, under
from ui.models.address import page_address
from ui.models.grokking.progress import sorted_limits
from ui.models.seeds.agreement import (
    MEANINGS,
    YARDSTICKS,
    Agreement,
    agreement_at,
    agreement_over,
    compared_in,
    extremes,
    mean_in_words,
    means_table,
    values_table,
)
from ui.models.seeds.matrix import COLOURS, matrix_figure, matrix_in_words, matrix_key, matrix_width
from ui.models.seeds.page import Compared, Kind
from ui.models.seeds.training import training_figure, training_in_words, training_notes
from ui.models.text import distinguish, escape_markdown, plural
from ui.parts.seeds.page import SeedsPage, asked_for
from ui.pickers import scale_picker
from ui.state import ask
from ui.widgets import CANNOT, here, say, warn


def draw_matrix(page: SeedsPage, kind: Kind, compared: Compared, step: int) -> SeedsPage:
    """The matrix with its mean over pairs; the page with what was chosen."""
    seconds = kind.seconds(len(compared.runs), compared.n_tokens)
    if not asked_for(f"Compare the outputs of {plural(len(compared.runs), 'run')}", "work", seconds):
        if kind.known.measure == "token_top":
            st.caption("Lists of likely tokens are long to compare; losses are quicker.")
        return page
    page = page.chose(work=bool(st.session_state.get("work")))
    try:
        found = ask(
            page.archive,
            agreement_at,
            selection=page.selection,
            kind=kind,
            step=step,
            suspect=page.runs.suspect,
        )
    except (NotComparable, UsageError) as error:
        warn(error)
        return page
    runs = compared_in(found, compared.runs)
    with st.container(horizontal=True, gap="medium"):
        left, right = st.container(width=matrix_width(runs)), st.container(width=330)
    with right:
        colours = st.segmented_control(
            "Colours span",
            COLOURS,
            default=COLOURS[0],
            key="colours",
            bind="query-params",
            required=True,
            help="The whole scale compares steps; these values show small differences.",
        )
        page = page.chose(colours=colours)
        _means(found, kind)
    with left:
        st.plotly_chart(
            matrix_figure(found, runs, kind, colours=colours),
            key="matrix",
            width="content",
            config=PLOTLY,
            alt=matrix_in_words(found, runs, kind),
        )
    _by_condition(page, found, kind)
    table = values_table(kind, [found], runs)
    with under(matrix_key(runs, kind)):
        share(
            link=page.link,
            python=found.python,
            sql=found.sql,
            csv=lambda: table,
            name="agreement_matrix",
        )
    missing, fine = sorted_limits(found.limits)
    say([*compared.cut, *missing], [MEANINGS[kind.label], *fine], CANNOT)
    return page


def draw_training(page: SeedsPage, kind: Kind, compared: Compared, step: int) -> SeedsPage:
    """Every pair over all steps that have the numbers, with the mean and its interval over runs."""
    st.subheader("Agreement over training", anchor=False)
    steps = compared.steps
    if len(steps) < 2:
        st.caption(
            f"{kind.label} is there at step {step:,} only. Measuring it at more checkpoints draws its course."
        )
        return page
    seconds = kind.seconds(len(compared.runs), compared.n_tokens, len(steps))
    with st.container(horizontal=True, vertical_alignment="bottom", gap="small"):
        x_scale = scale_picker("x axis", "x_scale", "log")
        y_scale = scale_picker("y axis", "y_scale", "linear")
        wanted = asked_for(f"Work out all {len(steps)} steps", "over_training", seconds)
    page = page.chose(
        x_scale=x_scale, y_scale=y_scale, over_training=bool(st.session_state.get("over_training"))
    )
    if not wanted:
        return page
    try:
        found, refused = ask(
            page.archive,
            agreement_over,
            selection=page.selection,
            kind=kind,
            steps=steps,
            suspect=page.runs.suspect,
        )
    except NotComparable as error:
        warn(error)
        return page
    if not found:
        say(refused[:1], [], CANNOT)
        return page
    st.plotly_chart(
        training_figure(found, compared.runs, kind, step=step, x_scale=x_scale, y_scale=y_scale),
        key="training",
        config=PLOTLY,
        alt=training_in_words(found, kind),
    )
    table = values_table(kind, found, compared.runs)
    band = f" Bands: {found[-1].level:.0%} intervals over runs." if any(at.means for at in found) else ""
    yardstick = " Dashed grey: the yardstick." if kind.label in YARDSTICKS else ""
    with under(
        f"Thin: a pair of runs. Thick: the mean over pairs.{band}{yardstick} Dotted: the slider's step."
    ):
        share(
            link=page.link,
            python=_python(found),
            sql=found[-1].sql,
            csv=lambda: table,
            name="agreement_over_training",
        )
    notes = training_notes(found)
    if y_scale == "log" and any(p.value <= 0 for at in found for p in at.pairs):
        notes.append("Values that are not above 0 have no place on a log axis.")
    say(
        [*notes, *refused[:3]],
        [
            "Pairs share runs: the interval leaves out runs, not pairs, and is of one step, not of the whole curve.",
            "Runs that agree more and more may only learn the same easy things: read the yardstick beside the mean.",
        ],
        CANNOT,
    )
    return page


def _python(found: list[Agreement]) -> str:
    """The question at every step, as a list."""
    last = found[-1]
    one = last.python.replace(f"step={last.step}", "step=step")
    return f"found = [\n    {one}\n    for step in {[at.step for at in found]}\n]"


def _means(found: Agreement, kind: Kind) -> None:
    """The mean over pairs with its interval over runs, and the pairs that are most and least alike."""
    words = mean_in_words(kind, found)
    st.markdown(f"**Off the diagonal.** {escape_markdown(words)}")
    two = extremes(found, kind)
    if two is None:
        return
    known = dict.fromkeys(run for p in found.pairs for run in (p.run_a, p.run_b))
    labels = dict(zip(known, distinguish(list(known), 30), strict=True))
    for what, pair in zip(("Most alike", "Least alike"), two, strict=True):
        address = page_address(
            here(), "compare", run_a=pair.run_a, step_a=found.step, run_b=pair.run_b, step_b=found.step
        )
        names = escape_markdown(f"{labels[pair.run_a]} and {labels[pair.run_b]}")
        st.markdown(f"{what}: {names} · [side by side]({address})")


def _by_condition(page: SeedsPage, found: Agreement, kind: Kind) -> None:
    """Means within and between conditions, where there are several."""
    if len(found.means) < 2:
        return
    number = st.column_config.NumberColumn
    table = means_table(found)
    if table["null"].null_count == table.num_rows:
        table = table.drop_columns(["null"])
    st.dataframe(
        table,
        key="means",
        hide_index=True,
        height="content",
        alt="Mean over pairs by condition with its interval over runs",
        column_config={
            "pairs of": st.column_config.TextColumn("Pairs of", width="medium"),
            "mean": number("Mean", format="%.3g"),
            "low": number("Low", format="%.3g", help=f"{found.level:.0%} interval over runs"),
            "high": number("High", format="%.3g", help=f"{found.level:.0%} interval over runs"),
            "n_runs": number("Runs"),
            "n_pairs": number("Pairs"),
            "null": number(
                "Yardstick", format="%.3g", help=YARDSTICKS.get(kind.label, "The query gives none.")
            ),
        },
    )
    with under("Means over pairs within a condition and between two."):
        share(
            link=page.link,
            python=found.python,
            sql=found.sql,
            csv=lambda: means_table(found),
            name="agreement_by_condition",
        )
