"""Crossed seeds: init × data order × split, planted and recovered."""

from itertools import product

import numpy as np
import pytest

from archive.errors import NotComparable, UsageError
from queries.stats.crossed import crossed_components
from queries.variance_components import variance_components
from tests.queries.simulated import LOSS_HERE, TEST, Simulation


def plant(simulation: Simulation, values: np.ndarray, condition: str = "c") -> None:
    """values: (init, order, split), the loss at the only checkpoint."""
    for cell in product(*map(range, values.shape)):
        init, order, split = cell
        run = simulation.run(
            f"{condition}-{init}-{order}-{split}",
            condition=condition,
            init_seed=init,
            data_order_seed=10 + order,
            split_seed=20 + split,
        )
        simulation.scalar(run, LOSS_HERE, 0, {TEST: float(values[cell])})


def drawn(
    rng: np.random.Generator, shape: tuple[int, int, int], init: float, order: float, rest: float
) -> np.ndarray:
    return (
        10
        + init * rng.normal(size=(shape[0], 1, 1))
        + order * rng.normal(size=(1, shape[1], 1))
        + rest * rng.normal(size=shape)
    )


def test_three_crossed_factors_are_the_components_of_their_table(simulation: Simulation) -> None:
    values = drawn(np.random.default_rng(0), (4, 3, 2), 2.0, 0.5, 0.1)
    plant(simulation, values)
    answer = variance_components(simulation.commit(), factors=("init", "order", "split"))
    expected = {c.name: c for c in crossed_components(values[..., None], ("init", "order", "split"))}
    rows = {r["component"]: r for r in answer.table.to_pylist()}

    assert list(rows) == [
        "init",
        "order",
        "split",
        "init:order",
        "init:split",
        "order:split",
        "init:order:split",
    ]
    for name, row in rows.items():
        assert row["variance"] == pytest.approx(expected[name].estimate)
        assert (row["share_low"], row["share_high"]) == pytest.approx(
            (expected[name].share_low, expected[name].share_high)
        )
    assert answer.n_runs == 24
    assert answer.estimate == pytest.approx(expected["init"].share)
    assert answer.ci_low <= answer.estimate <= answer.ci_high
    assert "24 runs (4 init × 3 order × 2 split)" in answer.sentence
    assert any(
        "split has only 2 levels" in line or "init has only 4 levels" in line for line in answer.limits
    )
    assert any("includes whatever else" in line for line in answer.limits)


def test_planted_variances_are_recovered(simulation: Simulation) -> None:
    plant(simulation, drawn(np.random.default_rng(1), (12, 12, 1), 1.0, 0.5, 0.25))
    answer = variance_components(simulation.commit(), factors=("init", "order"))
    rows = {r["component"]: r for r in answer.table.to_pylist()}

    for name, true in (("init", 1.0), ("order", 0.25), ("init:order", 0.0625)):
        assert rows[name]["low"] <= true <= rows[name]["high"]
        assert rows[name]["share_low"] <= true / 1.3125 <= rows[name]["share_high"]
    assert rows["init"]["share_low"] > 0.3
    assert answer.verdict is None


def test_seeds_that_do_nothing_are_unresolved(simulation: Simulation) -> None:
    plant(simulation, np.random.default_rng(2).normal(size=(3, 3, 1)))
    answer = variance_components(simulation.commit(), factors=("init", "order"))
    rows = {r["component"]: r for r in answer.table.to_pylist()}

    assert rows["init"]["low"] == 0
    assert rows["order"]["low"] == 0


def test_a_factor_left_out_becomes_repeats(simulation: Simulation) -> None:
    values = drawn(np.random.default_rng(3), (3, 3, 4), 1.0, 1.0, 0.5)
    plant(simulation, values)
    answer = variance_components(simulation.commit(), factors=("init", "order"))
    rows = {r["component"]: r for r in answer.table.to_pylist()}

    assert list(rows) == ["init", "order", "init:order", "rest"]
    assert rows["rest"]["variance"] == pytest.approx(values.var(axis=2, ddof=1).mean())


def test_a_factor_with_one_level_is_none(simulation: Simulation) -> None:
    plant(simulation, drawn(np.random.default_rng(4), (3, 4, 1), 1, 1, 1))
    archive = simulation.commit()
    answer = variance_components(archive, factors=("init", "order", "split"))

    assert answer.table["component"].to_pylist() == ["init", "order", "init:order"]
    assert any("all runs have one split" in line for line in answer.limits)
    with pytest.raises(UsageError, match="no condition has runs that differ in split"):
        variance_components(archive, factors=("split",))


def test_a_missing_cell_is_refused_by_name(simulation: Simulation) -> None:
    plant(simulation, drawn(np.random.default_rng(5), (3, 3, 1), 1, 1, 1))
    archive = simulation.commit()
    runs = [f"c-{i}-{j}-0" for i in range(3) for j in range(3) if (i, j) != (1, 2)]

    with pytest.raises(NotComparable, match=r"not fully crossed: init 1, order 12 has 0 run\(s\)"):
        variance_components(archive, runs=runs, factors=("init", "order"))


def test_unknown_seeds_are_refused(simulation: Simulation) -> None:
    for run in simulation.seeds(3):
        simulation.scalar(run, LOSS_HERE, 0, {TEST: 1.0})

    with pytest.raises(NotComparable, match="the order seed of 3 run"):
        variance_components(simulation.commit(), factors=("init", "order"))


def test_conditions_are_taken_apart_one_by_one_and_logarithms_need_positive_values(
    simulation: Simulation,
) -> None:
    rng = np.random.default_rng(6)
    for condition in ("a", "b"):
        plant(simulation, np.exp2(rng.normal(size=(3, 3, 1))), condition)
    archive = simulation.commit()
    answer = variance_components(archive, factors=("init", "order"), scale="log2")

    assert answer.table["group"].to_pylist() == ["a"] * 3 + ["b"] * 3
    assert "2 crossed conditions" in answer.sentence
    for k, run in enumerate(("x", "y")):
        simulation.run(run, condition="z", init_seed=k)
        simulation.scalar(run, LOSS_HERE, 0, {TEST: -1.0})
    with pytest.raises(UsageError, match="have no logarithm"):
        variance_components(simulation.commit(), runs="condition:z", factors=("init",), scale="log2")


def test_items_have_no_crossed_factors(simulation: Simulation) -> None:
    for run in simulation.seeds(3):
        simulation.items(run, 0, np.arange(4.0))

    with pytest.raises(UsageError, match="has a value per item"):
        variance_components(simulation.commit(), measure="item.loss", factors=("init",))


def test_the_figure_draws_all_components(simulation: Simulation) -> None:
    plant(simulation, drawn(np.random.default_rng(7), (3, 3, 1), 1, 1, 1))
    (bar,) = variance_components(simulation.commit(), factors=("init", "order")).plot().data

    assert list(bar.x) == ["init", "order", "init:order"]


def test_answers_that_count_crossed_runs_as_independent_say_so(simulation: Simulation) -> None:
    plant(simulation, drawn(np.random.default_rng(0), (3, 1, 2), 1.0, 0.0, 1.0))
    for run in simulation.seeds(2, prefix="p", condition="paired"):
        simulation.scalar(run, LOSS_HERE, 0, {TEST: 1.0})
    archive = simulation.commit()
    words = "The 6 runs of c share seeds (3 init, 2 split)"

    assert any(words in line for line in variance_components(archive).limits)
    crossed = variance_components(archive, runs="condition:c", factors=("init", "split"))
    assert not any("share seeds" in line for line in crossed.limits)
    assert not any(
        "share seeds" in line for line in variance_components(archive, runs="condition:paired").limits
    )
