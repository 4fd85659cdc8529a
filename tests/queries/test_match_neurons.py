"""match_neurons: planted excess, its null, starts that are shared by record or shown at step 0, and what is not there."""

from itertools import permutations
from pathlib import Path

import numpy as np
import pytest

from archive.errors import NotComparable, UsageError
from archive.schema.base import CellState
from archive.store import Archive
from archive.upkeep.marks import exclude
from queries.match_neurons import match_neurons
from queries.stats.run_pairs import mean_over_pairs
from tests.queries.comparing import MATCHING, MATCHING_ELSEWHERE, MATCHING_ON_TEXT, matched, pair_cell
from tests.queries.simulated import LOSS_HERE, TEST, Simulation

SHAPE = (2, 16)
SILENT = (1, 15)


def excess(k: int, mean: float) -> np.ndarray:
    """Half of the neurons of each layer far above the mean, half far below; the k-th pair a little off; one silent."""
    found = np.full(SHAPE, mean - 0.3) + 0.002 * (k % 3)
    found[:, :8] += 0.6
    found[SILENT] = np.nan
    return found


@pytest.fixture(scope="module")
def archive(empty_archive: Path, tmp_path_factory: pytest.TempPathFactory) -> Archive:
    """Four runs of different inits whose neurons become alike; two of one init; one compared in one order only."""
    s = Simulation(empty_archive, tmp_path_factory.mktemp("neurons"))
    runs = [s.run(f"s{k}", init_seed=k, init_hash=f"hash {k}") for k in range(4)]
    for k, (a, b) in enumerate(permutations(runs, 2)):
        matched(s, a, b, 0, excess(k, 0.01))
        matched(s, a, b, 50, excess(k, 0.2))
        matched(s, a, b, 100, excess(k, 0.4))
    twins = [s.run(f"t{k}", init_seed=9, data_order_seed=k, init_hash="same") for k in range(2)]
    for a, b in permutations(twins, 2):
        matched(s, a, b, 100, excess(0, 0.4), own_number=0.5)
    s.run("lone", init_hash="another")
    matched(s, "t0", "lone", 100, excess(0, 0.4))
    return s.commit()


def test_planted_excess_is_found_and_beyond_what_untrained_neurons_have(archive: Archive) -> None:
    answer = match_neurons(archive, runs="s?", top=3)
    rows, pairs = answer.table.to_pylist(), answer.pairs.to_pylist()
    (summary,) = answer.summary.to_pylist()  # type: ignore[union-attr]

    # 31 of 32 neurons vary, 16 of them by 0.7 and 15 by 0.1
    mean = (16 * 0.7 + 15 * 0.1) / 31 + 0.002
    assert len(rows) == 12 * 3
    assert rows[0]["excess"] == pytest.approx(0.704)
    assert (rows[0]["a"], rows[0]["b"], rows[0]["layer_offset"]) == ("L0N0", "L1N1", 1)
    assert rows[0]["similarity"] - rows[0]["null_mean"] == pytest.approx(rows[0]["excess"])
    assert answer.estimate == pytest.approx(mean, abs=1e-6)
    assert answer.ci_low < mean < answer.ci_high
    assert (summary["share_above"], summary["first_excess"]) == (0.5, pytest.approx(mean - 0.39))
    assert summary["above_first"] == pytest.approx(0.39)
    assert {(r["n_neurons"], r["n_silent"], r["start"]) for r in pairs} == {(32, 1, "not shared")}
    assert (answer.verdict, answer.n_runs, answer.n_items) == ("yes", 4, 32)
    assert summary["detectable"] > 0
    layers = {r["layer"]: r for r in answer.layers.to_pylist()}
    assert layers[0]["excess"] == pytest.approx(0.402)
    assert layers[1]["excess"] == pytest.approx((8 * 0.7 + 7 * 0.1) / 15 + 0.002)
    assert layers[0]["same_layer"] == 0.0
    assert len(answer.plot().data) == 2


def test_the_interval_of_excess_keeps_its_rate_where_there_is_none() -> None:
    rng = np.random.default_rng(0)
    pairs = list(permutations(range(5), 2))
    outside = 0
    for _ in range(100):
        as_a, as_b = rng.normal(size=(2, 5))
        values = np.array([as_a[i] + as_b[j] + 0.3 * rng.normal() for i, j in pairs])
        _, low, high = mean_over_pairs(pairs, values, np.full(len(pairs), np.nan))
        outside += not low <= 0 <= high
    assert outside <= 12


def test_neurons_that_are_in_no_other_run_get_a_no(simulation: Simulation) -> None:
    for k, (a, b) in enumerate(permutations(simulation.seeds(4), 2)):
        for step in (0, 100):
            matched(simulation, a, b, step, np.full(SHAPE, 0.001 * (k % 3)))
    answer = match_neurons(simulation.commit())

    assert answer.verdict == "no"
    assert answer.ci_high < 0.05
    assert any("Nobody recorded whether" in line for line in answer.limits)


def test_what_sparse_neurons_reach_by_chance_is_no_yes(simulation: Simulation) -> None:
    for k, (a, b) in enumerate(permutations(simulation.seeds(4), 2)):
        matched(simulation, a, b, 0, np.full(SHAPE, 0.01), quantity=MATCHING_ON_TEXT)
        matched(simulation, a, b, 100, np.full(SHAPE, 0.4 + 0.001 * (k % 3)), quantity=MATCHING_ON_TEXT)
    answer = match_neurons(simulation.commit())

    # 80 tokens in 8 sequences, of which 64 are read: 2 √(2 ln 32 / 64) = 0.66
    assert answer.ci_low > 0.39
    assert answer.verdict == "unresolved"
    assert any("over 64 tokens" in line and "about 0.33" in line for line in answer.limits)


def test_runs_that_share_an_init_are_apart_and_get_no_verdict(archive: Archive) -> None:
    answer = match_neurons(archive, runs=["t?"])
    (summary,) = answer.summary.to_pylist()  # type: ignore[union-attr]

    assert (summary["start"], answer.verdict) == ("shared", None)
    # 8 of 16 in each layer match their own number, and are all that match in their layer; one is silent
    assert summary["same_number"] == pytest.approx(16 / 31)
    assert summary["same_number_chance"] == pytest.approx(1 / 31)
    assert max(answer.pairs["same_number_p"].to_pylist()) < 1e-12
    assert any("share a start" in line and "52% of neurons, 3.2% by chance" in line for line in answer.limits)
    both = match_neurons(archive, runs=["t?", "lone"])
    assert both.summary["start"].to_pylist() == ["not shared", "shared"]  # type: ignore[index]
    assert np.isnan(both.estimate)
    assert any("compared in one order only (first: t0 with lone)" in line for line in both.limits)
    assert "share a start correlate" in both.sentence


def test_a_start_that_is_shared_shows_at_step_0(simulation: Simulation) -> None:
    a, b, c = (simulation.run(name, init_hash=name) for name in "abc")
    matched(simulation, a, b, 0, np.full(SHAPE, 0.8), own_number=1.0)
    matched(simulation, a, b, 100, np.full(SHAPE, 0.4))
    # a third of equal numbers is odd, but shows no shared start
    matched(simulation, a, c, 0, np.full(SHAPE, 0.1), own_number=1 / 3)
    matched(simulation, a, c, 100, np.full(SHAPE, 0.4), own_number=1 / 3)
    answer = match_neurons(simulation.commit())

    assert answer.pairs["start"].to_pylist() == ["shared", "not shared"]
    assert "at step 0 neurons match their own numbers in layer 0, 1" in answer.pairs["why"][0].as_py()
    assert any("too often for chance (first: a and c" in line for line in answer.limits)


def test_two_runs_give_no_interval_and_no_earlier_checkpoint_no_yes(
    archive: Archive, simulation: Simulation
) -> None:
    pair = match_neurons(archive, runs=["s0", "s1"])
    assert (pair.verdict, pair.n_runs) == ("unresolved", 2)
    assert np.isnan(pair.ci_low)
    assert any("an interval needs 3 runs" in line for line in pair.limits)

    for k, (a, b) in enumerate(permutations(simulation.seeds(3), 2)):
        matched(simulation, a, b, 100, excess(k, 0.4))
    late = match_neurons(simulation.commit())
    assert late.ci_low > 0
    assert late.verdict == "unresolved"
    assert any("no verdict can be yes" in line for line in late.limits)


def test_the_step_is_that_asked_for_or_the_nearest_are_told(archive: Archive) -> None:
    assert match_neurons(archive, runs="s?", step=50).estimate == pytest.approx(
        match_neurons(archive, runs="s?").estimate - 0.2, abs=1e-6
    )
    with pytest.raises(UsageError, match="neuron_matching at step 60; the nearest steps are 50, 100, 0"):
        match_neurons(archive, runs="s?", step=60)


def test_a_run_with_itself_and_a_base_are_taken_as_they_come(simulation: Simulation) -> None:
    a, b = simulation.run("a"), simulation.run("b", parent_run="a")
    for steps in ((0, 10), (10, 20)):
        matched(simulation, a, a, steps, excess(0, 0.4), own_number=1.0)
    matched(simulation, a, b, (20, 5), excess(0, 0.4))
    matched(simulation, a, b, (20, 20), excess(0, 0.4))
    archive = simulation.commit()
    answer = match_neurons(archive)

    assert [(r["run_b"], r["step_a"], r["step_b"]) for r in answer.pairs.to_pylist()] == [
        ("a", 10, 20),
        ("b", 20, 20),
    ]
    assert set(answer.pairs["start"].to_pylist()) == {"shared"}
    assert [r["step_a"] for r in match_neurons(archive, step=5).pairs.to_pylist()] == [20]


def test_suspect_superseded_excluded_and_failed_pairs_stay_out(simulation: Simulation) -> None:
    runs = simulation.seeds(4)
    for k, (a, b) in enumerate(permutations(runs, 2)):
        matched(simulation, a, b, 50, excess(k, 0.2))
        bad = {"integrity": "defect", "integrity_note": "a bad upload"} if a == "s0" else None
        if (a, b) == ("s1", "s2"):
            pair_cell(simulation, MATCHING, a, b, (100, 100), state=CellState.FAILED_PERMANENT)
        elif b != "s0":
            matched(simulation, a, b, 100, excess(k, 0.4), checkpoint=bad)
    archive = simulation.commit()
    exclude(archive.layout, "s3", "diverged")
    answer = match_neurons(archive)

    steps = {(r["run_a"], r["run_b"]): r["step_a"] for r in answer.pairs.to_pylist()}
    assert steps == {
        pair: 100 if pair == ("s2", "s1") else 50 for pair in permutations(["s0", "s1", "s2"], 2)
    }
    assert any("left out as suspect (defect) (first: s0 step 100: a bad upload)" in x for x in answer.limits)
    assert any(
        "1 pair(s) of checkpoints have no result (first: s1 step 100 with s2" in x for x in answer.limits
    )
    assert any("excluded run(s) left out (first: s3" in line for line in answer.limits)
    assert any("Checkpoints of different steps are compared" in line for line in answer.limits)
    suspect = match_neurons(archive, with_suspect=True)
    assert {r["step_a"] for r in suspect.pairs.to_pylist() if r["run_a"] == "s0"} == {100}


def test_what_is_not_there_is_refused_with_the_study_that_makes_it(
    simulation: Simulation, empty_archive: Path, tmp_path: Path
) -> None:
    a, b, c = simulation.seeds(3)
    matched(simulation, a, b, 100, excess(0, 0.4))
    matched(simulation, a, c, 100, excess(0, 0.4), quantity=MATCHING_ELSEWHERE)
    archive = simulation.commit()
    with pytest.raises(NotComparable, match=r"differs in eval set.*\n.*eval_set='long text'"):
        match_neurons(archive)
    with pytest.raises(UsageError, match=r"s1 alone was asked about.*another seed.*both_orders = true"):
        match_neurons(archive, runs="s1")
    other = Simulation(empty_archive, tmp_path / "other")
    other.scalar(other.run("x"), LOSS_HERE, 1, {TEST: 1.0})
    with pytest.raises(UsageError, match=r"holds no neuron_matching.*\[compare\] pairs = \"same step\""):
        match_neurons(other.commit())


def test_checkpoints_that_are_all_suspect_are_told(simulation: Simulation) -> None:
    a, b = simulation.seeds(2)
    matched(simulation, a, b, 100, excess(0, 0.4), checkpoint={"integrity": "duplicate"})
    with pytest.raises(UsageError, match=r"no comparison by neuron_matching can be used .*with_suspect=True"):
        match_neurons(simulation.commit())
