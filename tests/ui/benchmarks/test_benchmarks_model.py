from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from scipy import stats

from archive.errors import NotComparable
from archive.store import Archive
from queries.benchmark_curves import BenchmarkCurves, benchmark_curves
from queries.reading.select import ALL_RUNS, RunSelection
from queries.smaller_beats_larger import smaller_beats_larger
from tests.ui.published.archive import SE, STEPS, UNLICENSED
from ui.models.benchmarks.grid import (
    COLOURS,
    MOST_MODELS,
    MOST_TASKS,
    ORDERS,
    Grid,
    grid,
    grid_figure,
    grid_in_words,
    grid_notes,
    grid_rows,
    whose_steps,
)
from ui.models.benchmarks.lines import (
    LINES,
    MOST_LINES,
    Line,
    hidden_values,
    lines,
    lines_figure,
    lines_in_words,
    lines_notes,
)
from ui.models.benchmarks.page import (
    FINAL,
    MAIN,
    NOT_RECORDED,
    BenchmarkSet,
    Models,
    benchmark_sets,
    models,
    n_comparisons,
    opening_tasks,
    options,
    steps_of,
)
from ui.models.benchmarks.tables import (
    beaten,
    beaten_conditions,
    beaten_in_words,
    beaten_key,
    declines,
    declines_in_words,
)

Made = Callable[[str], Path]
UP = "higher is better"


@pytest.fixture
def archive(made: Made) -> Archive:
    return Archive(made("published"))


@pytest.fixture
def odd(made: Made) -> Archive:
    return Archive(made("published odd"))


@pytest.fixture
def acc(archive: Archive) -> BenchmarkSet:
    return next(s for s in benchmark_sets(archive) if s.metric == "acc")


def models_of(archive: Archive, known: BenchmarkSet) -> Models:
    return models(archive, selection=ALL_RUNS, quantity_ids=known.quantity_ids)


def curves(archive: Archive, *tasks: str, **given: object) -> BenchmarkCurves:
    return benchmark_curves(archive, task=tasks, **given)  # type: ignore[arg-type]


def test_sets_keep_apart_what_must_not_be_mixed(odd: Archive) -> None:
    sets = benchmark_sets(odd)
    told = [(s.metric, s.shots, s.series, len(s.tasks)) for s in sets]
    assert told == [
        # five that can be read and one of two versions; the one that is absent upstream is none
        ("acc", "0", MAIN, 5),
        ("acc", "0", "baseline", 1),
        ("acc", "5", MAIN, 1),
        ("pct_stereotype", "0", MAIN, 1),
        ("ppl", "0", MAIN, 1),
    ]
    first, baseline, five = sets[:3]
    assert "lost" not in first.tasks
    assert (first.n_shots, first.series_asked, baseline.series_asked) == (0, "", "baseline")
    assert (first.which["source"], first.every_task) == (UNLICENSED.name, ("*",))
    assert (five.label, baseline.label) == ("acc, 5-shot", "acc, 0-shot, series baseline")
    assert five.every_task == five.tasks == ("lambada_openai",)
    assert replace(first, shots=NOT_RECORDED).n_shots is None
    assert options(sets, "metric", "acc") == ["acc", "pct_stereotype", "ppl"]
    assert options(sets, "shots", "5") == ["5", "0"]
    assert opening_tasks(first) == ["lambada_openai"]
    assert opening_tasks(sets[3]) == ["crows_pairs"]


def test_models_come_from_small_to_large_and_unknown_sizes_last(
    archive: Archive, odd: Archive, acc: BenchmarkSet
) -> None:
    found = models_of(archive, acc)
    assert found.names == (
        *(f"toy-70m-seed{k}" for k in range(3)),
        *(f"toy-160m-seed{k}" for k in range(3)),
        "toy-1.4b",
    )
    assert found.sizes == (70e6, 70e6, 70e6, 160e6, 160e6, 160e6, 1.4e9)
    other = models_of(odd, benchmark_sets(odd)[0])
    assert (other.names[-1], other.sizes[-1]) == ("unsized", None)
    assert n_comparisons(other, 2) == 0
    assert "toy-70m-seed2" not in other.names  # excluded
    assert n_comparisons(found, 2) == 2 * (3 * 3 + 3 + 3)
    asked = {"quantity_ids": acc.quantity_ids, "run_ids": found.run_ids}
    assert steps_of(archive, **asked, suspect=False) == list(STEPS)
    only = models(
        odd,
        selection=RunSelection(names=("toy-70m-seed0",)),
        quantity_ids=benchmark_sets(odd)[0].quantity_ids,
    )
    asked = {"quantity_ids": benchmark_sets(odd)[0].quantity_ids, "run_ids": only.run_ids}
    assert steps_of(odd, **asked, suspect=False) == [s for s in STEPS if s != 2000]
    assert steps_of(odd, **asked, suspect=True) == list(STEPS)


def test_a_line_a_run_with_its_errors_its_best_and_its_last(archive: Archive, acc: BenchmarkSet) -> None:
    order = models_of(archive, acc).names
    found = lines(curves(archive, "lambada_openai"), "lambada_openai", by=LINES[0], direction=UP, order=order)
    assert [line.name for line in found] == list(order)
    small, large = found[0], found[-1]
    assert small.steps.tolist() == list(STEPS)
    assert set(small.errors.tolist()) == {SE}
    # planted: small models are best at step 1000, two steps before their end
    assert (small.best, small.last) == (3, 5)
    assert large.best in (3, 4, 5)
    lower = lines(
        curves(archive, "lambada_openai", metric="ppl"),
        "lambada_openai",
        by="run",
        direction="lower is better",
        order=order,
    )
    assert lower[0].best == 5
    neither = lines(
        curves(archive, "lambada_openai"), "lambada_openai", by="run", direction="neither", order=order
    )
    assert {line.best for line in neither} == {None}


def test_a_condition_is_the_mean_of_its_runs_with_its_interval(archive: Archive, acc: BenchmarkSet) -> None:
    answer = curves(archive, "sciq")
    order = models_of(archive, acc).names
    small, medium, large = lines(answer, "sciq", by=LINES[1], direction=UP, order=order)
    assert [(x.name, x.n_runs) for x in (small, medium, large)] == [
        ("toy 70m", 3),
        ("toy 160m", 3),
        ("toy-1.4b", 1),
    ]
    rows = answer.table.to_pylist()
    finals = np.array([r["value"] for r in rows if r["group"] == "toy 70m" and r["step"] == 3000])
    assert small.values[-1] == pytest.approx(finals.mean())
    assert small.errors[-1] == pytest.approx(stats.t.ppf(0.975, 2) * finals.std(ddof=1) / np.sqrt(3))
    assert large.errors[-1] == SE
    figure = lines_figure({"sciq": [small, medium, large]}, x_scale="log", title="acc")
    names = [t.name for t in figure.data if t.showlegend]
    assert names == ["toy 70m (mean of 3 runs)", "toy 160m (mean of 3 runs)", "toy-1.4b"]
    assert "95% over 3 runs" in figure.data[0].customdata[-1][1]


def test_means_use_the_steps_that_all_runs_have_and_gaps_stay_gaps(odd: Archive) -> None:
    answer = curves(odd, "sciq", shots=0)
    order = ("toy-70m-seed0", "toy-70m-seed1")
    first, second, _ = lines(answer, "sciq", by="run", direction=UP, order=order)
    # the suspect checkpoint is a gap, not a straight line over it
    assert np.isnan(first.values[first.steps.tolist().index(2000)])
    assert first.last == 5
    assert second.steps.tolist() == [0, 10, 100, 1000]
    mean = lines(answer, "sciq", by="condition", direction=UP, order=order)[0]
    assert mean.steps.tolist() == [0, 10, 100, 1000]
    nan = lines(curves(odd, "no_error"), "no_error", by="run", direction=UP, order=order)
    assert np.isnan(nan[0].values[nan[0].steps.tolist().index(100)])
    assert lines_notes({"no_error": nan}) == ["3 lines without a standard error: the source gives none."]


def test_every_task_has_a_panel_and_every_line_one_entry_in_the_legend(
    archive: Archive, acc: BenchmarkSet
) -> None:
    answer = curves(archive, "lambada_openai", "sciq", "inverse")
    order = models_of(archive, acc).names
    panels = {
        t: lines(answer, t, by="run", direction=UP, order=order)
        for t in ("lambada_openai", "sciq", "inverse")
    }
    for scale in ("linear", "log"):
        figure = lines_figure(panels, x_scale=scale, title="acc [share]")
        assert [a.text for a in figure.layout.annotations][:3] == list(panels)
        assert sum(bool(t.showlegend) for t in figure.data) == len(order)
        assert {figure.layout[f"xaxis{k}"].type for k in ("", 2, 3)} == {scale}
        # a line, its last point and its best for each
        assert (
            [t.name for t in figure.data].count("best") == [t.name for t in figure.data].count("last") == 21
        )
    strokes = {(t.line.color, t.line.dash, t.marker.symbol) for t in figure.data if t.mode == "lines+markers"}
    assert len(strokes) == len(order)
    words = lines_in_words(panels, "acc, 0-shot")
    assert words.startswith(
        "Line chart of acc, 0-shot over steps, 3 tasks. lambada_openai: at the end toy-70m-seed0 0.1"
    )


def test_more_lines_than_strokes_are_cut_visibly() -> None:
    drawn = [
        Line(f"r{k}", np.array([0.0, 1]), np.array([0.1, 0.2]), np.array([0.1, 0.1]), 1, 1)
        for k in range(MOST_LINES + 2)
    ]
    figure = lines_figure({"t": drawn}, x_scale="log", title="acc")
    named = [t.name for t in figure.data if t.showlegend]
    assert len(set(named)) == len(named) == MOST_LINES
    # the smallest and the largest model are never the ones left out
    assert (named[0], named[-1]) == ("r0", f"r{MOST_LINES + 1}")
    assert lines_notes({"t": drawn})[0].startswith(f"{MOST_LINES} of {MOST_LINES + 2} lines are drawn")


def test_values_over_many_powers_of_ten_get_a_log_axis(archive: Archive) -> None:
    answer = curves(archive, "lambada_openai", metric="ppl")
    drawn = lines(answer, "lambada_openai", by="run", direction="lower is better", order=())
    assert lines_figure({"lambada_openai": drawn}, x_scale="linear", title="ppl").layout.yaxis.type == "log"


def test_the_y_axis_is_what_was_asked_for() -> None:
    drawn = [Line("r", np.array([1.0, 2]), np.array([0.0, 0.2]), np.array([0.1, 0.1]), 1, 1)]
    wide = [Line("r", np.array([1.0, 2]), np.array([1.0, 1e4]), np.array([0.1, 0.1]), 1, 1)]
    types = {
        scale: [
            lines_figure({"t": of}, x_scale="log", y_scale=scale, title="acc").layout.yaxis.type
            for of in (drawn, wide)
        ]
        for scale in ("auto", "linear", "log")
    }
    assert types == {"auto": [None, "log"], "linear": [None, None], "log": ["log", "log"]}
    assert (hidden_values({"t": drawn}), hidden_values({"t": wide})) == (1, 0)


def read(
    archive: Archive, known: BenchmarkSet, *, step: str = FINAL, like: str = "", order: str = ORDERS[0]
) -> Grid:
    rows = grid_rows(archive, selection=ALL_RUNS, known=known, step=step, suspect=False)
    return grid(rows.finite, models_of(archive, known), like=like, order=order)


def test_the_grid_has_each_models_value_where_it_is(archive: Archive, acc: BenchmarkSet) -> None:
    found = read(archive, acc)
    assert set(found.tasks) == {"lambada_openai", "sciq", "inverse"}
    values = {
        (r["task"], r["run"]): r["value"] for r in curves(archive, "*").table.to_pylist() if r["step"] == 3000
    }
    for i, task in enumerate(found.tasks):
        for j, model in enumerate(found.models):
            assert found.values[i, j] == values[task, model]
    assert whose_steps(found) == "Step 3,000."
    assert np.nansum(found.centred, axis=1) == pytest.approx(0)
    spread = np.ptp(found.values, axis=1)
    assert spread.tolist() == sorted(spread, reverse=True)
    assert read(archive, acc, order=ORDERS[1]).tasks == ("inverse", "lambada_openai", "sciq")
    assert read(archive, acc, like="LAMB").tasks == ("lambada_openai",)
    early = read(archive, acc, step="0")
    assert whose_steps(early) == "Step 0."
    assert early.values.max() < 0.3


def test_the_grid_says_which_models_are_where_and_what_is_not_there(odd: Archive) -> None:
    known = benchmark_sets(odd)[0]
    found = read(odd, known)
    assert whose_steps(found) == "Each model's last step (number of models): 1,000 (1), 3,000 (2)."
    assert "two_versions" not in found.tasks  # numbers of two versions are not put side by side
    at = read(odd, known, step="3000")
    assert grid_notes(at) == ["1 of 3 models have no result there."]
    with pytest.raises(NotComparable):
        grid_rows(
            odd, selection=ALL_RUNS, known=replace(known, tasks=("two_versions",)), step=FINAL, suspect=False
        )


@pytest.mark.parametrize("colours", COLOURS)
def test_cells_have_their_numbers_and_tell_the_rest(
    archive: Archive, acc: BenchmarkSet, colours: str
) -> None:
    found = read(archive, acc, like="sciq")
    (heat,) = grid_figure(found, acc, colours=colours).data
    assert len(heat.text[0]) == 7
    assert "± 0.01" in heat.hovertext[0][0]
    assert "from the mean of 7 models" in heat.hovertext[0][0]
    if colours == COLOURS[0]:
        assert (heat.zmin, heat.zmax) == (0, 1)
        assert heat.text[0][0] == f"{found.values[0, 0]:.2f}"
    else:
        assert heat.zmin == -heat.zmax
        assert heat.text[0][-1].startswith("+")
        assert heat.text[0][0].startswith("−")
    assert "Largest: toy-1.4b on sciq" in grid_in_words(found, acc, FINAL)
    assert "at step 3,000" in grid_in_words(found, acc, "3000")


def test_perplexities_are_coloured_by_their_logarithm(archive: Archive) -> None:
    known = next(s for s in benchmark_sets(archive) if s.metric == "ppl")
    (heat,) = grid_figure(read(archive, known), known, colours=COLOURS[0]).data
    assert np.nanmax(np.array(heat.z, float)) < 7


def test_what_is_cut_from_a_large_grid_is_said(acc: BenchmarkSet) -> None:
    shape = (MOST_TASKS, MOST_MODELS)
    names = tuple(f"m{k}" for k in range(MOST_MODELS))
    found = Grid(
        tuple(f"t{k}" for k in range(MOST_TASKS)),
        names,
        np.full(shape, np.nan),
        np.ones(shape),
        np.zeros(shape, int),
        99,
        77,
    )
    notes = grid_notes(found)
    assert notes[0].startswith(f"{MOST_TASKS} of 99 tasks are drawn")
    assert notes[1].startswith(f"{MOST_MODELS} of 77 models are drawn")
    assert grid_in_words(found, acc, FINAL).endswith("no value is finite.")
    assert whose_steps(found) == "No model has a result there."
    figure = grid_figure(found, acc, colours=COLOURS[1])
    assert "no value" in figure.data[0].hovertext[0][0]


def test_small_models_ahead_of_large_ones_are_listed_clearest_first(archive: Archive) -> None:
    found = smaller_beats_larger(archive)
    shown, n_ahead = beaten(found)
    # planted: on `inverse` the smaller is better, 3 × 3 + 3 × 1 + 3 × 1 pairs
    assert shown["found"].to_pylist()[:15] == [True] * 15
    assert shown["task"].to_pylist()[:15] == ["inverse"] * 15
    assert n_ahead == shown.num_rows == sum(r["difference"] > 0 for r in found.table.to_pylist())
    p = shown["p"].to_pylist()
    assert p == sorted(p)
    groups = {
        (r["smaller_group"], r["larger_group"]): r
        for r in beaten_conditions(found).to_pylist()
        if r["task"] == "inverse"
    }
    assert groups["toy 70m", "toy 160m"]["n_pairs"] == 9
    assert "45 comparisons, made at step 10." in beaten_key(found, "holm", "at step 10")
    assert f"at most {found.alpha:.0%} of archives" in beaten_key(found, "holm", "")
    assert f"about {found.alpha:.0%} are expected to be wrong" in beaten_key(found, "bh", "")
    assert beaten_in_words(shown, n_ahead).endswith("15 of them beyond chance.")


def test_conditions_of_one_run_are_not_told_twice(archive: Archive) -> None:
    found = smaller_beats_larger(archive, runs=["toy-70m-seed0", "toy-1.4b"])
    assert beaten_conditions(found).num_rows == 0


def test_late_declines_are_listed_and_what_cannot_be_judged_comes_last(
    archive: Archive, odd: Archive
) -> None:
    shown, n_fallen = declines(curves(archive, "*"))
    rows = shown.to_pylist()
    assert [r["declined"] for r in rows] == [True] * 3 + [False] * (n_fallen - 3)
    assert {(r["task"], r["run"][:7], r["best_step"]) for r in rows[:3]} == {
        ("lambada_openai", "toy-70m", 1000)
    }
    assert declines_in_words(shown, n_fallen).endswith("3 of them beyond chance (q below 0.05).")
    mixed = declines(curves(odd, "*"))[0].to_pylist()
    known = [r["q"] is not None for r in mixed]
    assert known == sorted(known, reverse=True)
    assert not all(known)


def test_a_metric_without_better_has_no_declines(archive: Archive) -> None:
    shown, n_fallen = declines(curves(archive, "crows_pairs", metric="pct_stereotype"))
    assert (shown.num_rows, n_fallen) == (0, 0)
