"""Several measures at once: each for the runs that have it, in few statements, refusals kept apart."""

import numpy as np
import pytest

from archive.errors import NotComparable, UnknownName, UsageError
from archive.records import Quantity
from queries.reading.quantities import Choice, Want, choose_quantities
from queries.reading.scalars import Scalar, read_scalars
from queries.reading.select import select_runs
from tests.queries.simulated import (
    ACCURACY_HERE,
    LOG_LOSS_HERE,
    LOSS,
    LOSS_HERE,
    OTHER_GRID,
    TEST,
    TRAIN,
    Simulation,
    measure,
)

SCALARS = ("fact_scalar", "fact_log")


def test_curves_of_several_measures_come_apart_by_name_and_run(simulation: Simulation) -> None:
    for k, run in enumerate(simulation.seeds(3)):
        for step in (0, 1, 2):
            simulation.scalar(run, ACCURACY_HERE, step, {TEST: step + k, TRAIN: -step})
        if k:
            simulation.log(run, LOG_LOSS_HERE, [0, 5], {TEST: [4, 3]})
    archive = simulation.commit()
    asked = {
        "a": Scalar(Want(("accuracy",), SCALARS), "train"),
        "b": Scalar(Want(("accuracy",), SCALARS)),
        "c": Scalar(Want(("loss", "log.loss"), SCALARS)),
        "d": Scalar(Want(("weight_norm",), SCALARS)),
        "e": Scalar(Want(("accuracy",), SCALARS), "tset"),
    }
    found = read_scalars(archive, select_runs(archive, "*"), asked, {})
    ids = [r.run_id for r in select_runs(archive, "*").runs]

    assert [v.tolist() for v in found.curves["a"][ids[0]]] == [[0, 1, 2], [0, -1, -2]]
    assert found.curves["b"][ids[2]][1].tolist() == [2, 3, 4]
    assert set(found.curves["c"]) == set(ids[1:])
    assert found.curve("c", ids[0]) is None
    assert isinstance(found.missing["d"], UnknownName)
    assert "part of accuracy" in str(found.missing["e"])
    assert found.parts == {"a": "train", "b": "test", "c": "test"}


def test_suspect_checkpoints_are_kept_away(simulation: Simulation) -> None:
    run = simulation.run("a")
    simulation.curve(run, LOSS_HERE, [0, 2], [5, 3])
    simulation.scalar(run, LOSS_HERE, 1, {TEST: 99.0}, checkpoint={"integrity": "defect"})
    archive = simulation.commit()
    found = read_scalars(archive, select_runs(archive, "*"), {"x": Scalar(Want(("loss",), SCALARS))}, {})

    assert next(iter(found.curves["x"].values()))[1].tolist() == [5, 3]
    assert any("1 checkpoint(s) left out as suspect" in line for line in found.limits)


def test_what_differs_is_refused_before_what_is_missing(simulation: Simulation) -> None:
    simulation.curve(simulation.run("a"), LOSS_HERE, [0], [1])
    simulation.curve(simulation.run("b"), Quantity(measure=LOSS, encoding=OTHER_GRID), [0], [1])
    archive = simulation.commit()
    selected = select_runs(archive, "*")
    missing, mixed = choose_quantities(
        archive, selected, [Want(("nothing",), SCALARS), Want(("loss",), SCALARS)], {}
    )

    assert isinstance(missing, UnknownName)
    assert isinstance(mixed, NotComparable)
    asked = {"m": Scalar(Want(("nothing",), SCALARS)), "l": Scalar(Want(("loss",), SCALARS))}
    with pytest.raises(NotComparable, match="differs in eval set"):
        read_scalars(archive, selected, asked, {})


def test_an_eval_set_asked_for_says_nothing_about_weights(simulation: Simulation) -> None:
    norm = Quantity(measure=measure("weight_norm", "fact_scalar"))
    run = simulation.run("a")
    simulation.curve(run, LOSS_HERE, [0], [1])
    simulation.curve(run, norm, [0], [7])
    archive = simulation.commit()
    selected = select_runs(archive, "*")
    wants = [Want(("loss",), SCALARS), Want(("weight_norm",), SCALARS)]

    assert all(
        isinstance(c, Choice) for c in choose_quantities(archive, selected, wants, {"eval_set": "all pairs"})
    )
    (alone,) = choose_quantities(archive, selected, wants[1:], {"eval_set": "all pairs"})
    assert isinstance(alone, UsageError)


def test_a_want_may_look_at_anything_of_a_quantity(simulation: Simulation) -> None:
    run = simulation.run("a")
    for k in (1, 2):
        simulation.curve(run, Quantity(measure=measure("m", "fact_scalar"), params={"k": k}), [0], [float(k)])
    archive = simulation.commit()
    asked = {"two": Scalar(Want(("m",), SCALARS, fits=lambda q: q.params["k"] == 2))}
    found = read_scalars(archive, select_runs(archive, "*"), asked, {})

    assert np.concatenate([v for _, v in found.curves["two"].values()]).tolist() == [2]
