"""Questions over runs that share inits and data orders: each value of a seed counts once, and nothing changes without them."""

import math
from pathlib import Path

import numpy as np
import pytest

from archive.records import Part
from archive.store import Archive
from queries.attention_pattern_catalogue import attention_pattern_catalogue
from queries.benchmark_curves import benchmark_curves
from queries.capability_inclusion import capability_inclusion
from queries.circuit_heads import circuit_heads
from queries.compare_transition_times import compare_transition_times
from queries.divergent_runs import divergent_runs
from queries.early_prediction import early_prediction
from queries.event_order import event_order
from queries.events.event_times import describe_times, times_over
from queries.events.orders import find_order
from queries.grokking_progress import grokking_progress
from queries.head_score_history import head_score_history
from queries.head_scores import head_scores
from queries.key_frequency_history import key_frequency_history
from queries.loss_curves import loss_curves
from queries.rank_models import rank_models
from queries.reading.neuron_courses import course_table
from queries.reading.select import select_runs
from queries.reading.units import Units
from queries.results import Answer
from queries.role_history import role_history
from queries.same_implementation import same_implementation
from queries.smaller_beats_larger import smaller_beats_larger
from queries.stats.early import detectable_correlation
from queries.stats.few_runs import share_interval
from queries.stats.intervals import Bracket
from queries.stats.over_units import mean_over_units
from queries.trajectory_pca import trajectory_pca
from queries.transition_times import transition_times
from queries.transitions_per_position import transitions_per_position
from tests.queries.language import IOI, plant_prompts, prompts
from tests.queries.simulated import (
    ACC,
    ACCURACY_HERE,
    KEYS_HERE,
    LOG_ACCURACY_HERE,
    LOG_LOSS_HERE,
    TEST,
    TRAIN,
    Simulation,
    benchmark_quantity,
    rising,
)
from tests.queries.test_attention_pattern_catalogue import plant as plant_mask
from tests.queries.test_role_history import plant as plant_roles
from tests.queries.test_same_implementation import circuit
from tests.queries.test_same_implementation import plant as plant_circuit
from tests.queries.test_trajectory_pca import STEPS as WALK_STEPS
from tests.queries.test_trajectory_pca import bent

STEPS = [0, *(2**k for k in range(3, 13))]
CROSSED = [np.arange(9) % 3, np.arange(9) // 3]
THREE = {"n_units": 3, "unit": "init"}


@pytest.fixture(scope="module")
def crossed(empty_archive: Path, tmp_path_factory: pytest.TempPathFactory) -> Archive:
    """3 inits × 3 orders, all of which do everything; the init decides when, half an octave apart."""
    s = Simulation(empty_archive, tmp_path_factory.mktemp("crossed"))
    rng = np.random.default_rng(0)
    for k in range(9):
        run = s.run(f"r{k}", init_seed=k % 3, data_order_seed=k // 3)
        at = 400.0 * 2 ** (k % 3 / 2)
        early, late = rising(STEPS, at / 8, width=0.05), rising(STEPS, at, width=0.05)
        for i, step in enumerate(STEPS):
            s.scalar(run, ACCURACY_HERE, step, {TRAIN: early[i], TEST: late[i]})
            s.positions(run, step, 2 - 2 * np.array([early[i], late[i]]), ["units", "carry"])
        plant_roles(s, run, {"previous_token": at / 8, "prefix_matching": at}, steps=STEPS[1::2])
        for step in (64, 4096):
            plant_mask(s, run, step, "punctuation", np.full((2, 3), 0.6), np.full((2, 3), 30.0))
        keys = np.zeros(40)
        keys[[k % 3, 5]] = 1
        s.vectors(run, KEYS_HERE, STEPS[-1], {Part(kind="rule", name="W_L"): keys})
        s.trajectory(run, WALK_STEPS[::2], bent(rng, n=len(WALK_STEPS[::2])))
    return s.commit()


def said(answer: Answer) -> str:
    """Its limits in one text, among which there is one of shared seeds and none that says they are not counted."""
    text = " ".join(answer.limits)
    assert "share seeds (3 init and 3 order): 9 runs, 3 independent inits" in text
    assert "as independent" not in text
    assert answer.provenance.shared_seeds == ()
    return text


def test_times_are_those_of_three_inits(crossed: Archive) -> None:
    answer = transition_times(crossed, measure="accuracy", part="test", level=0.5)
    (row,) = answer.summary.to_pylist()  # type: ignore[union-attr]

    said(answer)
    assert row.items() >= (THREE | {"n_runs": 9, "n_reached": 9, "sd_low": None}).items()
    assert (row["share_low"], row["share_high"]) == pytest.approx(share_interval(3, 3))
    # a t interval with two degrees of freedom over times half an octave apart: 4.3 / 2 / √3, and more for the orders
    assert math.log2(answer.ci_high / answer.estimate) > 1.24
    assert "by 9 of 9 runs (3 independent inits), at a median" in answer.sentence
    assert "too few" not in answer.sentence
    assert answer.overview()["reached"].to_pylist() == ["9 of 9 (3 independent inits)"]


def test_ends_of_phases_and_positions_too(crossed: Archive) -> None:
    phases = grokking_progress(crossed)
    rows = {r["phase"]: r for r in phases.summary.to_pylist()}  # type: ignore[union-attr]
    positions = transitions_per_position(crossed, level=1.0)

    said(phases)
    assert rows["memorization"].items() >= (THREE | {"n_reached": 9}).items()
    assert "9 of 9 (3 independent inits) end memorization" in phases.sentence
    assert "For W and p of the order" in said(positions)
    assert [r["n_units"] for r in positions.summary.to_pylist()] == [3, 3]  # type: ignore[union-attr]
    (order,) = positions.orders.to_pylist()
    assert order.items() >= (THREE | {"n_runs": 9, "order": "units < carry"}).items()
    # of two positions three runs agree by chance once in four times
    assert (positions.p_value, positions.verdict) == (pytest.approx(0.25), "unresolved")


def test_orders_of_nine_crossed_runs_are_three(crossed: Archive) -> None:
    events = ("accuracy[train] >= 0.5", "accuracy[test] >= 0.5")
    answer = event_order(crossed, events=events)
    (pair,) = answer.summary.to_pylist()  # type: ignore[union-attr]

    assert "of c 3 of 9 (r0, r4, r8)" in said(answer)
    assert pair.items() >= (THREE | {"n_runs": 9, "n_before": 9, "verdict": "unresolved"}).items()
    assert (pair["low"], pair["high"], pair["p"]) == pytest.approx((*share_interval(3, 3), 0.25))
    assert "agrees over 9 runs (3 independent inits) with W = 1" in answer.sentence
    assert answer.verdict == "unresolved"
    assert set(answer.table["rank"].to_pylist()) == {1, 2}

    roles = role_history(crossed, task="induction")
    assert "For W and p of the order runs count of which no two share a seed" in said(roles)
    assert {(r["n_units"], r["n_reached"]) for r in roles.summary.to_pylist()} == {(3, 9)}  # type: ignore[union-attr]
    assert "9 of 9 runs (3 independent inits)" in roles.sentence


def test_turns_and_frequencies_are_those_of_three_inits(crossed: Archive) -> None:
    turns = trajectory_pca(crossed, weighting="equal", n_walks=39)

    said(turns)
    assert (turns.estimate, turns.p_value) == (1, pytest.approx(0.05**3))
    assert (turns.ci_low, turns.ci_high) == pytest.approx(share_interval(3, 3))
    assert "9 of 9 (3 independent inits) turn more" in turns.sentence

    keys = key_frequency_history(crossed)
    (row,) = [r for r in keys.summary.to_pylist() if r["frequency"] == 6]  # type: ignore[union-attr]
    assert "For p and p_uniform runs count of which no two share a seed" in said(keys)
    assert row.items() >= (THREE | {"n_runs": 9}).items()
    assert (row["low"], row["high"]) == pytest.approx(share_interval(3, 3))
    # three runs with one frequency in common, the other the init's; nine of them would have p = 0.0001
    assert keys.p_uniform > 0.005


def test_heads_are_those_of_three_inits(crossed: Archive) -> None:
    best = head_scores(crossed, measure="head.mask", eval_set="text")
    roles = circuit_heads(crossed, task="induction", role="previous_token")
    masks = attention_pattern_catalogue(crossed)

    for answer in (best, roles, masks):
        said(answer)
    assert best.ci_method == "best head, Student t over independent seeds"
    for answer, name in ((roles, "previous_token"), (masks, "punctuation")):
        (row,) = [r for r in answer.summary.to_pylist() if name in r.values()]  # type: ignore[union-attr]
        assert row.items() >= (THREE | {"n_with": 9}).items()
        assert (row["share_low"], row["share_high"]) == pytest.approx(share_interval(3, 3))


def test_bands_of_curves_are_those_of_seeds(crossed: Archive) -> None:
    answer = loss_curves(crossed, measure="accuracy", part="test")
    rows = answer.table.to_pylist()
    (row,) = answer.summary.to_pylist()  # type: ignore[union-attr]
    bands = {r["step"]: r for r in answer.bands.to_pylist()}

    said(answer)
    assert (row["n_units"], row["unit"], row["group_size"]) == (3, "init", 9)
    assert "of 9 runs (3 independent inits), measured" in answer.sentence
    for step, band in bands.items():
        values = [r["value"] for r in rows if r["step"] == step]
        assert (band["mean"], band["low"], band["high"]) == pytest.approx(
            mean_over_units(values, CROSSED, 0.95, (0, 1))
        )


@pytest.fixture(scope="module")
def conditions(empty_archive: Path, tmp_path_factory: pytest.TempPathFactory) -> Archive:
    """Two conditions of 6 inits × 6 orders; inits differ by an octave, conditions by half of one."""
    s = Simulation(empty_archive, tmp_path_factory.mktemp("conditions"))
    times = [0, *(round(2 ** (k / 8)) for k in range(40, 89))]  # eight an octave, 32 to 2,048
    for shift, condition in ((0.0, "fast"), (0.5, "slow")):
        for k in range(36):
            run = s.run(f"{condition}{k}", condition=condition, init_seed=k % 6, data_order_seed=k // 6)
            at = 2 ** (8 + k % 6 / 5 + k // 6 / 50 + shift)
            s.log(run, LOG_ACCURACY_HERE, times, {TEST: rising(times, at, width=0.01)})
    return s.commit()


def test_conditions_are_compared_by_runs_that_share_no_seed(conditions: Archive) -> None:
    answer = compare_transition_times(conditions, level=0.5)
    (row,) = answer.summary.to_pylist()  # type: ignore[union-attr]
    text = " ".join(answer.limits)

    assert (row["n_a"], row["n_b"], row["units_a"], row["units_b"]) == (36, 36, 6, 6)
    assert row["smallest_p"] == pytest.approx(2 / math.comb(12, 6))
    # 36 against 36 would have p < 0.001, and 6 against 6 inits that differ by more than conditions do have none
    assert (answer.verdict, answer.p_value > 0.05) == ("unresolved", True)
    assert "For comparisons runs count of which no two share a seed" in text
    assert "6 of 36 and 6 of 36" in answer.sentence
    assert answer.groups["n_units"].to_pylist() == [6, 6]

    pairs = compare_transition_times(conditions, level=0.5, paired_on=("init", "order"))
    (row,) = pairs.summary.to_pylist()  # type: ignore[union-attr]
    assert (row["n_a"], row["units_a"], row["p"], row["verdict"]) == (36, 6, 2 / 2**6, "yes")
    assert row["ratio_octaves"] == pytest.approx(0.5, abs=0.13)
    assert any("Pairs share seeds too: 6 of 36" in line for line in pairs.limits)

    inits = compare_transition_times(conditions, runs="condition:fast", level=0.5, group_by="init")
    assert set(inits.summary["units_a"].to_pylist()) == {6}  # type: ignore[union-attr]
    assert any("a difference is one of these inits" in line for line in inits.limits)
    assert not any("share seeds" in line for line in inits.limits)


def brackets(rng: np.random.Generator, n: int, inits: float, orders: float) -> list[Bracket]:
    """Times of n inits × n orders with a median of 2 ** 10, between checkpoints a quarter of an octave apart."""
    of = np.arange(n * n)
    at = (
        inits * rng.normal(size=n)[of % n]
        + orders * rng.normal(size=n)[of // n]
        + 0.3 * rng.normal(size=n * n)
    )
    above = 10 + np.ceil(4 * at) / 4
    return [Bracket(2.0 ** (a - 0.25), 2.0**a, 40) for a in above.tolist()]


@pytest.mark.parametrize("n", [3, 6])
def test_median_times_of_crossed_runs_are_covered(n: int) -> None:
    rng = np.random.default_rng(0)
    shared = [np.arange(n * n) % n, np.arange(n * n) // n]
    missed = 0
    for _ in range(16):
        found = describe_times(brackets(rng, n, 1, 1), 0.95, shared)
        missed += not found["median_low"] <= 2**10 <= found["median_high"]  # type: ignore[operator]
    # of 16 intervals that miss as often as promised 4 or more do in 1 % of such tests; of runs as if independent 4 to 9 do
    assert missed < 4


def test_orders_that_inits_and_data_make_are_found_as_rarely_as_promised() -> None:
    rng = np.random.default_rng(1)
    of = {"init": tuple(range(4)) * 4, "order": tuple(k // 4 for k in range(16))}
    runs, names = tuple(range(16)), ["a", "b", "c"]
    found = plain = 0
    for _ in range(25):
        times = (
            rng.normal(size=(4, 3))[list(of["init"])]
            + rng.normal(size=(4, 3))[list(of["order"])]
            + 0.3 * rng.normal(size=(16, 3))
        )
        rows = {k: [Bracket(t, t + 1e-9, 9) for t in times[k]] for k in runs}
        by_seed, by_run = (find_order(names, rows, 0.95, Units(runs, shared)) for shared in (of, {}))
        assert by_seed is not None
        assert by_run is not None
        found, plain = found + (by_seed.verdict == "yes"), plain + (by_run.verdict == "yes")
    assert found < 5
    assert plain >= 8


def test_without_shared_seeds_nothing_changes() -> None:
    known = dict(enumerate(brackets(np.random.default_rng(2), 3, 1, 0)))
    alone = Units(tuple(known), {})

    assert times_over(known, alone, 0.95) == describe_times(list(known.values()), 0.95) | {
        "n_units": 9,
        "unit": "run",
    }
    assert alone.apart() == list(known)
    # one run of each, or one seed: the interval is that of its values, whichever other seeds there are
    nested = describe_times(list(known.values()), 0.95, CROSSED[:1])
    crossed = describe_times(list(known.values()), 0.95, CROSSED)
    assert crossed["median_low"] < nested["median_low"]  # type: ignore[operator]
    assert crossed["median_high"] > nested["median_high"]  # type: ignore[operator]


def test_ends_and_departures_are_told_of_runs_that_share_no_seed(
    crossed: Archive, conditions: Archive
) -> None:
    few = early_prediction(crossed, measure="accuracy", part="test")
    assert "For predictions runs count of which no two share a seed" in said(few)
    assert few.verdict == "unresolved"
    assert "nothing can be predicted (3 runs that share no seed, and a prediction needs 5)" in few.sentence
    (row,) = few.summary.to_pylist()  # type: ignore[union-attr]
    assert row.items() >= (THREE | {"n_runs": 9}).items()
    finals = [p["final"] for p in few.points.to_pylist() if p["step"] == STEPS[-1]]
    assert (row["final_mean"], row["final_low"], row["final_high"]) == pytest.approx(
        mean_over_units(finals, CROSSED)
    )

    alone = divergent_runs(crossed, measure="accuracy", part="test")
    assert "make sets of 3, 3, 3" in said(alone)
    assert set(alone.table["status"].to_pylist()) == {"not judged"}
    assert alone.table["run"].to_pylist() == [f"r{k}" for k in range(9)]
    assert "3 run(s) of one condition that share no seed" in alone.table["why"][0].as_py()

    fast = early_prediction(conditions, runs="condition:fast", measure="log.accuracy", max_steps=12)
    assert set(fast.table["n_runs"].to_pylist()) == {6}
    assert fast.mde == detectable_correlation(6)
    assert fast.summary["n_units"].to_pylist() == [6]  # type: ignore[union-attr]


def test_a_run_that_leaves_is_found_among_crossed_ones(simulation: Simulation) -> None:
    rng = np.random.default_rng(0)
    inits, steps = rng.normal(size=5), [2**k for k in range(14)]
    for k in range(25):
        run = simulation.run(f"r{k}", init_seed=k % 5, data_order_seed=k // 5)
        values = 4 + inits[k % 5] + 0.05 * rng.normal(size=14)
        simulation.log(run, LOG_LOSS_HERE, steps, {TEST: values + 20 * (np.arange(14) > 6) * (k == 7)})
    answer = divergent_runs(simulation.commit(), measure="log.loss")
    status = dict(zip(*(answer.table[name].to_pylist() for name in ("run", "status")), strict=True))

    assert [run for run, found in status.items() if found == "left"] == ["r7"]
    assert set(status.values()) == {"left", "stays"}
    assert any("make sets of 5, 5, 5, 5, 5" in line for line in answer.limits)


def test_roles_of_nine_crossed_models_are_those_of_three(simulation: Simulation) -> None:
    rng = np.random.default_rng(0)
    circuits = [circuit(5, rng) for _ in range(3)]
    for k in range(9):
        plant_circuit(
            simulation, simulation.run(f"r{k}", init_seed=k % 3, data_order_seed=k // 3), 5, circuits[k % 3]
        )
    archive = simulation.commit()
    answer = same_implementation(archive)
    alone = same_implementation(archive, runs=["r0", "r4", "r8"])
    (row, *_), (of_three, *_) = answer.table.to_pylist(), alone.table.to_pylist()

    assert "For p of depth and of effects runs count of which no two share a seed" in said(answer)
    assert row.items() >= (THREE | {"n_runs": 9, "n_with": 9}).items()
    assert (row["share_low"], row["share_high"]) == pytest.approx(share_interval(3, 3))
    assert of_three.items() >= {"n_units": 3, "unit": "run"}.items()
    # nine models with three circuits are no better evidence than the three
    assert row["p_depth"] == pytest.approx(of_three["p_depth"], rel=0.3)


def test_sizes_are_compared_by_runs_that_share_no_seed(simulation: Simulation) -> None:
    rng = np.random.default_rng(0)
    plant_prompts(simulation, IOI, [f"t{k // 5}" for k in range(40)])
    for size, n_params in (("small", 1000), ("large", 8000)):
        for k in range(9):
            run = simulation.run(
                f"{size}{k}", condition=size, n_params=n_params, init_seed=k % 3, data_order_seed=k // 3
            )
            prompts(simulation, run, 5, {"logit_diff": rng.normal(size=40)})
            simulation.benchmark(run, benchmark_quantity(ACC, "sciq", 0), 5, 0.5 + 0.01 * (k % 3), se=0.01)
    archive = simulation.commit()
    answer = capability_inclusion(archive)
    (row,) = answer.table.to_pylist()

    assert any(
        "For comparisons of sizes runs count of which no two share a seed" in line for line in answer.limits
    )
    assert (row["n_small"], row["n_large"], answer.n_runs) == (3, 3, 6)
    assert row["smallest_p"] == pytest.approx(1 / math.comb(6, 3))

    scores = benchmark_curves(archive, runs="condition:small", task=("sciq",))
    assert scores.ci_method == "final value, Student t over independent seeds"
    finals = [0.5 + 0.01 * (k % 3) for k in range(9)]
    assert (scores.estimate, scores.ci_low, scores.ci_high) == pytest.approx(
        mean_over_units(finals, CROSSED, 0.95, (0, 1))
    )
    for by_run in (smaller_beats_larger(archive, on="benchmarks"), rank_models(archive, tasks=("sciq",))):
        assert by_run.provenance.shared_seeds == ()
        assert any("No p, interval or verdict is over runs here" in line for line in by_run.limits)


def test_courses_of_neurons_are_means_over_seeds(crossed: Archive) -> None:
    selected = select_runs(crossed, "*")
    counts = [k * (k % 3) for k in range(9)]
    rows = [
        {"run": run.run, "group": "c", "step": 8, "n": n}
        for run, n in zip(selected.runs, counts, strict=True)
    ]
    (row,) = course_table(rows, "n", selected).to_pylist()

    assert row.items() >= (THREE | {"n_runs": 9}).items()
    of = [[getattr(run, name) for run in selected.runs] for name in ("init_seed", "data_order_seed")]
    assert (row["mean"], row["low"], row["high"]) == pytest.approx(
        mean_over_units(counts, [np.array(one) for one in of], 0.95, (0, math.inf))
    )
    history = head_score_history(crossed, measure="head.mask", eval_set="text", top=1)
    assert "No p, interval or verdict is over runs here" in said(history)
