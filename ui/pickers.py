"""Choices that several pages ask for in the same way; every one is bound to the address."""

import random
from collections.abc import Sequence
from typing import Literal

import streamlit as st

from ui.models.address import page_address
from ui.models.component_sets import S, eval_sets, rests
from ui.models.sequences import next_to
from ui.models.series import RunChoice, RunNames
from ui.models.suspects import badge
from ui.models.text import escape_markdown, shorten
from ui.widgets import here

MOST_RUN_OPTIONS = 1000
NOT_MIXED = "Numbers of different ones are never mixed."


def run_pickers(runs: Sequence[RunNames], *, leaves_out: bool = True) -> RunChoice:
    """Which runs a page is about: family, condition, names and patterns, and what is left out by default.

    leaves_out: False for a page that is about what others leave out, and so has all of it.
    """
    st.subheader("Runs", anchor=False)
    families = list(dict.fromkeys(r.family for r in runs))
    family = st.multiselect("Family", families, key="family", bind="query-params", placeholder="all")
    narrowed = [r for r in runs if not family or r.family in family]
    conditions = list(dict.fromkeys(r.condition for r in narrowed if r.condition))
    condition = st.multiselect(
        "Condition", conditions, key="condition", bind="query-params", placeholder="all"
    )
    narrowed = [r for r in narrowed if not condition or r.condition in condition]
    run = st.multiselect(
        "Run",
        [r.run for r in narrowed[:MOST_RUN_OPTIONS]],
        key="run",
        bind="query-params",
        placeholder="all",
        accept_new_options=True,
        help="Choose, or type a name, an alias, or a pattern such as *-s1. The list shows the first 1000 runs.",
    )
    if not leaves_out:
        return RunChoice(tuple(family), tuple(condition), tuple(run))
    excluded = st.toggle(
        "Use excluded runs",
        key="excluded",
        bind="query-params",
        help="Runs that somebody excluded, with a reason.",
    )
    suspect = st.toggle(
        "Use suspect checkpoints",
        key="suspect",
        bind="query-params",
        help="Checkpoints that are known or found to be broken: duplicates, out of order, defects.",
    )
    if told := badge(narrowed, run, used=suspect):
        st.caption(f"{escape_markdown(told)} [Integrity]({page_address(here(), 'integrity').rstrip('?')})")
    return RunChoice(tuple(family), tuple(condition), tuple(run), excluded, suspect)


def scale_picker(label: str, key: str, default: str) -> str:
    """Linear or log, bound to the address."""
    return st.segmented_control(
        label, ["linear", "log"], default=default, key=key, bind="query-params", required=True
    )


def pick_set(
    sets: Sequence[S],
    label: str,
    *,
    on: str = "eval_set",
    variant: str = "variant",
    help: str = NOT_MIXED,
    persist: Literal["page"] | None = None,
) -> S:
    """Which numbers of a label: eval set and variant, each asked for where there are several.

    on, variant: their words in the address. persist: "page" where the choice shall outlast runs that do not ask for it.
    """
    known = eval_sets(sets, label)
    eval_set = known[0]
    if len(known) > 1:
        eval_set = st.selectbox(
            "Eval set", known, key=on, bind="query-params", persist_state=persist, width=240, help=help
        )
    mine = rests(sets, label, eval_set)
    if len(mine) == 1:
        return mine[0]
    rest = st.selectbox(
        "Variant",
        [s.rest for s in mine],
        key=variant,
        bind="query-params",
        persist_state=persist,
        format_func=lambda words: shorten(words, 60),
        width=260,
    )
    return next(s for s in mine if s.rest == rest)


def pick_step(steps: Sequence[int], first: int, *, label: str = "Step", key: str = "step") -> int:
    """One of the steps, `first` until somebody chooses; not asked for where there is one."""
    if len(steps) == 1:
        return steps[0]
    # no format: the address has the words that are shown
    step: int = st.select_slider(label, steps, value=first, key=key, bind="query-params")
    return step


def sequence_buttons(known: list[int], number: int) -> None:
    """Buttons to the neighbours of a text and to any other; the choice has the word `sequence`."""

    def go(by: int) -> None:
        st.session_state["sequence"] = next_to(known, number, by)

    with st.container(horizontal=True, width="content", gap="small"):
        st.button("Previous", icon=":material/arrow_back:", on_click=go, args=(-1,), key="previous")
        st.button(
            "Random",
            icon=":material/shuffle:",
            on_click=lambda: go(random.randrange(1, max(2, len(known)))),
            key="random",
            help="Any other sequence, each as likely.",
        )
        st.button(
            "Next", icon=":material/arrow_forward:", icon_position="right", on_click=go, args=(1,), key="next"
        )
