"""Search: a token or a text, and the neurons and heads that have to do with it, at every checkpoint."""

from collections.abc import Sequence

import streamlit as st

from archive.errors import NotComparable, UsageError
from archive.store import Archive
from queries.reading.text_matches import LONGEST
from queries.search_effects import SearchEffects, search_effects
from queries.search_neurons import SearchNeurons, search_neurons
from ui.models.component_sets import (
    ComponentSet,
    component_sets,
    measured_runs,
    named,
)
from ui.models.search.page import ALL, EFFECTS, KINDS, TOPS, SearchChoices, cut, steps_of
from ui.models.series import RunChoice, run_names
from ui.models.suspects import at_step, suspects
from ui.models.text import escape_markdown
from ui.parts.search.found import draw_course, draw_examples, draw_neurons
from ui.parts.search.page import SearchPage
from ui.parts.search.sections import draw_heads, draw_hits, draw_suggestions
from ui.pickers import pick_set, run_pickers
from ui.state import ask, show
from ui.view import view
from ui.widgets import empty_archive, headline, to_fill, warn

FILL = "pathscope ingest STUDY.toml --fill neuron.top"
EFFECTS_FILL = "pathscope ingest STUDY.toml --fill neuron.logit_effect"


@view(title="Search", order=34, section="Inside", icon=":material/search:", url_path="search")
def render(archive: Archive) -> None:
    """A token or a text: which neurons fire on it or write it, which heads look at it, and since when."""
    known = ask(archive, run_names)
    headline("Search")
    if not known:
        empty_archive(archive)
        return
    with st.sidebar:
        runs = run_pickers(known)
    tops = ask(archive, component_sets, table=TOPS)
    effects = [s for s in ask(archive, component_sets, table=EFFECTS) if s.measure == "neuron.logit_effect"]
    if not tops and not effects:
        to_fill("Nobody has collected the texts that neurons of these models fire on yet:", FILL)
        return
    try:
        _page(archive, runs, tops, effects)
    except (NotComparable, UsageError) as error:
        warn(error)


def _page(
    archive: Archive, runs: RunChoice, tops: Sequence[ComponentSet], effects: Sequence[ComponentSet]
) -> None:
    text, kind = _what()
    of_examples = kind in KINDS[:2]
    sets, table = (tops, TOPS) if of_examples else (effects, EFFECTS)
    if not sets:
        if of_examples:
            to_fill("Nobody has collected the texts that neurons of these models fire on yet:", FILL)
        else:
            to_fill("What neurons do to the logits is not measured yet:", EFFECTS_FILL)
        return
    with st.container(horizontal=True, vertical_alignment="bottom", gap="small"):
        known = pick_set(
            sets, sets[0].label, help="Its tokens are what is searched: examples of two sets are never mixed."
        )
        measured = ask(archive, measured_runs, selection=runs.selection, known=known, table=table)
        focus = st.selectbox("Runs", [ALL, *measured.runs], key="focus", bind="query-params", width=300)
        within, same_case = _how(kind)
    selection = runs.selection if focus == ALL else named(focus, excluded=runs.excluded)
    steps = ask(archive, steps_of, selection=selection, known=known, table=table, suspect=runs.suspect)
    step = steps.first
    if len(steps.steps) > 1:
        # no format: the address has the words that are shown
        step = st.select_slider("Step", steps.steps, value=steps.first, key="step", bind="query-params")
    if runs.suspect:
        of = measured.runs if focus == ALL else (focus,)
        for line in at_step(ask(archive, suspects), of, step):
            st.warning(escape_markdown(line))
    choices = SearchChoices(
        text, kind, known.eval_set, known.rest, focus, step, within=within, same_case=same_case
    )
    page = SearchPage(archive, runs, known, choices, selection)
    if kind == KINDS[1] and not text:
        st.info("Write the text to search for: any letters, also across tokens.", icon=":material/search:")
        return
    found = _ask(page)
    if not text:
        told = f"Nothing is searched for yet. This is what most neurons have to do with: {found.text!r}."
        st.caption(escape_markdown(told))
    if isinstance(found, SearchNeurons) and not found.hits.num_rows:
        draw_suggestions(found)
        draw_heads(page)
        return
    page = draw_course(page, found)
    draw_neurons(page, found)
    draw_examples(page, found, tops[0] if not of_examples and tops else known if of_examples else None)
    if isinstance(found, SearchNeurons):
        draw_hits(page, found)
        draw_heads(page)


def _ask(page: SearchPage) -> SearchNeurons | SearchEffects:
    c = page.choices
    if c.of_examples:
        neurons: SearchNeurons = ask(
            page.archive,
            search_neurons,
            runs=page.selection,
            text=c.text,
            by=c.by,
            within=c.within,
            same_case=c.same_case,
            step=c.step,
            **page.which,
        )
        return neurons
    effects: SearchEffects = ask(
        page.archive,
        search_effects,
        runs=page.selection,
        text=c.text,
        direction=c.direction,
        same_case=c.same_case,
        step=c.step,
        **page.which,
    )
    return effects


def _what() -> tuple[str, str]:
    """The words searched for, and what they are to a neuron."""
    with st.container(horizontal=True, vertical_alignment="bottom", gap="small"):
        written = st.text_input(
            "Token or text",
            key="text",
            bind="query-params",
            placeholder="the",
            icon=":material/search:",
            width=420,
            help="Letter by letter, no patterns. A token without spaces around it is found with them too; with spaces only so.",
        )
        kind: str = st.selectbox("Neurons whose", KINDS, key="kind", bind="query-params", width=220)
    text = cut(written or "")
    if text != (written or ""):
        st.caption(f"Only the first {LONGEST} characters are searched for.")
    return text, kind


def _how(kind: str) -> tuple[int, bool]:
    within = 0
    if kind in KINDS[:2]:
        within = int(
            st.number_input(
                "Up to … tokens later",
                min_value=0,
                max_value=200,
                step=1,
                key="within",
                bind="query-params",
                persist_state="page",
                width=210,
                help="The peak may also come so many tokens behind.",
            )
        )
    same_case = st.toggle(
        "Same case",
        key="same_case",
        bind="query-params",
        persist_state="page",
        help="Capitals differ from small letters.",
    )
    return within, same_case


if __name__ == "__main__":
    show(render)
