"""What neurons fire on at two checkpoints: overlap of their top examples, and which changed most and least."""

from collections.abc import Sequence
from dataclasses import replace

import streamlit as st

from archive.errors import NotComparable, UsageError
from queries.neuron_change import NeuronChange, neuron_change
from ui.menu import CAMERA_ONLY, share_answer, under
from ui.models.compare.neurons import (
    COLUMNS,
    MOST_ROWS,
    ORDERS,
    layers_figure,
    layers_in_words,
    layers_key,
    neurons_table,
)
from ui.models.compare.page import NEURONS
from ui.models.component_sets import ComponentSet, which_of
from ui.models.grokking.progress import sorted_limits
from ui.models.text import plural
from ui.parts.compare.page import ComparePage, lacking
from ui.pickers import pick_set
from ui.state import ask
from ui.widgets import CANNOT, here, say, warn

FILL = "pathscope ingest STUDY.toml --fill neuron.top"


def draw_neurons(page: ComparePage, sets: Sequence[ComponentSet]) -> ComparePage:
    """The section, and the page with what was chosen in it."""
    st.subheader("Neurons", anchor=False)
    if lacking(page, NEURONS, "The texts that neurons fire on are needed at both checkpoints", FILL):
        return page
    with st.container(horizontal=True, vertical_alignment="bottom", gap="small"):
        chosen = pick_set(sets, sets[0].label, on="neurons_on", variant="neurons_variant", persist="page")
        overlap = st.segmented_control(
            "In common",
            list(COLUMNS),
            default="overlap",
            key="overlap",
            bind="query-params",
            persist_state="page",
            required=True,
            help="Overlap counts examples in both lists; rank-biased overlap weighs the highest ones more.",
        )
    choices = replace(page.choices, neurons_on=chosen.eval_set, neurons_variant=chosen.rest, overlap=overlap)
    page = replace(page, choices=choices)
    try:
        found = ask(
            page.archive,
            neuron_change,
            runs=page.selection,
            **page.ends,
            **which_of(chosen, suspect=page.runs.suspect),
        )
    except (NotComparable, UsageError) as error:
        warn(error)
        return page
    st.plotly_chart(
        layers_figure(found, overlap),
        key="layers",
        config=CAMERA_ONLY,
        alt=layers_in_words(found),
    )
    with under(layers_key(found)):
        share_answer(found, link=page.link, name="neurons_of_two_checkpoints")
    missing, fine = sorted_limits(found.limits)
    say(missing, fine, CANNOT)
    return _table(page, found)


def _table(page: ComparePage, found: NeuronChange) -> ComparePage:
    order = st.segmented_control(
        "Neurons that",
        ORDERS,
        default=ORDERS[0],
        key="neurons",
        bind="query-params",
        persist_state="page",
        required=True,
    )
    page = replace(page, choices=replace(page.choices, neurons=order))
    table, n_rows = neurons_table(found, order, here())
    number, link = st.column_config.NumberColumn, st.column_config.LinkColumn
    st.dataframe(
        table,
        key="neuron_rows",
        hide_index=True,
        height=320 if table.num_rows > 8 else "content",
        alt=f"Neurons that are {order}, with a link to the page of each",
        column_config={
            "neuron": st.column_config.TextColumn("Neuron", pinned=True),
            "shared": number("In common", format="%d"),
            "overlap": number("Overlap", format="percent"),
            "rank_overlap": number("Rank-biased", format="%.3f"),
            "largest_a": number("Largest in A", format="%.4g"),
            "largest_b": number("Largest in B", format="%.4g"),
            "in_a": link("Texts in A", display_text="open", help="Opens the neuron's page"),
            "in_b": link("Texts in B", display_text="open", help="Opens the neuron's page"),
        },
    )
    cut = f" The first {MOST_ROWS} are shown; the CSV has all of them." if n_rows > table.num_rows else ""
    with under(f"{plural(n_rows, 'neuron')} with examples in A and in B.{cut}"):
        share_answer(found, link=page.link, name="changed_neurons")
    return page
