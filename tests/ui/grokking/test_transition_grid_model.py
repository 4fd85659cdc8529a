from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from archive.store import Archive
from queries.grokking_progress import grokking_progress
from queries.key_frequency_history import key_frequency_history
from queries.reading.select import RunRow, select_runs
from queries.transition_times import transition_times
from queries.variance_components import variance_components
from tests.ui.grokking.archive import GROKS, LATER_BY_SPLIT, crossed
from ui.models.grokking.phases import phase_strip, spans
from ui.models.grokking.seed_frequencies import seeds_figure
from ui.models.grokking.seed_shares import crossed_factors, shares_figure
from ui.models.grokking.transition_grid import (
    MOST_LEVELS,
    Time,
    grid,
    grid_figure,
    grid_in_words,
    grid_notes,
    times_of_level,
    times_of_phase,
)

Made = Callable[[str], Path]
RUN = crossed()[0]


@pytest.fixture
def grokked(made: Made) -> Archive:
    return Archive(made("grokking"))


def test_times_by_init_and_split_are_the_planted_ones(grokked: Archive) -> None:
    answer = transition_times(grokked, part="test", level=0.57)  # test accuracy half-way up
    found = grid(times_of_level(answer), select_runs(grokked, "*").runs)
    assert (found.inits, found.splits, found.n_runs) == ((0, 1, 2), (0, 1), 6)
    assert found.is_crossed
    for (init, split), (time,) in found.cells.items():
        planted = GROKS[init] * LATER_BY_SPLIT[split]
        assert time.after is not None
        assert time.reached is not None
        assert time.after < planted <= time.reached
    figure = grid_figure(found)
    assert figure.data[1].text[0] == f"{found.cells[0, 0][0].reached}"
    assert grid_notes(found) == []
    assert "init 0, split 0" in grid_in_words(found, "it")


def test_ends_of_phases_are_times_too(grokked: Archive) -> None:
    progress = grokking_progress(grokked)
    times = {t.run: t for t in times_of_phase(progress, "end of cleanup")}
    assert times["i2-p1"].reached is None
    assert times["i2-p1"].words == "not by step 1,200"
    figure = grid_figure(grid(times.values(), select_runs(grokked, "*").runs))
    assert figure.data[1].text[-1] == "&gt; 1\u202f200"


def test_a_table_says_what_it_cannot_tell(demo: Archive) -> None:
    runs = select_runs(demo, "*").runs
    times = [Time(r.run, 1, 2) for r in runs]
    diagonal = grid(times, runs)
    assert not diagonal.is_crossed
    assert "not crossed" in grid_notes(diagonal)[0]
    assert grid_figure(diagonal).data[1].text.count("–") == 20
    lost = grid([*times, Time("nobody", 1, 2)], [_without_split(r) for r in runs])
    assert lost.n_runs == 0
    assert "6 runs without a known init seed or split seed" in grid_notes(lost)[0]


def test_several_runs_of_a_cell_show_their_median(grokked: Archive) -> None:
    runs = select_runs(grokked, "i0-p*").runs
    shared = [_with_split(r, 0) for r in runs]
    found = grid([Time("i0-p0", 10, 20), Time("i0-p1", 1200, None)], shared)
    figure = grid_figure(found)
    assert figure.data[1].text == ("&gt; 1\u202f200 (n = 2)",)


def test_a_table_of_hundreds_of_seeds_is_cut_visibly(demo: Archive) -> None:
    (row, *_) = select_runs(demo, "*").runs
    runs = [RunRow(**{**vars(row), "run": f"r{k}", "init_seed": k, "split_seed": k}) for k in range(300)]
    found = grid([Time(r.run, 1, 2) for r in runs], runs)
    figure = grid_figure(found)
    assert len(figure.data[1].text) == MOST_LEVELS**2
    assert not figure.layout.annotations, "hundreds of them take plotly minutes"
    assert f"The first {MOST_LEVELS} of 300" in grid_notes(found)[0]


def test_shares_are_drawn_for_the_seeds_that_differ(grokked: Archive) -> None:
    runs = select_runs(grokked, "*").runs
    assert crossed_factors(runs) == ("init", "split")
    found = variance_components(
        grokked, part="test", step=RUN.steps[20], scale="log2", factors=crossed_factors(runs)
    )
    figure = shares_figure(found)
    assert list(figure.layout.yaxis.ticktext) == ["init", "split", "init:split"]
    assert sum(figure.data[0].x) == pytest.approx(1)


def test_hostile_names_reach_the_figures_as_text(made: Made) -> None:
    archive = Archive(made("grokking hostile"))
    progress = grokking_progress(archive)
    by_run = spans(progress)
    keys = key_frequency_history(archive)
    times = times_of_phase(progress, "end of cleanup")
    figures = [
        phase_strip(by_run, np.array([0.0, 1.0]), x_scale="log"),
        seeds_figure(keys, 11),
        grid_figure(grid(times, select_runs(archive, "*").runs)),
    ]
    for figure in figures:
        assert "<img" not in figure.to_json().replace("\\u003c", "<")


def _without_split(row: RunRow) -> RunRow:
    return _with_split(row, None)


def _with_split(row: RunRow, split: int | None) -> RunRow:
    return RunRow(**{**vars(row), "split_seed": split})
