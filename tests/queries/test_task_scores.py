"""task_scores: means over prompts, errors over templates, runs as the unit, refusals."""

import math

import numpy as np
import pytest

from archive.errors import UnknownName, UsageError
from archive.records import Quantity
from queries.task_scores import task_scores
from tests.queries.language import IOI, IOI_OTHERWISE, RHYMES, SCORES, plant_prompts, prompts
from tests.queries.simulated import Simulation

TEMPLATES = ["a"] * 4 + ["b"] * 4 + ["c"] * 4


def test_means_are_over_prompts_and_errors_over_templates(simulation: Simulation) -> None:
    plant_prompts(simulation, IOI, TEMPLATES)
    simulation.run("a")
    effect = np.repeat([1.0, 2.0, 6.0], 4)
    right = np.array([1.0, 0.5, 0.0, 1.0] * 3)
    prompts(simulation, "a", 10, {"logit_diff": effect, "accuracy": right, "target_prob": right / 2})
    answer = task_scores(simulation.commit())
    (row,) = answer.table.to_pylist()

    assert (row["task"], row["tokenizer"], row["step"]) == ("ioi", "words", 10)
    assert row["logit_diff"] == 3.0
    # prompts that repeat their template add nothing: as 3 numbers 1, 2, 6
    assert row["logit_diff_se"] == pytest.approx(np.std([1, 2, 6], ddof=1) / math.sqrt(3))
    assert (row["accuracy"], row["target_prob"]) == (0.625, 0.3125)
    assert row["accuracy_se"] == pytest.approx(0.0, abs=1e-12)  # the templates do not differ
    assert row["top_accuracy"] is None
    assert (row["n_prompts"], row["n_templates"]) == (12, 3)
    assert answer.estimate == 3.0
    assert answer.ci_high - answer.estimate == pytest.approx(4.302653 * row["logit_diff_se"])
    assert answer.verdict == "unresolved"
    assert any("3 templates" in line for line in answer.limits)
    assert any("top_accuracy of ioi" in line for line in answer.limits)


def test_prompts_without_templates_are_their_own_clusters(simulation: Simulation) -> None:
    simulation.run("a")
    values = np.array([1.0, 2.0, 4.0, 7.0])
    prompts(simulation, "a", 0, {"logit_diff": values})
    (row,) = task_scores(simulation.commit()).table.to_pylist()

    assert row["logit_diff_se"] == pytest.approx(values.std(ddof=1) / 2)
    assert row["n_templates"] == 1


def test_the_run_is_the_unit_over_runs(simulation: Simulation) -> None:
    plant_prompts(simulation, IOI, TEMPLATES)
    for k, run in enumerate(simulation.seeds(5)):
        for step, height in ((0, 0.0), (100, 2.0 + k)):
            prompts(
                simulation,
                run,
                step,
                {"logit_diff": np.full(12, height), "accuracy": np.full(12, 0.5 + k / 20)},
            )
    answer = task_scores(simulation.commit())
    by_metric = {r["metric"]: r for r in answer.summary.to_pylist()}  # type: ignore[union-attr]

    assert answer.table.num_rows == 10
    assert answer.n_runs == 5
    assert answer.estimate == 4.0
    assert answer.estimate - answer.ci_low == pytest.approx(
        2.776445 * np.std([2, 3, 4, 5, 6], ddof=1) / math.sqrt(5)
    )
    assert answer.verdict == "yes"
    assert answer.mde > 0
    assert by_metric["accuracy"]["chance"] == 0.5
    assert by_metric["accuracy"]["mean"] == pytest.approx(0.6)


def test_guessing_is_found_above_guessing_as_often_as_it_should(simulation: Simulation) -> None:
    rng = np.random.default_rng(0)
    for condition in range(60):
        for run in simulation.seeds(4, prefix=f"c{condition}s", condition=f"c{condition}"):
            prompts(simulation, run, 1, {"logit_diff": rng.normal(size=1) + rng.normal(size=12)})
    answer = task_scores(simulation.commit())
    verdicts = [r["verdict"] for r in answer.summary.to_pylist()]  # type: ignore[union-attr]

    assert verdicts.count("unresolved") >= 0.95 * 60 - 3 * math.sqrt(0.0475 * 60)
    assert answer.verdict is None


def test_tasks_below_guessing_are_a_no(simulation: Simulation) -> None:
    for run in simulation.seeds(3):
        prompts(simulation, run, 1, {"accuracy": np.full(6, 0.1)})

    assert task_scores(simulation.commit(), metric="accuracy").verdict == "no"


def test_steps(simulation: Simulation) -> None:
    simulation.run("a")
    for step in (0, 10, 100):
        prompts(simulation, "a", step, {"logit_diff": np.full(3, float(step))})
    archive = simulation.commit()

    assert task_scores(archive).table["step"].to_pylist() == [0, 10, 100]
    assert task_scores(archive, steps="final").table["step"].to_pylist() == [100]
    assert task_scores(archive, steps=10).table["logit_diff"].to_pylist() == [10.0]
    with pytest.raises(UsageError, match="no run has task scores at step 7"):
        task_scores(archive, steps=7)


def test_tokenizations_of_one_task_are_kept_apart(simulation: Simulation) -> None:
    plant_prompts(simulation, IOI, TEMPLATES)
    plant_prompts(simulation, IOI_OTHERWISE, TEMPLATES)
    for run, encoding in zip(simulation.seeds(2), (IOI, IOI_OTHERWISE), strict=True):
        prompts(simulation, run, 1, {"logit_diff": np.ones(12)}, encoding)
    answer = task_scores(simulation.commit())

    assert answer.table["tokenizer"].to_pylist() == ["words", "other words"]
    assert answer.summary is not None
    assert answer.summary["n_runs"].to_pylist() == [1, 1]
    assert any("several tokenizations" in line for line in answer.limits)
    overview = answer.overview()
    assert overview is not None
    assert sorted(overview["tokenizer"].to_pylist()) == ["other words", "words"]


def test_a_metric_that_only_one_tokenization_has_is_said_to_be_missing_in_the_other(
    simulation: Simulation,
) -> None:
    scores = {"logit_diff": np.ones(12), "accuracy": np.ones(12)}
    for run, encoding, n in zip(simulation.seeds(2), (IOI, IOI_OTHERWISE), (2, 1), strict=True):
        prompts(simulation, run, 1, dict(list(scores.items())[:n]), encoding)
    (line,) = [x for x in task_scores(simulation.commit()).limits if x.startswith("Not there")]

    assert "task_accuracy of ioi (other words)" in line
    assert "task_accuracy of ioi (words)" not in line


def test_one_tokenization_can_be_asked_for(simulation: Simulation) -> None:
    for run, encoding in zip(simulation.seeds(2), (IOI, IOI_OTHERWISE), strict=True):
        prompts(simulation, run, 1, {"logit_diff": np.ones(12)}, encoding)
    archive = simulation.commit()

    assert task_scores(archive, eval_set="ioi: words").table["run"].to_pylist() == ["s0"]
    assert task_scores(archive, tasks=("ioi",)).table["run"].to_pylist() == ["s0", "s1"]


def test_several_tasks_and_one_of_them(simulation: Simulation) -> None:
    simulation.run("a")
    for encoding in (IOI, RHYMES):
        prompts(simulation, "a", 1, {"logit_diff": np.arange(12.0)}, encoding)
    archive = simulation.commit()

    assert task_scores(archive).table["task"].to_pylist() == ["ioi", "rhymes"]
    assert task_scores(archive, tasks=("rhymes",)).table["task"].to_pylist() == ["rhymes"]
    assert task_scores(archive, eval_set="ioi").table["task"].to_pylist() == ["ioi"]
    with pytest.raises(UnknownName, match="no task 'rhyme'; did you mean 'rhymes'"):
        task_scores(archive, tasks=("rhyme",))


def test_values_that_are_not_finite_and_suspect_checkpoints_stay_out(simulation: Simulation) -> None:
    simulation.run("a")
    prompts(simulation, "a", 1, {"logit_diff": np.array([1.0, 3.0, np.nan])})
    owner, q = simulation._cell(
        "a", Quantity(measure=SCORES["logit_diff"], encoding=IOI), 2, {"integrity": "defect"}
    )
    simulation.builder.add("fact_item", owner, q, item=0, value=99.0)
    answer = task_scores(simulation.commit())

    assert answer.table["logit_diff"].to_pylist() == [2.0]
    assert answer.table["n_prompts"].to_pylist() == [2]
    assert any("suspect (defect)" in line for line in answer.limits)


def test_an_archive_without_tasks_says_how_to_get_them(simulation: Simulation) -> None:
    simulation.run("a")
    simulation.heads("a", 0, np.ones((1, 1)))

    with pytest.raises(UsageError, match="--fill logit_difference"):
        task_scores(simulation.commit())
