"""What a search found: neurons over training, the neurons of a checkpoint, and the examples of one of them."""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import pyarrow as pa
import streamlit as st

from archive.errors import NotComparable, UsageError
from queries.neuron import Neuron, neuron
from queries.search_effects import SearchEffects
from queries.search_neurons import SearchNeurons
from ui.menu import CAMERA_ONLY, PLOTLY, share, share_answer, under
from ui.models.component_sets import ComponentSet, named, which_of
from ui.models.grokking.progress import sorted_limits
from ui.models.neuron.page import peak
from ui.models.search.figures import counts_in_words, layers_figure, not_drawn, runs_figure
from ui.models.search.page import MOST_ROWS, counts, course, effects_table, label_of, neurons_table
from ui.models.search.text import examples_html, examples_in_words
from ui.models.text import escape_markdown, plural
from ui.parts.search.page import CANNOT, SearchPage
from ui.pickers import scale_picker
from ui.state import ask
from ui.widgets import here, say, warn

WINDOW = 40  # tokens either side of a peak: a searched text may be long


def draw_course(page: SearchPage, found: SearchNeurons | SearchEffects) -> SearchPage:
    """Two figures over one axis of steps, and the page with the scale chosen."""
    with st.container(horizontal=True, horizontal_alignment="distribute", vertical_alignment="bottom"):
        st.subheader("Over training", anchor=False)
        with st.container(horizontal=True, width="content", gap="small"):
            x_scale = scale_picker("x axis", "x_scale", "log")
            y_scale = scale_picker("y axis", "y_scale", "linear")
    page = replace(page, choices=replace(page.choices, x_scale=x_scale, y_scale=y_scale))
    of_examples = isinstance(found, SearchNeurons)
    what = "neurons found" if of_examples else "neurons that list it"
    rows = counts(found, "" if of_examples else page.choices.direction)
    means = course(found, "" if of_examples else page.choices.direction)
    told = counts_in_words(rows, what[0].upper() + what[1:])
    left, right = st.columns(2, gap="medium")
    with left:
        st.plotly_chart(
            runs_figure(rows, means, step=page.choices.step, x_scale=x_scale, what=what, y_scale=y_scale),
            key="course",
            config=PLOTLY,
            alt=f"A line a run. {told}",
        )
    with right:
        st.plotly_chart(
            layers_figure(rows, step=page.choices.step, x_scale=x_scale),
            key="course_layers",
            config=CAMERA_ONLY,
            alt=f"A cell a layer and checkpoint, mean over runs. {told}",
        )
    with under(
        "Left all layers of a run, and per condition the mean over its runs with its 95% interval; right by layer, the mean over "
        f"the runs that have it. {told} Dotted: the slider's step."
    ):
        share(
            link=page.link,
            python=f"{found.python}.history",
            sql=found.sql,
            csv=lambda: found.history,
            name="search_over_training",
        )
    on_log = ["Checkpoints with none have no place on a log axis."] if y_scale == "log" else []
    say([*on_log, *not_drawn(rows)], [], CANNOT)
    return page


def draw_neurons(page: SearchPage, found: SearchNeurons | SearchEffects) -> None:
    """The table at the slider's step; a row shows its examples below."""
    st.subheader(f"Neurons at step {page.choices.step:,}", anchor=False)
    st.markdown(escape_markdown(found.sentence))
    if not found.table.num_rows:
        st.caption(f"No neuron of {plural(found.n_runs, 'run')} has a match there.")
        _limits(found)
        return
    labels = [label_of(r) for r in found.table.slice(0, MOST_ROWS).to_pylist()]
    if isinstance(found, SearchNeurons):
        _show(neurons_table(found, here()), labels, _MATCHES, "with matches, expected matches and q")
    else:
        _show(effects_table(found, here()), labels, _EFFECTS, "with their effect on the token's logit")
    n = found.table.num_rows
    if n > MOST_ROWS:
        st.caption(f"The first {MOST_ROWS} of {n:,} rows; the CSV has all of them.")
    with under(
        f"{plural(found.n_runs, 'run')}. A row shows its examples below; open leads to the neuron's page."
    ):
        share_answer(found, link=page.link, name="search_neurons")
    _limits(found)


def draw_examples(page: SearchPage, found: SearchNeurons | SearchEffects, tops: ComponentSet | None) -> None:
    """The examples of one neuron of the table, with what was searched for marked."""
    if not found.table.num_rows or tops is None:
        return
    rows = {label_of(r): r for r in reversed(found.table.slice(0, MOST_ROWS).to_pylist())}
    labels = list(reversed(rows))
    st.subheader("Examples", anchor=False)
    # nobody's choice: the first, so that the address, which has no default, means the same after the slider moved
    chosen = st.selectbox(
        "Neuron",
        labels,
        index=None,
        key="neuron",
        bind="query-params",
        persist_state="page",
        width=520,
        placeholder=f"{labels[0]} (the first found)",
    )
    label = chosen or labels[0]
    row, choices = rows[label], page.choices
    page = replace(page, choices=replace(choices, neuron=label))
    try:
        one: Neuron = ask(
            page.archive,
            neuron,
            runs=named(row["run"], excluded=True),
            layer=row["layer"],
            unit=row["unit"],
            step=row["step"],
            window=WINDOW,
            **which_of(tops, suspect=page.runs.suspect),
        )
    except (NotComparable, UsageError) as error:
        warn(error)
        return
    by, text = choices.by, found.text
    same_case = choices.same_case or not choices.text
    with st.container(key="examples"):
        st.html(
            examples_html(
                one,
                row["run"],
                peak(one, row["run"]),
                text=text,
                by=by,
                within=choices.within,
                same_case=same_case,
            )
        )
    told = examples_in_words(one, row["run"], text=text, by=by, within=choices.within, same_case=same_case)
    with under(f"{told} Orange ground: where it peaks. Blue line: what was searched for."):
        share(
            link=page.link,
            python=one.python,
            sql=one.sql,
            csv=lambda: one.table.drop_columns(["tokens"]),
            name=f"examples_{row['neuron']}",
        )


def _limits(found: SearchNeurons | SearchEffects) -> None:
    missing, fine = sorted_limits(found.limits)
    say(missing, fine, CANNOT)


def _show(table: pa.Table, labels: Sequence[str], columns: dict[str, Any], told: str) -> None:
    def take() -> None:
        rows = st.session_state["neurons_found"].selection.rows
        if rows:
            st.session_state["neuron"] = labels[rows[0]]

    st.dataframe(
        table,
        key="neurons_found",
        hide_index=True,
        height=380 if table.num_rows > 10 else "content",
        on_select=take,
        selection_mode="single-row",
        alt=f"{plural(table.num_rows, 'neuron')} {told}, with a link to the page of each",
        column_config=columns,
    )


_number, _link = st.column_config.NumberColumn, st.column_config.LinkColumn
_OPEN = _link("Page", display_text="open", help="Opens the neuron's page at this step")
_RUN = st.column_config.TextColumn("Run", width="medium")
_NEURON = st.column_config.TextColumn("Neuron", pinned=True, width=90)
_MATCHES: dict[str, Any] = {
    "neuron": _NEURON,
    "matches": _number("Matches", format="%d", help="Stored top examples that match", width=80),
    "of": _number("Of", format="%d", help="Stored top examples", width=50),
    "expected": _number(
        "Expected", format="%.2f", help="If each example were a random token of its document", width=80
    ),
    "q": _number("q", format="%.2g", help="Over all neurons searched at this step", width=80),
    "found": st.column_config.TextColumn("Found", help="More matches than chance explains", width=65),
    "since": _number(
        "Since", format="localized", help="First step from which on it is found up to this one", width=75
    ),
    "rank": _number(
        "Rank", format="%d", help="Of its highest example that matches; 1 is the highest", width=60
    ),
    "relative": _number(
        "Of its peak",
        format="percent",
        help="Its highest match as a share of its largest activation",
        width=90,
    ),
    "value": _number("Activation", format="%.3g", help="Of its highest match", width=85),
    "open": _OPEN,
    "run": _RUN,
}
_EFFECTS: dict[str, Any] = {
    "neuron": _NEURON,
    "token": "Token",
    "value": _number("Logits", format="%+.3g", help="Per unit of activation"),
    "rank": _number("Rank", format="%d", help="In its list of tokens; 1 is the furthest"),
    "open": _OPEN,
    "run": _RUN,
}
