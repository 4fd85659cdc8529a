"""Training logs in segments: they add up, a resume replaces what it logs again, a finished log stays."""

import pytest

from archive.layout import Layout
from archive.records import Quantity
from archive.schema.base import CellState
from archive.shard import ShardBuilder
from archive.store import Archive
from tests.archive.making import (
    LOG,
    LOG_MEASURE,
    TRAIN,
    commit,
    head_shard,
    log_shard,
    refusals,
    run_record,
)


def log_rows(archive: Archive, run: str = "r1") -> list[tuple[int, float]]:
    rows = archive.rows("SELECT step, value FROM v_log WHERE run = $run ORDER BY step, value", {"run": run})
    return [(r["step"], r["value"]) for r in rows]


def test_segments_add_up_and_the_last_one_enters_the_cell(layout: Layout, archive: Archive) -> None:
    commit(layout, log_shard(-1, 4))
    assert archive.rows("SELECT * FROM v_cell") == []
    commit(layout, log_shard(4, 9, final=True))
    assert [s for s, _ in log_rows(archive)] == list(range(10))
    assert archive.value("SELECT n_rows FROM v_cell") == 10


def test_a_resumed_run_replaces_what_it_logs_again(layout: Layout, archive: Archive) -> None:
    commit(layout, log_shard(-1, 7, value=1.0), log_shard(4, 9, value=2.0, final=True))
    assert log_rows(archive) == [(s, 1.0) for s in range(5)] + [(s, 2.0) for s in range(5, 10)]
    segments = archive.rows("SELECT after_step AS a, last_step AS b FROM log_segment ORDER BY 1")
    assert [(s["a"], s["b"]) for s in segments] == [(-1, 4), (4, 9)]


@pytest.mark.parametrize(
    ("new", "left"),
    [
        ((-1, 3), [(-1, 3), (3, 9), (9, 19)]),
        ((2, 5), [(-1, 2), (2, 5), (5, 9), (9, 19)]),
        ((4, 14), [(-1, 4), (4, 14), (14, 19)]),
        ((-1, 19), [(-1, 19)]),
        ((9, 19), [(-1, 9), (9, 19)]),
        ((19, 25), [(-1, 9), (9, 19), (19, 25)]),
    ],
)
def test_segments_never_overlap(
    new: tuple[int, int], left: list[tuple[int, int]], layout: Layout, archive: Archive
) -> None:
    commit(layout, log_shard(-1, 9, value=1.0), log_shard(9, 19, value=1.0), log_shard(*new, value=2.0))
    segments = archive.rows("SELECT after_step AS a, last_step AS b FROM log_segment ORDER BY 1")
    assert [(s["a"], s["b"]) for s in segments] == left
    after, last = new
    assert log_rows(archive) == [(s, 2.0 if after < s <= last else 1.0) for s in range(max(20, last + 1))]


def test_a_finished_log_stays_as_it_is(layout: Layout, archive: Archive) -> None:
    commit(layout, log_shard(-1, 9, value=1.0, final=True))
    for late in (
        log_shard(4, 6, value=2.0),
        log_shard(9, 12, value=2.0),
        log_shard(-1, 3, value=2.0, final=True),
    ):
        commit(layout, late)
    assert log_rows(archive) == [(s, 1.0) for s in range(10)]


def test_a_finished_log_can_be_replaced(layout: Layout, archive: Archive) -> None:
    commit(layout, log_shard(-1, 9, value=1.0, final=True))
    commit(layout, log_shard(4, 12, value=2.0, replace=True))
    assert [v for _, v in log_rows(archive)] == [1.0] * 5 + [2.0] * 8
    assert archive.value("SELECT n_rows FROM v_cell") == 13


def test_a_failed_run_keeps_the_log_it_has(layout: Layout, archive: Archive) -> None:
    commit(layout, log_shard(-1, 4, value=1.0))
    failed = ShardBuilder(kind="train")
    owner, q = failed.run(run_record()), failed.quantity(LOG)
    failed.failed_cell(owner, q, CellState.FAILED_TRANSIENT, error_class="Killed", message="out of time")
    commit_report = refusals(layout, failed)
    assert commit_report == []
    commit(layout, log_shard(4, 6, value=2.0))
    assert archive.value("SELECT n_rows FROM v_cell") == 7
    commit(layout, log_shard(6, 9, value=3.0, final=True))
    assert [v for _, v in log_rows(archive)] == [1.0] * 5 + [2.0] * 2 + [3.0] * 3
    assert archive.value("SELECT state FROM v_cell") == "done"


def test_a_shard_may_hold_a_whole_log_and_a_segment_of_another(layout: Layout, archive: Archive) -> None:
    """The whole log replaces its old rows although the shard also has segments."""

    def both(value: float, *, replace: bool) -> ShardBuilder:
        b = log_shard(-1, 4, value=value, replace=replace)
        owner = b.run(run_record())
        whole = b.quantity(Quantity(measure=LOG_MEASURE, params={"smoothed": True}))
        b.add("fact_log", owner, whole, part=b.part(TRAIN), step=[0, 1], value=value)
        b.cell(owner, whole)
        return b

    commit(layout, both(1.0, replace=False))
    commit(layout, both(2.0, replace=True))
    assert sorted(v for _, v in log_rows(archive)) == [2.0] * 7


def test_a_row_outside_its_segment_is_refused(layout: Layout) -> None:
    b = log_shard(-1, 4)
    b.add("fact_log", b.run(run_record()), b.quantity(LOG), part=b.part(TRAIN), step=[5], value=0.0)
    assert "log row at step 5 lies outside its segments" in refusals(layout, b)[0]


def test_a_segment_of_a_checkpoint_is_refused(layout: Layout) -> None:
    b = head_shard([0])
    b.segment(1, b.quantity(LOG), 0, 4)
    assert "a log segment belongs to a run, not to owner 1" in refusals(layout, b)[0]
