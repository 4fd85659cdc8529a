from typing import Any

import numpy as np
import pytest

from archive.errors import UnknownName
from queries.reading.run_settings import RunSettings, read_settings, settings_columns
from queries.reading.select import select_runs
from tests.queries.simulated import LOG_LOSS_HERE, TEST, Simulation


def settings_of(
    simulation: Simulation, configs: dict[str, tuple[str, dict[str, Any]]], *asked: str
) -> RunSettings:
    """configs: run -> (condition, config)"""
    for run, (condition, config) in configs.items():
        simulation.run(run, condition=condition, config=config)
        simulation.log(run, LOG_LOSS_HERE, [0, 1], {TEST: [1.0, 0.5]})
    archive = simulation.commit()
    return read_settings(archive, select_runs(archive, "*"), asked)


def trained(weight_decay: float, frac: float = 0.4, **fields: object) -> dict[str, Any]:
    train = {
        "optimizer": {"weight_decay": weight_decay, "lr": 0.1},
        "task_params": {"frac_train": frac},
        **fields,
    }
    return {"spec_hash": "x", "train": train, "seeds": {"init": weight_decay}}


def test_of_runs_trained_here_all_that_differs_is_a_setting_but_their_length(simulation: Simulation) -> None:
    found = settings_of(
        simulation,
        {
            "a": ("A", trained(0.0, steps=100, checkpoints={"every": 5})),
            "b": ("B", trained(2.0, steps=200, checkpoints={"every": 10})),
        },
    )

    assert found.names == ("optimizer.weight_decay",)
    assert sorted(found.values.values()) == [(0.0,), (2.0,)]
    assert found.limits == ()


def test_what_differs_within_a_condition_is_a_result(simulation: Simulation) -> None:
    found = settings_of(
        simulation,
        {
            "a0": ("A", {"lr": 1, "seed": 0, "final_accuracy": 0.7}),
            "a1": ("A", {"lr": 1, "seed": 1, "final_accuracy": 0.8}),
            "b0": ("B", {"lr": 2, "seed": 0, "final_accuracy": 0.8}),
        },
    )

    assert found.names == ("lr",)


def test_without_repeats_nothing_tells_settings_from_results(simulation: Simulation) -> None:
    found = settings_of(
        simulation, {"a": ("A", {"lr": 1, "stopped": 5}), "b": ("B", {"lr": 2, "stopped": 9})}
    )

    assert found.names == ()
    assert set(found.unclear) == {"lr", "stopped"}
    assert "2 value(s) kept with the runs (first: lr) may be results" in found.limits[0]


def test_settings_can_be_named(simulation: Simulation) -> None:
    found = settings_of(
        simulation, {"a": ("A", trained(0.0, 0.3)), "b": ("B", trained(2.0, 0.4))}, "frac_train"
    )

    assert found.names == ("task_params.frac_train",)


def test_a_setting_that_no_run_has_is_refused(simulation: Simulation) -> None:
    with pytest.raises(UnknownName, match="no setting 'weight_decai'"):
        settings_of(simulation, {"a": ("A", trained(0.0))}, "weight_decai")


def test_numbers_become_the_order_of_their_levels() -> None:
    columns = settings_columns([(0.0,), (0.25,), (4.0,)], ["a", "b", "c"])

    assert columns[:, 0] == pytest.approx(np.array([-1, 0, 1]) / np.sqrt(2 / 3))
    assert columns.shape == (3, 1)


def test_words_and_repeated_conditions_become_a_column_each() -> None:
    columns = settings_columns([("adam",), ("adam",), ("sgd",), ("muon",)], ["a", "b", "c", "c"])

    # adam, sgd, muon, and c, which is neither of the first two
    assert columns.T.tolist() == [[1, 1, 0, 0], [0, 0, 1, 0], [0, 0, 0, 1]]


def test_settings_that_change_together_are_one() -> None:
    columns = settings_columns([(1, 64, True), (1, 64, True), (2, 128, False)], ["a", "a", "b"])
    assert columns.shape == (3, 1)


def test_runs_that_differ_in_nothing_have_no_column() -> None:
    assert settings_columns([(), ()], ["a", "a"]).shape == (2, 0)
    assert settings_columns([(3,), (3,)], ["a", "a"]).shape == (2, 0)
