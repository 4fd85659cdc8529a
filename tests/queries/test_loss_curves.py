import math

import numpy as np
import pytest
from scipy import stats

from archive.errors import UnknownName, UsageError
from queries.loss_curves import loss_curves
from queries.stats.few_runs import detectable_difference
from tests.queries.simulated import (
    LOG_LOSS_HERE,
    LOSS_HERE,
    TEST,
    TRAIN,
    Simulation,
)

STEPS = [0, 1, 2, 4, 8]
VALUES = np.array([[5, 4, 3, 2, 1], [5, 5, 4, 3, 1.5], [5, 4, 2, 2, 0.5]], dtype=float)


@pytest.fixture
def three_seeds(simulation: Simulation) -> Simulation:
    for run, values in zip(simulation.seeds(3), VALUES, strict=True):
        simulation.curve(run, LOSS_HERE, STEPS, values)
    return simulation


def test_means_and_intervals_are_students_over_runs(three_seeds: Simulation) -> None:
    answer = loss_curves(three_seeds.commit())
    low, high = stats.t.interval(0.95, 2, VALUES.mean(0)[1:], stats.sem(VALUES, axis=0)[1:])

    assert answer.bands["step"].to_pylist() == STEPS
    assert answer.bands["mean"].to_pylist() == pytest.approx(VALUES.mean(0))
    assert answer.bands["n_runs"].to_pylist() == [3] * 5
    assert answer.bands["high"].to_pylist()[1:] == pytest.approx(high)
    # a loss cannot be negative, so its interval ends at 0
    assert answer.bands["low"].to_pylist()[1:] == pytest.approx(np.maximum(low, 0))


def test_the_headline_is_the_last_point_of_the_only_group(three_seeds: Simulation) -> None:
    answer = loss_curves(three_seeds.commit(), confidence=0.9)
    low, high = stats.t.interval(0.9, 2, 1.0, stats.sem(VALUES[:, -1]))

    assert (answer.estimate, answer.ci_low, answer.ci_high) == pytest.approx((1.0, low, high))
    assert (answer.n_runs, answer.unit, answer.ci_level) == (3, "nats", 0.9)
    assert answer.mde == pytest.approx(detectable_difference(3, 3) * VALUES[:, -1].std(ddof=1))
    assert answer.sentence.startswith(
        "loss (test) of 3 runs, measured at checkpoints (5 steps): at step 8 the mean is 1 "
    )


def test_every_value_of_every_run_is_in_the_table(three_seeds: Simulation) -> None:
    table = loss_curves(three_seeds.commit()).table

    assert table["value"].to_numpy() == pytest.approx(VALUES.reshape(-1))
    assert table["run"].to_pylist() == [f"s{k}" for k in range(3) for _ in STEPS]
    assert set(table["group"].to_pylist()) == {"c"}


def test_groups_are_everything_but_the_seed(three_seeds: Simulation) -> None:
    three_seeds.curve(three_seeds.run("other", condition="d", init_seed=0), LOSS_HERE, STEPS, VALUES[0])
    answer = loss_curves(three_seeds.commit())

    assert answer.summary is not None
    assert answer.summary["group"].to_pylist() == ["c", "d"]
    assert answer.summary["n_runs"].to_pylist() == [3, 1]
    assert answer.summary["low"].to_pylist()[1] is None
    assert math.isnan(answer.estimate)
    assert any("1 of 2 groups have a single run" in line for line in answer.limits)


def test_runs_that_stop_early_are_counted_point_by_point(three_seeds: Simulation) -> None:
    three_seeds.curve(three_seeds.run("short", init_seed=9), LOSS_HERE, STEPS[:3], [5, 5, 5])
    answer = loss_curves(three_seeds.commit())

    assert answer.bands["n_runs"].to_pylist() == [4, 4, 4, 3, 3]
    assert answer.summary is not None
    assert answer.summary["step"].to_pylist() == [2]  # the last that all four have
    assert any("down to 3 of 4" in line for line in answer.limits)


def test_a_diverged_run_is_left_out_of_means_and_said_so(three_seeds: Simulation) -> None:
    three_seeds.curve(three_seeds.run("bad", init_seed=9), LOSS_HERE, STEPS, [5, 9, np.nan, np.inf, np.nan])
    answer = loss_curves(three_seeds.commit())

    assert answer.bands["n_runs"].to_pylist() == [4, 4, 3, 3, 3]
    assert answer.bands["mean"].to_pylist()[-1] == pytest.approx(1.0)
    assert any("3 value(s) are not finite" in line for line in answer.limits)
    assert answer.table.num_rows == 20


def test_parts_are_kept_apart(simulation: Simulation) -> None:
    simulation.run("a")
    simulation.scalar("a", LOSS_HERE, 0, {TRAIN: 1.0, TEST: 2.0})
    archive = simulation.commit()

    assert loss_curves(archive).label == "loss (test)"
    assert loss_curves(archive, part="train").table["value"].to_pylist() == [1.0]
    with pytest.raises(UnknownName, match="no part of loss 'tset'; did you mean 'test'"):
        loss_curves(archive, part="tset")


def test_a_choice_of_parts_is_not_guessed(simulation: Simulation) -> None:
    from archive.records import Part

    simulation.run("a")
    simulation.scalar(
        "a", LOSS_HERE, 0, {Part(kind="tensor", name="W_E"): 1.0, Part(kind="tensor", name="W_U"): 2.0}
    )

    with pytest.raises(UsageError, match="choose part='W_E' or part='W_U'"):
        loss_curves(simulation.commit())


def test_the_log_is_read_on_request(three_seeds: Simulation) -> None:
    for k in range(3):
        three_seeds.log(f"s{k}", LOG_LOSS_HERE, range(20), {TEST: np.linspace(5, 1, 20)})
    archive = three_seeds.commit()

    assert loss_curves(archive).provenance.quantities[0]["measure"] == "loss"
    for answer in (loss_curves(archive, origin="log"), loss_curves(archive, measure="log.loss")):
        assert answer.provenance.quantities[0]["measure"] == "log.loss"
        assert answer.table.num_rows == 60
        assert "in the training log" in answer.sentence


def test_thinning_keeps_the_same_steps_in_every_run_and_says_so(simulation: Simulation) -> None:
    steps = list(range(2000))
    for run in simulation.seeds(2):
        simulation.log(run, LOG_LOSS_HERE, steps, {TEST: np.linspace(5, 1, 2000)})
    archive = simulation.commit()
    thin = loss_curves(archive, max_points=50)
    kept = thin.table["step"].to_pylist()

    assert kept[: len(kept) // 2] == kept[len(kept) // 2 :]
    assert 40 <= len(kept) // 2 <= 55
    assert {0, 1, 2, 4, 1999} <= set(kept)
    assert max(np.diff(kept[: len(kept) // 2])) <= 2000 / 20
    assert any(f"Thinned on request to {len(kept) // 2} of 2000 steps" in line for line in thin.limits)
    assert loss_curves(archive).table.num_rows == 4000
    assert not any("Thinned" in line for line in loss_curves(archive, max_points=2000).limits)


def test_runs_are_aligned_by_tokens_on_request(simulation: Simulation) -> None:
    # the same tokens in half the steps
    for name, factor in (("a", 1), ("b", 2)):
        simulation.run(name, tokens_per_step=100.0 * factor)
        simulation.curve(name, LOSS_HERE, [0, 4 // factor, 8 // factor], [3, 2, 1])
    archive = simulation.commit()
    answer = loss_curves(archive, axis="tokens")

    assert answer.bands["tokens_seen"].to_pylist() == [0, 400, 800]
    assert answer.bands["n_runs"].to_pylist() == [2, 2, 2]
    assert loss_curves(archive).bands["n_runs"].to_pylist() == [2, 1, 2, 1]


def test_tokens_that_are_not_known_are_refused(three_seeds: Simulation) -> None:
    with pytest.raises(UsageError, match="axis='step'"):
        loss_curves(three_seeds.commit(), axis="tokens")


@pytest.mark.slow
def test_intervals_cover_as_often_as_promised(simulation: Simulation) -> None:
    # one archive, 300 conditions of 4 seeds: the share of intervals that hold the planted mean
    rng = np.random.default_rng(11)
    for k in range(300):
        for seed in range(4):
            run = simulation.run(f"c{k}s{seed}", condition=f"c{k}", init_seed=seed)
            simulation.log(run, LOG_LOSS_HERE, [0], {TEST: [10 + rng.normal()]})
    bands = loss_curves(simulation.commit()).bands.to_pylist()
    covered = sum(b["low"] <= 10 <= b["high"] for b in bands)

    assert len(bands) == 300
    assert 285 - 3 * math.sqrt(300 * 0.05 * 0.95) <= covered <= 285 + 3 * math.sqrt(300 * 0.05 * 0.95)
