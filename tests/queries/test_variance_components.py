import math

import numpy as np
import pytest

from archive.errors import NotComparable
from queries.stats.components import one_way, two_way
from queries.variance_components import variance_components
from tests.queries.simulated import (
    ACCURACY_HERE,
    HEADS_HERE,
    LOG_LOSS_HERE,
    LOSS_HERE,
    TEST,
    Simulation,
    kept_open,
)


def plant_conditions(simulation: Simulation, values: np.ndarray, **columns: float) -> None:
    """values: (condition, seed), the loss at the last of two checkpoints."""
    for c, row in enumerate(values):
        for k, value in enumerate(row):
            run = simulation.run(f"c{c}s{k}", condition=f"c{c}", init_seed=k)
            simulation.scalar(run, LOSS_HERE, 0, {TEST: 5.0}, **columns)
            simulation.scalar(run, LOSS_HERE, 10, {TEST: float(value)}, **columns)


def components(answer: object) -> dict[str, dict[str, object]]:
    return {row["component"]: row for row in answer.table.to_pylist()}  # type: ignore[attr-defined]


def test_seeds_within_conditions(simulation: Simulation) -> None:
    values = np.random.default_rng(0).normal(size=(4, 5)) + 5 + np.arange(4)[:, None]
    plant_conditions(simulation, values)
    answer = variance_components(simulation.commit())
    between, within = one_way(list(values))
    found = components(answer)

    assert found["condition"]["variance"] == pytest.approx(between.estimate)
    assert found["seed"]["share"] == pytest.approx(within.share)
    assert answer.estimate == pytest.approx(math.sqrt(within.estimate))
    assert (answer.ci_low, answer.ci_high) == pytest.approx((math.sqrt(within.low), math.sqrt(within.high)))
    assert (answer.n_runs, answer.unit, answer.verdict) == (20, "nats", None)
    assert "20 runs in 4 conditions" in answer.sentence


def test_a_negative_component_is_shown_and_explained(simulation: Simulation) -> None:
    plant_conditions(simulation, np.array([[0.0, 10], [1, 9], [2, 8]]))
    answer = variance_components(simulation.commit())

    assert float(str(components(answer)["condition"]["variance"])) < 0
    assert any("The estimate of condition is negative" in line for line in answer.limits)


def test_five_seeds_say_how_little_they_know(simulation: Simulation) -> None:
    plant_conditions(simulation, np.random.default_rng(1).normal(5, 1, (1, 5)))
    answer = variance_components(simulation.commit())

    assert any("within 0.60 to 2.87 times the estimate" in line for line in answer.limits)
    assert list(components(answer)) == ["seed"]
    assert answer.mde == pytest.approx(2.02 * answer.estimate, rel=5e-3)


def test_no_repeats_is_unresolved(simulation: Simulation) -> None:
    plant_conditions(simulation, np.array([[1.0], [2.0]]))
    answer = variance_components(simulation.commit())

    assert answer.verdict == "unresolved"
    assert answer.table.num_rows == 0
    assert "no condition has two runs" in answer.sentence


def test_losses_that_differ_by_factors_are_compared_in_octaves(simulation: Simulation) -> None:
    plant_conditions(simulation, np.array([[1.0, 2, 4], [0.0, 8, 16]]))
    answer = variance_components(simulation.commit(), scale="log2")

    assert answer.unit == "log2 nats"
    assert answer.estimate == pytest.approx(math.sqrt((2 * 1 + 0.5) / 3))
    assert any("1 run(s) of c1 are not positive" in line for line in answer.limits)


def test_evaluation_noise_is_taken_off_and_tested(simulation: Simulation) -> None:
    plant_conditions(simulation, np.array([[1.0, 1.4, 0.6, 1.2, 0.8]]), se=0.1)
    answer = variance_components(simulation.commit())
    found = components(answer)

    assert found["evaluation"]["variance"] == pytest.approx(0.01)
    assert found["seed"]["variance"] == pytest.approx(0.1 - 0.01)
    assert (answer.verdict, answer.null_name) == ("yes", "evaluation noise alone (Cochran's Q)")
    assert answer.p_value < 1e-6


def test_seeds_that_differ_no_more_than_their_noise_are_unresolved_not_equal(simulation: Simulation) -> None:
    plant_conditions(simulation, np.array([[1.0, 1.05, 0.95, 1.02, 0.98]]), se=0.1)
    answer = variance_components(simulation.commit())

    assert answer.p_value > 0.5
    assert answer.verdict == "unresolved"


def test_the_training_log_works_and_runs_end_where_they_end(simulation: Simulation) -> None:
    for k, run in enumerate(simulation.seeds(3)):
        simulation.log(run, LOG_LOSS_HERE, range(5 + k), {TEST: np.arange(5 + k)})
    archive = simulation.commit()
    answer = variance_components(archive)

    assert answer.estimate == pytest.approx(1.0)  # 4, 5, 6
    assert any("Runs end at different steps" in line for line in answer.limits)
    assert variance_components(archive, step=2).estimate == 0


def test_a_diverged_run_is_named(simulation: Simulation) -> None:
    plant_conditions(simulation, np.array([[1.0, 2, np.nan]]))
    answer = variance_components(simulation.commit())

    assert answer.n_runs == 2
    assert any("1 run(s) have a value that is not finite" in line for line in answer.limits)


def planted_items(n_runs: int = 5, n_items: int = 60, own: float = 0.5) -> np.ndarray:
    rng = np.random.default_rng(2)
    return (
        3
        + rng.normal(size=(1, n_items))
        + 0.2 * rng.normal(size=(n_runs, 1))
        + own * rng.normal(size=(n_runs, n_items))
    )


def test_seed_by_item(simulation: Simulation) -> None:
    table = planted_items()
    for run, values in zip(simulation.seeds(5), table, strict=True):
        simulation.items(run, 0, values * 0)
        simulation.items(run, 10, values)
    answer = variance_components(simulation.commit(), measure="item.loss")
    expected = two_way(table)

    assert answer.estimate == pytest.approx(expected.idiosyncratic)
    assert (answer.ci_low, answer.ci_high) == pytest.approx(
        (expected.idiosyncratic_low, expected.idiosyncratic_high)
    )
    assert (answer.n_runs, answer.n_items) == (5, 60)
    assert [components(answer)[c.name]["variance"] for c in expected.components] == pytest.approx(
        [c.estimate for c in expected.components]
    )
    assert any("5 runs stay 5 however many items" in line for line in answer.limits)


def test_items_that_a_run_lacks_are_left_out_and_counted(simulation: Simulation) -> None:
    table = planted_items()
    table[3, 7] = np.nan
    for k, (run, values) in enumerate(zip(simulation.seeds(5), table, strict=True)):
        simulation.items(run, 0, values if k else values[:50])
    answer = variance_components(simulation.commit(), measure="item.loss")

    assert answer.n_items == 49
    assert any("11 item(s) lack a finite value" in line for line in answer.limits)
    assert answer.estimate == pytest.approx(two_way(np.delete(table[:, :50], 7, axis=1)).idiosyncratic)


def test_tokens_are_items_and_places_without_a_loss_are_not(simulation: Simulation) -> None:
    table = planted_items(3, 40)
    for run, values in zip(simulation.seeds(3), table, strict=True):
        by_sequence = np.full((4, 11), np.nan)  # the first token of a sequence has no loss
        by_sequence[:, 1:] = values.reshape(4, 10)
        simulation.tokens(run, 0, by_sequence)
    answer = variance_components(simulation.commit(), measure="token.loss")

    assert answer.n_items == 40
    assert answer.estimate == pytest.approx(
        two_way(table.astype(np.float32).astype(float)).idiosyncratic, rel=1e-5
    )


def test_conditions_are_decomposed_one_by_one(simulation: Simulation) -> None:
    for c, own in enumerate((0.1, 2.0)):
        for run, values in zip(
            simulation.seeds(5, prefix=f"c{c}s", condition=f"c{c}"), planted_items(own=own), strict=True
        ):
            simulation.items(run, 0, values)
    answer = variance_components(simulation.commit(), measure="item.loss")

    assert answer.summary is not None
    low, high = answer.summary["idiosyncratic"].to_pylist()
    assert low < 0.2 < 0.5 < high
    assert math.isnan(answer.estimate)


def test_two_runs_are_unresolved(simulation: Simulation) -> None:
    for run, values in zip(simulation.seeds(2), planted_items(2), strict=True):
        simulation.items(run, 0, values)
    answer = variance_components(simulation.commit(), measure="item.loss")

    assert answer.verdict == "unresolved"
    assert (answer.ci_low, answer.ci_high) == (0, 1)


def test_heads_of_different_inits_are_not_items(simulation: Simulation) -> None:
    scores = np.random.default_rng(0).random((2, 3, 4))
    for run, s in zip(simulation.seeds(2), scores, strict=True):
        simulation.heads(run, 0, s)

    with pytest.raises(NotComparable, match="head by head"):
        variance_components(simulation.commit(), measure="head.previous_token")


def test_heads_of_one_init_are_items(simulation: Simulation) -> None:
    scores = np.random.default_rng(0).random((3, 3, 4))
    for run, s in zip(simulation.seeds(3, init_hash="same"), scores, strict=True):
        simulation.heads(run, 0, s, quantity=HEADS_HERE)
    answer = variance_components(simulation.commit(), measure="head.previous_token")

    assert answer.n_items == 12
    assert answer.estimate == pytest.approx(two_way(scores.reshape(3, 12)).idiosyncratic)


def test_a_measure_with_parts(simulation: Simulation) -> None:
    for k, run in enumerate(simulation.seeds(3)):
        simulation.scalar(run, ACCURACY_HERE, 0, {TEST: k / 10})
    answer = variance_components(simulation.commit(), measure="accuracy")

    assert answer.label == "accuracy (test) at step 0"
    assert answer.estimate == pytest.approx(0.1)


@pytest.mark.slow
def test_the_spread_between_seeds_is_covered_as_often_as_promised(simulation: Simulation) -> None:
    rng = np.random.default_rng(9)
    covered = []
    for trial in range(40):
        for c in range(3):
            for k in range(5):
                run = simulation.run(f"t{trial}c{c}s{k}", condition=f"t{trial}c{c}", init_seed=k)
                simulation.scalar(run, LOSS_HERE, 0, {TEST: 10 * c + rng.normal()})
    with kept_open(simulation.commit()) as archive:
        for trial in range(40):
            answer = variance_components(archive, runs=f"t{trial}c*")
            covered.append(answer.ci_low <= 1 <= answer.ci_high)

    # 40 intervals of 95 %: fewer than 34 would happen once in 5,000 times
    assert sum(covered) >= 34
