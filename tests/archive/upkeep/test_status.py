import os
import time
from pathlib import Path

import pytest

from archive.errors import ArchiveDamaged, ArchiveNotFound
from archive.layout import FOLDERS, Layout
from archive.schema.base import CellState
from archive.store import Archive
from archive.upkeep.marks import exclude
from archive.upkeep.publish import publish
from archive.upkeep.sizes import folder_sizes
from archive.upkeep.status import STATES, read_status
from tests.archive.upkeep import sample
from tests.archive.upkeep.conftest import Make
from tests.archive.upkeep.crash import open_elsewhere


def test_states_are_worded_as_in_the_views(full: Layout) -> None:
    worded = Archive(full.database).rows(
        "SELECT DISTINCT l.state AS number, v.state AS word FROM cell l "
        "JOIN v_cell v USING (subject_kind, subject_id, quantity_id)"
    )

    assert len(worded) == 2
    assert all(STATES[row["number"]] == row["word"] for row in worded)
    assert set(STATES) == {int(state) for state in CellState}


def test_contents_are_counted(full: Layout) -> None:
    exclude(full, "toy/b", "spike")
    contents = read_status(full).contents

    assert contents is not None
    assert (contents.n_runs, contents.n_checkpoints) == (4, 6)
    archive = Archive(full.database)
    assert contents.cells == {
        "done": archive.value("SELECT count(*) FROM cell WHERE state = 1"),
        "failed (transient)": 1,
    }
    assert sum(c.n_done for c in contents.coverage) == contents.cells["done"]
    assert sum(c.n_rows for c in contents.coverage) == archive.value("SELECT sum(n_rows)::BIGINT FROM cell")
    assert [(e.run, e.reason) for e in contents.excluded] == [("toy/b", "spike")]
    assert {f.family: f.n_runs for f in contents.families} == {"toys": 4}
    scalar = next(c for c in contents.coverage if c.measure == "toy.fact_scalar" and c.source == "published")
    assert (scalar.n_runs, scalar.n_done, scalar.n_rows) == (1, 2, 2)
    assert contents.last_commit_seconds is not None
    assert 0 <= contents.last_commit_seconds < 3600


def test_a_study_is_compared_with_what_it_wanted(make: Make) -> None:
    layout = make(
        "x", sample.everything(), sample.failed(step=20), sample.everything(study="later", steps=(0, 10, 30))
    )
    contents = read_status(layout).contents

    assert contents is not None
    progress = {s.study: s for s in contents.studies}
    own = Archive(layout.database).rows(
        "SELECT t.name, count(*) AS n FROM cell c JOIN shard s ON s.id = c.shard_id JOIN study t ON t.id = s.study_id "
        "WHERE c.state = 1 GROUP BY t.name"
    )
    assert {s: p.n_done for s, p in progress.items()} == {r["name"]: r["n"] for r in own}
    assert (progress["toy"].n_cells_wanted, progress["toy"].n_failed, progress["toy"].n_runs) == (40, 1, 1)
    # what another study measured of the same runs counts towards neither, but is shown
    assert progress["toy"].n_by_others == progress["later"].n_done > 0


@pytest.mark.parametrize(
    ("state", "command"),
    [
        (CellState.FAILED_TRANSIENT, "pathscope ingest toy.toml"),
        (CellState.FAILED_PERMANENT, "pathscope ingest toy.toml --retry-failed"),
    ],
)
def test_failures_come_with_the_command_that_tries_again(make: Make, state: CellState, command: str) -> None:
    layout = make("x", sample.failed(step=1, state=state), sample.failed(step=2, state=state))
    contents = read_status(layout).contents

    assert contents is not None
    (failure,) = contents.failures
    assert (failure.error_class, failure.n_cells, failure.study, failure.retry) == (
        "OutOfMemory",
        2,
        "toy",
        command,
    )
    assert failure.state == STATES[state]


def test_cells_that_are_absent_or_do_not_apply_are_no_failures(make: Make) -> None:
    layout = make(
        "x",
        sample.failed(state=CellState.ABSENT_UPSTREAM),
        sample.failed(step=2, state=CellState.NOT_APPLICABLE),
    )
    contents = read_status(layout).contents

    assert contents is not None
    assert contents.failures == []
    assert [(c.n_absent, c.n_not_wanted, c.n_failed) for c in contents.coverage] == [(1, 1, 0)]


def test_an_empty_archive_was_never_committed_to(make: Make) -> None:
    status = read_status(make("x"))

    assert status.contents is not None
    assert status.contents.last_commit_seconds is None
    assert status.quiet_seconds == status.contents.age_seconds
    assert status.contents.cells == {}


def test_what_waits_and_what_was_refused(make: Make) -> None:
    layout = make("x")
    waiting = sample.everything().write(layout.inbox)
    other = sample.content().write(layout.inbox)
    old = waiting.with_name(f"{time.time_ns() - 7200 * 10**9:020d}-aaaaaaaa")
    waiting.rename(old)
    refused = layout.failed / "bad"
    refused.mkdir()
    (layout.failed / "bad.reason.txt").write_text("its bytes are wrong\n")
    queue = read_status(layout).queue

    assert queue.n_shards == 2
    assert queue.n_bytes == sum(p.stat().st_size for folder in (old, other) for p in folder.iterdir())
    assert queue.oldest_seconds == pytest.approx(7200, abs=300)
    assert [(r.shard, r.reason) for r in queue.refused] == [("bad", "its bytes are wrong")]


def test_while_somebody_writes_the_published_copy_answers(full: Layout) -> None:
    publish(full)
    with open_elsewhere(full.database, read_only=False) as (pid, _):
        status = read_status(full, patience=0.05)

    assert str(pid) in status.busy
    assert status.read_from == str(full.current_snapshot)
    assert status.contents is not None
    assert status.contents.n_runs == 4


def test_while_somebody_writes_and_nothing_is_published_the_folders_still_answer(full: Layout) -> None:
    sample.everything("toy/c").write(full.inbox)
    with open_elsewhere(full.database, read_only=False):
        status = read_status(full, patience=0.05)

    assert status.contents is None
    assert status.queue.n_shards == 1


def test_the_age_of_the_published_copy(full: Layout) -> None:
    assert read_status(full).snapshot_seconds is None
    publish(full)
    then = time.time() - 5000
    os.utime(full.current_snapshot, (then, then))

    assert read_status(full).snapshot_seconds == pytest.approx(5000, abs=300)


def test_no_archive_leaves_no_trace(tmp_path: Path) -> None:
    with pytest.raises(ArchiveNotFound, match="no archive at"):
        read_status(Layout.of(tmp_path / "none.duckdb"))

    assert list(tmp_path.iterdir()) == []


def test_a_truncated_archive_is_named(full: Layout) -> None:
    os.truncate(full.database, 20_000)

    with pytest.raises(ArchiveDamaged, match="recovery"):
        read_status(full)


def test_every_folder_is_sized_with_its_promise(full: Layout) -> None:
    (full.logs / "a.log").write_bytes(b"x" * 10)
    sizes = {s.path.name: s for s in folder_sizes(full)}

    assert set(sizes) == {full.database.name, *(f.name for f in FOLDERS)}
    assert (sizes["logs"].n_bytes, sizes["logs"].n_files, sizes["logs"].kept) == (10, 1, "90 days")
    assert sizes[full.database.name].n_bytes == full.database.stat().st_size
    assert sizes["committed"].n_files == len([p for p in full.committed.rglob("*") if p.is_file()])
