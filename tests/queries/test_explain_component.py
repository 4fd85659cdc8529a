"""explain_component: planted drivers recovered in runs left out, trends refused as evidence, bad regressors refused."""

import math

import numpy as np
import plotly.graph_objects as go
import pytest

from archive.errors import UnknownName, UsageError
from archive.records import Quantity
from archive.upkeep.marks import exclude
from queries.explain_component import explain_component
from tests.queries.simulated import GRID, LOSS_HERE, TEST, Simulation, measure

STEPS = [0, *sorted({round(2 ** (k / 3)) for k in range(3, 37)})]
OTHER = Quantity(measure=measure("restricted_loss", "fact_scalar", scope="split"), encoding=GRID)
X = np.log2(np.maximum(STEPS, 0.5))


def rise(at: float, width: float = 0.7) -> np.ndarray:
    return 1 / (1 + np.exp(-(X - at) / width))


def plant(s: Simulation, run: str, score: np.ndarray, loss: np.ndarray, rng: np.random.Generator) -> None:
    """A trajectory whose first component is `score`, in random coordinates, and a loss."""
    axes, _ = np.linalg.qr(rng.normal(size=(20, 20)))
    points = 10 * score[:, None] * axes[0] + 0.2 * rng.normal(size=(len(STEPS), 20)).cumsum(axis=0)
    s.trajectory(run, STEPS, points)
    s.curve(run, LOSS_HERE, STEPS, loss)


@pytest.fixture
def driven(simulation: Simulation) -> Simulation:
    """Five runs that turn at times of their own, the loss with them."""
    rng = np.random.default_rng(0)
    for k, run in enumerate(simulation.seeds(5)):
        plant(simulation, run, rise(3 + 1.5 * k), 4 - 3 * rise(3 + 1.5 * k), rng)
    return simulation


def test_a_driver_is_found_in_runs_left_out(driven: Simulation) -> None:
    answer = explain_component(driven.commit(), regressors=("loss[test]",), n_boot=99)
    (row,) = answer.summary.to_pylist()  # type: ignore[union-attr]

    assert (row["verdict"], answer.verdict, row["n_runs"]) == ("yes", "yes", 5)
    assert row["holdout_r2"] > 0.7 > row["swapped_r2"] + 0.15
    assert (row["p"], row["least_p"]) == (1 / 120, 1 / 120)
    assert (answer.estimate, answer.null_mean) == (row["holdout_r2"], row["swapped_r2"])
    assert row["low"] < row["holdout_r2"] < row["high"] <= 1
    assert all(r["share"] > 0.8 for r in answer.table.to_pylist())
    # signs of components are free, but the same in all runs
    assert len({np.sign(r["coefficient"]) for r in answer.coefficients.to_pylist()}) == 1
    assert all(r["low"] <= r["coefficient"] <= r["high"] for r in answer.coefficients.to_pylist())
    assert answer.scores.num_rows == 5 * len(STEPS)


def test_what_all_runs_do_at_the_same_time_explains_nothing_by_itself(simulation: Simulation) -> None:
    rng = np.random.default_rng(1)
    for run in simulation.seeds(5):
        plant(
            simulation,
            run,
            rise(6) + 0.01 * rng.normal(size=len(X)),
            4 - 3 * rise(6) + 0.1 * rng.random(len(X)),
            rng,
        )
    answer = explain_component(simulation.commit(), regressors=("loss[test]",), n_boot=99)

    assert answer.estimate > 0.9
    assert answer.verdict == "unresolved"
    assert any("time itself included" in line for line in answer.limits)


def test_what_has_nothing_to_do_with_it_is_not_called_an_explanation(simulation: Simulation) -> None:
    rng = np.random.default_rng(2)
    for k, run in enumerate(simulation.seeds(6)):
        turned = (X - X.mean()) * (1 if k % 2 else -1)
        wave = np.sin(X * (1 + k))
        plant(simulation, run, rise(3 + 1.5 * k), 4 + wave + 0 * turned, rng)
    answer = explain_component(simulation.commit(), regressors=("loss[test]",), n_boot=99)

    assert answer.estimate < 0.1
    assert answer.verdict in ("no", "unresolved")
    assert answer.p_value > 0.05


def test_three_runs_and_one_run_settle_nothing(driven: Simulation) -> None:
    archive = driven.commit()
    three = explain_component(archive, runs=["s0", "s1", "s2"], regressors=("loss[test]",), n_boot=19)
    one = explain_component(archive, runs="s0", regressors=("loss[test]",), n_boot=19)

    assert (three.verdict, one.verdict) == ("unresolved", "unresolved")
    assert three.summary["least_p"].to_pylist() == [pytest.approx(1 / 6)]  # type: ignore[union-attr]
    assert math.isnan(one.estimate)
    assert one.table["holdout_r2"].to_pylist() == [None]
    assert "no answer without other runs" in one.sentence
    assert any("nothing is said below 4" in line for line in one.limits)


def test_steps_without_a_finite_regressor_are_left_out(simulation: Simulation) -> None:
    rng = np.random.default_rng(3)
    for k, run in enumerate(simulation.seeds(4)):
        loss = 4 - 3 * rise(3 + 2 * k)
        loss[5 + k] = math.nan
        loss[-1] = 0.0
        plant(simulation, run, rise(3 + 2 * k), loss, rng)
    archive = simulation.commit()

    plain = explain_component(archive, regressors=("loss[test]",), n_boot=19)
    logs = explain_component(archive, regressors=("loss[test]",), logs=True, n_boot=19)
    assert plain.summary["n_checkpoints"].to_pylist() == [len(STEPS) - 4]  # type: ignore[union-attr]
    assert logs.summary["n_checkpoints"].to_pylist() == [len(STEPS) - 5]  # type: ignore[union-attr]
    thin = explain_component(archive, regressors=("loss[test]",), max_checkpoints=10, n_boot=19)
    assert thin.summary["n_checkpoints"].to_pylist() == [10]  # type: ignore[union-attr]


def test_runs_without_a_regressor_other_conditions_and_excluded_runs_are_kept_out(driven: Simulation) -> None:
    rng = np.random.default_rng(4)
    driven.trajectory(driven.run("without", init_seed=8), STEPS, rng.normal(size=(len(STEPS), 5)))
    for k, run in enumerate(driven.seeds(2, prefix="b", condition="other")):
        plant(driven, run, rise(4 + k), 4 - rise(4 + k), rng)
    archive = driven.commit()
    exclude(archive.layout, "s4", "planted defect")
    answer = explain_component(archive, regressors=("loss[test]",), n_boot=19)

    assert {r["group"]: r["n_runs"] for r in answer.summary.to_pylist()} == {"c": 4, "other": 2}  # type: ignore[union-attr]
    assert answer.n_runs == 6
    assert any("1 run(s) lack a regressor" in line for line in answer.limits)
    assert answer.verdict is None


def test_what_cannot_be_regressed_on_is_refused(driven: Simulation) -> None:
    for run in driven.runs:
        driven.curve(run, OTHER, STEPS, [0.5] * len(STEPS))
    driven.trajectory(driven.run("short", condition="short"), STEPS[:4], np.eye(4))
    driven.curve("short", LOSS_HERE, STEPS[:4], [1, 2, 3, 4])
    archive = driven.commit()

    with pytest.raises(UsageError, match="never changes"):
        explain_component(archive, runs="condition:c", regressors=("restricted_loss[test]",))
    with pytest.raises(UsageError, match="is an event; a regressor is a scalar"):
        explain_component(archive, regressors=("loss[test] <= 1",))
    with pytest.raises(UsageError, match="different scalars"):
        explain_component(archive, regressors=("loss[test]", "loss[test]"))
    with pytest.raises(UnknownName, match="part of loss"):
        explain_component(archive, regressors=("loss[tset]",))
    with pytest.raises(UnknownName, match="gini"):
        explain_component(archive, regressors=("gini",))
    with pytest.raises(UsageError, match="fewer than 8"):
        explain_component(archive, runs="short", regressors=("loss[test]",))
    with pytest.raises(UnknownName, match="logit_products"):
        explain_component(archive, of="logits", regressors=("loss[test]",))


def test_a_component_that_does_not_move_has_nothing_to_explain(simulation: Simulation) -> None:
    simulation.trajectory(simulation.run("a"), STEPS, np.ones((len(STEPS), 3)))
    simulation.curve("a", LOSS_HERE, STEPS, np.arange(float(len(STEPS))))

    with pytest.raises(UsageError, match="component 1 does not move"):
        explain_component(simulation.commit(), regressors=("loss[test]",))


def test_the_figure_has_points_and_a_fit_a_run(driven: Simulation) -> None:
    figure = explain_component(driven.commit(), regressors=("loss[test]",), n_boot=19).plot()

    assert isinstance(figure, go.Figure)
    assert [t.mode for t in figure.data] == ["markers", "lines"] * 5
    assert "held out" in figure.data[0].name
    assert TEST.name == "test"


def test_what_an_init_decides_is_no_explanation_by_itself(simulation: Simulation) -> None:
    """Score and loss both turn at a time of their init's, each at its own: runs of one init are no repeats."""
    rng = np.random.default_rng(8)
    turns, falls = (3.0, 6.0, 9.0), (7.0, 3.5, 8.0)
    for k in range(9):
        run = simulation.run(f"r{k}", init_seed=k % 3, data_order_seed=k // 3)
        plant(
            simulation, run, rise(turns[k % 3]), 4 - 3 * rise(falls[k % 3]) + 0.01 * rng.random(len(X)), rng
        )
    answer = explain_component(simulation.commit(), regressors=("loss[test]",), n_boot=99)
    (row,) = answer.summary.to_pylist()  # type: ignore[union-attr]

    # six arrangements of inits, six of orders
    assert row["least_p"] == pytest.approx(1 / 36)
    assert row["p"] > 0.1
    assert (row["n_runs"], row["n_units"], row["unit"], answer.verdict) == (9, 3, "init", "unresolved")
    assert "each of 9 runs (3 independent inits)" in answer.sentence
    assert any("9 runs, 3 independent inits" in line for line in answer.limits)
