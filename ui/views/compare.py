"""Compare: two checkpoints on one text, token by token, head by head, neuron by neuron."""

from collections.abc import Mapping, Sequence

import streamlit as st

from archive.errors import NotComparable, UsageError
from archive.store import Archive
from ui.models.compare.page import (
    HEADS,
    NEURONS,
    SAME,
    TOKENS,
    CompareChoices,
    PointOf,
    doubts,
    early,
    in_full,
    late,
    points_of,
)
from ui.models.component_sets import component_sets
from ui.models.series import run_names
from ui.models.text import escape_markdown
from ui.parts.compare.heads import draw_heads
from ui.parts.compare.neurons import draw_neurons
from ui.parts.compare.page import ComparePage
from ui.parts.compare.tokens import draw_tokens
from ui.pickers import pick_step, run_pickers
from ui.state import ask, show
from ui.view import view
from ui.widgets import empty_archive, headline, to_fill, warn

FILL = (
    "pathscope ingest STUDY.toml --fill token_loss --fill head.prefix_matching --fill head.previous_token "
    "--fill neuron.top"
)


@view(title="Compare", order=24, section="Runs", icon=":material/compare_arrows:", url_path="compare")
def render(archive: Archive) -> None:
    """Two checkpoints side by side: which tokens got better or worse, which heads changed, what neurons still fire on."""
    known = ask(archive, run_names)
    headline("Compare")
    if not known:
        empty_archive(archive)
        return
    with st.sidebar:
        runs = run_pickers(known)
    try:
        points = ask(archive, points_of, selection=runs.selection, suspect=runs.suspect)
    except (NotComparable, UsageError) as error:
        warn(error)
        return
    if not points:
        to_fill(
            "Nothing of these models can be compared yet: no losses of single tokens, no scores of heads, no texts of neurons.",
            FILL,
        )
        return
    page = ComparePage(archive, runs, points, _ends(points))
    for line in doubts(points, page.choices):
        st.warning(escape_markdown(line))
    if page.is_one_checkpoint:
        st.info(
            "A and B are the same checkpoint: choose another step or another run.", icon=":material/help:"
        )
        return
    page = draw_tokens(page, ask(archive, component_sets, table=TOKENS))
    page = draw_heads(page, ask(archive, component_sets, table=HEADS))
    draw_neurons(page, ask(archive, component_sets, table=NEURONS))


def _ends(points: Mapping[str, Sequence[PointOf]]) -> CompareChoices:
    """Run and step of A and of B: the early and the late checkpoint of one run until somebody chooses."""
    left, right = st.columns(2, gap="large")
    with left, st.container(border=True):
        run_a: str = st.selectbox("A: run", list(points), key="run_a", bind="query-params")
        _in_full(run_a)
        step_a = _step("A: step", points[run_a], early(points[run_a]), "step_a")
    with right, st.container(border=True):
        chosen: str = st.selectbox("B: run", [SAME, *points], key="run_b", bind="query-params")
        run_b = run_a if chosen == SAME else chosen
        _in_full(chosen)
        step_b = _step("B: step", points[run_b], late(points[run_b]), "step_b")
    return CompareChoices(run_a, step_a, run_b, step_b)


def _in_full(run: str) -> None:
    """The whole of a name that its box cuts: names of runs differ at their ends."""
    if name := in_full(run):
        st.caption(escape_markdown(name))


def _step(label: str, points: Sequence[PointOf], first: int, key: str) -> int:
    steps = [p.step for p in points]
    if len(steps) == 1:
        st.caption(f"{label} {steps[0]:,}, the only one")
    return pick_step(steps, first, label=label, key=key)


if __name__ == "__main__":
    show(render)
