import math

import pytest

from archive.errors import UnknownName, UsageError
from archive.store import Archive
from queries.benchmark_curves import benchmark_curves
from tests.queries.simulated import ACC, PPL, Simulation, benchmark_quantity


@pytest.fixture
def archive(simulation: Simulation) -> Archive:
    s = simulation
    for run in s.seeds(2):
        for step, value in ((0, 0.2), (10, 0.6), (20, 0.5 + 0.02 * (run == "s1"))):
            s.benchmark(run, benchmark_quantity(ACC, "sciq", 0), step, value, se=0.02)
        s.benchmark(run, benchmark_quantity(ACC, "sciq", 5), 20, 0.9, se=0.01)
        s.benchmark(run, benchmark_quantity(ACC, "sciq", 0, series="baseline"), 20, 0.7)
        for step, value in ((0, 1000.0), (10, 20.0), (20, 30.0)):
            s.benchmark(run, benchmark_quantity(PPL, "sciq", 0), step, value)
    return s.commit()


def test_values_come_with_their_standard_errors(archive: Archive) -> None:
    answer = benchmark_curves(archive, task="sciq")

    assert answer.table["value"].to_pylist() == [0.2, 0.6, 0.5, 0.2, 0.6, 0.52]
    assert set(answer.table["se"].to_pylist()) == {0.02}
    assert answer.estimate == pytest.approx(0.51)
    assert answer.ci_method == "final value, Student t over runs"


def test_final_and_best_are_told_apart(archive: Archive) -> None:
    (first, _) = benchmark_curves(archive, task="sciq").summary.to_pylist()  # type: ignore[union-attr]

    assert (first["final"], first["best"], first["best_step"]) == (0.5, 0.6, 10)
    assert first["behind_best_in_se"] == pytest.approx(5)


def test_a_lower_perplexity_is_better(archive: Archive) -> None:
    answer = benchmark_curves(archive, task="sciq", metric="ppl")
    (first, _) = answer.summary.to_pylist()  # type: ignore[union-attr]

    assert (first["best"], first["best_step"], first["behind_best_in_se"]) == (20.0, 10, None)
    assert any("2 run(s) have no standard error" in line for line in answer.limits)


def test_shots_and_series_are_kept_apart(archive: Archive) -> None:
    assert benchmark_curves(archive, task="sciq", shots=5).table["value"].to_pylist() == [0.9, 0.9]
    assert benchmark_curves(archive, task="sciq", series="baseline").table["value"].to_pylist() == [0.7, 0.7]
    with pytest.raises(UsageError, match=r"num_fewshot=3.*the archive has params: .*\"num_fewshot\":0"):
        benchmark_curves(archive, task="sciq", shots=3)
    with pytest.raises(UsageError, match="num_fewshot=None"):
        benchmark_curves(archive, task="sciq", shots=None)


def test_an_unknown_task_is_refused_with_the_nearest(archive: Archive) -> None:
    with pytest.raises(UnknownName, match="no benchmark task 'sicq'; did you mean 'sciq'"):
        benchmark_curves(archive, task="sicq")


def test_a_run_whose_last_value_is_missing_ends_where_it_was_last_seen(simulation: Simulation) -> None:
    simulation.run("a")
    for step, value in ((0, 0.2), (10, 0.6), (20, float("nan"))):
        simulation.benchmark("a", benchmark_quantity(ACC, "sciq", 0), step, value, se=0.02)
    archive = simulation.commit()
    answer = benchmark_curves(archive, task="sciq")

    assert (answer.estimate, answer.table.num_rows) == (0.6, 3)
    assert any("1 value(s) are not finite" in line for line in answer.limits)


def test_nothing_finite_is_refused(simulation: Simulation) -> None:
    simulation.run("a")
    simulation.benchmark("a", benchmark_quantity(ACC, "sciq", 0), 0, float("nan"))

    with pytest.raises(UsageError, match="no finite value"):
        benchmark_curves(simulation.commit(), task="sciq")


def test_one_run_has_a_standard_error_over_items_but_no_interval_over_seeds(archive: Archive) -> None:
    answer = benchmark_curves(archive, task="sciq", runs="s0")

    assert answer.estimate == 0.5
    assert math.isnan(answer.ci_low)
    assert any("over items, not over seeds" in line for line in answer.limits)
