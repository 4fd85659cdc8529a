"""Integrity: are checkpoints what they claim to be? Distances along a run, duplicates, defects, exclusions, checks."""

import streamlit as st

from archive.errors import NotComparable, UsageError
from archive.store import Archive
from ui.models.integrity.page import IntegrityChoices, RunChecks, checked, opening
from ui.models.series import RunChoice, run_names
from ui.models.text import plural
from ui.parts.integrity.chain import draw_chain, draw_judged
from ui.parts.integrity.checks import draw_verdict, draw_verify
from ui.parts.integrity.page import IntegrityPage
from ui.parts.integrity.tables import draw_equal, draw_exclusions, draw_suspects
from ui.pickers import MOST_RUN_OPTIONS, run_pickers, scale_picker
from ui.state import ask, show
from ui.view import view
from ui.widgets import empty_archive, headline, warn

SECONDS_A_RUN = 0.1  # of judging some 150 checkpoints with sketches
MOST_JUDGED = 200  # runs; more take longer than anybody waits for a page


@view(title="Integrity", order=42, section="Archive", icon=":material/fact_check:", url_path="integrity")
def render(archive: Archive) -> None:
    """Are checkpoints what they claim to be? Distances along each run, duplicates, known defects, exclusions."""
    known = ask(archive, run_names)
    headline("Integrity")
    if not known:
        empty_archive(archive)
        return
    with st.sidebar:
        asked = run_pickers(known, leaves_out=False)
    try:
        runs = ask(archive, checked, selection=asked.selection)
    except (NotComparable, UsageError) as error:
        warn(error)
        return
    _sections(archive, runs, asked, len(known))


def _sections(archive: Archive, runs: list[RunChecks], asked: RunChoice, n_known: int) -> None:
    """The controls come before what they change is drawn, so that the link of each section has the choices of all."""
    top = st.container()
    st.subheader("One run, checkpoint by checkpoint", anchor=False)
    choices = _choose(runs)
    focus = next(r for r in runs if r.run == choices.focus)
    page = IntegrityPage(archive, asked, runs, n_known, focus, choices)
    with top:
        draw_verdict(page)
    draw_judged(page)
    draw_chain(page)
    draw_suspects(page)
    draw_equal(page)
    draw_exclusions(page)
    draw_verify(page)


def _choose(runs: list[RunChecks]) -> IntegrityChoices:
    with st.container(horizontal=True, vertical_alignment="bottom", gap="small"):
        offered = (
            sorted(runs, key=lambda r: r.n_suspect == 0)[:MOST_RUN_OPTIONS]
            if len(runs) > MOST_RUN_OPTIONS
            else runs
        )
        focus = st.selectbox(
            "Run",
            [r.run for r in offered],
            index=opening(offered),
            key="focus",
            bind="query-params",
            width=420,
            help=f"At most {MOST_RUN_OPTIONS}, those with suspect checkpoints first: choose in the sidebar to find others.",
        )
        x_scale = scale_picker("x axis", "x_scale", "log")
        y_scale = scale_picker("y axis", "y_scale", "log")
        judge_all = 1 < len(runs) <= MOST_JUDGED and st.toggle(
            f"Judge all of {plural(len(runs), 'run')} (about {max(1, round(len(runs) * SECONDS_A_RUN))} s)",
            key="judge_all",
            bind="query-params",
            help="As the command does, but nothing is recorded.",
        )
    if len(runs) > MOST_JUDGED:
        st.caption(
            f"{plural(len(runs), 'run')} are too many to judge all of them here: the command at the end of the page does."
        )
    return IntegrityChoices(focus, x_scale, y_scale, judge_all)


if __name__ == "__main__":
    show(render)
