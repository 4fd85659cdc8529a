"""Trajectory: principal components of training runs, seeds overlaid, beside what random walks show."""

import streamlit as st

from archive.errors import NotComparable, UsageError
from archive.store import Archive
from queries.reading.select import select_runs
from queries.trajectory_pca import TrajectoryPca, Weighting, trajectory_pca
from ui.menu import PLOTLY, share, under
from ui.models.address import permalink
from ui.models.copies import to_csv
from ui.models.series import RunChoice, run_names
from ui.models.text import escape_markdown, plural
from ui.models.trajectory.figure import (
    over_steps_figure,
    paths,
    planes_figure,
    trajectory_in_words,
)
from ui.models.trajectory.page import (
    TrajectoryChoices,
    drawn_runs,
    missing_of,
    runs_by_object,
    runs_table,
    walks_in_words,
)
from ui.models.trajectory.shares import shares_figure, shares_in_words
from ui.pickers import run_pickers, scale_picker
from ui.state import ask, show
from ui.view import view
from ui.widgets import empty_archive, headline, here, say, to_fill, warn

# words are what the address has
N_WALKS = 300  # a run: enough for 5% and for a page; `pathscope query trajectory_pca` takes 1000
WEIGHTINGS: dict[str, Weighting] = {"log time": "log_time", "checkpoint": "equal"}


@view(title="Trajectory", order=16, section="Training", icon=":material/timeline:", url_path="trajectory")
def render(archive: Archive) -> None:
    """Where training goes: principal components 1 to 3 of weights or logits, seeds overlaid, beside random walks."""
    known = ask(archive, run_names)
    headline("Trajectory")
    if not known:
        empty_archive(archive)
        return
    with st.sidebar:
        runs = run_pickers(known)
    having = ask(archive, runs_by_object)
    if not having:
        to_fill(
            "A trajectory is drawn from the inner products of a run's checkpoints, which nobody has measured yet:",
            "pathscope ingest STUDY.toml --fill weight_products",
            "logit_products does the same for the logits; where checkpoints are large, weight_products:sketch is quick.",
        )
        return
    choices = _how(list(having))
    try:
        _answer(archive, runs, choices, having[choices.of])
    except (NotComparable, UsageError) as error:
        warn(error)


def _how(objects: list[str]) -> TrajectoryChoices:
    with st.container(horizontal=True, vertical_alignment="bottom", gap="small"):
        of = st.segmented_control(
            "Of",
            objects,
            default=objects[0],
            key="of",
            bind="query-params",
            required=True,
            help="What moves: all weights as one vector, or all logits of the eval set.",
        )
        shown = st.segmented_control(
            "Show",
            ["planes", "over steps"],
            default="planes",
            key="picture",
            bind="query-params",
            required=True,
        )
        weighting = st.segmented_control(
            "Every … weighs the same",
            list(WEIGHTINGS),
            default="log time",
            key="weighting",
            bind="query-params",
            required=True,
            help="Checkpoints lie close together early and late. Weighed by the log time they stand for, many "
            "checkpoints of one stretch do not outvote the rest.",
        )
        after = st.number_input(
            "From step", min_value=0, value=0, step=100, key="after_step", bind="query-params", width=150
        )
        x_scale = "log"
        if shown == "over steps":
            x_scale = scale_picker("x axis", "x_scale", "log")
    return TrajectoryChoices(of, shown, weighting, after, x_scale)


def _answer(archive: Archive, runs: RunChoice, choices: TrajectoryChoices, having: frozenset[int]) -> None:
    selected = ask(archive, select_runs, runs.selection)
    if not having & set(selected.ids):
        to_fill(
            f"None of these runs has inner products of its {choices.of}:",
            f"pathscope ingest STUDY.toml --fill {'weight' if choices.of == 'weights' else 'logit'}_products",
        )
        return
    selection, n_drawn, n_there = drawn_runs(selected.only(having), runs.selection)
    asked = {
        "runs": selection,
        "of": choices.of,
        "weighting": WEIGHTINGS[choices.weighting],
        "after_step": choices.after_step,
        "n_walks": N_WALKS,
    } | ({"with_suspect": True} if runs.suspect else {})
    with st.spinner("Walking at random beside the runs …"):
        found: TrajectoryPca = ask(archive, trajectory_pca, **asked)  # type: ignore[arg-type]  # validated there
    drawn = paths(found)
    missing, fine = missing_of(found.limits)
    if n_drawn < n_there:
        missing.insert(0, f"{n_drawn} of {n_there} runs are drawn; choose others in the sidebar.")
    figure = (
        planes_figure(drawn)
        if choices.picture == "planes"
        else over_steps_figure(drawn, x_scale=choices.x_scale)
    )
    st.plotly_chart(figure, key="trajectory", config=PLOTLY, alt=trajectory_in_words(found, choices.picture))
    link = permalink(here(), runs, choices)
    with under(_key(found, choices.picture)):
        share(link=link, python=found.python, sql=found.sql, csv=lambda: _csv(found), name="trajectory")
    st.markdown(escape_markdown(found.sentence))
    st.subheader("Shares, beside random walks", anchor=False)
    st.plotly_chart(shares_figure(found, drawn), key="shares", config=PLOTLY, alt=shares_in_words(found))
    with under(walks_in_words(found) + f" Grey: {N_WALKS} walks a run, with its step lengths and weights."):
        share(
            link=link,
            python=found.python,
            sql=found.sql,
            csv=lambda: found.shares,
            name="trajectory_shares",
        )
    _table(found, link)
    say(missing, fine, "What these pictures cannot tell")


def _key(found: TrajectoryPca, picture: str) -> str:
    fading = "Dots: the fuller, the later. " if picture == "planes" else ""
    return (
        f"{found.n_runs} runs, each in its own components, their signs turned to agree; no mean is drawn. "
        f"{fading}Ring: first checkpoint. Square: last. Star: largest turn, filled where fewer than 5% of its walks turn "
        "as much."
    )


def _csv(found: TrajectoryPca) -> str:
    return to_csv(found.table).decode()


def _table(found: TrajectoryPca, link: str) -> None:
    table = runs_table(found)
    number = st.column_config.NumberColumn
    percent = {f"PC{c}": number(f"PC{c}", format="percent") for c in (1, 2, 3)}
    percent |= {f"PC{c} of walks": number("walks", format="percent", help="mean") for c in (1, 2, 3)}
    st.dataframe(
        table,
        key="turns",
        hide_index=True,
        height="content",
        alt="Per run the shares of its components and its largest turn, beside those of its random walks",
        column_config={
            "run": st.column_config.TextColumn("Run", pinned=True, width="medium"),
            **percent,
            "n_checkpoints": number("Checkpoints", format="localized"),
            "turn_degrees": number("Turn [°]", format="%.0f", help="The largest turn of the path"),
            "turn_step": number("At step", format="localized"),
            "null_turn": number("Walks turn [°]", format="%.0f", help="The mean of its random walks"),
            "null_turn_q95": number("95% below [°]", format="%.0f", help="95% of its random walks turn less"),
            "p_turn": number("p", format="%.3g", help="Share of its random walks that turn at least as much"),
        },
    )
    with under(f"{plural(found.n_runs, 'run')}, each beside {N_WALKS} random walks."):
        share(
            link=link,
            python=f"{found.python}.summary",
            sql=found.sql,
            csv=lambda: table,
            name="trajectory_turns",
        )


if __name__ == "__main__":
    show(render)
