"""Sizes: what small models can do that large ones can't, token by token, kind by kind, and over training."""

import shlex
from collections.abc import Sequence
from dataclasses import replace

import streamlit as st

from archive.errors import NotComparable, UsageError
from archive.store import Archive
from queries.reading.sizes import size_words
from ui.models.component_sets import component_sets
from ui.models.series import RunChoice, run_names
from ui.models.sizes.page import (
    FINAL,
    Known,
    Losses,
    Size,
    SizesChoices,
    is_quick,
    opening,
    seconds,
    sizes_of,
    token_losses,
    what_is_wrong,
)
from ui.models.text import count, escape_markdown, plural
from ui.parts.sizes.curves import draw_curves
from ui.parts.sizes.difference import draw_difference
from ui.parts.sizes.grid import draw_grid
from ui.parts.sizes.page import SizesPage
from ui.parts.sizes.wins import draw_wins
from ui.pickers import pick_set, run_pickers
from ui.state import ask, show
from ui.view import view
from ui.widgets import empty_archive, headline, to_fill, warn

TRAIN = "pathscope ingest studies/language_model_small.toml"
FILL = "pathscope ingest STUDY.toml --fill token_loss"


@view(title="Sizes", order=22, section="Runs", icon=":material/photo_size_select_small:", url_path="sizes")
def render(archive: Archive) -> None:
    """What small models can do that large ones can't: token by token, kind by kind, task by task, over training."""
    names = ask(archive, run_names)
    headline("Sizes")
    if not names:
        empty_archive(archive)
        return
    with st.sidebar:
        runs = run_pickers(names)
    try:
        known = ask(archive, sizes_of, selection=runs.selection)
    except (NotComparable, UsageError) as error:
        warn(error)
        return
    if len({size.n_params for size in known.sizes}) < 2:
        _one_size(archive, known)
        return
    losses = ask(
        archive,
        token_losses,
        run_ids=tuple(run for size in known.sizes for run in size.run_ids),
        suspect=runs.suspect,
    )
    page = _pick(archive, runs, known, losses)
    if page is not None:
        _sections(page)


def _one_size(archive: Archive, known: Known) -> None:
    """Nothing to compare: say why, and the command that trains two sizes."""
    if known.sizes:
        n_runs = plural(sum(len(size.runs) for size in known.sizes), "run")
        have = f"All {n_runs} here have {size_words(known.sizes[0].n_params)} parameters"
    else:
        have = f"Nobody says how many parameters the {plural(known.n_unknown, 'run')} here have"
    to_fill(
        f"{have}: a comparison takes two sizes. This trains small language models of one and of two layers:",
        f"{TRAIN} --archive {shlex.quote(str(archive.layout.database))}",
        "It takes about five minutes on two cores. A choice in the sidebar may also leave out other sizes.",
    )


def _pick(archive: Archive, runs: RunChoice, known: Known, losses: Losses) -> SizesPage | None:
    """Which two sizes, and at which step; None where they cannot be compared."""
    sizes = known.sizes
    labels = [size.label for size in sizes]
    first = opening(sizes, losses)
    left, right = st.columns(2, gap="large")
    with left:
        small = sizes[labels.index(_size("Small", labels, first[0], "small"))]
        st.caption(_about(small))
    with right:
        large = sizes[labels.index(_size("Large", labels, first[1], "large"))]
        st.caption(_about(large))
    for line in known.notes:
        st.caption(f":material/info: {escape_markdown(line)}")
    wrong = what_is_wrong(small, large)
    if wrong:
        st.info(wrong, icon=":material/help:")
        return None
    return SizesPage(
        archive, runs, sizes, small, large, losses, SizesChoices(small=small.label, large=large.label)
    )


def _size(name: str, labels: Sequence[str], first: Size, key: str) -> str:
    chosen: str = st.selectbox(
        name,
        labels,
        index=labels.index(first.label),
        key=key,
        bind="query-params",
        help="Number of parameters, and what tells the condition from the others.",
    )
    return chosen


def _about(size: Size) -> str:
    return escape_markdown(
        f"{plural(len(size.runs), 'run')} of {size.family}, {size.n_params:,.0f} parameters"
    )


def _sections(page: SizesPage) -> None:
    st.subheader("Small minus large, token by token", anchor=False)
    if not page.losses.sets(page.small, page.large):
        lacking = [s.label for s in (page.small, page.large) if not page.losses.sets(s)]
        told = {
            0: "they have them on different eval sets",
            1: f"{''.join(lacking)} has none",
            2: "neither has any",
        }[len(lacking)]
        to_fill(
            f"Losses of the same tokens are needed in both sizes; {told}:",
            FILL,
            "It measures checkpoints that were kept.",
        )
    else:
        page = _losses(page)
        n = page.n_losses(page.small, page.large)
        if is_quick(n) or page.choices.all_losses:
            page, counted = draw_difference(page)
            if counted is not None:
                page = draw_wins(page, counted)
        else:
            st.caption(
                "So many are compared when you switch it on: shares, verdicts, tokens and kinds of token by size."
            )
    page = draw_grid(page)
    draw_curves(page)


def _losses(page: SizesPage) -> SizesPage:
    """Which losses of tokens: eval set, variant, step, and whether many are read."""
    shared = page.losses.sets(page.small, page.large)
    sets = [
        s
        for s in ask(page.archive, component_sets, table="fact_token")
        if s.measure == "token_loss" and s.eval_set in shared
    ]
    with st.container(horizontal=True, vertical_alignment="bottom", gap="small"):
        known = pick_set(sets, sets[0].label, persist="page")
        page = replace(page, known=known, choices=replace(page.choices, eval_set=known.eval_set))
        steps = page.losses.shared(page.small, page.large, known.eval_set)
        step = FINAL
        if len(steps) > 1:
            # no format: the address has the words that are shown
            step = st.select_slider(
                "Step",
                [*map(str, steps), FINAL],
                value=FINAL,
                key="step",
                bind="query-params",
                persist_state="page",
            )
        n = page.n_losses(page.small, page.large)
        every = False
        if not is_quick(n):
            every = st.toggle(
                f"Compare all {count(n)} losses (about {seconds(n)} s)",
                key="all_losses",
                bind="query-params",
                persist_state="page",
                help="So many take a while. Fewer runs, chosen in the sidebar, are compared at once.",
            )
    return replace(page, choices=replace(page.choices, variant=known.rest, step=step, all_losses=every))


if __name__ == "__main__":
    show(render)
