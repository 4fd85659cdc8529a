"""What the Seeds page shows, on numbers that are known: agreement, its figures, tokens and their text."""

import math
from dataclasses import replace

import numpy as np
import pytest

from archive.store import Archive
from queries.path_dependence import path_dependence
from queries.reading.select import RunSelection, select_runs
from tests.ui.browser import Made
from tests.ui.seeds.archive import (
    COMPARED,
    STEPS,
    crossed,
    divergence,
)
from ui.models.conditions import condition_labels
from ui.models.grokking.seed_shares import crossed_factors
from ui.models.seeds.agreement import (
    Agreement,
    Mean,
    PairValue,
    agreement_at,
    agreement_over,
    extremes,
    mean_in_words,
    mean_names,
    means_table,
    shares_of,
    sharing,
    values_table,
)
from ui.models.seeds.crossing import is_crossed
from ui.models.seeds.index import index_figure
from ui.models.seeds.matrix import COLOURS, ends, matrix, matrix_figure, matrix_in_words, matrix_width
from ui.models.seeds.page import JS, KL, RANK, TOP, Compared, Kind, SeedRun, compared, first_kind, kinds
from ui.models.seeds.training import mean_lines, training_figure, training_in_words, training_notes

ALL = RunSelection()
RUNS = {run.name: run for run in crossed()}


@pytest.fixture(scope="module")
def archive(made: Made) -> Archive:
    return Archive(made("seeds"))


@pytest.fixture(scope="module")
def known(archive: Archive) -> list[Kind]:
    return kinds(archive)


def kind_of(known: list[Kind], label: str) -> Kind:
    return next(k for k in known if k.label == label)


def there(archive: Archive, kind: Kind, *, suspect: bool = False) -> Compared:
    return compared(archive, selection=ALL, kind=kind, suspect=suspect)


def agree(archive: Archive, kind: Kind, step: int = STEPS[-1]) -> Agreement:
    return agreement_at(archive, selection=ALL, kind=kind, step=step, suspect=False)


def test_only_what_is_stored_is_offered(archive: Archive, known: list[Kind], made: Made) -> None:
    assert [(k.label, k.rest) for k in known] == [
        *((label, rest) for label in (JS, KL, TOP) for rest in ("all outputs", "most likely tokens")),
        (RANK, ""),
    ]
    assert first_kind(known) == JS
    assert [k.label for k in kinds(Archive(made("seeds odd")))] == [RANK]
    assert kinds(Archive(made("empty"))) == []
    # lists of likely tokens are slow to compare: they are not what a page opens with
    assert first_kind([k for k in known if k.rest != "all outputs"]) == RANK


def test_runs_are_in_the_order_of_their_seeds_and_steps_are_those_of_two_runs(
    archive: Archive, known: list[Kind], made: Made
) -> None:
    found = there(archive, kind_of(known, JS))
    assert [(r.init, r.order) for r in found.runs] == [(i, j) for i in range(3) for j in range(2)]
    assert (found.steps, found.cut, found.selection(ALL)) == (COMPARED, [], ALL)
    assert there(archive, kind_of(known, RANK)).steps == STEPS
    odd = Archive(made("seeds odd"))
    (rank,) = kinds(odd)
    assert [r.run for r in there(odd, rank).runs][-1] == "crossed/alone"
    assert there(odd, rank).steps == STEPS


def test_more_runs_than_a_figure_holds_are_named(archive: Archive, known: list[Kind]) -> None:
    found = there(archive, kind_of(known, JS))
    cut = replace(found, runs=found.runs[:2], n_runs=6)
    assert cut.selection(ALL).names == ("crossed/init0-data0", "crossed/init0-data1")
    assert cut.cut == ["2 of 6 runs are compared; choose others in the sidebar."]


def test_planted_divergences_are_in_the_matrix_both_ways(archive: Archive, known: list[Kind]) -> None:
    kind = kind_of(known, JS)
    runs, found = there(archive, kind).runs, agree(archive, kind)
    values = matrix(found, runs, kind)
    planted = [[divergence(RUNS[a.run], RUNS[b.run], 1000) for b in runs] for a in runs]
    off = ~np.eye(6, dtype=bool)
    assert values[off] == pytest.approx(np.array(planted)[off])
    assert np.isnan(np.diag(values)).all()
    (mean,) = found.means
    assert (mean.n_runs, mean.n_pairs, mean.mean) == (6, 15, pytest.approx((6 * 0.05 + 9 * 0.2) / 15))
    assert mean.low < mean.mean < mean.high
    two = extremes(found, kind)
    assert two is not None
    assert [p.value for p in two] == [0.05, 0.2]


def test_directed_numbers_are_not_mirrored(archive: Archive, known: list[Kind]) -> None:
    kind = kind_of(known, KL)
    runs, found = there(archive, kind).runs, agree(archive, kind)
    values = matrix(found, runs, kind)
    assert (values[0, 2], values[2, 0]) == (pytest.approx(0.1), pytest.approx(0.15))
    assert mean_in_words(kind, found).startswith("30 ordered pairs of 6 runs. No mean")


def test_likeness_and_divergence_count_the_other_way_round(archive: Archive, known: list[Kind]) -> None:
    kind = kind_of(known, TOP)
    found = agree(archive, kind)
    alike, apart = extremes(found, kind) or (None, None)
    assert alike is not None
    assert apart is not None
    assert (alike.value, apart.value) == (0.95, 0.8)
    words = matrix_in_words(found, there(archive, kind).runs, kind)
    assert words.startswith("Matrix of same top token of 6 runs at step 1,000. Most alike: init")
    assert words.endswith("(0.8).")
    assert extremes(replace(found, pairs=()), kind) is None


def test_colours_span_the_scale_or_the_values(archive: Archive, known: list[Kind]) -> None:
    kind = kind_of(known, JS)
    runs, found = there(archive, kind).runs, agree(archive, kind)
    values = matrix(found, runs, kind)
    assert ends(values, found, kind, COLOURS[0]) == (0.0, 0.2)
    assert ends(values, found, kind, COLOURS[1]) == (0.05, 0.2)
    assert ends(np.full((2, 2), 0.3), found, kind, COLOURS[1]) == (pytest.approx(-0.2), pytest.approx(0.8))
    assert ends(np.array([[math.nan, -0.2]]), found, kind_of(known, RANK), COLOURS[0]) == (-0.2, 1.0)
    figure = matrix_figure(found, runs, kind, colours=COLOURS[0])
    cells, numbers, _ = figure.data
    assert len(numbers.text) == 30
    assert "same data order" in cells.hovertext[0][2]
    assert "95% over documents 0.04" in cells.hovertext[0][2]
    assert figure.layout.width == matrix_width(runs)
    assert not figure.layout.shapes
    parted = matrix_figure(
        found, [*runs[:3], *(replace(r, group="other") for r in runs[3:])], kind, colours=""
    )
    assert [line.x0 for line in parted.layout.shapes] == [2.5, -0.5]


def test_agreement_over_training_has_every_step_that_answers(archive: Archive, known: list[Kind]) -> None:
    kind = kind_of(known, JS)
    found, refused = agreement_over(archive, selection=ALL, kind=kind, steps=(0, 10, 1000), suspect=False)
    assert [at.step for at in found] == [0, 1000]
    assert len(refused) == 1
    assert refused[0].startswith(
        "Step 10 has no answer: no two runs are compared by output_divergence at step 10"
    )
    runs = there(archive, kind).runs
    table = values_table(kind, found, runs)
    assert table.num_rows == 30
    assert set(table["share"].to_pylist()) == {"same init", "same data order", "no seed in common"}
    (line,) = mean_lines(found)
    assert line.mean == pytest.approx([0.4, 0.14])
    assert "Mean from 0.4 at step 0 to 0.14 at step 1,000 (6 runs)" in training_in_words(found, kind)
    figure = training_figure(found, runs, kind, step=1000, x_scale="log", y_scale="log")
    assert [t.name for t in figure.data if t.showlegend is not False] == [
        "same init (3 pairs)",
        "same data order (6 pairs)",
        "no seed in common (6 pairs)",
        "mean (6 runs)",
    ]
    assert len({(t.line.color, t.line.dash) for t in figure.data[:3]}) == 3
    # a line is cut between pairs, and at the break of the axis
    same_init = figure.data[0]
    assert list(same_init.y[:4]) == [0.4, None, 0.2, None]
    assert len(same_init.hovertext) == len(same_init.x) == len(same_init.y)
    assert training_notes(found) == []


def test_what_is_not_above_0_has_no_place_on_a_log_axis(known: list[Kind]) -> None:
    kind = kind_of(known, RANK)
    runs = [SeedRun(name, "c", k, k, None) for k, name in enumerate("ab")]
    at = [
        Agreement(
            step, (PairValue("a", "b", value),), (Mean("c", "c", "", 2, 1, value, math.nan, math.nan, math.nan),),
            0.95, "", "", (), "", "", 2,
        )
        for step, value in ((1, -0.5), (2, 0.5), (4, 0.75))
    ]  # fmt: skip
    drawn = {
        y: training_figure(at, runs, kind, step=2, x_scale="linear", y_scale=y) for y in ("linear", "log")
    }
    assert list(drawn["linear"].data[0].y) == [-0.5, 0.5, 0.75, None]
    assert list(drawn["log"].data[0].y) == [None, 0.5, 0.75, None]
    assert math.isnan(drawn["log"].data[1].y[0])
    assert at[0].means[0].mean == -0.5  # answers are shared: nothing may change them
    assert "no interval over runs: it takes 3" in mean_in_words(kind, at[0])


def test_seeds_in_common_are_named() -> None:
    a, b, c = (SeedRun("x", "g", i, j, 0) for i, j in ((0, 0), (0, 1), (1, 1)))
    assert sharing(a, b) == "same init"
    assert sharing(b, c) == "same data order"
    assert sharing(a, c) == "no seed in common"
    assert sharing(a, replace(a)) == "same init and data order"
    assert sharing(a, replace(a, group="h")) == "other condition"
    # what is not known is not shared
    assert sharing(replace(a, init=None), replace(b, init=None)) == "no seed in common"
    assert shares_of([a, b, c]) == ["same init", "same data order", "no seed in common"]
    assert a.seeds == "init 0, data order 0, split 0"
    assert SeedRun("x", "", None, None, None).seeds == "seeds not known"


def test_conditions_are_named_by_what_differs() -> None:
    assert condition_labels(["text n=1 lr=2 #aa", "text n=2 lr=2 #bb"]) == {
        "text n=1 lr=2 #aa": "n=1",
        "text n=2 lr=2 #bb": "n=2",
    }
    # names leave out settings that have their defaults; a hash says nothing to anybody
    assert list(condition_labels(["text #aa", "text n=2 #bb"]).values()) == ["default n", "n=2"]
    assert list(condition_labels(["text #aa", "text #bb"]).values()) == ["#aa", "#bb"]
    # settings with blanks in them are not taken apart
    assert list(condition_labels(["sum p=47, weight decay 2", "sum p=47, weight decay 1"]).values()) == [
        "weight decay 2",
        "weight decay 1",
    ]
    assert condition_labels(["only one"]) == {"only one": "only one"}
    assert condition_labels([]) == {}
    assert len(set(condition_labels(["a b", "b a"]).values())) == 2


def test_means_of_several_conditions_are_told_apart(archive: Archive, known: list[Kind]) -> None:
    found = agree(archive, kind_of(known, JS))
    one = found.means[0]
    several = replace(
        found,
        means=(
            replace(one, group_a="n=1 x", group_b="n=1 x"),
            replace(one, group_a="n=1 x", group_b="n=2 x"),
        ),
    )
    assert list(mean_names([several]).values()) == ["n=1", "n=1 × n=2"]
    assert means_table(several)["pairs of"].to_pylist() == ["n=1", "n=1 × n=2"]
    assert means_table(several)["null"].to_pylist() == [None, None]
    assert "not over pairs" in mean_in_words(kind_of(known, JS), several)


def test_crossed_means_that_a_seed_meets_several(archive: Archive) -> None:
    runs = select_runs(archive, ALL).runs
    factors = crossed_factors(runs)
    assert factors == ("init", "order")
    assert is_crossed(runs, factors)
    # init0-data0 and init1-data1: each seed changes with the other
    assert not is_crossed([runs[0], runs[3]], factors)
    assert not is_crossed([runs[0], replace(runs[1], condition="other")], factors)
    assert not is_crossed([replace(runs[0], init_seed=None), replace(runs[1], init_seed=None)], factors)


def test_the_index_has_its_floor_and_its_interval(archive: Archive) -> None:
    answer = path_dependence(archive, step=STEPS[-1])
    floor, index = index_figure(answer).data
    (row,) = answer.table.to_pylist()
    assert (floor.x[0], index.x[0]) == (row["floor"], row["index"])
    assert index.error_x.array[0] == pytest.approx(row["high"] - row["index"])


def test_seconds_grow_with_runs_tokens_and_steps(known: list[Kind]) -> None:
    lists = next(k for k in known if k.rest == "most likely tokens")
    assert lists.seconds(9, 33_280) > 20  # nine runs of the crossed study took 25 s
    assert lists.seconds(3, 1000) < 1.5
    assert kind_of(known, RANK).seconds(9, 33_280, 10) == pytest.approx(
        10 * kind_of(known, RANK).seconds(9, 33_280)
    )
