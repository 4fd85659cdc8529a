"""predict_first_composition: percentiles of planted winners, runs of one init as one, runs that tell nothing."""

import math

import numpy as np
import pytest

from archive.errors import NotComparable, UsageError
from archive.records import Quantity
from queries.predict_first_composition import predict_first_composition
from tests.queries.language import composition, pairs
from tests.queries.simulated import Simulation

N = 4


def plant(
    s: Simulation, run: str, before: np.ndarray, winner: tuple[int, int] | None, *, final: float = 15.0
) -> None:
    """z (source, destination) at step 0, and the winner's rise by steps 50 and 100."""
    pairs(s, run, "k", 0, before)
    for step, height in ((50, final / 2), (100, final)):
        z = 0.3 * before
        if winner is not None:
            z[winner] = height
        pairs(s, run, "k", step, z)


def highest(z: np.ndarray) -> tuple[int, int]:
    source, destination = np.unravel_index(int(z.argmax()), z.shape)
    return int(source), int(destination)


def test_winners_that_stood_on_top_are_found(simulation: Simulation) -> None:
    rng = np.random.default_rng(0)
    for run in simulation.seeds(5):
        before = rng.normal(size=(N, N))
        plant(simulation, run, before, highest(before))
    answer = predict_first_composition(simulation.commit())
    rows = answer.table.to_pylist()

    assert [r["percentile"] for r in rows] == [15.5 / 16] * 5
    assert {(r["step"], r["n_pairs"], r["then_z"], r["why"]) for r in rows} == {(100, 16, 15.0, "")}
    assert (answer.n_runs, answer.n_inits, answer.verdict) == (5, 5, "yes")
    assert answer.estimate == 15.5 / 16
    assert answer.p_value < 0.001
    assert answer.null_mean == pytest.approx(0.5, abs=0.01)
    assert answer.ci_low == pytest.approx(15.5 / 16 - 1.96 * answer.null_sd, abs=1e-4)
    assert answer.mde == pytest.approx(2.8 * answer.null_sd, rel=0.01)
    assert "stood at percentile 0.97" in answer.sentence
    assert any("± 0.36 with 5 inits, 0.14 with 20" in line for line in answer.limits)
    assert answer.plot().data


def test_the_first_to_reach_a_level_may_be_several(simulation: Simulation) -> None:
    before = np.arange(16.0).reshape(N, N) / 16
    run = simulation.run("s")
    pairs(simulation, run, "k", 0, before)
    middle = before.copy()
    middle[0, 0], middle[3, 3] = 12.0, 11.0
    pairs(simulation, run, "k", 50, middle)
    last = before.copy()
    last[2, 2] = 30.0
    pairs(simulation, run, "k", 100, last)
    archive = simulation.commit()
    (first,) = predict_first_composition(archive, rule="first").table.to_pylist()
    (final,) = predict_first_composition(archive).table.to_pylist()

    assert (first["winner"], first["step"], first["then_z"]) == ("L0H0>L1H0 L0H3>L1H3", 50, 12.0)
    assert first["percentile"] == pytest.approx((0.5 + 15.5) / 32)
    assert (final["winner"], final["step"], final["percentile"]) == ("L0H2>L1H2", 100, 10.5 / 16)
    (later,) = predict_first_composition(archive, rule="first", least_z=20).table.to_pylist()
    assert (later["winner"], later["step"]) == ("L0H2>L1H2", 100)


def test_one_run_is_unresolved(simulation: Simulation) -> None:
    before = np.arange(16.0).reshape(N, N)
    plant(simulation, simulation.run("s"), before / 10, (3, 3))
    answer = predict_first_composition(simulation.commit())

    assert (answer.verdict, answer.n_runs) == ("unresolved", 1)
    assert math.isnan(answer.estimate)
    assert math.isnan(answer.ci_low)
    assert answer.p_value == pytest.approx(2 / 16, abs=0.02)
    assert any("1 different init" in line for line in answer.limits)


def test_runs_of_one_init_are_one_observation(simulation: Simulation) -> None:
    rng = np.random.default_rng(1)
    before = rng.normal(size=(N, N))
    for k in range(4):  # other conditions and no record: the same z of all pairs at step 0 shows it
        plant(simulation, simulation.run(f"a{k}", condition=f"c{k}"), before, highest(before))
    for k in range(2):
        other = rng.normal(size=(N, N))
        plant(simulation, simulation.run(f"b{k}", init_hash=f"hash {k}"), other, highest(-other))
    answer = predict_first_composition(simulation.commit())

    assert (answer.n_runs, answer.n_inits) == (6, 3)
    assert (
        answer.table["init"].to_pylist() == [0, 0, 0, 0, 1, 2]
        or len(set(answer.table["init"].to_pylist())) == 3
    )
    assert answer.estimate == pytest.approx((15.5 + 0.5 + 0.5) / 48)
    assert answer.verdict == "unresolved"
    assert any("6 runs have only 3 different inits" in line for line in answer.limits)


def test_runs_that_say_nothing_are_named_with_the_reason(simulation: Simulation) -> None:
    rng = np.random.default_rng(2)
    flat = np.full((N, N), 0.5)
    undefined = rng.normal(size=(N, N))
    undefined[1, 1] = np.nan
    plant(simulation, simulation.run("good", init_seed=1), rng.normal(size=(N, N)), (1, 2))
    plant(simulation, simulation.run("noise", init_seed=2), rng.normal(size=(N, N)), None)
    plant(simulation, simulation.run("flat", init_seed=3), flat, (0, 1))
    plant(simulation, simulation.run("undefined", init_seed=4), undefined, (0, 1))
    pairs(simulation, simulation.run("late", init_seed=5), "k", 100, 20 * np.eye(N))
    pairs(simulation, simulation.run("early", init_seed=6), "k", 0, 20 * np.eye(N))
    archive = simulation.commit()
    answer = predict_first_composition(archive)
    why = {r["run"]: r["why"] for r in answer.table.to_pylist()}

    assert why == {
        "good": "",
        "noise": "no pair composes more than rotated weights do",
        "flat": "all pairs have the same z at step 0",
        "undefined": "z is not known of all pairs at step 0",
        "late": "no checkpoint at step 0",
        "early": "no checkpoint after step 0",
    }
    assert answer.n_runs == 1
    assert any("1 run not used: no checkpoint at step 0 (first: late)" in line for line in answer.limits)
    alone = predict_first_composition(archive, runs="noise")
    assert (alone.verdict, alone.n_runs) == ("unresolved", 0)
    assert "no run tells" in alone.sentence
    first = predict_first_composition(archive, runs=["noise", "early"], rule="first")
    assert set(first.table["why"].to_pylist()) == {
        "no pair reaches z = 10",
        "a pair is there at step 0 already",
    }
    with pytest.raises(UsageError, match=r"no run has k_composition at step 0.*--fill k_composition"):
        predict_first_composition(archive, runs="late")


def test_little_growth_is_said(simulation: Simulation) -> None:
    rng = np.random.default_rng(3)
    for run in simulation.seeds(3):
        before = rng.normal(size=(N, N))
        plant(simulation, run, before, highest(before), final=6.0)

    answer = predict_first_composition(simulation.commit())
    assert any("part of what won is what was there" in line for line in answer.limits)


def test_weights_processed_in_two_ways_are_not_mixed(simulation: Simulation) -> None:
    pairs(simulation, simulation.run("s"), "k", 0, np.eye(N))
    raw = Quantity(measure=composition("k").measure, weight_processing="raw")
    owner, quantity = simulation._cell(simulation.run("t"), raw, 0, None)
    columns = {name: [np.ones(N * N)] for name in ("values", "baselines", "z")}
    simulation.builder.add("fact_head_pair", owner, quantity, src_layer=0, dst_layer=1, **columns)

    with pytest.raises(NotComparable, match="weight processing"):
        predict_first_composition(simulation.commit())


def test_runs_that_go_on_from_others_have_no_random_init(simulation: Simulation) -> None:
    rng = np.random.default_rng(4)
    for k in range(5):
        run = simulation.run(f"s{k}", init_seed=k, parent_run=f"trained {k}")
        before = rng.normal(size=(N, N))
        plant(simulation, run, before, highest(before))
    answer = predict_first_composition(simulation.commit())

    assert (answer.verdict, answer.n_inits) == ("unresolved", 5)
    assert any(
        "5 runs used here began from weights of another run (first: s0)" in line for line in answer.limits
    )
