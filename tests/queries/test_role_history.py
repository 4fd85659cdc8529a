"""role_history: planted times of roles within their brackets, the order over runs, the null, what is not known."""

import numpy as np
import pytest

from queries.role_history import role_history
from tests.queries.language import IOI, head_score, head_scores
from tests.queries.simulated import GRID, Simulation, rising

STEPS = [0, *(round(2 ** (k / 2)) for k in range(6, 27))]  # two an octave, 8 to 8,192
SHAPE = (2, 2)
# the score of each role on repeated tokens, and the head that comes to it
HEADS = {"previous_token": (0, 1), "duplicate_token": (0, 0), "prefix_matching": (1, 1)}


def plant(
    s: Simulation, run: str, at: dict[str, float], *, steps: list[int] = STEPS, se: float | None = 0.01
) -> None:
    """Scores rise from 0.02 to 0.9 at the steps given; one that never does has `inf`."""
    for k, step in enumerate(steps):
        values = {}
        for name, when in at.items():
            values[name] = np.full(SHAPE, 0.02)
            if np.isfinite(when):
                values[name][HEADS[name]] = 0.02 + 0.88 * rising(steps, when, width=0.3)[k]
        head_scores(s, run, step, values, se=se)


def test_times_lie_in_their_brackets_and_roles_come_in_the_planted_order(simulation: Simulation) -> None:
    for k, run in enumerate(simulation.seeds(6)):
        at = 100 * 1.2**k
        plant(simulation, run, {"previous_token": at, "duplicate_token": 16 * at, "prefix_matching": 4 * at})
    answer = role_history(simulation.commit(), task="induction")
    events = answer.events.to_pylist()
    (order,) = answer.orders.to_pylist()

    for e in events:
        at = (
            100
            * 1.2 ** int(e["run"][1:])
            * {"previous_token": 1, "duplicate_token": 16, "induction": 4}[e["role"]]
        )
        # 0.3 of 0.9 is reached a little before the middle
        assert (e["kind"], e["half_kind"]) == ("observed", "observed")
        assert e["half_after"] < at <= e["half"]
        assert e["reached"] <= e["half"]
    assert order["order"] == "previous_token < induction < duplicate_token"
    assert (order["w"], order["n_modal"], answer.verdict) == (pytest.approx(1), 6, "yes")
    assert answer.p_value < 0.001
    assert answer.summary is not None
    assert answer.summary["n_reached"].to_pylist() == [6, 6, 6]
    last = [r for r in answer.table.to_pylist() if r["step"] == STEPS[-1] and r["role"] == "induction"]
    assert {(r["head"], r["n_heads"], r["n_tested"]) for r in last} == {("L1H1", 1, 4)}


def test_one_role_has_a_median_time_and_no_order(simulation: Simulation) -> None:
    times = [300.0, 500.0, 800.0, 1300.0, 700.0]
    for run, at in zip(simulation.seeds(5), times, strict=True):
        plant(simulation, run, {"prefix_matching": at})
    archive = simulation.commit()
    answer = role_history(archive, task="induction", role="induction")
    halves = role_history(archive, task="induction", role="induction", of="half")
    (row,) = answer.summary.to_pylist()  # type: ignore[union-attr]

    assert answer.ci_low <= answer.estimate <= answer.ci_high
    assert row["half_low"] <= 700 <= row["half_high"]
    assert answer.estimate < row["half_median"]
    assert not answer.orders.num_rows
    assert any("uses the future" in line for line in halves.limits)
    assert not any("uses the future" in line for line in answer.limits)


def test_orders_that_runs_draw_at_random_are_not_found(simulation: Simulation) -> None:
    names = list(HEADS)
    # a Latin square: every role is first, second and third equally often
    for k, run in enumerate(simulation.seeds(6)):
        plant(simulation, run, {names[(k + i) % 3]: 100 * 6.0**i for i in range(3)})
    answer = role_history(simulation.commit(), task="induction")

    assert answer.orders["w"].to_pylist() == pytest.approx([0])
    assert answer.verdict == "unresolved"


def test_roles_that_never_form_or_were_there_at_first_are_said_so(simulation: Simulation) -> None:
    simulation.run("a")
    plant(simulation, "a", {"previous_token": np.inf, "duplicate_token": 1e-3, "prefix_matching": 200})
    answer = role_history(simulation.commit(), task="induction")
    kinds = {e["role"]: (e["kind"], e["half_kind"], e["class"]) for e in answer.events.to_pylist()}

    assert kinds["previous_token"] == ("never", "never", None)
    assert kinds["duplicate_token"] == ("before", "before", None)
    assert kinds["induction"][0] == "observed"
    assert any("had a head at their first checkpoint" in line for line in answer.limits)
    assert any("one may form later (first: previous_token in a)" in line for line in answer.limits)


def test_a_role_that_no_run_has_is_in_no_order(simulation: Simulation) -> None:
    for run in simulation.seeds(3):
        plant(simulation, run, {"previous_token": 100, "duplicate_token": np.inf, "prefix_matching": 100})
    answer = role_history(simulation.commit(), task="induction")

    # it would come last in all runs, and make them agree
    assert answer.orders["n_events"].to_pylist() == [2]
    assert answer.verdict == "unresolved"


def test_noise_never_forms_a_role_more_often_than_promised(simulation: Simulation) -> None:
    rng = np.random.default_rng(1)
    n_runs, items = 60, 15
    for run in simulation.seeds(n_runs):
        for step in (1, 2, 4, 8):
            # at the bound itself: four heads at four checkpoints
            draws = rng.normal(0.3, 0.3, (*SHAPE, items))
            se = draws.std(axis=-1, ddof=1) / np.sqrt(items)
            head_scores(
                simulation,
                run,
                step,
                {"prefix_matching": draws.mean(axis=-1)},
                se={"prefix_matching": se},
                n_items=items,
            )
    answer = role_history(simulation.commit(), task="induction", role="induction", confidence=0.8)
    formed = np.mean([e["kind"] != "never" for e in answer.events.to_pylist()])

    assert 0 < formed < 0.2 + 3 * np.sqrt(0.2 * 0.8 / n_runs)


def test_what_cannot_be_tested_has_no_time(simulation: Simulation) -> None:
    simulation.run("a")
    plant(simulation, "a", {"prefix_matching": 200}, se=None)
    answer = role_history(simulation.commit(), task="induction")

    assert answer.events["kind"].to_pylist() == ["no data"]
    assert answer.verdict == "unresolved"
    assert any("could not be tested" in line for line in answer.limits)
    assert answer.table["score"].to_pylist()[-1] == pytest.approx(3, abs=0.01)
    assert len(answer.plot().data) == 1


def test_a_score_of_another_eval_set_is_not_said_to_be_absent(simulation: Simulation) -> None:
    for run in simulation.seeds(2):
        plant(simulation, run, {"prefix_matching": 300})
        there = head_score("previous_token", IOI).model_copy(update={"encoding": GRID})
        simulation.heads(run, STEPS[-1], np.full(SHAPE, 0.5), quantity=there)
    answer = role_history(simulation.commit(), task="induction")

    (line,) = [line for line in answer.limits if line.startswith("Roles not judged")]
    assert "previous_token (no head.previous_token there, only on all pairs)" in line
    assert "duplicate_token (no head.duplicate_token)" in line
