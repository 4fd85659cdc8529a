"""The same neuron in other runs: the best match of each with its excess correlation, and the texts of both side by side."""

from dataclasses import replace

import streamlit as st

from archive.errors import NotComparable, PathscopeError, UsageError
from queries.neuron import neuron
from ui.menu import share, under
from ui.models.component_sets import ComponentSet, named, which_of
from ui.models.copies import opened
from ui.models.neuron.lookalikes import MOST_RUNS, lookalikes, lookalikes_in_words, lookalikes_table
from ui.models.neuron.matches import (
    COMMAND,
    MOST_ROWS,
    STUDY,
    Comparison,
    Matches,
    comparison_of,
    matches_csv_table,
    matches_in_words,
    matches_of,
    matches_table,
    notes_of,
)
from ui.models.neuron.page import CONTEXTS, peak
from ui.models.neuron.text import examples_html
from ui.models.text import distinguish, escape_markdown, plural
from ui.parts.neuron.page import CANNOT, NeuronPage
from ui.state import ask, for_this_archive
from ui.widgets import here, say, warn

SIDE_BY_SIDE = 6  # examples of each


def draw_others(page: NeuronPage, known: ComponentSet) -> NeuronPage:
    """The section, and the page with what was chosen in it."""
    st.subheader("In the other runs", anchor=False)
    comparison = ask(
        page.archive,
        comparison_of,
        run=page.run,
        selection=page.runs.selection,
        known=known,
        suspect=page.runs.suspect,
    )
    if isinstance(comparison, NotComparable):
        warn(comparison)
        return page
    if isinstance(comparison, PathscopeError) or not comparison.steps:
        return _stand_in(page, known)
    at = comparison.at(page.choices.step)
    if at is None:
        st.caption(
            f"Neurons of this run were first compared with others at step {comparison.steps[0]:,}, after the slider's step."
        )
        return page
    c = page.choices
    found = ask(page.archive, matches_of, comparison=comparison, layer=c.layer, unit=c.unit, step=at)
    if not found.rows:
        st.caption(f"Layer {c.layer} of this run was compared with no other run at step {at:,}.")
        return page
    _table(page, comparison, found, at)
    return _side_by_side(page, known, found, at)


def _table(page: NeuronPage, comparison: Comparison, found: Matches, at: int) -> None:
    number = st.column_config.NumberColumn
    table = matches_table(found, here(), page.choices.eval_set)
    first = comparison.steps[0]
    columns = ["run", "match", "page", "excess", "similarity", "null_mean", "first_excess", "start"]
    if at == first:
        columns.remove("first_excess")
    st.dataframe(
        table,
        key="matches",
        column_order=columns,
        hide_index=True,
        height=320 if table.num_rows > 8 else "content",
        alt=f"The neuron of each other run that is most like {page.choices.name} at step {at}",
        column_config={
            "run": st.column_config.TextColumn("Run", width="large"),
            "match": st.column_config.TextColumn("Match", pinned=True),
            "excess": number("Excess", format="%.3f", help="Correlation less what a rotated basis gives"),
            "similarity": number("Correlation", format="%.3f", help="Over all tokens of the eval set"),
            "null_mean": number(
                "Rotated", format="%.3f", help="The highest with that run's layers rotated at random"
            ),
            "first_excess": number(
                f"Excess at step {first:,}", format="%.3f", help="Of the same neuron, with its match then"
            ),
            "start": st.column_config.TextColumn(
                "Start", help="Runs from the same weights are no other seed"
            ),
            "page": st.column_config.LinkColumn("Its page", display_text="open"),
        },
    )
    where = f"Step {at:,}, on {comparison.eval_set}."
    with under(f"{where} {matches_in_words(found, page.choices.name, at)}"):
        share(
            link=page.link,
            python=f"pathscope.match_neurons({opened(page.archive)}, step={at}, top=100_000).table",
            sql=found.sql,
            csv=lambda: matches_csv_table(found),
            name=f"{page.choices.name}_in_other_runs",
        )
    missing = [f"The first {MOST_ROWS} of {len(found.rows)} runs; the CSV has all of them."]
    say(missing if len(found.rows) > MOST_ROWS else [], notes_of(found), CANNOT)


def _side_by_side(page: NeuronPage, known: ComponentSet, found: Matches, at: int) -> NeuronPage:
    """Texts of the neuron and of one of its matches, the best of another init at first, both at the step compared."""
    if not found.known:
        return page
    by_run = {m.run: m for m in found.known[:MOST_ROWS]}
    first = next((m.run for m in by_run.values() if not m.shared), found.known[0].run)
    beside = st.selectbox(
        "Texts side by side with",
        list(by_run),
        index=list(by_run).index(first),
        key="beside",
        bind="query-params",
        width=460,
    )
    match, c = by_run[beside], page.choices
    labels = distinguish([page.run, match.run], 44)
    places = ((page.run, c.layer, c.unit, at), (match.run, match.layer, match.unit, match.step))
    for column, label, place in zip(st.columns(2, gap="medium"), labels, places, strict=True):
        with column:
            _texts(page, known, label, *place)
    st.caption("Full orange and a full bar: as high as it ever was in its own run.")
    return replace(page, choices=replace(c, beside=beside))


def _texts(
    page: NeuronPage, known: ComponentSet, label: str, run: str, layer: int, unit: int, step: int
) -> None:
    st.markdown(f"**L{layer}N{unit}** of {escape_markdown(label)}, step {step:,}")
    try:
        found = ask(
            page.archive,
            neuron,
            runs=named(run, excluded=page.runs.excluded),
            layer=layer,
            unit=unit,
            step=step,
            window=CONTEXTS["short"],
            **which_of(known, suspect=page.runs.suspect),
        )
    except (NotComparable, UsageError) as error:
        warn(error)
        return
    spaces, most = page.choices.white, SIDE_BY_SIDE
    with st.container(key=f"beside-{'own' if run == page.run else 'other'}"):
        st.html(examples_html(found, run, peak(found, run), spaces=spaces, most=most))


def _stand_in(page: NeuronPage, known: ComponentSet) -> NeuronPage:
    """No two models were compared: what compares them, and on demand how many texts neurons have in common."""
    with st.container(border=True):
        st.markdown("No comparison of two models is there; a study with `[compare]` makes them:")
        st.code(STUDY, language="toml")
        st.code(for_this_archive(COMMAND), language="bash", wrap_lines=True)
    alike = st.toggle(
        "Look for neurons with the same top examples",
        key="alike",
        bind="query-params",
        help=f"Every neuron of the first {MOST_RUNS} other runs at this step: seconds for large models. Weaker than a "
        "comparison: it sees the few highest activations only.",
    )
    page = replace(page, choices=replace(page.choices, alike=alike))
    if alike:
        try:
            _alike(page, known)
        except (NotComparable, UsageError) as error:
            warn(error)
    return page


def _alike(page: NeuronPage, known: ComponentSet) -> None:
    c = page.choices
    found = ask(
        page.archive,
        lookalikes,
        run=page.run,
        selection=page.runs.selection,
        known=known,
        layer=c.layer,
        unit=c.unit,
        step=c.step,
        suspect=page.runs.suspect,
    )
    words = lookalikes_in_words(found, c.name, c.step)
    if not found.rows:
        st.caption(words)
        return
    number = st.column_config.NumberColumn
    st.dataframe(
        lookalikes_table(found, here(), c.eval_set, c.step),
        key="lookalikes",
        hide_index=True,
        height="content",
        alt=f"The neuron of each other run with most top examples in common with {c.name}",
        column_config={
            "run": st.column_config.TextColumn("Run", width="medium"),
            "neuron": st.column_config.TextColumn("Neuron", pinned=True),
            "shared": number(f"In common of {found.k}", format="%d"),
            "next_shared": number(
                "Next best", format="%d", help="The second best neuron of that run: the control"
            ),
            "n_neurons": number("Looked at", format="localized"),
            "page": st.column_config.LinkColumn("Its page", display_text="open"),
        },
    )
    with under(words):
        share(
            link=page.link,
            python=page.found.python,
            sql=found.sql,
            csv=lambda: lookalikes_table(found, here(), c.eval_set, c.step),
            name=f"{c.name}_same_examples",
        )
    without = [f"{plural(found.n_runs_without, 'more run')} not looked at, or without examples at this step."]
    say(
        without if found.n_runs_without else [],
        [
            "Top examples are the tail of what neurons do: two may share them and differ elsewhere, or the reverse.",
            "Neurons of any two models share texts that excite everything; the next best neuron of a run says how many.",
        ],
        CANNOT,
    )
