"""Spectrum over training: every frequency at every checkpoint, and the one that the slider is at."""

from collections.abc import Sequence

import streamlit as st

from queries.key_frequency_history import KeyFrequencyHistory
from ui.menu import PLOTLY, share, under
from ui.models.copies import in_python
from ui.models.grokking.spectrum import Spectrum, spectrum, spectrum_table
from ui.models.grokking.spectrum_figure import spectrum_figure, spectrum_in_words, spectrum_notes
from ui.models.text import shorten
from ui.parts.grokking.page import GrokkingPage
from ui.state import ask
from ui.widgets import CANNOT, say, to_fill


def draw_spectrum(page: GrokkingPage, keys: KeyFrequencyHistory | Exception) -> None:
    """The heat map with the bars of the chosen step, or how to measure it."""
    choices = page.choices
    if choices.step is None:
        words = f"No strengths of frequencies are measured for {shorten(choices.focus, 60)}:"
        to_fill(words, "pathscope ingest STUDY.toml --fill fourier_norm", "Of modular addition only.")
        return
    found = ask(
        page.archive,
        spectrum,
        run=choices.focus,
        matrix=choices.matrix,
        step=choices.step,
        suspect=page.runs.suspect,
    )
    final = _final_keys(keys, choices.focus)
    st.plotly_chart(
        spectrum_figure(found, final, x_scale=choices.x_scale),
        key="spectrum",
        config=PLOTLY,
        alt=spectrum_in_words(found, final),
    )
    with under(_legend(found, final)):
        share(
            link=page.link,
            python=in_python(page.archive, found.sql),
            sql=found.sql,
            csv=lambda: spectrum_table(found),
            name=f"spectrum_{choices.matrix}_step_{choices.step}",
        )
    say(spectrum_notes(found), [], CANNOT)


def _legend(found: Spectrum, final: Sequence[int]) -> str:
    words = "Bars: this step. Outlines: the last checkpoint."
    if final:
        words += f" Named and full: key there by the chosen rule ({', '.join(map(str, final))})."
    return words + (" Negative coefficients are orange in the map." if found.is_signed else "")


def _final_keys(keys: KeyFrequencyHistory | Exception, run: str) -> list[int]:
    if isinstance(keys, Exception):
        return []
    return sorted(r["frequency"] for r in keys.table.to_pylist() if r["run"] == run and r["final"])
