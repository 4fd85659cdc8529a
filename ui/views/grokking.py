"""Grokking: phases, restricted and excluded loss, the spectrum over training, frequencies and times by seed."""

import streamlit as st

from archive.errors import NotComparable, UsageError
from archive.store import Archive
from queries.grokking_progress import Frequencies, GrokkingProgress, grokking_progress
from queries.key_frequency_history import Rule
from ui.models.grokking.progress import GrokkingChoices, has_split, runs_of
from ui.models.grokking.runs import runs_asked
from ui.models.grokking.seed_frequencies import RULES
from ui.models.grokking.spectrum import SpectrumSteps, spectrum_steps
from ui.models.grokking.transition_grid import EVENTS, TEST_ACCURACY
from ui.models.series import RunChoice, run_names
from ui.parts.grokking.page import GrokkingPage, which
from ui.parts.grokking.progress import draw_progress
from ui.parts.grokking.seeds import draw_seeds, key_frequencies
from ui.parts.grokking.spectrum import draw_spectrum
from ui.parts.grokking.times import draw_times
from ui.pickers import pick_step, run_pickers, scale_picker
from ui.state import ask, show
from ui.view import view
from ui.widgets import CANNOT, empty_archive, guarded, headline, say, to_fill, warn

FREQUENCIES: tuple[Frequencies, ...] = ("auto", "final", "current")
SECTIONS = ("Progress", "Spectrum over training", "Frequencies by seed", "Transition times by init × split")
NO_SPLIT = (
    "These runs have no train and test split, so none memorises first and generalises later: nothing on this page is about "
    "them. [Transitions](transitions) says when their measures change."
)


@view(title="Grokking", order=14, section="Training", icon=":material/lightbulb:", url_path="grokking")
def render(archive: Archive) -> None:
    """Memorization, circuit formation, cleanup: progress measures, frequencies and times, seed by seed."""
    known = ask(archive, run_names)
    headline("Grokking")
    if not known:
        empty_archive(archive)
        return
    with st.sidebar:
        runs = run_pickers(known)
    try:
        asked = ask(archive, runs_asked, runs=runs)
        say(asked.words, [], CANNOT)
        # word for word what `_progress` asks where the address names no frequencies: one answer for both
        progress = ask(
            archive, grokking_progress, runs=asked.runs.selection, frequencies=FREQUENCIES[0], **which(runs)
        )
    except NotComparable as error:
        warn(error)
    except UsageError as error:
        words = (
            "This page shows how runs of modular addition memorise and then generalise. It needs at least:"
        )
        to_fill(words, "pathscope ingest STUDY.toml --fill loss --fill accuracy", str(error))
    else:
        if not has_split(progress):
            st.info(NO_SPLIT, icon=":material/help:")
            return
        _sections(archive, runs, asked.runs, progress)


def _sections(archive: Archive, runs: RunChoice, asked: RunChoice, first: GrokkingProgress) -> None:
    """The controls of all sections come first, so that the link of each has the choices of all."""
    boxes = []
    for title in SECTIONS:
        boxes.append(st.container())
        boxes[-1].subheader(title, anchor=False)
    with boxes[0]:
        focus, shown, frequencies, x_scale, y_scale = _how(first)
    steps = _known_steps(archive, runs, focus)
    matrix, rule, step = "", RULES[0], None
    if steps:
        with boxes[1]:
            matrix, rule, step = _where(steps)
    with boxes[3]:
        event, level = _when()
    choices = GrokkingChoices(focus, shown, frequencies, x_scale, y_scale, matrix, step, rule, event, level)
    page = GrokkingPage(archive, runs, choices, asked)
    with boxes[0]:
        guarded(lambda: draw_progress(page, _progress(page)))
    keys = key_frequencies(page)
    with boxes[1]:
        guarded(lambda: draw_spectrum(page, keys))
    with boxes[2]:
        draw_seeds(page, keys)
    with boxes[3]:
        guarded(lambda: draw_times(page, _progress(page)))


def _progress(page: GrokkingPage) -> GrokkingProgress:
    return ask(
        page.archive,
        grokking_progress,
        runs=page.asked.selection,
        frequencies=page.choices.frequencies,
        **page.which,
    )


def _how(progress: GrokkingProgress) -> tuple[str, str, Frequencies, str, str]:
    with st.container(horizontal=True, vertical_alignment="bottom", gap="small"):
        shown = st.segmented_control(
            "Show", ["one run", "all runs"], default="one run", key="show", bind="query-params", required=True
        )
        focus = st.selectbox(
            "Run",
            runs_of(progress),
            key="focus",
            bind="query-params",
            width=360,
            help="Whose phases and whose spectrum are drawn.",
        )
        frequencies = st.segmented_control(
            "Key frequencies",
            FREQUENCIES,
            default=FREQUENCIES[0],
            key="frequencies",
            bind="query-params",
            required=True,
            help="Restricted and excluded loss keep or take out key frequencies: those of the final checkpoint, "
            "those of each checkpoint itself, or the final ones wherever all runs have them.",
        )
        x_scale = scale_picker("x axis", "x_scale", "log")
        y_scale = scale_picker("y axis", "y_scale", "log")
    return focus, shown, frequencies, x_scale, y_scale


def _known_steps(archive: Archive, runs: RunChoice, focus: str) -> SpectrumSteps | None:
    try:
        found = ask(archive, spectrum_steps, run=focus, suspect=runs.suspect)
    except (NotComparable, UsageError):
        return None
    return found if found.steps else None


def _where(known: SpectrumSteps) -> tuple[str, Rule, int]:
    with st.container(horizontal=True, vertical_alignment="bottom", gap="small"):
        matrices = known.matrices
        matrix = st.segmented_control(
            "Spectrum of",
            matrices,
            default=matrices[0],
            key="matrix",
            bind="query-params",
            required=True,
            help="W_E: embedding. W_L: from neurons to logits. logits: signed coefficients of cos(w(a + b - c)).",
        )
        rule = st.segmented_control(
            "Key frequencies by",
            RULES,
            default=RULES[0],
            key="rule",
            bind="query-params",
            required=True,
            help="No numeric rule is published. W_L, W_E, logits: above a quarter of the strongest; neurons: at "
            "least one neuron that the frequency explains.",
        )
    steps = known.steps[matrix]
    return matrix, rule, pick_step(steps, steps[-1])


def _when() -> tuple[str, float | None]:
    with st.container(horizontal=True, vertical_alignment="bottom", gap="small"):
        event = st.selectbox("Event", EVENTS, key="event", bind="query-params", width=300)
        level = None
        if event == TEST_ACCURACY:
            level = st.number_input(
                "Level",
                min_value=0.0,
                max_value=1.0,
                value=0.95,
                step=0.05,
                key="level",
                bind="query-params",
                width=140,
                help="The first checkpoint at which test accuracy is at least this.",
            )
    return event, level


if __name__ == "__main__":
    show(render)
