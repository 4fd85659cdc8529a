"""The top examples of a neuron at the chosen step, with the token it fires on marked, and its statistics."""

import math

import streamlit as st

from ui.menu import share, under
from ui.models.grokking.progress import sorted_limits
from ui.models.neuron.page import peak, share_of_tokens, statistics, threshold
from ui.models.neuron.text import examples_html, examples_in_words, examples_of
from ui.models.text import number
from ui.parts.neuron.page import CANNOT, NeuronPage
from ui.widgets import say


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
    largest = peak(found, page.run)
    least = threshold(choices.least, largest)
    with st.container(key="examples"):
        st.html(examples_html(found, page.run, largest, spaces=choices.white, least=least))
    with under(_key(page, least)):
        share(
            link=page.link,
            python=found.python,
            sql=found.sql,
            csv=lambda: found.table.drop_columns(["tokens"]),
            name=f"{choices.name}_step_{choices.step}",
        )
    missing, fine = sorted_limits(found.limits)
    say([*_threshold_notes(page, least), *missing], fine, CANNOT)


def _threshold_notes(page: NeuronPage, least: float) -> list[str]:
    """What the threshold cuts off, and how many tokens of the eval set reach it."""
    if not math.isfinite(least):
        return []
    told = f"Shown: activations of {number(least)} or more, {page.choices.least} of the largest in this run's training."
    share_ = share_of_tokens(page.found, page.run, least)
    if share_ is not None:
        low, high = (f"{100 * v:.2g} %" for v in share_)
        told += f" By the histogram {low if low == high else f'{low} to {high}'} of its tokens reach that."
    return [f"{told} Only the highest of each document, and of those the first {_stored(page)}, are stored."]


def _stored(page: NeuronPage) -> int:
    return len(examples_of(page.found, page.run))


def _key(page: NeuronPage, least: float) -> str:
    return (
        f"{examples_in_words(page.found, page.run, least)} Full orange and a full bar: as high as it ever was in this run. "
        "Only the activation at the marked token is kept. One example a document."
    )
