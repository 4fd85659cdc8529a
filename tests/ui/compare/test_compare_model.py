"""What the Compare page shows, worked out without Streamlit."""

import html
import re
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

import numpy as np
import pyarrow as pa
import pytest

from archive.store import Archive
from queries.head_scores import head_scores
from queries.neuron_change import NeuronChange, neuron_change
from queries.per_token_delta import PerTokenDelta, per_token_delta
from queries.reading.select import RunSelection
from tests.ui.compare.archive import BASE, OTHER, TUNED
from tests.ui.components.archive import SPARSE, STEPS, Model, prefix_scores, token_ids, token_losses
from tests.ui.components.records import HTML_WORD, N_DOCUMENTS, N_LAYERS, N_UNITS, VOCABULARY, K
from tests.ui.test_palette import contrast
from ui.models.compare import heads as compare_heads
from ui.models.compare import neurons as compare_neurons
from ui.models.compare import tokens as compare_tokens
from ui.models.compare.page import (
    HEADS,
    NEURONS,
    TOKENS,
    CompareChoices,
    common_numbering,
    doubts,
    early,
    has_both,
    in_full,
    late,
    points_of,
)
from ui.models.compare.text import (
    FULLEST,
    N_STOPS,
    legend_html,
    scale_of,
    signed,
    text_html,
    text_in_words,
    told,
    with_signs,
)
from ui.models.palette import DARK_GROUND, HUES, LIGHT_GROUND
from ui.models.sequences import nearest, next_to

Made = Callable[[str], Path]
RUN = Model(BASE, 0, 500.0, token_losses=True)
LAST = STEPS[-1]


@pytest.fixture(scope="module")
def archive(made: Made) -> Archive:
    return Archive(made("compare"))


@pytest.fixture(scope="module")
def found(archive: Archive) -> PerTokenDelta:
    return per_token_delta(archive, run_b=BASE, slices=("class", "position"), sequence=6, top=5)


@pytest.fixture(scope="module")
def neurons(archive: Archive) -> NeuronChange:
    return neuron_change(archive, run_b=BASE)


def test_checkpoints_and_what_the_page_opens_with(made: Made, archive: Archive) -> None:
    known = points_of(archive, selection=RunSelection(), suspect=False)
    assert set(known) == {BASE, OTHER, TUNED}
    assert [p.step for p in known[BASE]] == list(STEPS)
    assert {p.step for p in known[BASE] if TOKENS in p.tables} == set(SPARSE)
    assert (early(known[BASE]), late(known[BASE])) == (SPARSE[0], SPARSE[-1])
    odd = Archive(made("compare odd"))
    without = points_of(odd, selection=RunSelection(), suspect=False)
    # the run without losses of tokens comes last, and the suspect checkpoint is not there until it is wanted
    assert list(without)[-1] == TUNED
    assert [p.step for p in without[OTHER]] == list(STEPS[:-1])
    every = points_of(odd, selection=RunSelection(), suspect=True)
    assert every[OTHER][-1].doubt == "defect weights equal those of another step"
    assert doubts(every, CompareChoices(BASE, 0, OTHER, LAST)) == [
        f"▲ B is a suspect checkpoint, {OTHER} at step {LAST:,}: defect weights equal those of another step."
    ]
    assert doubts(every, CompareChoices(BASE, 0, BASE, LAST)) == []
    assert (early(every[TUNED]), late(every[TUNED])) == (STEPS[0], LAST)


def test_what_is_missing_is_said_with_the_nearest_steps(made: Made) -> None:
    known = points_of(Archive(made("compare odd")), selection=RunSelection(), suspect=False)
    choices = CompareChoices(BASE, 64, OTHER, 1000)
    assert has_both(known, choices, HEADS) == []
    assert has_both(known, choices, TOKENS) == [
        f"A, {BASE} at step 64, has none; it has them at 0, 256, 1,000"
    ]
    assert has_both(known, choices, NEURONS) == [f"B, {OTHER} at step 1,000, has none"]


def test_numbers_are_common_within_a_run_and_along_its_line(archive: Archive) -> None:
    assert common_numbering(archive, run_a=BASE, run_b=BASE)[0]
    assert common_numbering(archive, run_a=BASE, run_b=TUNED) == (True, f"{TUNED} goes on from {BASE}")
    assert common_numbering(archive, run_a=BASE, run_b=OTHER) == (False, "they began from different weights")
    assert common_numbering(archive, run_a=OTHER, run_b=TUNED)[0] is False


def test_the_text_tells_each_token_by_colour_line_and_words(found: PerTokenDelta) -> None:
    rows = found.text.to_pylist()
    scale = scale_of(found)
    before, after = token_losses(RUN, SPARSE[0]), token_losses(RUN, LAST)
    planted = np.float32(after[6, :-1]).astype(float) - np.float32(before[6, :-1])
    assert [r["delta"] for r in rows[1:]] == pytest.approx(planted.tolist())
    shown = text_html(rows, scale, spaces=False)
    worse, better = (int((s * planted > 0.02 * scale).sum()) for s in (1, -1))
    assert shown.count('<mark class="worse"') == worse
    assert shown.count('<mark class="better"') == better
    assert shown.count('tabindex="0"') == min(N_STOPS, worse + better)
    # words of the vocabulary are text, not markup, and nothing is lost
    assert "<img" not in shown
    assert HTML_WORD in html.unescape(shown)
    assert html.escape(told(rows[1]), quote=True) in shown
    assert "Mark every" not in shown
    assert text_html(rows, scale, spaces=True).count("·") > shown.count("·")
    words = text_in_words(rows)
    assert words.startswith(
        f"book 6: mean difference {signed(float(np.mean(planted)))} nats over {len(planted)}"
    )
    assert "full colour from" in legend_html(scale)


def test_a_text_without_words_or_losses(found: PerTokenDelta) -> None:
    rows = [{**r, "token": None, "token_id": -1} for r in found.text.to_pylist()]
    assert text_html(rows, 1.0, spaces=False).count("▪") >= len(rows)
    assert "⟨7⟩" in text_html([{**rows[1], "token_id": 7}], 1.0, spaces=False)
    unknown = [{**r, "delta": None} for r in rows]
    assert "<mark" not in text_html(unknown, 1.0, spaces=False)
    assert "No token" in text_in_words(unknown)
    same = [{**r, "delta": 0.0} for r in rows[1:]]
    assert "tabindex" not in text_html(same, 1.0, spaces=False)
    assert with_signs("\n") == "↵"
    assert with_signs("") == "∅"
    assert (signed(None), signed(float("nan")), signed(0.0), signed(-1.5)) == ("—", "—", "0", "−1.5")


@pytest.mark.parametrize(("ground", "ink"), [(LIGHT_GROUND, "#1c2530"), (DARK_GROUND, "#e4e9ee")])
@pytest.mark.parametrize("hue", HUES[:2])
def test_words_can_be_read_on_the_fullest_ground(ground: str, ink: str, hue: str) -> None:
    mixed = [
        round(FULLEST * int(hue[i : i + 2], 16) + (1 - FULLEST) * int(ground[i : i + 2], 16))
        for i in (1, 3, 5)
    ]
    assert contrast("#" + "".join(f"{c:02x}" for c in mixed), ink) >= 4.5


def test_numbers_of_the_whole_eval_set(found: PerTokenDelta) -> None:
    change = token_losses(RUN, LAST)[:, :-1] - token_losses(RUN, SPARSE[0])[:, :-1]
    numbers = {label: value for label, value, _ in compare_tokens.metrics(found)}
    assert numbers["B − A"] == signed(float(f"{change.mean():.3g}"))
    assert numbers["Worse / better"] == f"{(change > 0).mean():.0%} / {(change < 0).mean():.0%}"
    note = compare_tokens.metrics_note(found)
    assert f"{change.size} tokens, {N_DOCUMENTS} sequences, {N_DOCUMENTS} documents, 1 run." in note
    assert note.startswith("95% interval of B − A over documents")
    figure = compare_tokens.histogram_figure(found)
    assert np.nansum(figure.data[0].y) == change.size
    assert f"{change.size} tokens" in compare_tokens.histogram_in_words(found)


def test_kinds_of_token_are_rows_with_intervals(found: PerTokenDelta) -> None:
    figure = compare_tokens.slices_figure(found)
    rows = found.table.to_pylist()
    discs = [t for t in figure.data if t.mode == "markers"]
    assert [d.x[0] for d in discs] == [r["mean_delta"] for r in rows]
    sure = [r["slice_by"] == "" or (r["beyond_q"] or 1) < 0.05 for r in rows]
    assert [d.marker.symbol == "circle" for d in discs] == sure
    assert figure.layout.yaxis.ticktext[0].startswith("all tokens")
    assert "punctuation" in compare_tokens.slices_in_words(found)
    assert f"of {len(rows) - 1}" in compare_tokens.slices_key(found)


def test_the_largest_are_marked_in_their_text(found: PerTokenDelta) -> None:
    better = compare_tokens.largest(found, compare_tokens.DIRECTIONS[1]).to_pylist()
    assert len(better) == 5
    assert [r["delta"] for r in better] == sorted(r["delta"] for r in better)
    change = token_losses(RUN, LAST) - token_losses(RUN, SPARSE[0])
    at = np.unravel_index(np.nanargmin(change), change.shape)
    word = VOCABULARY[token_ids()[at[0], at[1] + 1]]
    assert better[0]["sequence"] == at[0]
    assert better[0]["token"] == with_signs(word)
    assert re.search(r"«.*»", better[0]["text"])


def test_neighbouring_sequences_go_round() -> None:
    known = [2, 5, 9]
    assert [nearest(known, s) for s in (0, 2, 3, 99)] == [2, 2, 5, 9]
    assert [next_to(known, 9, 1), next_to(known, 2, -1)] == [2, 9]
    assert next_to(known, 3, 1) == 9


def test_changes_of_heads_are_those_planted(archive: Archive) -> None:
    a, b = (
        head_scores(
            archive, runs=BASE, measure="head.prefix_matching", params='{"variant": "sum_targets"}', step=s
        )
        for s in (0, LAST)
    )
    change = compare_heads.change_of(a, b)
    planted = prefix_scores(RUN, LAST) - prefix_scores(RUN, 0)
    assert change.change == pytest.approx(planted)
    assert change.se == pytest.approx(np.full(planted.shape, 0.01 * 2**0.5))
    assert change.reach == pytest.approx(np.abs(planted).max())
    first = compare_heads.change_table(change).to_pylist()[0]
    assert first["head"] == f"L1H{RUN.induction}"
    assert first["z"] == pytest.approx(first["change"] / first["se"])
    figure = compare_heads.change_figure(change, unit="probability")
    assert np.array(figure.data[0].z) == pytest.approx(planted)
    assert figure.data[0].zmin == -figure.data[0].zmax
    assert f"Changed most: L1H{RUN.induction}" in compare_heads.change_in_words(change, "x")
    still = compare_heads.change_of(a, a)
    assert still.reach > 0.05  # a grid that stayed is pale
    values = compare_heads.sorted_figure(a, b, ("A", "B"), label="x").data[1].y
    assert list(values) == sorted(values, reverse=True)
    logs = compare_heads.sorted_figure(a, b, ("<b>A", "B"), label="x", x_scale="log", y_scale="log")
    assert (logs.layout.xaxis.type, logs.layout.yaxis.type) == ("log", "log")
    assert "<b>" not in str(logs.data[0].name) + str(logs.data[0].hovertemplate)
    every = np.concatenate([prefix_scores(RUN, s).ravel() for s in (0, LAST)])
    assert compare_heads.hidden_scores(a, b) == (every <= 0).sum()
    assert "of 8 heads" in compare_heads.sorted_in_words(a, b, "x")


def test_a_name_that_its_box_cuts_is_told_in_full() -> None:
    assert (
        in_full("language_model_small/n_layers=2/init0-order1")
        == "language_model_small/n_layers=2/init0-order1"
    )
    assert in_full("demo-s0") == in_full("same run") == ""


def test_a_head_that_is_not_finite_is_missing(made: Made) -> None:
    odd = Archive(made("compare odd"))
    a, b = (head_scores(odd, runs=BASE, measure="head.previous_token", step=s) for s in (0, STEPS[4]))
    table = a.table.set_column(
        a.table.column_names.index("value"),
        "value",
        pa.array([float("nan")] + [0.1] * (a.table.num_rows - 1)),
    )
    change = compare_heads.change_of(replace(a, table=table), b)
    assert change.n_missing == 1
    assert compare_heads.change_table(change).num_rows == a.table.num_rows - 1
    assert "its error is not known" in compare_heads.change_figure(change, unit="").data[1].hovertext[0]


def test_neurons_by_layer(neurons: NeuronChange) -> None:
    figure = compare_neurons.layers_figure(neurons, "overlap")
    box, _, control = figure.data
    rows = neurons.summary.to_pylist()  # type: ignore[union-attr]
    assert len(rows) == N_LAYERS
    assert list(box.median) == pytest.approx([r["median_overlap"] for r in rows])
    assert list(control.x) == [r["other_overlap"] for r in rows]
    assert [a.text for a in figure.layout.annotations][:N_LAYERS] == [
        f"{r['above_chance']:.0%}" for r in rows
    ]
    assert len(compare_neurons.layers_figure(neurons, "rank-biased").data) == 2
    assert f"({N_UNITS} neurons)" in compare_neurons.layers_in_words(neurons)
    assert f"of the {K} in common" in compare_neurons.layers_key(neurons)


def test_neurons_lead_to_their_page(neurons: NeuronChange) -> None:
    changed, n = compare_neurons.neurons_table(neurons, "most changed", "http://here/")
    stable, _ = compare_neurons.neurons_table(neurons, "most stable", "http://here/")
    assert n == changed.num_rows == N_LAYERS * N_UNITS
    shares = changed["overlap"].to_pylist()
    assert shares == sorted(shares)
    assert stable["overlap"].to_pylist() == sorted(shares, reverse=True)
    address = urlsplit(changed["in_b"][0].as_py())
    asked = {k: v[0] for k, v in parse_qs(address.query).items()}
    assert (address.path, asked["focus"], asked["step"]) == ("/neuron", BASE, str(LAST))
    assert f"L{asked['layer']}N{asked['unit']}" == changed["neuron"][0].as_py()
