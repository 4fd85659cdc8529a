from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from archive.errors import UsageError
from archive.store import Archive
from queries.key_frequency_history import key_frequency_history
from tests.ui.grokking.archive import KEYS, crossed, spectrum
from ui.models.grokking.seed_frequencies import seeds_figure, seeds_in_words, seeds_table
from ui.models.grokking.spectrum import spectrum as read_spectrum
from ui.models.grokking.spectrum import spectrum_steps
from ui.models.grokking.spectrum_figure import spectrum_figure, spectrum_in_words, spectrum_notes
from ui.models.palette import HUES

Made = Callable[[str], Path]
RUN = crossed()[0]


@pytest.fixture
def grokked(made: Made) -> Archive:
    return Archive(made("grokking"))


def test_the_spectrum_is_the_planted_one(grokked: Archive) -> None:
    known = spectrum_steps(grokked, run=RUN.name, suspect=False)
    assert known.matrices == ["W_L", "W_E", "logits"]
    assert known.steps["W_L"] == RUN.steps
    found = read_spectrum(grokked, run=RUN.name, matrix="W_E", step=0, suspect=False)
    assert found.values == pytest.approx(spectrum(RUN, "W_E"))
    assert (found.n_steps, found.n_broken) == (len(RUN.steps), 0)
    assert found.now == pytest.approx(spectrum(RUN, "W_E")[0])
    assert spectrum_notes(found) == []


def test_a_long_spectrum_is_thinned_and_says_so(grokked: Archive) -> None:
    step = RUN.steps[15]
    found = read_spectrum(grokked, run=RUN.name, matrix="W_L", step=step, suspect=False, max_columns=10)
    assert {RUN.steps[0], RUN.steps[-1], step} <= set(found.steps.tolist())
    assert len(found.steps) <= 12
    assert found.now == pytest.approx(spectrum(RUN, "W_L")[15])
    (line,) = spectrum_notes(found)
    assert f"{len(found.steps)} of {len(RUN.steps)}" in line


def test_suspect_and_broken_spectra_are_left_out_or_marked(made: Made) -> None:
    archive = Archive(made("grokking odd"))
    suspect = spectrum_steps(archive, run="i0-p1", suspect=False).steps["W_L"]
    every = spectrum_steps(archive, run="i0-p1", suspect=True).steps["W_L"]
    assert len(every) == len(suspect) + 2
    found = read_spectrum(archive, run="i0-p0", matrix="W_L", step=0, suspect=False)
    assert found.n_broken == 1
    figure = spectrum_figure(found, [], x_scale="log")
    (marks,) = [t for t in figure.data if t.type == "scatter"]
    assert len(marks.x) == 1
    assert "1 checkpoint with strengths that are not finite" in spectrum_notes(found)[0]


def test_an_archive_without_spectra_says_so(demo: Archive) -> None:
    with pytest.raises(UsageError, match="fourier_norm"):
        spectrum_steps(demo, run="demo-s0", suspect=False)


@pytest.mark.parametrize("x_scale", ["linear", "log"])
def test_the_slider_draws_its_line_and_its_bars(grokked: Archive, x_scale: str) -> None:
    step = RUN.steps[20]
    found = read_spectrum(grokked, run=RUN.name, matrix="W_L", step=step, suspect=False)
    figure = spectrum_figure(found, KEYS[0], x_scale=x_scale)
    (line,) = figure.layout.shapes
    assert line.x0 == line.x1 == step
    heat, last, now = figure.data
    assert pytest.approx(spectrum(RUN, "W_L")) == np.asarray(heat.z).T
    assert len(heat.x) == len(RUN.steps) + 1
    assert np.asarray(now.x) == pytest.approx(spectrum(RUN, "W_L")[20])
    assert np.asarray(last.x) == pytest.approx(spectrum(RUN, "W_L")[-1])
    assert [now.marker.color[k - 1] for k in KEYS[0]] == [HUES[0]] * 2
    assert {a.text for a in figure.layout.annotations} >= {"3", "7"}
    assert "Key at the last checkpoint: 3, 7." in spectrum_in_words(found, KEYS[0])


def test_every_run_shows_the_frequencies_planted_in_it(grokked: Archive) -> None:
    found = key_frequency_history(grokked)
    figure = seeds_figure(found, 11)
    (final,) = figure.data
    names = list(figure.layout.yaxis.ticktext)
    drawn = {(names[y], x) for x, y in zip(final.x, final.y, strict=True)}
    assert drawn == {(run.name, k) for run in crossed() for k in run.keys}
    assert {(r["run"], r["frequency"]) for r in seeds_table(found).to_pylist()} == drawn
    assert "i1-p0: 2, 5, 9" in seeds_in_words(found)
