import math

import numpy as np
import pytest

from archive.errors import UnknownName, UsageError
from archive.records import Part
from queries.stats.trajectory import components_of_gram, time_weights
from queries.trajectory_pca import trajectory_pca
from tests.queries.simulated import PRODUCTS_HERE, SKETCHES_HERE, Simulation

STEPS = [0, *(round(2 ** (k / 4)) for k in range(8, 47))]  # 40 checkpoints


def walk(rng: np.random.Generator, n: int = 40, dimensions: int = 300) -> np.ndarray:
    directions = rng.normal(size=(n - 1, dimensions))
    directions /= np.linalg.norm(directions, axis=1, keepdims=True)
    return 5 + np.vstack([np.zeros(dimensions), directions.cumsum(axis=0)])


def bent(rng: np.random.Generator, degrees: float = 90, n: int = 40) -> np.ndarray:
    way = np.zeros((n - 1, 300))
    way[: n // 2, 0] = 1
    way[n // 2 :, :2] = math.cos(math.radians(degrees)), math.sin(math.radians(degrees))
    turned, _ = np.linalg.qr(rng.normal(size=(300, 300)))
    return np.vstack([np.zeros(300), np.cumsum(way + 0.02 * rng.normal(size=way.shape), axis=0)]) @ turned


def test_planted_turns_are_found_where_they_are(simulation: Simulation) -> None:
    rng = np.random.default_rng(0)
    for run in simulation.seeds(4):
        simulation.trajectory(run, STEPS, bent(rng))
    answer = trajectory_pca(simulation.commit(), weighting="equal", n_walks=199)
    rows = answer.summary.to_pylist()  # type: ignore[union-attr]

    assert all(r["turn_degrees"] == pytest.approx(90, abs=6) for r in rows)
    assert all(STEPS[18] <= r["turn_step"] <= STEPS[22] for r in rows)
    assert all(r["null_turn"] < r["null_turn_q95"] < 80 for r in rows)
    assert (answer.estimate, answer.verdict) == (1, "yes")
    assert (answer.ci_low, answer.ci_high) == pytest.approx((0.398, 1), abs=1e-3)
    assert answer.p_value == pytest.approx(0.05**4)


def test_random_walks_are_not_called_turns_and_have_the_shares_of_walks(simulation: Simulation) -> None:
    rng = np.random.default_rng(1)
    for run in simulation.seeds(8):
        simulation.trajectory(run, STEPS, walk(rng))
    answer = trajectory_pca(simulation.commit(), weighting="equal", n_walks=199, dimensions=300)
    shares = answer.shares.to_pylist()

    assert answer.verdict in ("no", "unresolved")
    assert answer.p_value > 0.05
    first = [r for r in shares if r["component"] == 1]
    assert first[0]["closed_form"] == pytest.approx(0.6079, abs=1e-4)
    assert np.mean([r["ratio"] for r in first]) == pytest.approx(1, abs=0.05)
    assert np.mean([r["null_low"] <= r["share"] <= r["null_high"] for r in shares]) >= 0.75
    assert any("rules out this null, not every featureless one" in line for line in answer.limits)


def test_scores_are_those_of_the_stored_vectors_and_signs_are_aligned(simulation: Simulation) -> None:
    rng = np.random.default_rng(2)
    x = bent(rng)
    mirrored, _ = np.linalg.qr(rng.normal(size=(300, 300)))
    simulation.trajectory(simulation.run("a"), STEPS, x)
    simulation.trajectory(simulation.run("b"), STEPS, x @ mirrored)
    answer = trajectory_pca(simulation.commit(), n_walks=19)
    weights = time_weights(np.array(STEPS, float), "log_time")
    expected = components_of_gram(x @ x.T, weights, 3)
    rows = answer.table.to_pylist()
    scores = {
        run: np.array([[r[f"pc{c}"] for c in (1, 2, 3)] for r in rows if r["run"] == run]) for run in "ab"
    }

    assert np.abs(scores["a"]) == pytest.approx(np.abs(expected.scores), abs=1e-6)
    assert scores["a"] == pytest.approx(scores["b"], abs=1e-6)
    assert (scores["a"][-1] >= 0).all()


def test_sketches_answer_where_some_run_has_nothing_else(simulation: Simulation) -> None:
    rng = np.random.default_rng(3)
    for k, run in enumerate(simulation.seeds(3)):
        x = bent(rng)
        if k < 2:
            simulation.trajectory(run, STEPS, x)
        projection = rng.normal(size=(300, 64)) / 8
        for step, point in zip(STEPS, x, strict=True):
            simulation.vectors(
                run, SKETCHES_HERE, step, {Part(kind="gram", name="sketch"): point @ projection}
            )
    archive = simulation.commit()
    every, two = (
        trajectory_pca(archive, runs=runs, n_walks=19, weighting="equal") for runs in ("*", ["s0", "s1"])
    )

    assert (every.n_runs, two.n_runs) == (3, 2)
    assert any("random projections" in line for line in every.limits)
    assert not any("random projections" in line for line in two.limits)
    degrees = every.summary["turn_degrees"].to_pylist()  # type: ignore[union-attr]
    assert degrees == pytest.approx([90, 90, 90], abs=25)


def test_a_checkpoint_that_later_rows_do_not_know_is_left_out_and_counted(simulation: Simulation) -> None:
    rng = np.random.default_rng(4)
    x, run = bent(rng), simulation.run("a")
    early = [k for k in range(40) if k != 5]
    # checkpoint 5 was measured last: its row knows the earlier ones, later rows do not know it
    simulation.trajectory(run, [STEPS[k] for k in early], x[early])
    row = {"steps": np.array(STEPS[:6], float), "products": x[:6] @ x[5]}
    simulation.vectors(run, PRODUCTS_HERE, STEPS[5], {Part(kind="gram", name=n): v for n, v in row.items()})
    answer = trajectory_pca(simulation.commit(), n_walks=19)

    assert STEPS[5] not in answer.table["step"].to_pylist()
    assert answer.table.num_rows == 39
    assert any("1 checkpoint(s) lack inner products" in line for line in answer.limits)


@pytest.mark.parametrize("sketched", [False, True])
def test_weights_that_overflow_are_left_out_and_counted(simulation: Simulation, sketched: bool) -> None:
    x, run = bent(np.random.default_rng(9)), simulation.run("a")
    x[-3:, 0] = np.inf
    if sketched:
        for step, point in zip(STEPS, x, strict=True):
            simulation.vectors(run, SKETCHES_HERE, step, {Part(kind="gram", name="sketch"): point})
    else:
        with np.errstate(invalid="ignore"):
            simulation.trajectory(run, STEPS, x)
    answer = trajectory_pca(simulation.commit(), n_walks=19)

    assert answer.table["step"].to_pylist() == STEPS[:-3]
    assert any("3 checkpoint(s) lack inner products" in line for line in answer.limits)


def test_part_of_a_trajectory_and_thinning(simulation: Simulation) -> None:
    simulation.trajectory(simulation.run("a"), STEPS, bent(np.random.default_rng(5)))
    archive = simulation.commit()
    late = trajectory_pca(archive, after_step=100, n_walks=19)
    thin = trajectory_pca(archive, max_checkpoints=12, n_walks=19)

    assert min(late.table["step"].to_pylist()) >= 100
    assert thin.table.num_rows == 12
    assert thin.table["step"].to_pylist()[-1] == STEPS[-1]
    assert any("more checkpoints than the 12 used" in line for line in thin.limits)
    with pytest.raises(UsageError, match="no run has 3 checkpoints"):
        trajectory_pca(archive, after_step=10**9)


def test_few_checkpoints_have_components_and_no_turn(simulation: Simulation) -> None:
    simulation.trajectory(simulation.run("a"), STEPS[:5], walk(np.random.default_rng(6), 5))
    answer = trajectory_pca(simulation.commit(), n_walks=19)

    assert answer.verdict == "unresolved"
    assert math.isnan(answer.estimate)
    assert answer.summary is not None
    assert answer.summary["p_turn"].to_pylist() == [None]
    assert "no run has the 8 checkpoints" in answer.sentence


def test_weights_that_do_not_move_have_nothing_to_show(simulation: Simulation) -> None:
    simulation.trajectory(simulation.run("a"), STEPS, np.ones((40, 5)))
    answer = trajectory_pca(simulation.commit(), n_walks=19)

    assert answer.verdict == "unresolved"
    assert "do not move" in answer.sentence


def test_one_run_that_turns_is_not_enough(simulation: Simulation) -> None:
    # with a single run the exact interval of the share reaches from 0.025 to 1
    simulation.trajectory(simulation.run("a"), STEPS, bent(np.random.default_rng(7)))
    answer = trajectory_pca(simulation.commit(), n_walks=199, weighting="equal")

    assert answer.n_runs == 1
    assert answer.verdict == "unresolved"


def test_logits_have_their_own_measure(simulation: Simulation) -> None:
    simulation.trajectory(simulation.run("a"), STEPS, bent(np.random.default_rng(8)))

    with pytest.raises(UnknownName, match="logit_products"):
        trajectory_pca(simulation.commit(), of="logits")


def test_the_figure_is_a_path_with_a_star(simulation: Simulation) -> None:
    for run in simulation.seeds(2):
        simulation.trajectory(run, STEPS, bent(np.random.default_rng(9)))
    figure = trajectory_pca(simulation.commit(), n_walks=99, weighting="equal").plot()

    assert [t.name for t in figure.data if t.mode == "lines+markers"] == ["s0", "s1"]
    assert [t.marker.symbol for t in figure.data if t.mode == "markers"] == ["star", "star"]
    assert "at step" in figure.data[1].hovertemplate
