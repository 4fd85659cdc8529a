from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pyarrow.compute as pc
import pytest

from archive.errors import UsageError
from archive.store import Archive
from queries.head import head
from queries.head_score_history import HeadScoreHistory, head_score_history
from queries.head_scores import HeadScores, head_scores
from tests.ui.component_archive import STEPS, prefix_scores, seeds
from tests.ui.component_records import CHANCE, N_HEADS, N_LAYERS
from ui.models.component_sets import (
    ComponentSet,
    component_sets,
    eval_sets,
    labels,
    measured_runs,
    measured_steps,
    named,
    rests,
    which_of,
)
from ui.models.heads.curves import head_curves_figure, head_curves_in_words
from ui.models.heads.grid import grid_figure, grid_in_words, grid_notes
from ui.models.heads.page import (
    PALE,
    best_head,
    finder,
    first_label,
    grid,
    head_names,
    peak_of,
    runs_drawn,
    usable_sorts,
)
from ui.models.heads.partners import (
    partners_step,
    partners_table,
    profile_figure,
    profile_in_words,
    profiles,
    scores_table,
)

Made = Callable[[str], Path]
TABLE = "fact_head"
RUN = seeds()[0]


@pytest.fixture
def archive(made: Made) -> Archive:
    return Archive(made("components"))


def known_set(archive: Archive, label: str = "head.prefix_matching", eval_set: str = "") -> ComponentSet:
    sets = component_sets(archive, table=TABLE)
    return rests(sets, label, eval_set or eval_sets(sets, label)[0])[0]


def history_of(archive: Archive, run: str = RUN.name) -> HeadScoreHistory:
    known = known_set(archive)
    return head_score_history(
        archive, runs=run, measure=known.measure, top=1000, chosen_by="max", **known.which
    )


def scores_of(archive: Archive, step: int = STEPS[-1], runs: str = RUN.name) -> HeadScores:
    known = known_set(archive)
    return head_scores(archive, runs=runs, measure=known.measure, step=step, **known.which)


def test_sets_are_named_by_variant_and_eval_set(archive: Archive, made: Made) -> None:
    sets = component_sets(archive, table=TABLE)
    assert labels(sets) == [
        "head.prefix_matching",
        "head.prefix_matching:last_target",
        "head.previous_token",
    ]
    assert [s.rest for s in sets] == ["", "", ""]
    assert {s.n_runs for s in sets} == {3}
    # both variants must be told apart by what a query understands
    assert all("params" in s.which for s in sets[:2])
    odd = component_sets(Archive(made("components odd")), table=TABLE)
    assert eval_sets(odd, "head.prefix_matching") == ["books, 40 tokens", "repeated tokens"]
    assert component_sets(archive, table="fact_attention") == []


def test_runs_and_steps_of_a_set_leave_out_what_queries_leave_out(made: Made) -> None:
    odd = Archive(made("components odd"))
    known = known_set(odd)
    measured = measured_runs(odd, selection=named(excluded=False), known=known, table=TABLE)
    assert measured.runs == ("lm-seed0", "lm-seed1", "lm-seed2")
    everyone = measured_runs(odd, selection=named(excluded=True), known=known, table=TABLE)
    assert set(everyone.runs) - set(measured.runs) == {"lm-wrong"}

    def steps(run: str, suspect: bool = False) -> tuple[int, ...]:
        return measured_steps(odd, run=run, known=known, table=TABLE, suspect=suspect)

    assert steps("lm-seed0") == tuple(s for s in STEPS if s != STEPS[2])
    assert steps("lm-seed1") == tuple(s for s in STEPS if s != STEPS[5])
    assert steps("lm-seed1", suspect=True) == STEPS
    assert which_of(known, suspect=True) == {**known.which, "with_suspect": True}


def test_a_name_with_brackets_names_itself(archive: Archive) -> None:
    assert named("a[1]*?", excluded=False).names == ("a[[]1][*][?]",)
    with pytest.raises(UsageError):
        measured_runs(
            archive,
            selection=named("lm-seed[01]", excluded=False),
            known=known_set(archive),
            table=TABLE,
        )


def test_the_grid_has_the_planted_scores(archive: Archive) -> None:
    history = history_of(archive)
    for step in (STEPS[0], STEPS[-1]):
        found = grid(scores_of(archive, step), history, RUN.name)
        assert found.values == pytest.approx(prefix_scores(RUN, step))
        assert found.chance == pytest.approx(np.full((N_LAYERS, N_HEADS), CHANCE))
        assert found.z == pytest.approx((found.values - CHANCE) / 0.01)
        # one range for all of training: steps compare
        assert found.top == pytest.approx(max(prefix_scores(RUN, s).max() for s in STEPS))
    assert not found.is_signed
    assert grid_notes(found) == []
    assert "Highest: L1H2 (0.893)" in grid_in_words(found, "head.prefix_matching")


def test_a_cell_is_chosen_by_its_name_and_framed(archive: Archive) -> None:
    found = grid(scores_of(archive), history_of(archive), RUN.name)
    figure = grid_figure(found, "L1H2", unit="probability")
    cells = figure.data[1]
    at = list(cells.customdata).index("L1H2")
    assert (cells.x[at], cells.y[at]) == (2, 1)
    assert "score 0.893" in cells.hovertext[at]
    assert "chance 0.025" in cells.hovertext[at]
    (frame,) = figure.layout.shapes
    assert (frame.x0 + frame.x1, frame.y0 + frame.y1) == pytest.approx((4, 2))
    # colour is not all that tells a score
    assert figure.data[0].text[1][2] == "0.89"


def test_missing_and_negative_scores_are_told(made: Made) -> None:
    odd = Archive(made("components odd"))
    known = known_set(odd, eval_set="repeated tokens")
    asked = {"runs": "lm-seed0", "measure": known.measure, **known.which}
    scores = head_scores(odd, step=STEPS[4], **asked)  # type: ignore[arg-type]
    history = head_score_history(odd, top=1000, chosen_by="max", **asked)  # type: ignore[arg-type]
    found = grid(scores, history, "lm-seed0")
    assert grid_notes(found) == ["1 of 8 heads have no finite score there (✕)."]
    assert PALE * CHANCE < found.top == pytest.approx(peak_of(history))
    figure = grid_figure(found, "L0H0", unit="")
    assert figure.data[0].text[0][1] == "✕"
    assert "score —" in figure.data[1].hovertext[1]
    table, _ = finder(scores, history, "value")
    assert table["head"].to_pylist()[-1] == "L0H1"
    assert table["value"].to_pylist()[-1] is None
    found.values[0, 0] = -0.5
    assert found.is_signed
    assert grid_figure(found, "L0H0", unit="").data[0].zmin == -found.top


def test_the_finder_sorts_and_cuts(archive: Archive) -> None:
    history, scores = history_of(archive), scores_of(archive)
    table, n = finder(scores, history, "above chance", most=3)
    rows = table.to_pylist()
    assert (table.num_rows, n) == (3, N_LAYERS * N_HEADS)
    assert rows[0]["head"] == "L1H2"
    assert rows[0]["above"] == pytest.approx(rows[0]["value"] - CHANCE)
    assert rows[0]["course"] == pytest.approx([prefix_scores(RUN, s)[1, 2] for s in STEPS])
    assert (rows[0]["peak"], rows[0]["peak_at"]) == (pytest.approx(peak_of(history)), STEPS[-1])
    assert usable_sorts(scores) == ["value", "above chance", "z"]
    other = head_scores(archive, runs="lm-seed1", measure="head.previous_token")
    assert usable_sorts(other) == ["value", "above chance"]
    # a row of another run than that of the history has no course
    assert finder(other, history, "value")[0]["course"].null_count == n


def test_what_the_page_opens_with(archive: Archive) -> None:
    history = history_of(archive)
    assert best_head(history) == "L1H2"
    assert head_names(history) == [f"L{a}H{b}" for a in range(N_LAYERS) for b in range(N_HEADS)]
    assert first_label(["a", "head.prefix_matching"]) == "head.prefix_matching"
    assert first_label(["a", "b"]) == "a"
    assert runs_drawn(["a", "b", "c", "d"], "c", most=3) == ("c", "a", "b")


@pytest.mark.parametrize("x_scale", ["log", "linear"])
def test_curves_have_a_line_a_run_and_the_level_of_chance(archive: Archive, x_scale: str) -> None:
    known = known_set(archive)
    found = head_score_history(archive, measure=known.measure, heads=("L1H2",), **known.which)
    figure = head_curves_figure(found, RUN.name, step=STEPS[3], x_scale=x_scale)
    lines = [t for t in figure.data if t.mode == "lines" and t.line.dash == "solid"]
    assert len(lines) == 3
    mine = next(t for t in lines if t.line.width > 2)
    assert mine.y[-1] == pytest.approx(prefix_scores(RUN, STEPS[-1])[1, 2])
    chance = [t for t in figure.data if t.line.dash == "dash"]
    assert [set(t.y) for t in chance] == [{CHANCE}]
    texts = [a.text for a in figure.layout.annotations]
    assert {"lm-seed0", "2 other runs", "chance"} <= set(texts)
    assert [s.x0 for s in figure.layout.shapes] == [STEPS[3]]
    low, high = figure.layout.yaxis.range
    assert low <= CHANCE < high
    assert "in focus lm-seed0. At the end lm-seed0: 0.893" in head_curves_in_words(found, "L1H2", RUN.name)


def test_a_checkpoint_that_is_left_out_leaves_a_gap(made: Made) -> None:
    odd = Archive(made("components odd"))
    known = known_set(odd, eval_set="repeated tokens")
    found = head_score_history(odd, runs="lm-seed1", measure=known.measure, heads=("L1H3",), **known.which)
    figure = head_curves_figure(found, "lm-seed1", step=0, x_scale="linear")
    (line,) = [t for t in figure.data if t.line.dash == "solid"]
    assert np.isnan(line.y[list(line.x).index(STEPS[5])])


def test_partners_profiles_and_scores_of_a_head(archive: Archive) -> None:
    found = head(archive, runs=RUN.name, layer=1, head=2)
    partners = partners_table(found, RUN.name).to_pylist()
    assert (partners[0]["partner"], partners[0]["way"]) == ("L0H0", "reads from, K")
    assert partners[0]["z"] == pytest.approx(15)
    assert partners_step(found, RUN.name) == STEPS[-1]
    (profile,) = profiles(found, RUN.name)
    figure = profile_figure(profile, unit="attention")
    assert list(figure.layout.xaxis.ticktext) == ["0", "1", "2", "4", "8", "16"]
    assert "Largest: 0.35 at 16" in profile_in_words(profile, "L1H2")
    scores = {r["score"]: r for r in scores_table(found, RUN.name).to_pylist()}
    assert scores["head.prefix_matching"]["last"] == pytest.approx(0.893, abs=1e-3)
    # no error is stored with it, and so no z
    assert scores["head.previous_token"]["last_z"] is None
    assert partners_table(found, "another").num_rows == 0
    assert partners_step(found, "another") is None


def test_a_grid_at_chance_looks_pale(archive: Archive) -> None:
    known = known_set(archive)
    early = head_score_history(archive, runs=RUN.name, measure=known.measure, top=1000, **known.which)
    at_chance = replace(early, table=early.table.filter(pc.equal(early.table["step"], 0)))
    found = grid(scores_of(archive, 0), at_chance, RUN.name)
    assert found.values.max() < 2 * CHANCE
    assert found.top == pytest.approx(PALE * CHANCE)
