"""Neuron: the texts one neuron fires on at a checkpoint, what it writes, and how that came to be."""

import random

import streamlit as st

from archive.store import Archive
from queries.neuron import Neuron, neuron
from ui.models.component_sets import (
    ComponentSet,
    measured_runs,
    measured_steps,
    named,
    which_of,
)
from ui.models.neuron.page import CONTEXTS, LEAST, TABLE, Layers, NeuronChoices, layers_of
from ui.models.series import RunChoice
from ui.models.suspects import at_step, suspects
from ui.models.text import escape_markdown
from ui.parts.component_page import component_page
from ui.parts.neuron.examples import draw_examples, draw_statistics
from ui.parts.neuron.numbers import draw_numbers, draw_training
from ui.parts.neuron.others import draw_others
from ui.parts.neuron.page import NeuronPage
from ui.pickers import pick_set, pick_step, scale_picker
from ui.state import ask, show
from ui.view import view

FILL = (
    "pathscope ingest STUDY.toml --fill neuron.top --fill neuron.statistics --fill neuron.histogram "
    "--fill neuron.logit_effect"
)


@view(title="Neuron", order=32, section="Inside", icon=":material/bubble_chart:", url_path="neuron")
def render(archive: Archive) -> None:
    """What one neuron fires on at every checkpoint, with highlighted tokens, and since when."""
    component_page(
        archive,
        title="Neuron",
        table=TABLE,
        nothing="Nobody has collected the texts that neurons of these models fire on yet:",
        fill=FILL,
        page=_page,
    )


def _page(archive: Archive, runs: RunChoice, sets: list[ComponentSet]) -> None:
    with st.container(horizontal=True, vertical_alignment="bottom", gap="small"):
        chosen = pick_set(
            sets,
            sets[0].label,
            help="A larger eval set has larger maxima: examples of two sets are never mixed.",
        )
        measured = ask(archive, measured_runs, selection=runs.selection, known=chosen, table=TABLE)
        focus = st.selectbox("Run", measured.runs, key="focus", bind="query-params", width=460)
        layers = ask(archive, layers_of, run=focus, known=chosen)
        layer, unit = _which_neuron(layers)
    steps = ask(archive, measured_steps, run=focus, known=chosen, table=TABLE, suspect=runs.suspect)
    step = pick_step(steps, steps[-1])
    st.subheader(f"L{layer}N{unit} at step {step:,}", anchor=False)
    if runs.suspect:
        for line in at_step(ask(archive, suspects), (focus,), step):
            st.warning(escape_markdown(line))
    top = st.container()
    st.subheader("Top examples", anchor=False)
    context, white, least = _how()
    below = st.container()
    with st.container(horizontal=True, horizontal_alignment="distribute", vertical_alignment="bottom"):
        st.subheader("Over training", anchor=False)
        with st.container(horizontal=True, width="content", gap="small"):
            x_scale = scale_picker("x axis", "x_scale", "log")
            y_scale = scale_picker("y axis", "y_scale", "linear")
    training = st.container()
    numbers = st.container()
    choices = NeuronChoices(
        eval_set=chosen.eval_set,
        variant=chosen.rest,
        focus=focus,
        layer=layer,
        unit=unit,
        step=step,
        context=context,
        white=white,
        least=least,
        x_scale=x_scale,
        y_scale=y_scale,
    )
    found: Neuron = ask(
        archive,
        neuron,
        runs=named(focus, excluded=runs.excluded),
        layer=layer,
        unit=unit,
        step=step,
        window=CONTEXTS[context],
        **which_of(chosen, suspect=runs.suspect),
    )
    page = draw_others(NeuronPage(archive, runs, choices, found), chosen)
    with training:
        draw_training(page)
    with top:
        draw_statistics(page)
    with below:
        draw_examples(page)
    with numbers:
        draw_numbers(page)


def _which_neuron(layers: Layers) -> tuple[int, int]:
    """Layer and number, with buttons to the neighbours and to any other; a number too large is the layer's last."""
    known = list(layers.sizes)
    layer = st.selectbox("Layer", known, key="layer", bind="query-params", width=100)
    number = st.number_input(
        "Neuron",
        min_value=0,
        step=1,
        key="unit",
        bind="query-params",
        width=130,
        help=f"From 0 to {layers.sizes[layer] - 1:,} in this layer.",
    )
    unit = min(number, layers.sizes[layer] - 1)

    def go(by: int) -> None:
        st.session_state["layer"], st.session_state["unit"] = layers.next_to(layer, unit, by)

    with st.container(horizontal=True, width="content", gap="small"):
        st.button("Previous", icon=":material/arrow_back:", on_click=go, args=(-1,), key="previous")
        st.button(
            "Random",
            icon=":material/shuffle:",
            on_click=lambda: go(random.randrange(1, max(2, layers.n_units))),
            key="random",
            help="Any neuron of any layer of this run but this one, each as likely.",
        )
        st.button(
            "Next", icon=":material/arrow_forward:", icon_position="right", on_click=go, args=(1,), key="next"
        )
    return layer, unit


def _how() -> tuple[str, bool, str]:
    with st.container(horizontal=True, vertical_alignment="center", gap="medium"):
        context = st.segmented_control(
            "Text around the token",
            list(CONTEXTS),
            default="short",
            key="context",
            bind="query-params",
            required=True,
            help=f"{CONTEXTS['short']} tokens either side, or up to {CONTEXTS['full']}.",
        )
        least = st.segmented_control(
            "Activation at least",
            list(LEAST),
            default="all",
            key="least",
            bind="query-params",
            required=True,
            help="As a share of the largest activation of this run's training.",
        )
        white = st.toggle(
            "Mark every space",
            key="white",
            bind="query-params",
            help="Line breaks and tabs always have a sign; so have the spaces of the marked token.",
        )
    return context, white, least


if __name__ == "__main__":
    show(render)
