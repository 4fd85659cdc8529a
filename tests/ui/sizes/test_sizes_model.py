"""What the Sizes page shows, against planted answers and by hand."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from scipy.stats import t

from archive.errors import NotComparable
from archive.store import Archive
from queries.capability_inclusion import capability_inclusion
from queries.loss_curves import loss_curves
from queries.reading.select import RunSelection, select_runs
from queries.smaller_beats_larger import smaller_beats_larger
from queries.task_scores import task_scores
from tests.ui.browser import Made
from tests.ui.components.records import N_DOCUMENTS, VOCABULARY
from tests.ui.sizes.archive import (
    LARGE,
    LEAD,
    PUNCTUATION,
    SMALL,
    STEPS,
    TOKENS_PER_STEP,
    Sized,
    loss,
    predicted,
    runs_of,
    token_losses,
    write,
)
from ui.models.palette import STROKES
from ui.models.series import catalogue
from ui.models.sizes.curves import (
    COMPUTE,
    curve_notes,
    drawn_sizes,
    ends_table,
    of_several_sizes,
    size_bundles,
)
from ui.models.sizes.difference import (
    TokenDifference,
    bars_table,
    sequence_rows,
    squares_table,
    token_difference,
)
from ui.models.sizes.difference_figure import (
    bars_figure,
    basis_in_words,
    difference_limits,
    share_in_words,
    squares_figure,
)
from ui.models.sizes.grid import SizeGrid, category_grid, task_grid
from ui.models.sizes.grid_figure import grid_figure, grid_in_words, grid_notes, shown_columns
from ui.models.sizes.page import (
    Size,
    group_names,
    opening,
    selection_of,
    sizes_by_quantity,
    sizes_of,
    what_is_wrong,
    with_labels,
)
from ui.models.sizes.page import (
    token_losses as losses_there,
)
from ui.models.sizes.wins import better_somewhere, categories, does_it_all, tokens, tokens_in_words

EVERY = RunSelection()


@pytest.fixture(scope="module")
def archive(made: Made) -> Archive:
    return Archive(made("sizes"))


@pytest.fixture(scope="module")
def known(archive: Archive) -> tuple[Size, ...]:
    return sizes_of(archive, selection=EVERY).sizes


@pytest.fixture(scope="module")
def counted(archive: Archive, known: tuple[Size, ...]) -> TokenDifference:
    return token_difference(archive, **ends(known))


def ends(known: tuple[Size, ...], **given: object) -> dict[str, object]:
    asked = {"runs": EVERY, "small": known[0].asked, "large": known[-1].asked, "step": "final", "which": {}}
    return asked | given


def by_hand(n_params: int, layers: int) -> np.ndarray:
    """(run, document, position) of the planted losses at the end, as they are stored."""
    return np.stack([token_losses(r, STEPS[-1]) for r in runs_of(n_params, layers)]).astype(np.float32)


def test_a_size_is_named_by_its_parameters_and_what_tells_it_from_others(known: tuple[Size, ...]) -> None:
    assert [s.label for s in known] == ["10k · n_layers=1", "20k · n_layers=2", "40k · n_layers=4"]
    assert [s.runs for s in known][1] == ("m2-s0", "m2-s1", "m2-s2")


def test_labels_that_would_be_alike_get_what_else_differs(tmp_path: Path) -> None:
    conditions = ("lr=0.1 #a", "lr=0.1 #b", "lr=0.1")
    runs = [Sized(f"r{k}", 2000, k, c, losses=False, tasks=False) for k, c in enumerate(conditions)]
    found = sizes_of(Archive(write(tmp_path / "x.duckdb", runs, texts=False)), selection=EVERY).sizes
    assert [s.label for s in found] == ["2k", "2k · #a", "2k · #b"]


def test_it_opens_with_the_smallest_and_the_largest_that_have_the_same_tokens(
    archive: Archive, known: tuple[Size, ...], made: Made
) -> None:
    ids = tuple(run for size in known for run in size.run_ids)
    there = losses_there(archive, run_ids=ids, suspect=False)
    assert opening(known, there) == (known[0], known[-1])
    assert there.shared(known[0], known[-1], "books, 40 tokens") == [0, STEPS[-1]]
    # another family with fewer sizes comes second; without losses any family does
    assert opening(known, replace(there, steps={})) == (known[0], known[-1])
    odd = Archive(made("sizes odd"))
    found = sizes_of(odd, selection=EVERY)
    assert (found.n_unknown, [s.n_params for s in found.sizes]) == (1, [10_000, 20_000, 40_000])
    own = losses_there(odd, run_ids=tuple(r for s in found.sizes for r in s.run_ids), suspect=False)
    assert [own.sets(s) for s in found.sizes] == [["books, 40 tokens"], [], ["books, 40 tokens"]]
    assert own.shared(found.sizes[0], found.sizes[2], "books, 40 tokens") == [0]  # the last is suspect


def test_what_cannot_be_compared_is_said(known: tuple[Size, ...]) -> None:
    assert "same size" in what_is_wrong(known[0], known[0])
    assert "10k" in what_is_wrong(known[-1], known[0])
    assert what_is_wrong(known[0], known[1]) == ""


def test_the_share_is_that_of_the_planted_tokens(counted: TokenDifference) -> None:
    planted = (predicted()[:, :-1] == PUNCTUATION).mean()
    share, low, high = counted.share
    assert share == pytest.approx(planted)
    assert low < share < high
    # seeds differ by far less than what was planted: every pair of runs has the same share
    assert counted.pairs == pytest.approx((planted, planted))
    assert (counted.n_tokens, counted.n_documents, counted.n_runs) == (39 * N_DOCUMENTS, N_DOCUMENTS, (3, 3))
    words = share_in_words(counted)
    assert f"better on {planted:.1%}" in words
    assert "interval over documents" in words
    assert basis_in_words(counted) == "3 small runs, 3 large runs; 936 tokens, 24 documents; step 1,000."


def test_squares_and_bars_have_every_token_once(counted: TokenDifference) -> None:
    small, large = (-by_hand(*size)[:, :, :-1].mean(0).ravel() for size in ((SMALL, 1), (LARGE, 4)))
    assert counted.counts.sum() == counted.heights.sum() == len(small)
    # one token at a time, the outer squares taking what lies beyond
    slow = np.zeros_like(counted.counts)
    last = len(counted.edges) - 2
    for x, y in zip(large, small, strict=True):
        i, j = (min(max(int(np.searchsorted(counted.edges, v, "right")) - 1, 0), last) for v in (y, x))
        slow[i, j] += 1
    assert np.abs(slow - counted.counts).sum() <= 4  # a value on a border, in single precision
    assert counted.heights[counted.bars[:-1] > 0].sum() == (small > large).sum()
    assert counted.median == pytest.approx(float(np.median(small - large)), abs=1e-5)
    assert squares_table(counted)["n_tokens"].to_pylist() == counted.counts[counted.counts > 0].tolist()
    assert sum(bars_table(counted)["n_tokens"].to_pylist()) == len(small)
    hovers = [h for row in squares_figure(counted).data[0].hovertext for h in row if h]
    assert len(hovers) == (counted.counts > 0).sum()
    assert bars_figure(counted).layout.yaxis.type == "log"


def test_sizes_that_are_alike_share_the_tokens(archive: Archive, known: tuple[Size, ...]) -> None:
    # at step 0 sizes differ by noise alone
    found = token_difference(archive, **ends(known, step=0))
    share, low, high = found.share
    assert low < 0.5 < high
    assert found.pairs[0] < 0.55
    assert found.pairs[1] > 0.45
    assert abs(share - 0.5) < 0.06


def test_a_step_without_losses_of_one_size_is_refused(made: Made) -> None:
    odd = Archive(made("sizes odd"))
    known = sizes_of(odd, selection=EVERY).sizes
    with pytest.raises(NotComparable, match="1 small and 0 large"):
        token_difference(odd, **ends((known[0], known[-1]), step=STEPS[-1]))
    found = token_difference(odd, **ends((known[0], known[-1])))
    assert found.steps == (0, STEPS[-1])
    assert found.n_tokens == 39 * (N_DOCUMENTS - 1)  # one sequence is not finite
    told = " ".join(difference_limits(found))
    assert "different numbers of runs" in told
    assert any("suspect" in line for line in found.limits)


def test_a_text_has_the_means_of_the_runs(archive: Archive, known: tuple[Size, ...]) -> None:
    rows, sql = sequence_rows(archive, **ends(known), sequence=5)
    assert len(rows) == 40
    assert rows[0]["delta"] is None
    small, large = (by_hand(*size)[:, 5].mean(0) for size in ((SMALL, 1), (LARGE, 4)))
    for k in (1, 20, 39):
        assert rows[k]["loss_b"] == pytest.approx(small[k - 1], abs=1e-5)
        assert rows[k]["loss_a"] == pytest.approx(large[k - 1], abs=1e-5)
        assert rows[k]["token"] in VOCABULARY
    assert archive.query(sql).num_rows == 39


def test_the_queries_find_what_was_planted_and_tables_say_it(
    archive: Archive, known: tuple[Size, ...]
) -> None:
    asked = {"small": known[0].asked, "large": known[-1].asked}
    beaten = smaller_beats_larger(archive, on="tokens", top=50, **asked)
    included = capability_inclusion(archive, measure="token_loss", **asked)
    found = {r["slice"]: r for r in categories(beaten).to_pylist()}
    assert found["punctuation"]["found"]
    assert found["punctuation"]["small_only"] == 1.0
    assert found["punctuation"]["delta"] == pytest.approx(LEAD, abs=0.1)
    assert not found["word start"]["found"]
    table = tokens(beaten)
    assert set(table["token"].to_pylist()) <= {v.replace(" ", "·") for v in VOCABULARY}
    assert set(table["categories"].to_pylist()[0].split(", ")) >= {"punctuation"}
    assert tokens_in_words(table).startswith(f"{table.num_rows} tokens")
    verdict, words = better_somewhere(beaten)
    assert verdict == beaten.verdict == "yes"
    n_found = sum(r["found"] for r in beaten.table.to_pylist())
    assert f"{n_found} of {beaten.table.num_rows} tested groups of tokens found" in words
    verdict, words = does_it_all(included)
    assert verdict == included.verdict
    assert "items are the small ones' alone" in words
    assert "probability of at least one half" in words
    sentence = with_labels(beaten.sentence, known[0], known[-1])
    assert "m1-s0" not in sentence
    assert known[0].label in sentence


def test_the_grid_has_means_over_runs_with_their_interval(archive: Archive, known: tuple[Size, ...]) -> None:
    found = category_grid(
        archive, runs=selection_of(known, excluded=False), sizes=known, step="final", which={}
    )
    assert found.columns == tuple(s.label for s in known)
    row = found.rows.index("punctuation")
    member = predicted() == PUNCTUATION
    means = np.array([[float(v[member].mean()) for v in by_hand(*size)] for size in ((SMALL, 1), (LARGE, 4))])
    assert found.mean[row, [0, 2]] == pytest.approx(means.mean(1), abs=1e-5)
    half = t.ppf(0.975, 2) * means.std(1, ddof=1) / np.sqrt(3)
    assert (found.high - found.low)[row, [0, 2]] == pytest.approx(2 * half, rel=1e-3)
    assert (found.n_runs == 3).all()
    assert found.n_items[row] == member.sum()
    assert found.n_items[0] == 936
    assert "The smallest is better than the largest in" in grid_in_words(found, "the loss")
    assert "punctuation" in grid_in_words(found, "the loss")
    cells, letters = grid_figure(found).data
    assert cells.z[row][0] > 0 > cells.z[row][2]  # blue is better
    assert letters.text[row * 3] == f"{found.mean[row, 0]:.3f}"
    assert found.table.num_rows == len(found.rows) * 3


def test_tasks_of_prompts_are_a_grid_as_the_query_has_them(archive: Archive, known: tuple[Size, ...]) -> None:
    answer = task_scores(archive, steps="final")
    groups = group_names(select_runs(archive, EVERY), known)
    found = task_grid(answer, groups, known, "accuracy", "")
    assert found.rows == ("names",)
    assert found.mean.tolist() == [[0.5, 0.75, 0.75]]
    assert found.n_runs.tolist() == [[3, 3, 3]]
    assert found.n_items == (20,)
    assert grid_figure(found).data[0].z[0][0] < 0


def test_many_columns_and_missing_ones_are_said() -> None:
    n = 20
    mean = np.arange(2.0 * n).reshape(2, n)
    mean[:, 3] = np.nan
    blank = np.full_like(mean, np.nan)
    found = SizeGrid(
        rows=("a", "<b>b</b>"),
        columns=tuple(f"{k}k" for k in range(n)),
        mean=mean,
        low=blank,
        high=blank,
        n_runs=np.isfinite(mean).astype(np.int64),
        n_items=(5, 0),
        unit="nats",
        higher=False,
        steps=(1,),
        limits=(),
        sql="",
    )
    drawn = shown_columns(found)
    assert (len(drawn), drawn[0], drawn[-1], 3 in drawn) == (16, 0, n - 1, False)
    told = " ".join(grid_notes(found))
    assert "16 of 19 sizes are drawn" in told
    assert "1 of 20 sizes have no value there" in told
    figure = grid_figure(found)
    assert "one run: no interval" in figure.data[0].hovertext[0][0]
    assert "<b>b" not in figure.layout.yaxis.ticktext[1]


def test_curves_by_size_against_compute(archive: Archive, known: tuple[Size, ...]) -> None:
    there = sizes_by_quantity(archive, sizes=known, tables=("fact_scalar", "fact_log"))
    (series,) = of_several_sizes(catalogue(archive), there)
    drawn = drawn_sizes(
        archive,
        sizes=known,
        quantity_ids=series.variants[0].quantity_ids,
        ends=(known[0], known[-1]),
        excluded=False,
    )
    assert drawn is not None
    answer = loss_curves(archive, runs=drawn.selection, axis="tokens")
    found = size_bundles(answer, drawn, COMPUTE)
    assert [b.label for b in found] == [f"{s.label} (3 runs)" for s in known]
    flops = 6 * LARGE * TOKENS_PER_STEP * np.array(STEPS)
    assert found[-1].lines[0].times == pytest.approx(flops)
    assert found[-1].band[COMPUTE].to_pylist() == pytest.approx(flops)
    assert found[-1].lines[0].values[-1] == pytest.approx(loss(runs_of(LARGE, 4)[0], STEPS[-1]))
    assert len({(b.stroke.colour, b.stroke.dash) for b in found}) == 3
    table = ends_table(answer, drawn).to_pylist()
    assert [r["n_params"] for r in table] == [10_000, 20_000, 40_000]
    assert table[0]["mean"] > table[-1]["mean"]
    assert curve_notes(answer, drawn, answer.n_steps) == []


def test_more_sizes_than_strokes_keep_the_two_that_are_compared(made: Made) -> None:
    many = Archive(made("sizes many"))
    known = sizes_of(many, selection=EVERY).sizes
    ids = tuple(sizes_by_quantity(many, sizes=known, tables=("fact_scalar",)))
    drawn = drawn_sizes(many, sizes=known, quantity_ids=ids, ends=(known[1], known[-3]), excluded=False)
    assert drawn is not None
    assert len(drawn.sizes) == len(STROKES)
    assert {known[1].label, known[-3].label} <= {s.label for s in drawn.sizes}
    answer = loss_curves(many, runs=drawn.selection)
    assert f"{len(STROKES)} of 20 sizes are drawn" in curve_notes(answer, drawn, 2)[0]
    assert "1 of 2 points drawn: 2 of 4 steps" in curve_notes(answer, drawn, 2)[1]
    assert len(curve_notes(answer, drawn, 4)) == 1
    nothing = drawn_sizes(many, sizes=known, quantity_ids=(999,), ends=(known[0], known[1]), excluded=False)
    assert nothing is None
