import html
import math
import re
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pyarrow.compute as pc
import pytest

from archive.store import Archive
from queries.neuron import Neuron, neuron
from tests.ui.components.archive import STEPS, seeds, token_ids, top_examples
from tests.ui.components.records import N_LAYERS, N_UNITS, VOCABULARY, K
from ui.models.component_sets import component_sets
from ui.models.marked_text import visible
from ui.models.neuron.figures import (
    bins,
    effect_figure,
    effect_in_words,
    effect_sql,
    effect_table,
    histogram_figure,
    histogram_in_words,
    histogram_of,
    histogram_sql,
    histogram_table,
)
from ui.models.neuron.page import (
    TABLE,
    Layers,
    NeuronChoices,
    layers_of,
    missing_command,
    peak,
    share_of_tokens,
    statistics,
    threshold,
)
from ui.models.neuron.text import (
    FAINTEST,
    FULLEST,
    examples_html,
    examples_in_words,
    examples_of,
    marked_text,
    shade,
)
from ui.models.neuron.training import hidden_values, there_since, training_figure, training_in_words
from ui.models.palette import DARK_GROUND, HUES, LIGHT_GROUND

Made = Callable[[str], Path]
RUN = seeds()[0]


@pytest.fixture
def archive(made: Made) -> Archive:
    return Archive(made("components"))


@pytest.fixture
def found(archive: Archive) -> Neuron:
    return neuron(archive, runs=RUN.name, layer=1, unit=2)


def test_layers_and_neighbours(archive: Archive) -> None:
    (known,) = component_sets(archive, table=TABLE)
    layers = layers_of(archive, run=RUN.name, known=known)
    assert layers.sizes == dict.fromkeys(range(N_LAYERS), N_UNITS)
    assert layers.next_to(0, N_UNITS - 1, 1) == (1, 0)
    assert layers.next_to(1, N_UNITS - 1, 1) == (0, 0)
    assert layers.next_to(0, 0, -1) == (1, N_UNITS - 1)
    assert layers.next_to(0, 99, -1) == (0, N_UNITS - 2)
    # layers may be of different size, and need not count from 0
    uneven = Layers({1: 2, 4: 3})
    assert [uneven.at(k) for k in range(6)] == [(1, 0), (1, 1), (4, 0), (4, 1), (4, 2), (1, 0)]
    assert all(uneven.place(*uneven.at(k)) == k for k in range(5))
    assert NeuronChoices("", "", "r", 2, 1034, 0).name == "L2N1034"


def test_statistics_of_a_step(found: Neuron) -> None:
    numbers = {words: value for words, value, _ in statistics(found, RUN.name, STEPS[-1])}
    assert numbers == {
        "Largest": "5.72",
        "Fires on": "20 %",
        "Mean": "0.1",
        "Variance": "8.5",
        "Skew": "9",
        "Kurtosis": "11",
    }
    assert statistics(found, RUN.name, 5) == []
    values = [top_examples(RUN, 1, 2, at)[2].max() for at in range(len(STEPS))]
    assert peak(found, RUN.name) == pytest.approx(max(values))
    assert math.isnan(peak(found, "another"))


def test_a_statistic_that_is_not_finite_is_a_dash(made: Made) -> None:
    odd = neuron(Archive(made("components odd")), runs="lm-seed0", unit=2)
    numbers = {words: value for words, value, _ in statistics(odd, "lm-seed0", STEPS[-1])}
    assert numbers["Skew"] == "—"


def test_only_what_is_missing_is_asked_for(archive: Archive, found: Neuron) -> None:
    assert missing_command(found) == ""
    bare = replace(found, histogram=found.histogram.slice(0, 0), effect=found.effect.slice(0, 0))
    assert missing_command(bare) == (
        "pathscope ingest STUDY.toml --fill neuron.histogram --fill neuron.logit_effect"
    )


def test_white_space_and_markup_are_shown_letter_by_letter() -> None:
    assert visible(" a\tb\n", spaces=False) == ' a<i class="white">⇥</i>b<i class="white">↵</i>'
    assert visible(" a", spaces=True) == '<i class="white">·</i>a'
    assert visible("", spaces=False) == '<i class="white">∅</i>'
    assert visible("\x07", spaces=False) == '<i class="white">&lt;07&gt;</i>'
    hostile = '<img src=x onerror="alert(1)">&\''
    assert visible(hostile, spaces=False) == html.escape(hostile)


def test_the_marked_token_tells_its_activation() -> None:
    text = marked_text([" the", " <b>", "!"], 1, 2.0, 4.0, spaces=False)
    assert text.startswith(" the<mark style=")
    assert text.endswith("</mark>!")
    assert 'title="activation 2"' in text
    assert '<i class="white">·</i>&lt;b&gt;</mark>' in text
    assert shade(0, 4) == FAINTEST
    assert shade(4, 4) == FULLEST == shade(9, 4)
    assert FAINTEST < shade(1, 4) < shade(2, 4) < FULLEST
    # a neuron that never rises above 0, and a value that is not finite
    assert shade(-1, 4) == shade(1, -1) == shade(math.nan, 4) == shade(1, math.nan) == FAINTEST


def test_tokens_of_a_task_stand_apart() -> None:
    text = marked_text(["12", "+", "3"], 1, 2.0, 4.0, spaces=False)
    assert text.startswith("12\u2002<mark")
    assert text.endswith("</mark>\u20023")
    # letters and words of a text bring their own white space
    assert "\u2002" not in marked_text(["a", "b"], 1, 2.0, 4.0, spaces=False)
    assert "\u2002" not in marked_text([" the", " end"], 1, 2.0, 4.0, spaces=False)


@pytest.mark.parametrize(("ground", "ink"), [(LIGHT_GROUND, "#1c2530"), (DARK_GROUND, "#e4e9ee")])
def test_marked_text_can_be_read(ground: str, ink: str) -> None:
    def channels(colour: str) -> np.ndarray:
        return np.array([int(colour[i : i + 2], 16) for i in (1, 3, 5)]) / 255

    def luminance(rgb: np.ndarray) -> float:
        linear = np.where(rgb <= 0.04045, rgb / 12.92, ((rgb + 0.055) / 1.055) ** 2.4)
        return float(linear @ np.array([0.2126, 0.7152, 0.0722]))

    full = FULLEST * channels(HUES[1]) + (1 - FULLEST) * channels(ground)
    low, high = sorted((luminance(full), luminance(channels(ink))))
    assert (high + 0.05) / (low + 0.05) > 4.5


def test_examples_are_the_planted_ones_best_first(found: Neuron) -> None:
    documents, positions, values = top_examples(RUN, 1, 2, len(STEPS) - 1)
    body = examples_html(found, RUN.name, peak(found, RUN.name), spaces=False)
    marks = re.findall(r'<mark style="[^"]*" title="activation ([0-9.]+)">(.*?)</mark>', body)
    tokens = token_ids()
    words = [
        visible(VOCABULARY[tokens[d, p]], spaces=True) for d, p in zip(documents, positions, strict=True)
    ]
    assert [w for _, w in marks] == words
    assert [float(v) for v, _ in marks] == pytest.approx(values, rel=1e-3)
    assert body.count("<li>") == K
    assert body.count("stays since 512") + body.count("stays since 64") == K - 1
    assert body.count("new at 4,000") == 1
    assert "<img" not in body
    assert examples_in_words(found, RUN.name).startswith("8 examples, best first. Marked tokens: ")
    # the first bar is full: the neuron was never higher
    assert body.index("width:100%") < body.index("</li>")


def test_hostile_documents_and_missing_texts(archive: Archive, made: Made) -> None:
    bodies = [
        examples_html(found, RUN.name, 1.0, spaces=False)
        for found in (neuron(archive, runs=RUN.name, unit=u, step=s) for u in range(3) for s in STEPS[:3])
    ]
    # document 3 has markup in its name
    assert any("book &lt;b&gt;3" in body for body in bodies)
    assert not any("<b>3" in body for body in bodies)
    bare = neuron(Archive(made("components odd")), runs="lm-seed0")
    body = examples_html(bare, "lm-seed0", peak(bare, "lm-seed0"), spaces=False)
    assert body.count("no text in the archive") == K
    assert "sequence " in body
    assert "<mark" not in body


@pytest.mark.parametrize("x_scale", ["log", "linear"])
def test_training_has_a_panel_a_number(found: Neuron, x_scale: str) -> None:
    figure = training_figure(found, RUN.name, step=STEPS[-1], x_scale=x_scale)
    titles = [a.text for a in figure.layout.annotations if a.text != "//"]
    assert titles == [
        "largest activation",
        "examples changed",
        "of the examples shown, there from then on",
        "share of tokens it fires on",
    ]
    lines = [t for t in figure.data if t.mode == "lines+markers"]
    assert [t.yaxis for t in lines] == ["y", "y2", "y3", "y4"]
    largest = [v for v in lines[0].y if v is not None and np.isfinite(v)]
    assert largest == pytest.approx([top_examples(RUN, 1, 2, at)[2].max() for at in range(len(STEPS))])
    for line in lines:
        assert len(line.x) == len(line.y) == len(line.customdata)
    assert [s.x0 for s in figure.layout.shapes] == [STEPS[-1]]
    words = training_in_words(found, RUN.name)
    assert "over 9 checkpoints: its largest activation goes from" in words


def test_a_log_y_axis_is_that_of_activations_and_shares_of_tokens(found: Neuron) -> None:
    figure = training_figure(found, RUN.name, step=STEPS[-1], x_scale="log", y_scale="log")
    titles = [a.text for a in figure.layout.annotations][:4]
    kinds = {text: figure.layout[f"yaxis{k}"].type for k, text in zip(("", 2, 3, 4), titles, strict=True)}
    assert kinds["largest activation"] == kinds["share of tokens it fires on"] == "log"
    assert kinds["examples changed"] != "log"
    drawn = np.concatenate([np.asarray(t.y, float) for t in figure.data if t.yaxis in ("y", "y4")])
    assert (drawn[np.isfinite(drawn)] > 0).all()
    rows = found.history.filter(pc.equal(found.history["run"], RUN.name)).to_pylist()
    below = [
        r[name] for r in rows for name in ("maximum", "firing_rate") if r[name] is not None and r[name] <= 0
    ]
    assert hidden_values(found, RUN.name) == len(below)


def test_histogram_and_effect_can_be_taken_away_as_numbers(archive: Archive, found: Neuron) -> None:
    histogram = histogram_of(found, RUN.name)
    assert histogram is not None
    assert histogram_table(histogram)["tokens"].to_pylist() == list(histogram["counts"])
    place = dict(zip(("layer", "unit"), map(int, found.label[1:].split("N")), strict=True))
    (row,) = archive.query(histogram_sql(RUN.name, step=histogram["step"], **place)).to_pylist()
    assert list(row["counts"]) == list(histogram["counts"])
    step = next(r["step"] for r in found.effect.to_pylist() if r["run"] == RUN.name)
    parts = archive.query(effect_sql(RUN.name, step=step, **place)).to_pydict()["part"]
    assert parts == ["bottom_tokens", "bottom_values", "top_tokens", "top_values"]


def test_examples_are_born_when_they_were_planted(found: Neuron) -> None:
    steps, there = there_since(found, RUN.name, np.array(STEPS, float), STEPS[-1])
    assert steps.tolist() == list(STEPS)
    assert there[-1] == K
    # all but the newcomer were there from the checkpoint on at which examples settle
    assert there[5:8].tolist() == [K - 1] * 3
    assert (np.diff(there) >= 0).all()
    earlier, _ = there_since(found, RUN.name, np.array(STEPS, float), STEPS[3])
    assert earlier.tolist() == list(STEPS[:4])


def test_a_checkpoint_without_examples_breaks_the_band(made: Made) -> None:
    odd = neuron(Archive(made("components odd")), runs="lm-seed0", unit=1)
    figure = training_figure(odd, "lm-seed0", step=STEPS[-1], x_scale="linear")
    assert sum(t.fill == "toself" for t in figure.data) == 2
    silent = neuron(Archive(made("components odd")), runs="lm-seed0", unit=1, step=STEPS[-2])
    assert silent.table.num_rows == 0
    assert training_figure(silent, "lm-seed0", step=STEPS[-2], x_scale="log").data
    assert examples_in_words(silent, "lm-seed0").startswith("0 examples")


def test_the_histogram_keeps_every_token(found: Neuron) -> None:
    row = histogram_of(found, RUN.name)
    assert row is not None
    for most in (7, 16, 64):
        left, right, counts = bins(row, most)
        assert counts.sum() == sum(row["counts"])
        assert len(counts) <= most
        assert left[1:] == pytest.approx(right[:-1])
    cut = {"lower": 0.0, "upper": 4.0, "counts": [0, 5, 7, 0]}
    left, right, counts = bins(cut)
    assert (left.tolist(), right.tolist(), counts.tolist()) == ([1, 2], [2, 3], [5, 7])
    assert bins({**cut, "counts": [0, 0]})[2].tolist() == [0, 0]
    assert histogram_figure(row).layout.yaxis.type == "log"
    assert "tokens, 50.6% of them above 0" in histogram_in_words(row, "L1N2")
    assert histogram_of(found, "another") is None


def test_the_logit_effect_names_tokens_and_not_by_colour_alone(found: Neuron) -> None:
    table = effect_table(found, RUN.name)
    figure = effect_figure(table)
    (bars,) = figure.data
    assert list(bars.x) == sorted(bars.x, reverse=True)
    assert list(figure.layout.yaxis.ticktext)[:2] == ["·of", "·and"]
    assert "raises by 0.9" in bars.hovertext[0]
    assert "it raises ·of (0.9), ·and (0.75)" in effect_in_words(table, "L1N2", RUN.name)
    assert effect_table(found, "another").num_rows == 0


def test_a_token_with_markup_is_escaped_in_figures(archive: Archive) -> None:
    table = effect_table(neuron(archive, runs=RUN.name, layer=1, unit=0), RUN.name)
    words = "".join(effect_figure(table).layout.yaxis.ticktext)
    assert "<" not in words
    assert "&lt;img" in words


def test_a_threshold_keeps_the_highest_and_says_how_many_tokens_reach_it(found: Neuron) -> None:
    largest = peak(found, RUN.name)
    assert threshold("all", largest) == threshold("50%", math.nan) == threshold("50%", -1.0) == -math.inf
    least = threshold("75%", largest)
    assert least == pytest.approx(0.75 * largest)
    _, _, values = top_examples(RUN, 1, 2, len(STEPS) - 1)
    kept = examples_of(found, RUN.name, least)
    assert len(kept) == (values >= least).sum() < K
    assert [r["rank"] for r in kept] == list(range(1, len(kept) + 1))
    body = examples_html(found, RUN.name, largest, spaces=False, least=least)
    assert body.count("<li>") == len(kept)
    assert examples_in_words(found, RUN.name, least).startswith(f"{len(kept)} of {K} examples")
    assert "None reaches" in examples_in_words(found, RUN.name, 1e9)
    assert examples_html(found, RUN.name, largest, spaces=False, most=2).count("<li>") == 2
    row = histogram_of(found, RUN.name)
    assert row is not None
    counts = np.array(row["counts"])
    edges = np.linspace(row["lower"], row["upper"], len(counts) + 1)
    # a threshold within a bin leaves that bin open; on an edge nothing is open
    inside = share_of_tokens(found, RUN.name, (edges[20] + edges[21]) / 2)
    assert inside == pytest.approx((counts[21:].sum() / counts.sum(), counts[20:].sum() / counts.sum()))
    low, high = share_of_tokens(found, RUN.name, float(edges[16])) or (0, 1)
    assert low == high == pytest.approx(counts[16:].sum() / counts.sum())
    assert share_of_tokens(found, RUN.name, 99.0) is share_of_tokens(found, "another", 1.0) is None
