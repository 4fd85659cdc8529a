"""Progress: the four losses of one run with its phases, or of all runs with means; and the phases run by run."""

from collections.abc import Callable, Collection, Mapping, Sequence

import streamlit as st

from queries.grokking_progress import GrokkingProgress
from queries.loss_curves import LossCurves, loss_curves
from queries.reading.tables import floats
from ui.menu import PLOTLY, share, share_answer, under
from ui.models.bundles import Bundle
from ui.models.curves.figure import cut_intervals, draw_bundles, left_out
from ui.models.curves.page import as_csv, cut_words, notes, points_per_run
from ui.models.grokking.measures import (
    measured,
    measures_figure,
    measures_hidden,
    measures_in_words,
    measures_key,
)
from ui.models.grokking.phases import MOST_ROWS, Span, phase_strip, shade, spans, strip_in_words
from ui.models.grokking.progress import (
    all_runs,
    conditions,
    ends_table,
    fill_command,
    first_positive,
    hidden,
    loss_parameters,
    one_run,
    progress_in_words,
    runs_of,
    sorted_limits,
    whose_frequencies,
)
from ui.models.suspects import Mark, in_use, in_use_words, suspects
from ui.models.text import plural
from ui.parts.grokking.page import GrokkingPage
from ui.pickers import scale_picker
from ui.state import ask
from ui.widgets import CANNOT, say, to_fill

Spans = Mapping[str, Sequence[Span]]


def draw_progress(page: GrokkingPage, progress: GrokkingProgress) -> None:
    """Losses, what is missing of them, and the phases of every run."""
    by_run = spans(progress)
    used = in_use(ask(page.archive, suspects), [progress.table]) if page.runs.suspect else set()
    if page.choices.show == "one run":
        drawn = one_run(progress, page.choices.focus)
        used = {mark for mark in used if mark[0] == page.choices.focus}
        missing, fine = sorted_limits(progress.limits)
        n_cut = _losses(page, progress, drawn, by_run, used)
        _share(page, progress, progress.python, progress.sql, lambda: progress.table)
    else:
        answers = _answers(page, progress)
        drawn = all_runs(answers)
        missing, fine = _notes(page, progress, answers)
        n_cut = _losses(page, progress, drawn, by_run, used)
        whole = loss_parameters(progress, page.asked.selection, suspect=page.runs.suspect)
        _share(
            page,
            progress,
            "\n".join(a.python for a in answers.values()),
            ";\n\n".join(a.sql for a in answers.values()),
            lambda: as_csv([loss_curves(page.archive, **p) for p in whole.values()]),
        )
    if command := fill_command(progress):
        to_fill("Phases and their losses need measures that some of these runs do not have yet:", command)
    if page.choices.y_scale == "log" and (n := hidden(drawn)):
        missing.append(f"{plural(n, 'value')} at or below 0 have no place on a log axis.")
    if n_cut:
        missing.append(cut_words(n_cut))
    say([*in_use_words(used), *missing], fine, CANNOT)
    _phases(page, progress, by_run)
    _measures(page, progress, by_run)


def _losses(
    page: GrokkingPage,
    progress: GrokkingProgress,
    drawn: Sequence[Bundle],
    by_run: Spans,
    used: Collection[Mark],
) -> int:
    """The figure; gives how many intervals are cut. used: suspect checkpoints that the lines rest on."""
    choices = page.choices
    if not drawn:
        st.caption("None of the four losses is there.")
        return 0
    marks = left_out([progress]) | set(used)
    if choices.show == "one run":
        marks = {mark for mark in marks if mark[0] == choices.focus}
    figure = draw_bundles(
        drawn, x_scale=choices.x_scale, y_scale=choices.y_scale, axis="step", title="loss [nats]", marks=marks
    )
    if choices.show == "one run":
        of_run = by_run.get(choices.focus, ())
        shade(figure, of_run, x_scale=choices.x_scale, first_step=first_positive(drawn))
    st.plotly_chart(figure, key="progress", config=PLOTLY, alt=progress_in_words(progress, drawn, choices))
    return cut_intervals(figure, [b.band for b in drawn])


def _share(
    page: GrokkingPage, progress: GrokkingProgress, python: str, sql: str, csv: Callable[[], str]
) -> None:
    with under(_key(page, progress)):
        share(link=page.link, python=python, sql=sql, csv=csv, name="grokking_progress")


def _answers(page: GrokkingPage, progress: GrokkingProgress) -> dict[str, LossCurves]:
    selection, _, _ = conditions(progress, page.asked)
    asked = loss_parameters(progress, selection, suspect=page.runs.suspect)
    n_points = points_per_run(len(runs_of(progress)) * len(asked))
    return {column: ask(page.archive, loss_curves, **p, max_points=n_points) for column, p in asked.items()}


def _notes(
    page: GrokkingPage, progress: GrokkingProgress, answers: Mapping[str, LossCurves]
) -> tuple[list[str], list[str]]:
    _, n_drawn, n_groups = conditions(progress, page.asked)
    missing, fine = notes(list(answers.values()), n_drawn=n_drawn, n_groups=n_groups)
    late = "Runs that generalise at different steps make a mean that falls more slowly than any of them."
    return missing, [*fine, late]


def _key(page: GrokkingPage, progress: GrokkingProgress) -> str:
    words = "Bands: phases of this run."
    if page.choices.show == "all runs":
        words = "Thin lines are runs; thick lines and bands: mean and 95% interval over the runs."
    if whose := whose_frequencies(progress):
        words += f" Restricted (test) and excluded (train) loss by the {whose}."
    return words


def _phases(page: GrokkingPage, progress: GrokkingProgress, by_run: Spans) -> None:
    if not any(by_run.values()):
        return
    st.markdown("**Phases of every run**")
    figure = phase_strip(by_run, floats(progress.table, "step"), x_scale=page.choices.x_scale)
    st.plotly_chart(figure, key="phases", config=PLOTLY, alt=strip_in_words(by_run))
    with under(progress.sentence):
        share(
            link=page.link,
            python=progress.python,
            sql=progress.sql,
            csv=lambda: progress.ends,
            name="grokking_phases",
        )
    if len(by_run) > MOST_ROWS:
        say([f"The first {MOST_ROWS} of {len(by_run)} runs; choose others in the sidebar."], [], CANNOT)
    with st.expander("Between which checkpoints each phase ended"):
        st.dataframe(
            ends_table(progress),
            key="ends",
            hide_index=True,
            height="content" if progress.n_runs <= 12 else 460,
            alt="Per run the two checkpoints between which each phase of grokking ended",
        )


def _measures(page: GrokkingPage, progress: GrokkingProgress, by_run: Spans) -> None:
    """What is not a loss: concentration of the embedding, explained logits, weights."""
    focus = page.choices.focus
    if not measured(progress):
        return
    st.markdown("**Other progress measures**")
    y_scale = scale_picker("y axis", "measures_y", "linear")
    figure = measures_figure(
        progress, focus, by_run.get(focus, ()), x_scale=page.choices.x_scale, y_scale=y_scale
    )
    st.plotly_chart(figure, key="measures", config=PLOTLY, alt=measures_in_words(progress, focus))
    with under(measures_key(progress, focus)):
        share_answer(progress, link=page.link, name="grokking_measures")
    if y_scale == "log" and (n := measures_hidden(progress)):
        say([f"{plural(n, 'value')} at or below 0 have no place on a log axis."], [], CANNOT)
