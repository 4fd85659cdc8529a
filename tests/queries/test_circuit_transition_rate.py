"""circuit_transition_rate: sudden and smooth circuits told apart, runs as the unit, sparse checkpoints left open."""

import numpy as np
import pytest

from queries.circuit_transition_rate import circuit_transition_rate
from queries.stats.few_runs import share_interval
from tests.queries.language import head_scores
from tests.queries.simulated import Simulation, rising

DENSE = [0, *(round(2 ** (k / 4)) for k in range(12, 61))]  # four an octave, 8 to 32,768
SPARSE = [0, *(2**k for k in range(3, 16))]
SHAPE = (2, 2)


def smooth(steps: list[int]) -> np.ndarray:
    """1 − (1 + t / 30)^−0.5: no octave holds more than 0.29 of it."""
    return 1 - (1 + np.array(steps) / 30) ** -0.5


def plant(s: Simulation, run: str, curves: list[np.ndarray], steps: list[int] = DENSE) -> None:
    """Prefix-matching scores of the first heads of 2 × 2 go from 0.01 to 0.9 along the curves."""
    for k, step in enumerate(steps):
        values = np.full(4, 0.01)
        for head, curve in enumerate(curves):
            values[head] = 0.01 + 0.89 * curve[k]
        head_scores(s, run, step, {"prefix_matching": values.reshape(SHAPE)}, se=0.005)


def test_sudden_circuits_are_counted_run_by_run(simulation: Simulation) -> None:
    for k, run in enumerate(simulation.seeds(6)):
        plant(simulation, run, [rising(DENSE, 300 * 1.3**k, width=0.25), rising(DENSE, 900, width=0.2)])
    answer = circuit_transition_rate(simulation.commit(), task="induction", role="induction")
    (row,) = answer.summary.to_pylist()  # type: ignore[union-attr]

    assert (row["n_runs"], row["n_circuits"], row["n_sudden"], row["n_unresolved"]) == (6, 12, 12, 0)
    assert answer.table["class"].to_pylist() == ["major_transition"] * 12
    assert [r["head"] for r in answer.table.to_pylist()][:2] == ["L0H0", "L0H1"]
    for k, r in enumerate(r for r in answer.table.to_pylist() if r["head"] == "L0H0"):
        assert r["t50_after"] < 300 * 1.3**k <= r["t50"]
    assert answer.estimate == 1
    # twelve circuits of six runs are six trials
    assert answer.ci_low == pytest.approx(0.541, abs=1e-3)
    assert answer.verdict == "yes"
    assert any("people already knew" in line for line in answer.limits)


def test_smooth_circuits_are_a_no(simulation: Simulation) -> None:
    steps = [0, 2, 3, *(round(2 ** (k / 4)) for k in range(8, 81))]
    for k, run in enumerate(simulation.seeds(8)):
        plant(simulation, run, [smooth(steps), rising(steps, 500 * 1.1**k, width=1.2)], steps)
    answer = circuit_transition_rate(simulation.commit(), task="induction")

    assert set(answer.table["class"].to_pylist()) <= {"gradual", "unresolved"}
    assert answer.estimate == 0
    assert answer.ci_high < 0.5
    assert answer.verdict == "no"


def test_runs_that_differ_widen_the_interval_beyond_that_of_their_circuits(simulation: Simulation) -> None:
    sudden, slow = rising(DENSE, 400, width=0.2), rising(DENSE, 400, width=0.8)
    for k, run in enumerate(simulation.seeds(6)):
        plant(simulation, run, [sudden if k % 2 else slow] * 4)
    answer = circuit_transition_rate(simulation.commit(), task="induction")

    assert answer.estimate == 0.5
    assert answer.n_items == 24
    # three of six runs that are all or nothing; 12 of 24 alone would give [0.29, 0.71]
    assert (answer.ci_low, answer.ci_high) == pytest.approx(share_interval(3, 6))
    assert answer.verdict == "unresolved"


def test_checkpoints_an_octave_apart_leave_it_open(simulation: Simulation) -> None:
    for run in simulation.seeds(5):
        plant(simulation, run, [rising(SPARSE, 700, width=0.15)], SPARSE)
    answer = circuit_transition_rate(simulation.commit(), task="induction")
    row = answer.table.to_pylist()[0]

    assert (row["class"], answer.verdict) == ("unresolved", "unresolved")
    assert np.isnan(answer.estimate)
    assert row["needed"]
    assert any("cannot be judged (first: induction L0H0 in s0" in line for line in answer.limits)
    assert answer.sentence.startswith("None of 5 circuits")


def test_falling_scores_are_followed_downwards_and_roles_are_pooled(simulation: Simulation) -> None:
    rise, place = rising(DENSE, 400, width=0.2), np.zeros(SHAPE)
    place[1, 0] = 1
    for run in simulation.seeds(3):
        for k, step in enumerate(DENSE):
            values = {
                "dla": -2 * rise[k] * place + 2 * rise[k] * place[::-1],
                "end_to_io": 0.05 + 0.8 * (place + place[::-1]),
            }
            head_scores(simulation, run, step, values, se=0.01)
    answer = circuit_transition_rate(simulation.commit())
    rows = {r["role"]: r for r in answer.summary.to_pylist()}  # type: ignore[union-attr]

    assert {r: (rows[r]["n_circuits"], rows[r]["n_sudden"]) for r in rows} == {
        "name_mover": (3, 3),
        "negative_name_mover": (3, 3),
        "all roles": (6, 6),
    }
    down = [r for r in answer.table.to_pylist() if r["role"] == "negative_name_mover"]
    assert [r["last"] for r in down] == pytest.approx([-2] * 3)
    assert answer.estimate == 1
    assert len(answer.plot().data) == 6


def test_no_head_with_the_role_is_no_circuit(simulation: Simulation) -> None:
    for run in simulation.seeds(2):
        plant(simulation, run, [])
    archive = simulation.commit()
    answer = circuit_transition_rate(archive, task="induction")

    assert answer.table.num_rows == 0
    assert "no circuit to follow" in answer.sentence
    assert answer.verdict == "unresolved"
    assert archive.query(answer.sql).num_rows == 0


def test_one_run_says_little(simulation: Simulation) -> None:
    simulation.run("a")
    plant(simulation, "a", [rising(DENSE, 400, width=0.2)])
    answer = circuit_transition_rate(simulation.commit(), task="induction")

    assert (answer.estimate, answer.ci_low, answer.verdict) == (1, pytest.approx(0.025), "unresolved")
    assert any("says little of others" in line for line in answer.limits)


def test_runs_of_one_init_are_one_trial(simulation: Simulation) -> None:
    """Twelve runs of three inits, all sudden: independent they would say most."""
    for k in range(12):
        run = simulation.run(f"r{k}", init_seed=k % 3, data_order_seed=k)
        plant(simulation, run, [rising(DENSE, 400, width=0.2)])
    answer = circuit_transition_rate(simulation.commit(), task="induction")
    (row,) = answer.summary.to_pylist()  # type: ignore[union-attr]

    assert (row["n_runs"], row["n_units"], row["unit"], row["rate"]) == (12, 3, "init", 1)
    assert (answer.ci_low, answer.ci_high) == pytest.approx(share_interval(3, 3))
    assert answer.verdict == "unresolved"
    assert "12 runs (3 independent inits)" in answer.sentence
