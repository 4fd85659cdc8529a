"""Suspect and superseded checkpoints stay out of answers, and answers say so."""

from collections.abc import Iterator, Mapping

import pyarrow as pa
import pytest

from archive.errors import UsageError
from archive.store import Archive
from queries.loss_curves import loss_curves
from queries.reading.checkpoints import Picked, find_left_out, find_left_outs, pick_checkpoints
from queries.reading.quantities import choose_quantity
from queries.reading.select import select_runs
from tests.queries.simulated import ACCURACY_HERE, LOSS_HERE, TEST, Simulation, kept_open


def planted(simulation: Simulation) -> Archive:
    s = simulation
    s.run("a")
    s.curve("a", LOSS_HERE, [0, 10, 40], [4, 3, 1])
    s.scalar(
        "a",
        LOSS_HERE,
        20,
        {TEST: 99.0},
        checkpoint={
            "integrity": "duplicate",
            "integrity_note": "same weights as step 10",
            "integrity_link": "url",
        },
    )
    # the hub put repaired weights of step 30 beside the first ones
    s.scalar("a", LOSS_HERE, 30, {TEST: 77.0}, checkpoint={"snapshot": "first"})
    s.scalar("a", LOSS_HERE, 30, {TEST: 2.0}, checkpoint={"snapshot": "repaired"})
    s.failed("a", LOSS_HERE, 50)
    return s.commit()


@pytest.fixture(scope="module")
def archive(simulation_of_module: Simulation) -> Iterator[Archive]:
    with kept_open(planted(simulation_of_module)) as archive:
        yield archive


def test_curves_leave_suspect_and_superseded_checkpoints_out(archive: Archive) -> None:
    answer = loss_curves(archive)

    assert answer.table["step"].to_pylist() == [0, 10, 30, 40]
    assert answer.table["value"].to_pylist() == [4, 3, 2, 1]


def test_what_is_left_out_is_named(archive: Archive) -> None:
    answer = loss_curves(archive)
    left_out = [(c["step"], c["snapshot"], c["why"]) for c in answer.provenance.left_out]
    text = " ".join(answer.limits)

    assert left_out == [(20, "", "suspect (duplicate)"), (30, "first", "superseded by a newer snapshot")]
    assert "step 20: same weights as step 10 url" in text
    assert "1 checkpoint(s) have no value: absent upstream" in text


def test_suspect_checkpoints_come_in_on_request(archive: Archive) -> None:
    answer = loss_curves(archive, with_suspect=True)

    assert answer.table["value"].to_pylist() == [4, 3, 99, 2, 1]


def test_an_ok_snapshot_wins_over_a_suspect_one_of_its_step(simulation: Simulation) -> None:
    simulation.run("a")
    simulation.scalar("a", LOSS_HERE, 5, {TEST: 1.0}, checkpoint={"snapshot": "x"})
    simulation.scalar("a", LOSS_HERE, 5, {TEST: 9.0}, checkpoint={"snapshot": "y", "integrity": "defect"})
    archive = simulation.commit()

    assert loss_curves(archive).table["value"].to_pylist() == [1.0]
    assert loss_curves(archive, with_suspect=True).table["value"].to_pylist() == [1.0]


def picked(archive: Archive, step: object) -> Picked:
    choice = choose_quantity(archive, select_runs(archive, "*"), ["loss"], {}, tables=("fact_scalar",))
    return pick_checkpoints(
        archive,
        choice.selected,
        choice.quantity,
        find_left_out(archive, choice, {}),
        step,  # type: ignore[arg-type]
    )


def test_several_quantities_are_looked_through_with_one_statement(
    simulation: Simulation, monkeypatch: pytest.MonkeyPatch
) -> None:
    for run in simulation.seeds(2):
        simulation.scalar(run, LOSS_HERE, 5, {TEST: 1.0}, checkpoint={"snapshot": "1st"})
        simulation.scalar(run, LOSS_HERE, 5, {TEST: 1.0}, checkpoint={"snapshot": "2nd"})
        simulation.scalar(run, ACCURACY_HERE, 5, {TEST: 1.0}, checkpoint={"snapshot": "1st"})
    simulation.scalar("s0", ACCURACY_HERE, 6, {TEST: 1.0}, checkpoint={"integrity": "defect"})
    archive = simulation.commit()
    selected = select_runs(archive, "*")
    loss, accuracy = (
        choose_quantity(archive, selected, [name], {}, tables=("fact_scalar",))
        for name in ("loss", "accuracy")
    )
    alone = [find_left_out(archive, choice, {}) for choice in (loss, accuracy)]
    asked = []
    ask = Archive.query

    def counted(self: Archive, sql: str, parameters: Mapping[str, object] | None = None) -> pa.Table:
        asked.append(sql)
        return ask(self, sql, parameters)

    monkeypatch.setattr(Archive, "query", counted)
    # one quantity twice, as two parts of it are, leaves out nothing more
    together = find_left_outs(archive, [loss, accuracy, loss], {})

    assert len(asked) == 1
    assert {c.step for found in alone for c in found.measured} == {5, 6}
    assert set(together.measured) == {c for found in alone for c in found.measured}
    assert [(c.run, c.step, c.snapshot) for c in together.measured] == [
        ("s0", 5, "1st"),
        ("s0", 6, ""),
        ("s1", 5, "1st"),
    ]


def test_the_final_checkpoint_is_the_last_usable_one(archive: Archive) -> None:
    assert picked(archive, "final").steps == [40]
    assert picked(archive, 30).place == "step 30"


def test_a_step_that_is_not_there_is_refused_with_the_nearest(archive: Archive) -> None:
    with pytest.raises(UsageError, match="no run has loss at step 12; the nearest steps are 10, 20, 0"):
        picked(archive, 12)


def test_a_run_of_suspect_checkpoints_only_is_refused_with_the_repair(simulation: Simulation) -> None:
    simulation.run("a")
    simulation.scalar("a", LOSS_HERE, 5, {TEST: 1.0}, checkpoint={"integrity": "defect"})
    archive = simulation.commit()

    with pytest.raises(UsageError, match="with_suspect"):
        picked(archive, "final")
    with pytest.raises(UsageError, match="every checkpoint of these runs is left out"):
        loss_curves(archive)
