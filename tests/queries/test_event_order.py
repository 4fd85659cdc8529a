import math

import numpy as np
import pytest

from archive.errors import UnknownName, UsageError
from archive.records import Part, Quantity
from queries.event_order import event_order
from queries.events.event_specs import parse_event
from tests.queries.language import pairs
from tests.queries.simulated import (
    ACCURACY_HERE,
    GRID,
    LOG_ACCURACY_HERE,
    LOSS_HERE,
    TEST,
    TRAIN,
    Simulation,
    measure,
)

STEPS = [0, 1, 2, 4, 8, 16, 32]
AUTHORED = Quantity(measure=measure("event.grokked", "fact_event", unit="step", direction="neither"))
FOUR = ("accuracy[train] >= 0.5", "accuracy[test] >= 0.5", "loss[train] <= 0.5", "loss[test] <= 0.5")


def reaching(at: int | None, *, down: bool = False) -> np.ndarray:
    there = np.array(STEPS) >= (math.inf if at is None else at)
    return np.where(there, 0.0, 1.0) if down else np.where(there, 1.0, 0.0)


def plant(simulation: Simulation, run: str, at: list[int | None]) -> None:
    """Steps at which the four events happen."""
    up, down = [reaching(a) for a in at[:2]], [reaching(a, down=True) for a in at[2:]]
    for i, step in enumerate(STEPS):
        simulation.scalar(run, ACCURACY_HERE, step, {TRAIN: up[0][i], TEST: up[1][i]})
        simulation.scalar(run, LOSS_HERE, step, {TRAIN: down[0][i], TEST: down[1][i]})


def author(simulation: Simulation, run: str, step: int | None, censored_at: int | None = None) -> None:
    b = simulation.builder
    owner, q = b.run(simulation.runs[run]), b.quantity(AUTHORED)
    b.add("fact_event", owner, q, part=b.part(Part()), ordinal=0, step=step, censored_at=censored_at)
    b.cell(owner, q)


def test_a_planted_order_is_found(simulation: Simulation) -> None:
    for run in simulation.seeds(6):
        plant(simulation, run, [2, 16, 4, 32])
    answer = event_order(simulation.commit(), events=FOUR)
    (order,) = answer.orders.to_pylist()

    assert order["w"] == pytest.approx(1)
    assert order["order"] == " < ".join([FOUR[0], FOUR[2], FOUR[1], FOUR[3]])
    assert (order["n_modal"], order["verdict"], answer.verdict) == (6, "yes", "yes")
    assert answer.p_value < 0.001
    assert answer.table["after"].to_pylist()[:4] == [1, 8, 2, 16]
    assert answer.summary is not None
    first = answer.summary.to_pylist()[0]
    assert (first["n_before"], first["n_after"], first["n_unclear"]) == (6, 0, 0)
    assert (first["low"], first["high"]) == pytest.approx((0.541, 1), abs=1e-3)
    assert first["verdict"] == "yes"


def test_five_runs_never_show_that_one_event_always_comes_first(simulation: Simulation) -> None:
    for run in simulation.seeds(5):
        plant(simulation, run, [2, 16, 4, 32])
    answer = event_order(simulation.commit())

    assert answer.summary is not None
    assert answer.summary["verdict"].to_pylist() == ["unresolved"]
    # of two events five runs agree by chance once in 16 times
    assert answer.p_value == pytest.approx(1 / 16)
    assert answer.verdict == "unresolved"
    assert any("5 of 5 runs still allows" in line for line in answer.limits)


def test_events_between_the_same_checkpoints_are_in_no_order(simulation: Simulation) -> None:
    for run in simulation.seeds(6):
        plant(simulation, run, [8, 8, 4, 32])
    answer = event_order(simulation.commit(), events=FOUR)
    pair = answer.summary.to_pylist()[0]  # type: ignore[union-attr]
    (order,) = answer.orders.to_pylist()

    assert (pair["n_unclear"], pair["low"], pair["high"]) == (6, 0, 1)
    assert f"{FOUR[0]} = {FOUR[1]}" in order["modal_order"]
    assert any("In 6 of 36 pairs of events the brackets overlap" in line for line in answer.limits)


def test_an_event_never_seen_is_later_than_all_that_were(simulation: Simulation) -> None:
    for run in simulation.seeds(6):
        plant(simulation, run, [2, None, 4, None])
    answer = event_order(simulation.commit(), events=FOUR)
    ranks = answer.table["rank"].to_pylist()[:4]

    assert ranks == [1, 3.5, 2, 3.5]
    assert any("12 event(s) of runs are never seen" in line for line in answer.limits)


def test_a_run_without_one_of_the_events_is_in_the_pairs_only(simulation: Simulation) -> None:
    for run in simulation.seeds(3):
        plant(simulation, run, [2, 16, 4, 32])
    simulation.run("x", init_seed=9)
    for i, step in enumerate(STEPS):
        simulation.scalar("x", ACCURACY_HERE, step, {TRAIN: reaching(2)[i], TEST: reaching(16)[i]})
    answer = event_order(simulation.commit(), events=FOUR)
    (order,) = answer.orders.to_pylist()

    assert (answer.n_runs, order["n_runs"]) == (4, 3)
    assert answer.summary is not None
    assert answer.summary["n_runs"].to_pylist() == [4, 3, 3, 3, 3, 3]


def test_authors_events_are_events(simulation: Simulation) -> None:
    for k, run in enumerate(simulation.seeds(6)):
        plant(simulation, run, [2, 16, 4, 32])
        author(simulation, run, None if k == 0 else 10, censored_at=32)
    answer = event_order(simulation.commit(), events=("accuracy[train] >= 0.5", "event.grokked"))
    given = [r for r in answer.table.to_pylist() if r["event"] == "event.grokked"]

    assert (given[0]["kind"], given[0]["after"], given[0]["reached"]) == ("never", 32, None)
    assert (given[1]["after"], given[1]["reached"]) == (9, 10)
    assert answer.verdict == "yes"
    assert len(answer.provenance.quantities) == 2


def test_the_training_log_and_variants_are_asked_for_by_name(simulation: Simulation) -> None:
    variants = [
        Quantity(
            measure=measure("restricted_loss", "fact_scalar", scope="split"),
            encoding=GRID,
            params={"frequencies": w},
        )
        for w in ("final", "current")
    ]
    for run in simulation.seeds(3):
        simulation.log(run, LOG_ACCURACY_HERE, STEPS, {TEST: reaching(16)})
        for quantity, at in zip(variants, (4, 8), strict=True):
            simulation.curve(run, quantity, STEPS, reaching(at, down=True))
    events = (
        "restricted_loss{frequencies=final}[test] <= 0.5",
        "restricted_loss{frequencies=current} <= 0.5",
        "accuracy >= 0.5",
    )
    answer = event_order(simulation.commit(), events=events)

    assert answer.table["reached"].to_pylist()[:3] == [4, 8, 16]


def test_random_orders_are_called_an_order_as_rarely_as_promised(simulation: Simulation) -> None:
    rng = np.random.default_rng(2)
    for c in range(40):
        for k in range(5):
            run = simulation.run(f"c{c}s{k}", condition=f"c{c}", init_seed=k)
            plant(simulation, run, [int(s) for s in rng.choice(STEPS[1:], size=4)])
    answer = event_order(simulation.commit(), events=FOUR)
    verdicts = answer.orders["verdict"].to_pylist()

    assert len(verdicts) == 40
    assert verdicts.count("yes") / 40 <= 0.05 + 3 * math.sqrt(0.05 * 0.95 / 40)
    assert answer.verdict is None or answer.verdict == "unresolved"


@pytest.mark.parametrize("text", ["accuracy > 0.5", "accuracy[test] >= half", "loss{a}[test] <= 1", ""])
def test_what_is_no_event_is_refused_with_an_example(text: str) -> None:
    with pytest.raises(UsageError, match=r"is not an event: write 'accuracy\[test\] >= 0.99'"):
        parse_event(text)


def test_events_are_read_with_and_without_a_part() -> None:
    assert parse_event("loss <= 1e-2").part == "auto"
    assert parse_event("weight_norm[] ≥ 3").part == ""
    spec = parse_event("a.b{x=1, y=z}[c] <= 2")
    assert (spec.measure, spec.params, spec.part, spec.direction) == (
        "a.b",
        (("x", "1"), ("y", "z")),
        "c",
        "down",
    )


def test_an_order_needs_two_events_that_are_there(simulation: Simulation) -> None:
    plant(simulation, simulation.run("a"), [2, 16, 4, 32])
    archive = simulation.commit()

    with pytest.raises(UsageError, match="two different events"):
        event_order(archive, events=("accuracy[test] >= 0.5",))
    with pytest.raises(UnknownName, match="acuracy"):
        event_order(archive, events=("acuracy[test] >= 0.5", "loss[test] <= 1"))
    with pytest.raises(UnknownName, match="part of loss"):
        event_order(archive, events=("accuracy[test] >= 0.5", "loss[tset] <= 1"))
    with pytest.raises(UsageError, match=r"accuracy.*has no level"):
        event_order(archive, events=("accuracy", "loss[test] <= 1"))


def test_the_figure_has_a_colour_an_event(simulation: Simulation) -> None:
    for run in simulation.seeds(2):
        plant(simulation, run, [2, 16, 4, None])
    figure = event_order(simulation.commit(), events=FOUR).plot()

    assert [t.name for t in figure.data if t.showlegend is not False] == list(FOUR)


def test_the_best_head_and_the_best_pair_are_events(simulation: Simulation) -> None:
    for run in simulation.seeds(6):
        for step in STEPS:
            simulation.heads(run, step, np.array([[0.1, 0.9 if step >= 16 else 0.1]]))
            pairs(simulation, run, "k", step, np.full((2, 2), 7.0 if step >= 4 else np.nan))
    answer = event_order(simulation.commit(), events=("head.previous_token >= 0.3", "k_composition >= 5"))

    assert answer.table["reached"].to_pylist()[:2] == [16, 4]
    # nothing was measured before step 4, so when it was reached is not known
    assert answer.table["kind"].to_pylist()[:2] == ["observed", "before"]
    assert parse_event("k_composition[L0H1>L1H2] >= 5").part == "L0H1>L1H2"
