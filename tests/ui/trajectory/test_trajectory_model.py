from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from archive.store import Archive
from queries.reading.select import RunSelection, select_runs
from queries.trajectory_pca import TrajectoryPca, trajectory_pca
from tests.ui.grokking.archive import crossed
from ui.models.palette import STROKES
from ui.models.trajectory.figure import (
    FAINTEST,
    fading,
    over_steps_figure,
    paths,
    planes_figure,
    trajectory_in_words,
)
from ui.models.trajectory.page import drawn_runs, missing_of, runs_by_object, runs_table, walks_in_words
from ui.models.trajectory.shares import shares_figure, shares_in_words

Made = Callable[[str], Path]


@pytest.fixture(scope="module")
def found(made: Made) -> TrajectoryPca:
    return trajectory_pca(Archive(made("grokking")), n_walks=50)


def test_what_has_inner_products_is_found(made: Made, demo: Archive) -> None:
    assert runs_by_object(demo) == {}
    odd = runs_by_object(Archive(made("grokking odd")))
    assert {of: len(runs) for of, runs in odd.items()} == {"weights": 5, "logits": 5}


def test_more_runs_than_strokes_are_cut_to_the_first(made: Made) -> None:
    selected = select_runs(Archive(made("many runs")), RunSelection())
    selection, n_drawn, n_there = drawn_runs(selected, RunSelection())
    assert (n_drawn, n_there) == (len(STROKES), 300)
    assert selection.names == tuple(f"run-{k:05d}" for k in range(12))
    few = selected.only(selected.ids[:3])
    assert drawn_runs(few, RunSelection()) == (RunSelection(), 3, 3)


def test_every_score_is_drawn_in_every_plane(found: TrajectoryPca) -> None:
    drawn = paths(found)
    assert [p.label for p in drawn] == [run.name for run in crossed()]
    assert len({(p.stroke, p.symbol) for p in drawn}) == 6
    figure = planes_figure(drawn)
    planes = (("x", "pc1", "pc2"), ("x2", "pc1", "pc3"), ("x3", "pc2", "pc3"))
    for axis, across, up in planes:
        lines = [t for t in figure.data if t.mode == "lines+markers" and (t.xaxis or "x") == axis]
        assert np.concatenate([t.x for t in lines]) == pytest.approx(found.table[across].to_numpy())
        assert np.concatenate([t.y for t in lines]) == pytest.approx(found.table[up].to_numpy())
    assert sum(bool(t.showlegend) for t in figure.data if t.mode == "lines+markers") == 6


def test_dots_are_the_fuller_the_later(found: TrajectoryPca) -> None:
    (line, *_) = planes_figure(paths(found)).data
    shown = np.array(line.marker.opacity)
    assert (shown[0], shown[-1]) == pytest.approx((FAINTEST, 1))
    assert (np.diff(shown) > 0).all()
    assert fading(np.array([1.0, 10, 100])) == pytest.approx([FAINTEST, (1 + FAINTEST) / 2, 1])
    assert fading(np.array([7.0])) == pytest.approx([1])


def test_ends_and_turns_are_marked_by_shape(found: TrajectoryPca) -> None:
    figure = planes_figure(paths(found))
    ends = [t for t in figure.data if t.marker.symbol == ("circle-open", "square")]
    assert len(ends) == 3 * 6
    stars = [t for t in figure.data if t.marker.symbol in ("star", "star-open") and not t.xaxis]
    rows = found.summary.to_pylist() if found.summary is not None else []
    assert [t.marker.symbol for t in stars] == ["star" if r["p_turn"] <= 0.05 else "star-open" for r in rows]
    assert "turns" in stars[0].hovertext


@pytest.mark.parametrize("x_scale", ["linear", "log"])
def test_components_over_steps_keep_step_zero(found: TrajectoryPca, x_scale: str) -> None:
    figure = over_steps_figure(paths(found), x_scale=x_scale)
    lines = [t for t in figure.data if t.mode == "lines+markers"]
    assert len(lines) == 3 * 6
    scores = np.asarray(lines[0].y, float)
    first = found.table.slice(0, len(crossed()[0].steps))
    assert scores[np.isfinite(scores)] == pytest.approx(first["pc1"].to_numpy())
    assert lines[0].customdata[0] == 0
    assert (figure.layout.xaxis.ticktext or ("",))[0] == ("0" if x_scale == "log" else "")


def test_shares_stand_beside_their_random_walks(found: TrajectoryPca) -> None:
    figure = shares_figure(found, paths(found))
    texts = [a.text for a in figure.layout.annotations]
    assert texts == ["60.8%", "15.2%", "6.8%"]
    dots = [t for t in figure.data if t.type == "scatter" and t.mode == "markers"]
    drawn = np.concatenate([t.y for t in dots])
    assert drawn == pytest.approx(found.shares["share"].to_numpy())
    bars = [t for t in figure.data if t.type == "bar"]
    low = np.concatenate([t.base for t in bars])
    assert low == pytest.approx(found.shares["null_low"].to_numpy())
    assert low + np.concatenate([t.y for t in bars]) == pytest.approx(found.shares["null_high"].to_numpy())
    assert "60.8% / 15.2% / 6.8%" in walks_in_words(found)
    assert "random walk 60.8%" in shares_in_words(found)
    assert trajectory_in_words(found, "planes").endswith(found.sentence)


def test_the_table_has_shares_and_turns_of_every_run(found: TrajectoryPca) -> None:
    rows = runs_table(found).to_pylist()
    assert [r["run"] for r in rows] == [run.name for run in crossed()]
    assert rows[0]["PC1"] == found.shares["share"][0].as_py()
    assert {"PC3 of walks", "p_turn", "turn_step"} <= set(rows[0])


def test_a_run_of_few_checkpoints_has_no_turn(made: Made) -> None:
    last = crossed()[0].steps[-4]
    short = trajectory_pca(Archive(made("grokking")), after_step=last, n_walks=50)
    drawn = paths(short)
    assert all(p.turn is None for p in drawn)
    figures = [planes_figure(drawn), over_steps_figure(drawn, x_scale="log"), shares_figure(short, drawn)]
    assert not any(t.hovertext and "turns" in t.hovertext for f in figures for t in f.data)
    assert runs_table(short).to_pylist()[0]["turn_step"] is None
    missing, _ = missing_of(short.limits)
    assert any("fewer than" in line for line in missing)
