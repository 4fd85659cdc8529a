"""The committer's promises: exactly once, first result stays, replacing replaces whole, large units stream."""

import shutil
from pathlib import Path

import numpy as np
import pytest

from archive import committer
from archive.committer import CommitReport, commit_inbox, describe, pending_shards
from archive.errors import ArchiveNotFound, NoSpace
from archive.layout import Layout
from archive.records import Checkpoint, Measure, Quantity, Source, SourceFile, TextSet
from archive.schema.base import CellState
from archive.shard import ShardBuilder
from archive.store import Archive
from tests.archive.making import (
    HEAD_MEASURE,
    LOSS_MEASURE,
    ROWS,
    commit,
    failed_shard,
    file_shard,
    head_shard,
    head_values,
    log_shard,
    put,
    run_record,
)


def log_rows(archive: Archive, run: str = "r1") -> list[tuple[int, float]]:
    rows = archive.rows("SELECT step, value FROM v_log WHERE run = $run ORDER BY step, value", {"run": run})
    return [(r["step"], r["value"]) for r in rows]


# --- exactly once ------------------------------------------------------------------------------


def test_a_shard_goes_in_and_moves_on(layout: Layout, archive: Archive) -> None:
    report = commit(layout, head_shard([0, 10]))
    assert describe(report) == {"shards": 1, "cells": 2, "rows": 16, "already_known_cells": 0, "refused": []}
    assert head_values(archive) == {0: (ROWS, 0.5), 10: (ROWS, 0.5)}
    assert pending_shards(layout) == []
    assert len(list(layout.committed.iterdir())) == 1


def test_the_same_shard_again_changes_nothing(layout: Layout, archive: Archive) -> None:
    commit(layout, head_shard([0], replace=True))
    before = archive.rows("SELECT * FROM cell"), archive.rows("SELECT * FROM shard")
    report = commit_inbox(layout, replay=True)
    assert (report.n_cells, report.n_rows) == (0, 0)
    assert (archive.rows("SELECT * FROM cell"), archive.rows("SELECT * FROM shard")) == before
    assert pending_shards(layout) == []


def test_replaying_restores_an_archive_from_its_shards(
    layout: Layout, archive: Archive, empty_archive: Path
) -> None:
    commit(layout, head_shard([0], value=0.1), log_shard(-1, 4, value=1.0))
    commit(layout, head_shard([0], value=0.2, replace=True), log_shard(2, 9, value=2.0, final=True))
    before = head_values(archive), log_rows(archive)
    shutil.copy(empty_archive, layout.database)
    commit_inbox(layout, replay=True)
    assert (head_values(archive), log_rows(archive)) == before


def test_an_empty_inbox_is_nothing_to_do(layout: Layout) -> None:
    assert commit_inbox(layout) == CommitReport()
    shutil.rmtree(layout.folder)
    assert commit_inbox(layout) == CommitReport()


def test_results_without_an_archive_are_not_thrown_away(layout: Layout, empty_archive: Path) -> None:
    put(layout, head_shard([0]))
    layout.database.unlink()
    with pytest.raises(ArchiveNotFound, match=r"x\.duckdb, but its inbox may hold results"):
        commit_inbox(layout)
    assert len(pending_shards(layout)) == 1
    shutil.copy(empty_archive, layout.database)
    assert commit_inbox(layout).n_rows == ROWS


# --- cells: first wins, replace, failed --------------------------------------------------------


def test_the_first_result_of_a_cell_stays(layout: Layout, archive: Archive) -> None:
    commit(layout, head_shard([0, 1], value=0.5))
    report = commit(layout, head_shard([1, 2], value=0.7))
    assert (report.n_cells, report.n_rows, report.n_known) == (1, ROWS, 1)
    assert head_values(archive) == {0: (ROWS, 0.5), 1: (ROWS, 0.5), 2: (ROWS, 0.7)}


def test_two_shards_with_one_cell_in_one_batch(layout: Layout, archive: Archive) -> None:
    """Both make the run and the checkpoint in one transaction; the second must still see the first's cells."""
    report = commit(layout, head_shard([0, 1], value=0.5), head_shard([1, 2], value=0.7))
    assert (report.n_cells, report.n_known) == (3, 1)
    assert head_values(archive) == {0: (ROWS, 0.5), 1: (ROWS, 0.5), 2: (ROWS, 0.7)}


@pytest.mark.parametrize("one_batch", [True, False])
def test_replace_replaces_rows_and_cell(one_batch: bool, layout: Layout, archive: Archive) -> None:
    old, new = head_shard([0, 1], value=0.5), head_shard([1], value=0.9, replace=True)
    if one_batch:
        commit(layout, old, new)
    else:
        commit(layout, old)
        commit(layout, new)
    assert head_values(archive) == {0: (ROWS, 0.5), 1: (ROWS, 0.9)}
    assert archive.value("SELECT attempts FROM v_cell WHERE step = 1") == 2


def test_replacing_one_quantity_leaves_the_others(layout: Layout, archive: Archive) -> None:
    other = Quantity(measure=HEAD_MEASURE, params={"lag": 2})
    commit(layout, head_shard([0], value=0.1), head_shard([0], value=0.2, quantity=other))
    commit(layout, head_shard([0], value=0.3, replace=True))
    rows = archive.rows("SELECT params_json, max(value) AS v FROM v_head_score GROUP BY ALL ORDER BY 1")
    assert [(r["params_json"], r["v"]) for r in rows] == [('{"lag":2}', 0.2), ("{}", 0.3)]


def test_a_failed_cell_counts_attempts_until_it_is_done(layout: Layout, archive: Archive) -> None:
    commit(layout, failed_shard(0, message="first"))
    commit(layout, failed_shard(0, message="second"), failed_shard(1))
    failures = archive.rows("SELECT step, state, attempts, message FROM v_failure ORDER BY step")
    assert [(f["step"], f["attempts"], f["message"]) for f in failures] == [(0, 2, "second"), (1, 1, "boom")]
    commit(layout, head_shard([0]))
    assert archive.rows("SELECT step, state, attempts, n_rows FROM v_cell ORDER BY step") == [
        {"step": 0, "state": "done", "attempts": 3, "n_rows": ROWS},
        {"step": 1, "state": "failed (transient)", "attempts": 1, "n_rows": 0},
    ]
    assert archive.value("SELECT count(*) FROM failure") == 1


def test_a_failure_does_not_touch_a_finished_cell(layout: Layout, archive: Archive) -> None:
    commit(layout, head_shard([0]))
    report = commit(layout, failed_shard(0))
    assert report.n_known == 1
    assert head_values(archive) == {0: (ROWS, 0.5)}
    assert archive.value("SELECT count(*) FROM failure") == 0


@pytest.mark.parametrize(
    "state", [CellState.FAILED_PERMANENT, CellState.ABSENT_UPSTREAM, CellState.NOT_APPLICABLE]
)
def test_a_settled_cell_gives_way_to_a_result_only(
    state: CellState, layout: Layout, archive: Archive
) -> None:
    commit(layout, failed_shard(0, state=state, message="why"))
    commit(layout, failed_shard(0, message="again"))
    assert archive.value("SELECT message FROM v_failure") == "why"
    commit(layout, head_shard([0]))
    assert archive.value("SELECT state FROM v_cell") == "done"


# --- imported files ----------------------------------------------------------------------------


def scalar_means(archive: Archive) -> dict[int, float]:
    return {r["step"]: r["value"] for r in archive.rows("SELECT step, value FROM v_scalar")}


@pytest.mark.parametrize("one_batch", [True, False])
def test_a_changed_file_replaces_its_own_rows_only(one_batch: bool, layout: Layout, archive: Archive) -> None:
    shards = [
        file_shard("a.csv", "1111", [0, 1], value=0.1),
        file_shard("b.csv", "2222", [2, 3], value=0.2),
        file_shard("a.csv", "3333", [1, 9], value=0.3),
    ]
    if one_batch:
        commit(layout, *shards)
    else:
        for shard in shards:
            commit(layout, shard)
    assert scalar_means(archive) == {1: 0.3, 2: 0.2, 3: 0.2, 9: 0.3}
    files = archive.rows("SELECT path, sha256, n_rows FROM v_source_file ORDER BY path")
    assert [tuple(f.values()) for f in files] == [("a.csv", "3333", 2), ("b.csv", "2222", 2)]


def test_the_same_file_again_adds_nothing(layout: Layout, archive: Archive) -> None:
    commit(layout, file_shard("a.csv", "1111", [0, 1], value=0.1))
    report = commit(layout, file_shard("a.csv", "1111", [0, 1], value=0.1))
    assert (report.n_rows, report.n_known) == (0, 2)
    assert archive.value("SELECT count(*) FROM source_file") == 1


def test_the_same_path_of_another_source_is_another_file(layout: Layout, archive: Archive) -> None:
    commit(layout, file_shard("a.csv", "1111", [0], value=0.1))
    b = ShardBuilder(kind="import")
    other = Source(name="other")
    b.source(other)
    q = b.quantity(Quantity(measure=LOSS_MEASURE, source=other))
    b.run(run_record())
    f = b.file(SourceFile(source="other", path="a.csv", sha256="2222", bytes=1, format="toy"))
    owner = b.checkpoint(Checkpoint(run="r1", step=0))
    b.add("fact_scalar", owner, q, value=0.2)
    b.cell(owner, q, file=f)
    commit(layout, b)
    assert archive.value("SELECT count(*) FROM v_scalar") == 2


# --- content -----------------------------------------------------------------------------------


def content_shard(text: str) -> ShardBuilder:
    b = ShardBuilder(kind="content")
    b.add(
        "content_document", b.text_set(TextSet(hash="t1", n_documents=2)), document=[0, 1], text=[text, text]
    )
    return b


@pytest.mark.parametrize("one_batch", [True, False])
def test_content_is_stored_once(one_batch: bool, layout: Layout, archive: Archive) -> None:
    for batch in (
        [[content_shard("a"), content_shard("b")]] if one_batch else [[content_shard(t)] for t in "ab"]
    ):
        commit(layout, *batch)
    assert archive.query("SELECT text FROM content_document").column(0).to_pylist() == ["a", "a"]


# --- batches and space -------------------------------------------------------------------------


def test_many_units_go_in_batches(layout: Layout, archive: Archive, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(committer, "BATCH_SHARDS", 3)
    commits: list[str] = []
    monkeypatch.setattr(committer, "step", lambda name: commits.append(name))
    report = commit(layout, *(head_shard([i]) for i in range(7)))
    assert (report.n_shards, report.n_cells) == (7, 7)
    assert commits.count("after commit") == 3
    assert archive.value("SELECT count(*) FROM shard") == 7


def test_a_full_disk_is_noticed_before_it_is_full(layout: Layout, monkeypatch: pytest.MonkeyPatch) -> None:
    put(layout, head_shard([0]))
    usage = shutil.disk_usage(layout.folder)
    monkeypatch.setattr(shutil, "disk_usage", lambda path: usage._replace(free=1000))
    with pytest.raises(
        NoSpace, match=r"x\.duckdb has 0 MB free.*they wait in .*inbox.*`pathscope commit --archive"
    ):
        commit_inbox(layout)
    assert len(pending_shards(layout)) == 1


def test_large_units_are_streamed(layout: Layout, archive: Archive) -> None:
    """More rows than one batch of the reader, so that keys are compared across batches too."""
    n = 300_000
    b = ShardBuilder(kind="measure")
    b.run(run_record())
    owner = b.checkpoint(Checkpoint(run="r1", step=0))
    q = b.quantity(
        Quantity(measure=Measure(name="item", scope="item", table="fact_item", unit="1", summary="I."))
    )
    b.add("fact_item", owner, q, item=np.arange(n), value=np.arange(n) * 0.5)
    b.cell(owner, q)
    assert commit(layout, b).n_rows == n
    assert archive.value("SELECT sum(value) FROM fact_item") == 0.5 * n * (n - 1) / 2
