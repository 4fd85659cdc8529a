"""Frequencies by seed: what each run settles on."""

import streamlit as st

from archive.errors import NotComparable, UsageError
from queries.key_frequency_history import KeyFrequencyHistory, key_frequency_history
from ui.menu import PLOTLY, share_answer, under
from ui.models.grokking.progress import sorted_limits
from ui.models.grokking.seed_frequencies import (
    MOST_ROWS,
    most_frequencies,
    seeds_figure,
    seeds_in_words,
    seeds_table,
)
from ui.parts.grokking.page import GrokkingPage
from ui.state import ask
from ui.widgets import CANNOT, say, to_fill, warn


def key_frequencies(page: GrokkingPage) -> KeyFrequencyHistory | NotComparable | UsageError:
    """The answer by the chosen rule, or why there is none."""
    try:
        return ask(
            page.archive,
            key_frequency_history,
            runs=page.asked.selection,
            rule=page.choices.rule,
            **page.which,
        )
    except (NotComparable, UsageError) as error:
        return error


def draw_seeds(page: GrokkingPage, keys: KeyFrequencyHistory | NotComparable | UsageError) -> None:
    """A row a run, a column a frequency, or how to measure them."""
    if isinstance(keys, NotComparable):
        warn(keys)
        return
    if isinstance(keys, UsageError):
        words = "Which frequencies each run settles on is not measured yet:"
        command = "pathscope ingest STUDY.toml --fill key_frequencies --fill fourier_norm"
        to_fill(words, command, str(keys))
        return
    st.plotly_chart(
        seeds_figure(keys, most_frequencies(keys)), key="seeds", config=PLOTLY, alt=seeds_in_words(keys)
    )
    with under(f"Discs: key at the last checkpoint; area: strength. {keys.sentence}"):
        share_answer(keys, link=page.link, name="key_frequencies")
    missing, fine = sorted_limits(keys.limits)
    if keys.n_runs > MOST_ROWS:
        missing.append(f"The first {MOST_ROWS} of {keys.n_runs} runs; choose others in the sidebar.")
    say(missing, fine, CANNOT)
    with st.expander("Key frequencies of every run"):
        _table(keys)


def _table(keys: KeyFrequencyHistory) -> None:
    number = st.column_config.NumberColumn
    st.dataframe(
        seeds_table(keys),
        key="frequencies_table",
        hide_index=True,
        alt="Per run and key frequency its strength at the end, since when it is key, and its early rank",
        column_config={
            "run": "Run",
            "frequency": "Frequency",
            "final_strength": number("Strength at the end", format="%.3g"),
            "first_step": number("First key at step", format="localized"),
            "n_switches": number("Switches", help="How often it went from key to not, or back"),
            "early_rank": number(f"Rank at step {keys.early_step}", help="1 = strongest"),
        },
    )
