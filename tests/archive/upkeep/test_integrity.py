"""The integrity ledger: read from an archive, recorded through a unit, overruled by a person."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest

from archive.committer import commit_inbox
from archive.errors import UnknownName, UsageError
from archive.layout import Layout
from archive.records import Checkpoint, Measure, Part, Quantity, Run
from archive.schema.base import CellState
from archive.shard import ShardBuilder
from archive.store import Archive
from archive.upkeep.acceptance import accept
from archive.upkeep.integrity import RunLedger, find_runs, read_ledger, record
from archive.upkeep.merge import merge
from tests.archive.upkeep.conftest import Make
from tests.archive.upkeep.test_commands import Command

SKETCH = Part(kind="gram", name="sketch")
PRODUCTS = Quantity(
    measure=Measure(
        name="weight_products", scope="vector", table="fact_vector", unit="1", summary="Products."
    ),
    params={"projection": "count sketch"},
)
OTHER = PRODUCTS.model_copy(update={"dtype": "float64"})
RUN = Run(name="toy/a", family="toy", condition="c", aliases=("a",))
N = 20


def vectors(seed: int = 0) -> np.ndarray:
    return 5 + np.cumsum(np.random.default_rng(seed).normal(size=(N, 200)), 0)


def unit(
    weights: Sequence[np.ndarray | None],
    *,
    run: Run = RUN,
    quantity: Quantity = PRODUCTS,
    **fields: Any,
) -> ShardBuilder:
    """Checkpoints at steps 0, 10, ... with these sketches; None: nothing measured."""
    builder = ShardBuilder(kind="measure")
    builder.run(run)
    index = builder.quantity(quantity)
    for k, vector in enumerate(weights):
        if vector is None:
            continue
        hash_ = f"{hash(vector.tobytes()):x}"
        owner = builder.checkpoint(Checkpoint(run=run.name, step=10 * k, weights_hash=hash_, **fields))
        part = np.array([builder.part(SKETCH)], dtype=np.int32)
        builder.add("fact_vector", owner, index, layer=-1, unit=-1, part=part, values=vector[None])
        builder.cell(owner, index)
    return builder


def failing(step: int, error_class: str, message: str, state: CellState, quantity: Quantity) -> ShardBuilder:
    builder = ShardBuilder(kind="measure")
    builder.run(RUN)
    owner = builder.checkpoint(Checkpoint(run=RUN.name, step=step))
    builder.failed_cell(owner, builder.quantity(quantity), state, error_class=error_class, message=message)
    return builder


def swapped() -> np.ndarray:
    found = vectors()
    found[[4, 15]] = found[[15, 4]]
    return found


def ledger(layout: Layout, run: str = RUN.name) -> RunLedger:
    archive = Archive(layout.database)
    [(run_id, name)] = find_runs(archive, run)
    return read_ledger(archive, run_id, name)


def suspects(layout: Layout) -> dict[int, tuple[str, str]]:
    rows = Archive(layout.database).rows(
        "SELECT step, integrity, integrity_note FROM v_checkpoint WHERE suspect ORDER BY step"
    )
    return {row["step"]: (row["integrity"], row["integrity_note"]) for row in rows}


def test_findings_are_recorded_once_through_a_unit(make: Make) -> None:
    layout = make("x", unit(swapped()))
    assert record(layout, [ledger(layout)]) == 2
    assert suspects(layout) == {
        40: ("out_of_order", "looks exchanged with step 150"),
        150: ("out_of_order", "looks exchanged with step 40"),
    }
    units = Archive(layout.database).value("SELECT count(*) FROM shard")
    again = ledger(layout)
    assert (again.new, again.n_suspect) == ((), 2)
    assert record(layout, [again]) == 0
    assert Archive(layout.database).value("SELECT count(*) FROM shard") == units


def test_reading_the_ledger_changes_nothing(make: Make) -> None:
    layout = make("x", unit(swapped()))
    assert len(ledger(layout).new) == 2
    assert suspects(layout) == {}


def test_failures_tell_absent_from_unreadable(make: Make) -> None:
    done = list(vectors())
    layout = make(
        "x",
        unit([*done[:5], None, None, None, *done[8:]]),
        failing(50, "CheckpointNotAvailable", "no revision step50", CellState.ABSENT_UPSTREAM, PRODUCTS),
        failing(60, "WeightsRefused", "cut off", CellState.FAILED_PERMANENT, PRODUCTS),
        failing(70, "FloatingPointError", "sketch is nan", CellState.FAILED_PERMANENT, PRODUCTS),
        # a back-fill that failed later says nothing about what was measured before
        failing(80, "WeightsRefused", "cut off since", CellState.FAILED_PERMANENT, OTHER),
    )
    found = ledger(layout)
    assert {row.step: (row.integrity, row.note) for row in found.new} == {
        50: ("absent", "no revision step50"),
        60: ("defect", "WeightsRefused: cut off"),
        70: ("defect", "weights are NaN or infinite: sketch is nan"),
    }
    assert [remark for remark in found.remarks if "step 80" in remark]


def test_a_loss_that_is_no_number_is_no_defect_of_the_weights(make: Make) -> None:
    loss = Quantity(
        measure=Measure(name="loss", scope="split", table="fact_scalar", unit="nats", summary="L.")
    )
    layout = make("x", failing(0, "FloatingPointError", "loss is inf", CellState.FAILED_PERMANENT, loss))
    assert ledger(layout).new == ()


def test_sketches_of_another_projection_are_not_mixed_in(make: Make) -> None:
    other = [None] * 18 + [1e6 * vector for vector in vectors()[18:]]
    layout = make("x", unit([*vectors()[:18], None, None]), unit(other, quantity=OTHER))
    found = ledger(layout)
    assert found.new == ()
    assert "2 of 20 checkpoint(s) have no sketch" in found.remarks[0]
    assert found.rows[18].to_previous is None


def test_the_newest_snapshot_of_a_step_counts(make: Make) -> None:
    repaired = [None if k not in (4, 15) else vector for k, vector in enumerate(vectors())]
    layout = make("x", unit(swapped()), unit(repaired, snapshot="repaired"))
    found = ledger(layout)
    assert found.new == ()
    assert [row.step for row in found.rows if row.snapshot == "repaired"] == [40, 150]


def test_a_person_overrules_a_finding_and_takes_that_back(make: Make) -> None:
    layout = make("x", unit(swapped()))
    record(layout, [ledger(layout)])
    done = accept(layout, "a", 40, "loss spike, not a swap")
    assert done.changed
    assert done.note.endswith(": loss spike, not a swap (was out_of_order: looks exchanged with step 150)")
    assert list(suspects(layout)) == [150]
    found = ledger(layout)
    assert found.new == ()
    assert [row.step for row in found.rows if row.accepted] == [40]
    assert not accept(layout, "a", 40, "again").changed
    undone = accept(layout, "a", 40, "", undo=True)
    assert (undone.integrity, undone.note) == ("out_of_order", "looks exchanged with step 150")
    assert list(suspects(layout)) == [40, 150]
    actions = Archive(layout.database).rows("SELECT action, target FROM audit ORDER BY id")
    assert [(row["action"], row["target"]) for row in actions] == [
        ("accept", "toy/a step 40"),
        ("suspect", "toy/a step 40"),
    ]


def test_an_accepted_checkpoint_stays_so_when_it_comes_in_again(make: Make) -> None:
    layout = make("x", unit(vectors(), integrity="defect", integrity_note="known to be broken"))
    accept(layout, "a", 40, "mended upstream")
    unit(vectors(), integrity="defect", integrity_note="known to be broken").write(layout.inbox)
    assert commit_inbox(layout).refused == []
    assert 40 not in suspects(layout)


def test_an_accepted_checkpoint_stays_so_in_a_merge_that_is_done_twice(make: Make) -> None:
    ours, theirs = make("ours", unit(swapped())), make("theirs", unit(swapped()))
    for layout in (ours, theirs):
        record(layout, [ledger(layout)])
    accept(ours, "a", 40, "looked at")
    assert merge(ours, theirs.database).nothing_new
    assert list(suspects(ours)) == [150]


def test_findings_travel_in_a_merge(make: Make) -> None:
    ours, theirs = make("ours", unit(swapped())), make("theirs", unit(swapped()))
    record(theirs, [ledger(theirs)])
    merge(ours, theirs.database)
    assert list(suspects(ours)) == [40, 150]


@pytest.mark.parametrize(
    ("step", "reason", "undo", "words"),
    [
        (40, " ", False, "needs a reason"),
        (41, "x", False, "no checkpoint at step 41"),
        (10, "x", False, "nothing to accept"),
        (10, "", True, "to take back"),
    ],
)
def test_an_acceptance_that_cannot_be(make: Make, step: int, reason: str, undo: bool, words: str) -> None:
    layout = make("x", unit(swapped()))
    record(layout, [ledger(layout)])
    with pytest.raises(UsageError, match=words):
        accept(layout, "a", step, reason, undo=undo)


def test_runs_by_name_alias_pattern_and_all(make: Make) -> None:
    layout = make("x", unit(vectors()), unit(vectors(1), run=Run(name="toy/b", family="toy", condition="c")))
    archive = Archive(layout.database)

    def names(wanted: str) -> list[str]:
        return [name for _, name in find_runs(archive, wanted)]

    assert names("toy/a") == names("a") == ["toy/a"]
    assert names("toy/*") == names("all") == ["toy/a", "toy/b"]
    with pytest.raises(UnknownName, match="did you mean 'toy/b' or 'toy/a'"):
        names("toy/x")


def test_the_command_shows_records_and_comes_back_with_1_once(
    make: Make, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    run = Command(make("x", unit(swapped())), monkeypatch, capsys)
    code, found = run.json("verify", "--checkpoints", "toy/*")
    assert code == 1
    assert (found["n_new"], found["ok"], found["runs"][0]["n_suspect"]) == (2, False, 2)
    assert [row["step"] for row in found["runs"][0]["rows"] if row["new"]] == [40, 150]
    code, out, _ = run("verify", "--checkpoints", "all")
    assert code == 0
    assert "0 new finding(s); 2 of 20 checkpoint(s) of 1 run(s) are suspect" in out
    assert "out_of_order toy/a step 40: looks exchanged with step 150" in out
    assert run("verify", "--checkpoints", "all", "--quiet") == (0, "", "")
    code, out, _ = run("verify", "--checkpoints", "a", "--accept", "40", "--reason", "looked at")
    assert code == 0
    assert "toy/a step 40 is in curves: accepted by" in out
    code, out, _ = run("verify", "--checkpoints", "a", "--accept", "40", "--undo")
    assert (code, "is suspect (out_of_order)" in out) == (0, True)


@pytest.mark.parametrize(
    "words",
    [
        ("--accept", "40"),
        ("--reason", "x"),
        ("--undo",),
        ("--checkpoints", "a", "--accept", "40"),
        ("--checkpoints", "a", "--accept", "40", "--reason", "x", "--recompute", "1%"),
        ("--checkpoints", "nobody"),
    ],
)
def test_wrong_usage(
    make: Make, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], words: tuple[str, ...]
) -> None:
    layout = make("x", unit(swapped()))
    record(layout, [ledger(layout)])
    assert Command(layout, monkeypatch, capsys)("verify", *words)[0] == 2
