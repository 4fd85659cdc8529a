"""The top examples of a neuron at the chosen step, with the token it fires on marked, and its statistics."""

import streamlit as st

from ui.models.grokking.progress import sorted_limits
from ui.models.neuron.page import peak, statistics
from ui.models.neuron.text import examples_html, examples_in_words
from ui.models.sql.page import to_csv
from ui.parts.neuron.page import CANNOT, NeuronPage
from ui.widgets import say, share, under


def draw_statistics(page: NeuronPage) -> None:
    """Numbers of the chosen step in a row."""
    known = statistics(page.found, page.run, page.choices.step)
    if not known:
        return
    with st.container(horizontal=True, gap="small"):
        for words, value, meaning in known:
            st.metric(words, value, help=meaning, border=True, width=130)


def draw_examples(page: NeuronPage) -> None:
    """The list; the ground of a marked token is as full as its activation is high among all of training."""
    found, choices = page.found, page.choices
    if not found.table.num_rows:
        st.caption(f"{choices.name} has no example at step {choices.step:,}.")
        return
    with st.container(key="examples"):
        st.html(examples_html(found, page.run, peak(found, page.run), spaces=choices.white))
    with under(_key(page)):
        share(
            link=page.link,
            python=found.python,
            sql=found.sql,
            csv=lambda: to_csv(found.table.drop_columns(["tokens"])).decode(),
            name=f"{choices.name}_step_{choices.step}",
        )
    missing, fine = sorted_limits(found.limits)
    say(missing, fine, CANNOT)


def _key(page: NeuronPage) -> str:
    return (
        f"{examples_in_words(page.found, page.run)} Full orange and a full bar: as high as it ever was in this run. Only the "
        "activation at the marked token is kept. One example a document."
    )
