"""Which runs share seeds: crossed, nested, unknown and pooled ones, and what is said of them."""

import pytest

from queries.reading.select import Selected, select_runs
from queries.reading.units import among, independent, units_by_group, units_limits, units_of
from tests.queries.simulated import Simulation


@pytest.fixture
def made(simulation: Simulation) -> Simulation:
    for k in range(9):
        simulation.run(f"r{k}", init_seed=k % 3, data_order_seed=k // 3)
    return simulation


def selection(s: Simulation) -> Selected:
    return select_runs(s.commit(), "*")


def test_crossed_seeds_are_as_many_runs_as_the_seed_with_fewest_values(made: Simulation) -> None:
    selected = selection(made)
    units = units_of(selected, selected.ids)

    assert {name: len(set(values)) for name, values in units.shared.items()} == {"init": 3, "order": 3}
    assert [of.tolist() for of in units.of()] == [[0, 1, 2] * 3, [0, 0, 0, 1, 1, 1, 2, 2, 2]]
    assert units.columns() == {"n_units": 3, "unit": "init"}
    assert units.told() == "9 runs, 3 independent inits"
    # of the first four runs three inits and two orders are left; orders still count
    assert units.columns(units.runs[:4]) == {"n_units": 2, "unit": "order"}
    (line,) = units_limits({"all": units}, "n_major")
    assert "share seeds (3 init and 3 order): 9 runs, 3 independent inits" in line
    assert line.endswith("n_major count runs.")


def test_a_seed_of_two_values_counts_only_where_no_other_is_shared(simulation: Simulation) -> None:
    for k in range(12):
        simulation.run(f"r{k}", init_seed=k % 6, data_order_seed=k // 6)
    selected = selection(simulation)
    units = units_of(selected, selected.ids)

    assert (list(units.shared), list(units.counted)) == (["init", "order"], ["init"])
    assert units.told() == "12 runs, 6 independent inits"
    few = units_of(
        selected, [run for run in selected.ids if selected.by_id[run].run in ("r0", "r6", "r1", "r7")]
    )
    assert few.columns() == {"n_units": 2, "unit": "init"}


def test_a_seed_that_all_or_no_two_runs_have_is_not_counted(simulation: Simulation) -> None:
    for k in range(4):
        simulation.run(f"r{k}", init_seed=k, data_order_seed=k, split_seed=0)
    selected = selection(simulation)
    units = units_of(selected, selected.ids)

    assert (units.shared, units.of(), units.told()) == ({}, [], "4 runs")
    assert units_limits({"all": units}, "") == []
    assert (independent(units.columns()), among(units.columns())) == ("", "")


def test_unknown_seeds_are_nobody_elses_and_a_hash_knows_an_init(simulation: Simulation) -> None:
    for k in range(6):
        simulation.run(f"r{k}", init_seed=None, data_order_seed=None, init_hash=f"weights {k // 2}")
    simulation.run("alone", init_seed=None, data_order_seed=None)
    selected = selection(simulation)
    units = units_of(selected, selected.ids)

    assert units.told() == "7 runs, 4 independent inits"


def test_a_seed_of_another_condition_is_another_one(simulation: Simulation) -> None:
    for condition in ("a", "b"):
        for k in range(3):
            simulation.run(f"{condition}{k}", init_seed=k, data_order_seed=k, condition=condition)
    selected = selection(simulation)

    assert units_of(selected, selected.ids).told() == "6 runs"
    assert [one.told() for one in units_by_group(selected, selected.ids).values()] == ["3 runs", "3 runs"]
