import math

import numpy as np
import pytest

from archive.errors import UsageError
from archive.records import Quantity
from queries.stats.few_runs import detectable_difference, share_interval
from queries.transition_times import transition_times
from tests.queries.simulated import (
    ACCURACY_HERE,
    LOG_ACCURACY_HERE,
    LOSS_HERE,
    TEST,
    TRAIN,
    Simulation,
    measure,
    rising,
)

GRID = [0, *(round(2 ** (k / 4)) for k in range(8, 57))]  # four points an octave, 4 to 16,384


def test_planted_times_are_bracketed_and_the_median_and_spread_found(simulation: Simulation) -> None:
    rng = np.random.default_rng(0)
    planted = 2 ** rng.normal(10, 0.5, 12)
    for run, at in zip(simulation.seeds(12), planted, strict=True):
        simulation.curve(run, ACCURACY_HERE, GRID, rising(GRID, at, width=0.02))
    answer = transition_times(simulation.commit(), level=0.5)
    rows = answer.table.to_pylist()
    log2 = np.log2(planted)

    assert all(r["after"] < at <= r["reached"] for r, at in zip(rows, planted, strict=True))
    assert all(0.2 < r["bracket_octaves"] < 0.3 for r in rows)
    assert np.log2(answer.estimate) == pytest.approx(log2.mean(), abs=0.08)
    assert answer.ci_low < 2**10 < answer.ci_high
    (group,) = answer.summary.to_pylist()  # type: ignore[union-attr]
    assert group["sd_octaves"] == pytest.approx(log2.std(ddof=1), abs=0.08)
    assert group["sd_low"] < 0.5 < group["sd_high"]
    assert group["mde_octaves"] == pytest.approx(detectable_difference(12, 12) * group["sd_octaves"])
    assert answer.verdict is None


def test_a_seed_that_never_gets_there_is_censored_not_dropped(simulation: Simulation) -> None:
    for run, at in zip(simulation.seeds(5), (100, 150, 200, None, None), strict=True):
        values = np.zeros(len(GRID)) if at is None else rising(GRID, at, width=0.02)
        simulation.curve(run, ACCURACY_HERE, GRID, values)
    answer = transition_times(simulation.commit(), level=0.5)
    (group,) = answer.summary.to_pylist()  # type: ignore[union-attr]
    never = [r for r in answer.table.to_pylist() if r["kind"] == "never"]

    assert [(r["run"], r["after"], r["reached"], r["last"]) for r in never] == [
        ("s3", 16384, None, 16384),
        ("s4", 16384, None, 16384),
    ]
    assert (group["n_runs"], group["n_reached"], group["n_never"]) == (5, 3, 2)
    assert (group["share_low"], group["share_high"]) == share_interval(3, 5)
    # the third of five times, without a model of runs that nobody saw arrive
    assert 200 <= group["median"] <= 256
    assert group["median_method"] == "sign test on brackets"
    # and five runs give no 95 % interval without a model
    assert (group["median_low"], group["median_high"]) == (-math.inf, math.inf)
    assert answer.verdict == "unresolved"
    assert any("2 run(s) never got there" in line for line in answer.limits)


def test_when_fewer_than_half_arrive_there_is_no_median(simulation: Simulation) -> None:
    for run, at in zip(simulation.seeds(5), (100, 200, None, None, None), strict=True):
        values = np.zeros(len(GRID)) if at is None else rising(GRID, at, width=0.02)
        simulation.curve(run, ACCURACY_HERE, GRID, values)
    answer = transition_times(simulation.commit(), level=0.5)

    assert math.isnan(answer.estimate)
    assert answer.verdict == "unresolved"
    assert "there is no median time" in answer.sentence


def test_a_coarse_grid_gives_an_upper_limit_of_the_spread(simulation: Simulation) -> None:
    for run in simulation.seeds(5):
        simulation.curve(run, ACCURACY_HERE, [0, 64, 128, 256], [0, 0, 1, 1])
    answer = transition_times(simulation.commit(), level=0.5)
    (group,) = answer.summary.to_pylist()  # type: ignore[union-attr]

    assert group["sd_low"] == 0
    assert 0 < group["sd_high"] < 1
    assert "a spread of at most" in answer.sentence
    assert group["median"] == pytest.approx(2**6.5)


def test_first_and_staying_differ_and_the_answer_says_so(simulation: Simulation) -> None:
    simulation.run("a")
    simulation.curve("a", ACCURACY_HERE, [0, 1, 2, 3, 4], [0, 1, 0, 1, 1])
    archive = simulation.commit()
    first, stays = (transition_times(archive, rule=rule) for rule in ("first", "stays"))

    assert first.table["reached"].to_pylist() == [1]
    assert stays.table["reached"].to_pylist() == [3]
    assert any("cross the level more than once (first: a, 2 times)" in line for line in first.limits)


def test_the_direction_comes_with_the_measure(simulation: Simulation) -> None:
    simulation.run("a")
    simulation.curve("a", LOSS_HERE, [0, 10, 20], [5, 1, 0.1])
    norm = Quantity(measure=measure("weight_norm", "fact_scalar", direction="neither", unit="1"))
    simulation.curve("a", norm, [0, 10, 20], [5, 9, 20])
    archive = simulation.commit()

    assert transition_times(archive, measure="loss", level=1).table["reached"].to_pylist() == [10]
    with pytest.raises(UsageError, match="direction='up'"):
        transition_times(archive, measure="weight_norm", level=9)
    up = transition_times(archive, measure="weight_norm", level=9, direction="up")
    assert up.table["reached"].to_pylist() == [10]


def test_a_suspect_checkpoint_widens_the_bracket(simulation: Simulation) -> None:
    simulation.run("a")
    simulation.curve("a", ACCURACY_HERE, [0, 1, 4, 5], [0, 0, 1, 1])
    simulation.scalar("a", ACCURACY_HERE, 2, {TEST: 1.0}, checkpoint={"integrity": "out_of_order"})
    simulation.scalar("a", ACCURACY_HERE, 3, {TEST: float("nan")})
    row = transition_times(simulation.commit()).table.to_pylist()[0]

    assert (row["after"], row["reached"], row["n_points"]) == (1, 4, 4)


def test_splits_are_asked_for_by_name(simulation: Simulation) -> None:
    simulation.run("a")
    simulation.log("a", LOG_ACCURACY_HERE, [0, 1, 2, 3], {TRAIN: [0, 1, 1, 1], TEST: [0, 0, 0, 1]})
    archive = simulation.commit()

    assert transition_times(archive, part="train").table["reached"].to_pylist() == [1]
    assert transition_times(archive).table["reached"].to_pylist() == [3]


def test_times_in_tokens(simulation: Simulation) -> None:
    simulation.run("a", tokens_per_step=512.0)
    simulation.curve("a", ACCURACY_HERE, [0, 10, 20], [0, 0, 1])
    answer = transition_times(simulation.commit(), axis="tokens")

    assert answer.unit == "tokens"
    assert answer.table["reached"].to_pylist() == [10_240.0]


def test_seeds_there_at_the_first_point_are_censored_on_the_left(simulation: Simulation) -> None:
    for run in simulation.seeds(3):
        simulation.curve(run, ACCURACY_HERE, [0, 1], [1, 1])
    answer = transition_times(simulation.commit())
    (group,) = answer.summary.to_pylist()  # type: ignore[union-attr]

    assert answer.table["kind"].to_pylist() == ["before"] * 3
    assert (group["n_before"], answer.verdict) == (3, "unresolved")
    assert any("their time is only known to be earlier" in line for line in answer.limits)


def test_one_run_has_a_time_and_no_spread(simulation: Simulation) -> None:
    simulation.run("a")
    simulation.curve("a", ACCURACY_HERE, [0, 10, 20], [0, 0, 1])
    answer = transition_times(simulation.commit())
    (group,) = answer.summary.to_pylist()  # type: ignore[union-attr]

    assert answer.estimate == 20
    assert group["sd_octaves"] is None
    assert answer.verdict == "unresolved"
    assert any("single run" in line for line in answer.limits)


def test_a_run_without_a_finite_value_has_no_time(simulation: Simulation) -> None:
    for run in simulation.seeds(2):
        simulation.curve(run, ACCURACY_HERE, [0, 10], [np.nan, np.nan] if run == "s0" else [0, 1])
    answer = transition_times(simulation.commit())

    assert answer.table["kind"].to_pylist() == ["no data", "observed"]
    assert answer.summary is not None
    assert answer.summary["n_runs"].to_pylist() == [1]


@pytest.mark.slow
def test_equal_seeds_look_different_as_rarely_as_promised(simulation: Simulation) -> None:
    # 200 conditions with one planted median and spread: both intervals hold them as often as they say
    rng = np.random.default_rng(7)
    for k in range(200):
        for seed, at in enumerate(2 ** rng.normal(10, 0.4, 5)):
            run = simulation.run(f"c{k}s{seed}", condition=f"c{k}", init_seed=seed)
            simulation.log(run, LOG_ACCURACY_HERE, GRID, {TEST: rising(GRID, at, width=0.02)})
    answer = transition_times(simulation.commit(), level=0.5)
    rows = answer.summary.to_pylist()  # type: ignore[union-attr]
    slack = 3 * math.sqrt(0.05 * 0.95 / 200)

    assert np.mean([r["median_low"] <= 2**10 <= r["median_high"] for r in rows]) >= 0.95 - slack
    assert np.mean([r["sd_low"] <= 0.4 <= r["sd_high"] for r in rows]) >= 0.95 - slack
