import math

import numpy as np
import pytest

from archive.errors import NotComparable, UnknownName
from queries.transitions_per_position import transitions_per_position
from tests.queries.simulated import TRAIN, Simulation, rising

LABELS = ["carry", "tens", "units"]
GRID = [0, *(round(2 ** (k / 4)) for k in range(8, 45))]  # four points an octave, 4 to 2,048


def plant(simulation: Simulation, run: str, times: list[float | None], *, width: float = 0.1) -> None:
    """Position i falls from 2 nats to 0 at times[i]; None = never."""
    curves = [
        np.full(len(GRID), 2.0) if at is None else 2 - rising(GRID, at, width=width, top=2.0) for at in times
    ]
    for step, values in zip(GRID, np.array(curves).T, strict=True):
        simulation.positions(run, step, values, LABELS)


def test_planted_times_widths_and_order_are_found(simulation: Simulation) -> None:
    rng = np.random.default_rng(0)
    planted = {}
    for run in simulation.seeds(6):
        planted[run] = (2 ** (np.array([9.0, 7.5, 6.0]) + rng.normal(0, 0.1, 3))).tolist()
        plant(simulation, run, planted[run], width=0.2)
    answer = transitions_per_position(simulation.commit(), level=1.0)
    rows = answer.table.to_pylist()

    assert all(r["after"] < planted[r["run"]][r["position"]] <= r["reached"] for r in rows)
    # a logistic of width w octaves takes 2 ln 9 w from 10 % to 90 %
    assert all(r["width_low"] <= 4.394 * 0.2 <= r["width_high"] + 0.3 for r in rows)
    assert {(r["label"], r["rank"]) for r in rows} == {("units", 1.0), ("tens", 2.0), ("carry", 3.0)}
    (order,) = answer.orders.to_pylist()
    assert (order["w"], order["order"], order["n_modal"]) == (pytest.approx(1), "units < tens < carry", 6)
    assert answer.verdict == "yes"
    assert answer.p_value < 0.01
    assert answer.summary is not None
    assert [r["n_reached"] for r in answer.summary.to_pylist()] == [6, 6, 6]
    assert np.log2(answer.summary["median"].to_pylist()) == pytest.approx([9, 7.5, 6], abs=0.2)
    assert "reached in every run at 3 of 3 positions" in answer.sentence


def test_a_position_that_nobody_learns_is_in_no_order_and_one_that_some_do_is(simulation: Simulation) -> None:
    for run, carry in zip(simulation.seeds(5), [500.0, 500, 500, None, None], strict=True):
        plant(simulation, run, [carry, None, 60])
    answer = transitions_per_position(simulation.commit())
    (order,) = answer.orders.to_pylist()
    by_label = {r["label"]: r for r in (answer.summary.to_pylist() if answer.summary else [])}

    assert order["n_events"] == 2
    assert order["order"] == "units < carry"
    assert (by_label["tens"]["n_reached"], by_label["tens"]["mean_rank"]) == (0, None)
    assert by_label["carry"]["n_never"] == 2
    assert by_label["tens"]["share_high"] == pytest.approx(0.522, abs=1e-3)
    assert any("7 position(s) of runs never got there" in line for line in answer.limits)


def test_brackets_that_overlap_leave_the_order_open(simulation: Simulation) -> None:
    for run in simulation.seeds(4):
        plant(simulation, run, [100, 101, 102], width=0.01)
    answer = transitions_per_position(simulation.commit())

    assert answer.verdict == "unresolved"
    assert answer.table["rank"].to_pylist() == [2.0] * 12
    assert "no run shows any order" in answer.sentence


def test_two_runs_do_not_agree_on_anything(simulation: Simulation) -> None:
    for run in simulation.seeds(2):
        plant(simulation, run, [500, 120, 30])
    answer = transitions_per_position(simulation.commit())

    assert answer.verdict == "unresolved"
    assert "too few to say" in answer.sentence


def test_random_orders_are_called_an_order_as_rarely_as_promised(simulation: Simulation) -> None:
    # 40 conditions of 4 runs whose positions learn in random order
    rng = np.random.default_rng(1)
    steps = [0, *(2**k for k in range(9))]
    for c in range(40):
        for k in range(4):
            run = simulation.run(f"c{c}s{k}", condition=f"c{c}", init_seed=k)
            at = rng.choice(9, size=3, replace=False) + 1
            for i, step in enumerate(steps):
                simulation.positions(run, step, np.where(i >= at, 0.0, 2.0), LABELS)
    answer = transitions_per_position(simulation.commit())
    verdicts = answer.orders["verdict"].to_pylist()

    assert len(verdicts) == 40
    assert verdicts.count("yes") / 40 <= 0.05 + 3 * math.sqrt(0.05 * 0.95 / 40)


def test_coarse_checkpoints_give_a_time_but_no_width(simulation: Simulation) -> None:
    run = simulation.run("a")
    for step, value in zip([0, 8, 16, 32, 64], [2.0, 2, 2, 0, 0], strict=True):
        simulation.positions(run, step, np.array([value]), ["p1"])
    answer = transitions_per_position(simulation.commit())
    (row,) = answer.table.to_pylist()

    assert (row["after"], row["reached"], row["width_high"]) == (16, 32, None)
    assert any("have no width" in line for line in answer.limits)


def test_positions_of_different_tasks_are_not_put_together(simulation: Simulation) -> None:
    simulation.positions(simulation.run("a"), 0, np.ones(2), ["x", "y"])
    simulation.positions(simulation.run("b"), 0, np.ones(3), LABELS)

    with pytest.raises(NotComparable, match="differs in parameters"):
        transitions_per_position(simulation.commit())


def test_splits_are_asked_for_by_name_and_the_level_can_hold(simulation: Simulation) -> None:
    run = simulation.run("a")
    for step, value in zip([1, 2, 3, 4], [2.0, 0, 2, 0], strict=True):
        simulation.positions(run, step, np.array([value]), ["p1"], part=TRAIN)
    archive = simulation.commit()

    assert transitions_per_position(archive, part="train").table["reached"].to_pylist() == [2]
    assert transitions_per_position(archive, rule="stays").table["reached"].to_pylist() == [4]
    with pytest.raises(UnknownName, match="tset"):
        transitions_per_position(archive, part="tset")


def test_the_figure_has_a_colour_a_position(simulation: Simulation) -> None:
    for run in simulation.seeds(2):
        plant(simulation, run, [500, None, 30])
    figure = transitions_per_position(simulation.commit()).plot()

    assert [t.name for t in figure.data if t.showlegend is not False] == LABELS
    assert [len(t.x) for t in figure.data if t.name == "tens: not by then"] == [2]


def test_positions_learned_at_one_step_hide_none_of_each_other(simulation: Simulation) -> None:
    for run in simulation.seeds(2):
        plant(simulation, run, [500, 500, 500])
    figure = transitions_per_position(simulation.commit()).plot()
    rows = [[y for y in t.y if y is not None] for t in figure.data if t.showlegend is not False]

    assert len({y for ys in rows for y in ys}) == 6
    assert all(round(y) == run for ys in rows for run, y in zip([0, 0, 1, 1], ys, strict=True))
    assert list(figure.layout.yaxis.ticktext) == ["s0", "s1"]
