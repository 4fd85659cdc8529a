"""Seeds: whether runs that differ in their seeds agree, since when, on which tokens not, and whose part that is."""

import streamlit as st

from archive.errors import NotComparable, UsageError
from archive.store import Archive
from ui.models.component_sets import ComponentSet, component_sets
from ui.models.seeds.page import LOSSES, Compared, Kind, SeedsChoices, compared, doubts, kinds
from ui.models.series import run_names
from ui.models.text import escape_markdown
from ui.parts.seeds.agreement import draw_matrix, draw_training
from ui.parts.seeds.page import SeedsPage, pick_kind
from ui.parts.seeds.tokens import draw_tokens, words_of
from ui.parts.seeds.whose import draw_whose
from ui.pickers import pick_step, run_pickers
from ui.state import ask, show
from ui.view import view
from ui.widgets import empty_archive, headline, to_fill, warn

FILL = "pathscope ingest STUDY.toml --fill token_loss --fill token_top --fill head.signature"


@view(title="Seeds", order=20, section="Runs", icon=":material/hub:", url_path="seeds")
def render(archive: Archive) -> None:
    """Do seeds agree? Run by run, over training, token by token, and whether init or data order makes the difference."""
    known = ask(archive, run_names)
    headline("Seeds")
    if not known:
        empty_archive(archive)
        return
    with st.sidebar:
        runs = run_pickers(known)
    page = SeedsPage(archive, runs, SeedsChoices())
    found = ask(archive, kinds)
    losses = [s for s in ask(archive, component_sets, table="fact_token") if s.measure == LOSSES]
    step: int | None = None
    there: Compared | None = None
    st.subheader("Agreement of runs", anchor=False)
    if found:
        page, there, step = _agreement(page, found)
    else:
        to_fill(
            "Nothing tells yet how alike these runs are: no losses of single tokens, no lists of likely tokens.",
            FILL,
        )
    try:
        page = draw_tokens(page, losses, step)
        _whose(page, losses, there, step)
    except (NotComparable, UsageError) as error:
        warn(error)


def _agreement(page: SeedsPage, found: list[Kind]) -> tuple[SeedsPage, Compared | None, int | None]:
    """The matrix and its course; the page with what was chosen, which runs, and the slider's step."""
    with st.container(horizontal=True, vertical_alignment="bottom", gap="small"):
        kind = pick_kind(found)
    page = page.chose(by=kind.label, eval_set=kind.known.eval_set, variant=kind.rest)
    try:
        there = ask(
            page.archive, compared, selection=page.runs.selection, kind=kind, suspect=page.runs.suspect
        )
    except (NotComparable, UsageError) as error:
        warn(error)
        return page, None, None
    if not there.steps:
        st.info(
            f"Agreement takes two runs at one step; {kind.label} is there of {len(there.runs)}. More seeds give them.",
            icon=":material/help:",
        )
        return page, there, None
    step = _step(there.steps)
    page = SeedsPage(page.archive, page.runs, page.choices, kind, there).chose(step=step)
    if page.runs.suspect:
        for line in ask(page.archive, doubts, runs=there.runs, step=step):
            st.warning(escape_markdown(line))
    page = draw_matrix(page, kind, there, step)
    return draw_training(page, kind, there, step), there, step


def _step(steps: tuple[int, ...]) -> int:
    if len(steps) == 1:
        st.caption(f"Step {steps[0]:,}, the only one.")
    return pick_step(steps, steps[-1])


def _whose(page: SeedsPage, losses: list[ComponentSet], there: Compared | None, step: int | None) -> None:
    n_tokens, n_runs = (there.n_tokens, len(there.runs)) if there is not None else (0, 0)
    chosen = next((s for s in losses if words_of(s) == page.choices.tokens_on), losses[0] if losses else None)
    draw_whose(page, chosen, step, n_tokens, n_runs)


if __name__ == "__main__":
    show(render)
