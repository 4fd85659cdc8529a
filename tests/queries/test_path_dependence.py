"""path_dependence: planted shares, the floor of training jitter, difficulty, groups, verdicts, refusals."""

import math

import numpy as np
import pytest

from archive.errors import UsageError
from queries.path_dependence import path_dependence
from queries.stats.path_index import SEEDS_METHOD, path_index, strata_of
from tests.queries.language import losses, plant_texts
from tests.queries.simulated import Simulation

N, LENGTH = 8, 9  # a loss for every token but the first
RNG = np.random.default_rng(0)
SURPRISAL = RNG.gamma(2, size=(N, LENGTH + 1))
HARD = SURPRISAL[:, 1:]
COMMON = RNG.normal(size=(N, LENGTH))


def plant(
    s: Simulation, share: float, jitter: float = 0.01, n_runs: int = 5, longer: bool = False, **run: object
) -> list[np.ndarray]:
    """Runs whose losses are difficulty, a common part and `share` of their own, at steps 4 and 5; longer: the last at 6 too."""
    rng = np.random.default_rng(1)
    found = []
    for name in s.seeds(n_runs, **run):
        own = rng.normal(size=(N, LENGTH))
        values = 9 + HARD + (1 - share) ** 0.5 * COMMON + share**0.5 * own + 0.1 * rng.normal()
        losses(s, name, 4, values + jitter**0.5 * rng.normal(size=values.shape))
        losses(s, name, 5, values)
        if longer and len(found) == n_runs - 1:
            losses(s, name, 6, values)
        found.append(values)
    return found


def test_the_index_is_that_of_the_losses_with_difficulty_from_the_eval_set(simulation: Simulation) -> None:
    plant_texts(simulation, SURPRISAL)
    values = np.stack(plant(simulation, 0.5)).reshape(5, -1)
    answer = path_dependence(simulation.commit(), strata=6)
    documents = np.repeat(np.arange(N) // 2, LENGTH)
    expected = path_index(values.astype(np.float32).astype(float), strata_of(HARD.ravel(), 6), documents)
    (row,) = answer.table.to_pylist()
    for name in ("low", "high", "offset", "null_sd", "observed", "expected"):
        assert row[name] == pytest.approx(getattr(expected, name), rel=1e-4)
    assert answer.estimate == row["index"] == pytest.approx(expected.pattern, rel=1e-5)
    assert (row["n_runs"], row["n_tokens"], row["n_documents"], row["n_strata"]) == (5, 72, 4, 6)
    assert (answer.null_name, answer.null_mean) == (
        "tokens of equal surprisal given the token before exchanged",
        1,
    )
    assert answer.verdict == "yes"
    assert row["floor"] == pytest.approx(0.01 / row["expected"], rel=0.4)
    assert row["floor_steps"] == 1
    assert "circuits" not in answer.sentence
    assert any("may compute in different ways" in line for line in answer.limits)
    assert answer.plot().data


def test_what_training_a_little_longer_changes_as_much_is_no_path_dependence(simulation: Simulation) -> None:
    plant_texts(simulation, SURPRISAL)
    plant(simulation, 0.1, jitter=3.0)
    assert path_dependence(simulation.commit(), strata=6).verdict == "no"


def test_runs_of_different_lengths_are_no_other_path(simulation: Simulation) -> None:
    plant_texts(simulation, SURPRISAL)
    plant(simulation, 0.5, longer=True)
    archive = simulation.commit()
    answer = path_dependence(archive, strata=6)
    assert answer.verdict == "unresolved"
    assert any("A step that all have (--step)" in line for line in answer.limits)
    assert path_dependence(archive, strata=6, step=5).verdict == "yes"


def test_without_an_earlier_checkpoint_there_is_no_yes(simulation: Simulation) -> None:
    plant_texts(simulation, SURPRISAL)
    plant(simulation, 0.5)
    answer = path_dependence(simulation.commit(), strata=6, step=4)
    assert answer.table["floor"][0].as_py() is None or math.isnan(answer.table["floor"][0].as_py())
    assert answer.verdict == "unresolved"
    assert any("training jitter is not known" in line for line in answer.limits)


@pytest.mark.parametrize("difficulty", ["none", "auto"])
def test_difficulty_that_is_not_held_equal_is_said(simulation: Simulation, difficulty: str) -> None:
    plant_texts(simulation)  # without surprisal
    plant(simulation, 0.5)
    answer = path_dependence(simulation.commit(), difficulty=difficulty)
    assert answer.null_name == "all tokens exchanged"
    reason = "as asked" if difficulty == "none" else "no surprisal"
    assert any("Difficulty is not held equal" in line and reason in line for line in answer.limits)


def test_two_runs_have_an_index_and_nothing_more(simulation: Simulation) -> None:
    plant_texts(simulation, SURPRISAL)
    plant(simulation, 0.5, n_runs=2)
    answer = path_dependence(simulation.commit(), strata=6)
    assert math.isfinite(answer.estimate)
    assert math.isnan(answer.ci_high)
    assert answer.verdict == "unresolved"
    assert any("takes 3 runs" in line for line in answer.limits)


def test_groups_are_not_mixed_and_their_distance_is_told(simulation: Simulation) -> None:
    plant_texts(simulation, SURPRISAL)
    rng = np.random.default_rng(2)
    for group, shift in (("small", 0.0), ("large", 1.5)):
        moved = shift * RNG.normal(size=(N, LENGTH))
        for k in range(3):
            simulation.run(f"{group}-{k}", condition=group)
            losses(
                simulation, f"{group}-{k}", 5, 9 + HARD + COMMON + moved + 0.3 * rng.normal(size=(N, LENGTH))
            )
    simulation.run("other", condition="alone")
    losses(simulation, "other", 5, 9 + HARD + COMMON)
    answer = path_dependence(simulation.commit(), strata=4)
    assert answer.table["group"].to_pylist() == ["large", "small"]
    assert math.isnan(answer.estimate)
    assert answer.summary is not None
    (between,) = answer.summary.to_pylist()
    assert between["index"] > 3 * max(answer.table["index"].to_pylist())
    assert between["n_pairs"] == 9
    assert any("repeat no other" in line and "alone" in line for line in answer.limits)
    assert "large: " in answer.sentence


def test_runs_that_repeat_nothing_are_refused_with_the_repair(simulation: Simulation) -> None:
    plant_texts(simulation, SURPRISAL)
    for name in ("a", "b"):
        simulation.run(name, condition=name)
        losses(simulation, name, 5, 9 + HARD)
    with pytest.raises(UsageError, match=r"none of these 2 run\(s\) repeats another .*\[seeds\]"):
        path_dependence(simulation.commit())


def test_nine_runs_of_three_inits_and_orders_are_three(simulation: Simulation) -> None:
    plant_texts(simulation, SURPRISAL)
    rng = np.random.default_rng(3)
    values = []
    for k in range(9):
        run = simulation.run(f"r{k}", init_seed=k // 3, data_order_seed=k % 3)
        values.append(9 + HARD + 0.7 * COMMON + (0.3 + 0.3 * (k // 3)) * rng.normal(size=(N, LENGTH)))
        for step in (4, 5):
            losses(simulation, run, step, values[-1] + 0.01 * (5 - step))
    answer = path_dependence(simulation.commit(), strata=6)
    of = np.arange(9)
    expected = path_index(
        np.stack(values).astype(np.float32).astype(float).reshape(9, -1),
        strata_of(HARD.ravel(), 6),
        np.repeat(np.arange(N) // 2, LENGTH),
        shared=[of // 3, of % 3],
    )

    assert (answer.ci_low, answer.ci_high) == pytest.approx((expected.low, expected.high), rel=1e-4)
    assert "(9 runs, 3 independent inits, 95% interval" in answer.sentence
    assert answer.ci_method == SEEDS_METHOD
    assert answer.provenance.shared_seeds == ()
    assert any("share seeds (3 init and 3 order)" in line for line in answer.limits)
