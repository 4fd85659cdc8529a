import math
from collections.abc import Iterator
from pathlib import Path

import pytest

from archive.errors import UnknownName, UsageError
from archive.records import Encoding, Part, Quantity
from archive.store import Archive
from queries.benchmark_curves import benchmark_curves
from tests.queries.simulated import ACC, PPL, PUBLISHED, Simulation, benchmark_quantity, kept_open, measure

STEREOTYPE = measure(
    "benchmark.pct_stereotype", "fact_benchmark", scope="checkpoint", unit="share", direction="neither"
)
LOGITS = measure(
    "logit_difference", "fact_scalar", scope="checkpoint", unit="logits", direction="higher is better"
)


def planted(simulation: Simulation) -> Archive:
    s = simulation
    for run in s.seeds(2):
        for step, value in ((0, 0.2), (10, 0.6), (20, 0.5 + 0.02 * (run == "s1"))):
            s.benchmark(run, benchmark_quantity(ACC, "sciq", 0), step, value, se=0.02)
        s.benchmark(run, benchmark_quantity(ACC, "sciq", 5), 20, 0.9, se=0.01)
        s.benchmark(run, benchmark_quantity(ACC, "sciq", 0, series="baseline"), 20, 0.7)
        for step, value in ((0, 1000.0), (10, 20.0), (20, 30.0)):
            s.benchmark(run, benchmark_quantity(PPL, "sciq", 0), step, value)
    return s.commit()


@pytest.fixture(scope="module")
def archive(simulation_of_module: Simulation) -> Iterator[Archive]:
    with kept_open(planted(simulation_of_module)) as archive:
        yield archive


def test_values_come_with_their_standard_errors(archive: Archive) -> None:
    answer = benchmark_curves(archive, task="sciq")

    assert answer.table["value"].to_pylist() == [0.2, 0.6, 0.5, 0.2, 0.6, 0.52]
    assert set(answer.table["se"].to_pylist()) == {0.02}
    assert answer.estimate == pytest.approx(0.51)
    assert answer.ci_method == "final value, Student t over runs"


def test_final_and_best_are_told_apart(archive: Archive) -> None:
    (first, _) = benchmark_curves(archive, task="sciq").summary.to_pylist()  # type: ignore[union-attr]

    assert (first["final"], first["best"], first["best_step"]) == (0.5, 0.6, 10)
    assert (first["decline"], first["decline_in_se"]) == (
        pytest.approx(0.1),
        pytest.approx(0.1 / (0.02 * math.sqrt(2))),
    )


def test_a_lower_perplexity_is_better(archive: Archive) -> None:
    answer = benchmark_curves(archive, task="sciq", metric="ppl")
    (first, _) = answer.summary.to_pylist()  # type: ignore[union-attr]

    assert (first["best"], first["best_step"], first["decline"]) == (20.0, 10, 10.0)
    assert (first["half_step"], first["halfway_step"], first["p"]) == (None, 10, None)
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


@pytest.fixture(scope="module")
def many(empty_archive: Path, tmp_path_factory: pytest.TempPathFactory) -> Archive:
    """Two sizes, one of which gets worse on one task; a metric without better, a scalar on a task of its own."""
    s = Simulation(empty_archive, tmp_path_factory.mktemp("many"))
    small, large = (
        s.run("toy-70m", condition="toy-70m"),
        s.run("toy-large", condition="toy-large", n_params=10**9),
    )
    curves = {
        ("arc_easy", small): (0.25, 0.27, 0.40, 0.42),
        ("arc_hard", small): (0.25, 0.26, 0.45, 0.30),
        ("arc_easy", large): (0.26, 0.40, 0.60, 0.61),
        ("arc_hard", large): (0.24, 0.25, 0.50, 0.52),
    }
    for (task, run), values in curves.items():
        for step, value in zip((0, 10, 20, 40), values, strict=True):
            s.benchmark(run, benchmark_quantity(ACC, task, 0), step, value, se=0.01)
    for step, value in ((0, 0.6), (40, 0.4)):
        s.benchmark(small, benchmark_quantity(STEREOTYPE, "crows", 0), step, value, se=0.01)
    ioi = Quantity(
        measure=LOGITS, encoding=Encoding.named_only("ioi", source=PUBLISHED.name), source=PUBLISHED
    )
    for step, value in ((1, 0.0), (1000, -0.3), (4000, 2.0), (5000, 2.2), (9000, 4.4)):
        s.scalar(large, ioi, step, {Part(): value})
    return s.commit()


def test_several_tasks_are_one_table_with_sizes(many: Archive) -> None:
    answer = benchmark_curves(many, task=("arc_*",))

    assert answer.table.num_rows == 16
    assert answer.table.select(["run", "size", "task", "step"]).slice(0, 5).to_pylist() == [
        *({"run": "toy-70m", "size": 70e6, "task": "arc_easy", "step": step} for step in (0, 10, 20, 40)),
        {"run": "toy-70m", "size": 70e6, "task": "arc_hard", "step": 0},
    ]
    assert set(answer.table["size"].to_pylist()) == {70e6, 1e9}
    assert any(
        "The size of 1 run(s) is the one in the name (first: toy-70m)" in line for line in answer.limits
    )
    assert math.isnan(answer.estimate)


def test_a_late_decline_is_found_among_many_curves(many: Archive) -> None:
    answer = benchmark_curves(many, task=("arc_*",))
    rows = {(r["run"], r["task"]): r for r in answer.summary.to_pylist()}  # type: ignore[union-attr]
    fallen = rows["toy-70m", "arc_hard"]

    assert [key for key, r in rows.items() if r["declined"]] == [("toy-70m", "arc_hard")]
    assert (fallen["best"], fallen["best_step"], fallen["final"]) == (0.45, 20, 0.30)
    assert fallen["decline"] == pytest.approx(0.15)
    assert fallen["decline_se"] == pytest.approx(0.01 * math.sqrt(2))
    assert fallen["p"] < fallen["q"] < 1e-20
    assert rows["toy-large", "arc_hard"]["p"] > 0.5
    assert answer.sentence == (
        "2 tasks acc, 0-shot of 2 runs, 4 curves; 1 of 4 end worse than they were, beyond chance (clearest: toy-70m on "
        "arc_hard, 0.45 at step 20, 0.3 at the end)."
    )


def test_half_of_the_final_value_is_not_halfway_from_the_start(many: Archive) -> None:
    (easy,) = benchmark_curves(many, runs="toy-large", task="arc_easy").summary.to_pylist()  # type: ignore[union-attr]

    # half of 0.61 is 0.305; halfway from 0.26 is 0.435
    assert (easy["half_after"], easy["half_step"]) == (0, 10)
    assert (easy["halfway_after"], easy["halfway_step"]) == (10, 20)


def test_a_scalar_is_read_like_a_benchmark(many: Archive) -> None:
    answer = benchmark_curves(many, task="ioi", metric="logit_difference")
    (row,) = answer.summary.to_pylist()  # type: ignore[union-attr]

    assert (row["half_step"], row["best"], row["final"], row["p"]) == (5000, 4.4, 4.4, None)
    assert answer.label == "ioi logit_difference"
    assert answer.unit == "logits"


def test_a_metric_without_better_has_no_best(many: Archive) -> None:
    answer = benchmark_curves(many, task="crows", metric="pct_stereotype")
    (row,) = answer.summary.to_pylist()  # type: ignore[union-attr]

    assert (row["final"], row["best"], row["half_step"], row["declined"]) == (0.4, None, None, None)
    assert any("no better and worse" in line for line in answer.limits)
    assert answer.sentence == "crows pct_stereotype, 0-shot of toy-70m: 0.4 ± 0.01 at step 40."


def test_tasks_of_a_pattern_that_lack_the_metric_are_named(many: Archive) -> None:
    answer = benchmark_curves(many, task="*")

    assert any(
        "1 task(s) asked for cannot be read (first: crows: no such metric)" in x for x in answer.limits
    )
    with pytest.raises(UsageError, match=r"no benchmark\.acc with num_fewshot=5"):
        benchmark_curves(many, task="arc_*", shots=5)
    with pytest.raises(UnknownName, match="no benchmark task 'sciq\\*'"):
        benchmark_curves(many, task="sciq*")
    with pytest.raises(UsageError, match="no task asked for"):
        benchmark_curves(many, task=())


def test_all_tasks_take_as_many_statements_as_one(many: Archive, monkeypatch: pytest.MonkeyPatch) -> None:
    counts = []
    for task in ("arc_easy", "arc_*"):
        statements: list[str] = []
        ask = Archive.query
        with monkeypatch.context() as patch:
            patch.setattr(Archive, "query", lambda *a, **k: statements.append(a[1]) or ask(*a, **k))  # noqa: B023
            benchmark_curves(many, task=task)
        counts.append(len(statements))

    assert counts[0] == counts[1]


def test_the_figure_has_a_line_per_run_and_task(many: Archive) -> None:
    figure = benchmark_curves(many, task="arc_*").plot()

    assert [t.name for t in figure.data] == [
        f"{r} · arc_{t}" for r in ("toy-70m", "toy-large") for t in ("easy", "hard")
    ]
    assert figure.data[0].line.color == figure.data[1].line.color != figure.data[2].line.color
    assert figure.data[0].line.dash == figure.data[2].line.dash != figure.data[1].line.dash
