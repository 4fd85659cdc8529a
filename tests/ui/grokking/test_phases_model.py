from collections.abc import Callable
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from archive.store import Archive
from queries.grokking_progress import grokking_progress
from tests.ui.grokking.archive import crossed
from ui.models.curves.figure import draw_bundles
from ui.models.grokking.phases import LOOKS, Span, phase_strip, shade, spans, strip_in_words
from ui.models.grokking.progress import (
    first_positive,
    one_run,
)
from ui.models.steps import StepAxis

Made = Callable[[str], Path]
RUN = crossed()[0]


@pytest.fixture
def grokked(made: Made) -> Archive:
    return Archive(made("grokking"))


@given(st.lists(st.integers(0, 10**6), min_size=1, max_size=30, unique=True).map(sorted), st.booleans())
def test_every_step_lies_in_its_own_column(steps: list[int], log: bool) -> None:
    at = np.array(steps, float)
    axis = StepAxis.of(at, "log" if log else "linear")
    edges, places = axis.edges(at), axis.place(at)
    assert np.isfinite(edges).all()
    assert (edges[:-1] <= places).all()
    assert (places <= edges[1:]).all()
    assert axis.broken == (log and steps[0] == 0)


def test_step_zero_stands_left_of_a_break() -> None:
    axis = StepAxis.of(np.array([0.0, 1, 10, 1000]), "log")
    assert axis.zero_at < axis.break_at < axis.first == 1
    layout = axis.layout()
    assert layout["ticktext"] == ["0", "1", "10", "100", "1\u202f000"]
    x, y = axis.cut(np.array([0.0, 1, 10]), np.array([5.0, 6, 7]))
    assert x.tolist() == [axis.zero_at, axis.break_at, 1, 10]
    assert np.isnan(y[1])
    (sign,) = axis.mark()
    assert sign["text"] == "//"
    linear = StepAxis.of(np.array([0.0, 1, 10]), "linear")
    assert linear.mark() == []
    assert linear.cut(np.array([0.0, 1]), np.array([5.0, 6]))[0].tolist() == [0, 1]


def test_phases_follow_one_another_and_meet_the_querys_ends(grokked: Archive) -> None:
    progress = grokking_progress(grokked)
    found = spans(progress)
    assert list(found) == [run.name for run in crossed()]
    for run, of_run in found.items():
        assert [s.phase for s in of_run] == list(LOOKS)[: len(of_run)]
        assert all(a.end == b.start for a, b in pairwise(of_run))
        assert [s.closed for s in of_run] == [True] * (len(of_run) - 1) + [False]
        ends = [r["reached"] for r in progress.ends.to_pylist() if r["run"] == run and r["reached"]]
        assert [s.end for s in of_run if s.closed] == ends
    # the last run is planted to be still cleaning up when training ends
    assert [s.phase for s in found["i2-p1"]][-1] == "cleanup"


def test_what_is_unresolved_has_no_band(demo: Archive) -> None:
    found = spans(grokking_progress(demo))
    assert {tuple(s.phase for s in of_run) for of_run in found.values()} == {("memorization",)}


def test_the_strip_names_and_hatches_every_phase(grokked: Archive) -> None:
    progress = grokking_progress(grokked)
    by_run = spans(progress)
    figure = phase_strip(by_run, progress.table["step"].to_numpy().astype(float), x_scale="log")
    assert [bar.name for bar in figure.data] == list(LOOKS)
    assert len({bar.marker.pattern.shape for bar in figure.data}) == len(LOOKS)
    assert list(figure.layout.yaxis.ticktext) == list(by_run)
    memorization = figure.data[0]
    ends = [b + x for b, x in zip(memorization.base, memorization.x, strict=True)]
    assert ends == pytest.approx([of_run[0].end for of_run in by_run.values()])
    assert strip_in_words(by_run).endswith(
        "memorization in 6, circuit formation in 6, cleanup in 6, done in 5."
    )


@pytest.mark.parametrize("x_scale", ["linear", "log"])
def test_bands_are_named_where_they_begin(grokked: Archive, x_scale: str) -> None:
    progress = grokking_progress(grokked)
    drawn = one_run(progress, "i0-p0")
    figure = draw_bundles(drawn, x_scale=x_scale, y_scale="log", axis="step", title="loss")
    n_before = len(figure.layout.annotations)
    of_run = spans(progress)["i0-p0"]
    shade(figure, of_run, x_scale=x_scale, first_step=first_positive(drawn))
    bands = [s for s in figure.layout.shapes if s.type == "rect"]
    names = figure.layout.annotations[n_before:]
    assert [n.text for n in names] == [s.phase for s in of_run]
    assert [b.x1 for b in bands] == [s.end for s in of_run]
    assert [b.x0 for b in bands[1:]] == [s.start for s in of_run[1:]]
    places = [10**n.x if x_scale == "log" else n.x for n in names]
    assert places[1:] == pytest.approx([s.start for s in of_run[1:]])


def test_a_run_without_phases_is_left_alone(demo: Archive) -> None:
    drawn = one_run(grokking_progress(demo), "demo-s0")
    figure = draw_bundles(drawn, x_scale="log", y_scale="log", axis="step", title="loss")
    before = figure.to_json()
    shade(figure, [], x_scale="log", first_step=1)
    assert figure.to_json() == before


def test_a_span_says_whether_it_ended() -> None:
    figure = phase_strip({"r": [Span("cleanup", 10, 20, False)]}, np.array([0.0, 10, 20]), x_scale="linear")
    assert "until its last checkpoint, step 20" in figure.data[0].hovertext[0]
