"""What goes wrong while a study is carried out: it is named, it is in the ledger, and the rest goes on."""

import errno
import shutil
import time
from collections.abc import Callable
from concurrent.futures import Executor, Future
from concurrent.futures.process import BrokenProcessPool
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from archive.committer import commit_inbox
from archive.create import ensure_archive
from archive.errors import ArchiveBusy, NoSpace, UsageError
from archive.layout import Layout
from archive.store import Archive
from ingest.measure import MEASURES
from ingest.run import conduct, dispatch, worker
from ingest.run.dispatch import Tally
from ingest.studies.parts import ExecutorChoice
from ingest.train.spec import Seeds
from ingest.train.trainer import train_batch
from tests.ingest.run.running import (
    N_LOGS,
    SHORT,
    STEPS,
    TOML,
    Content,
    Quiet,
    content,
    go,
    stopping_after,
    study,
)

DIVERGING = TOML.replace('"0..1"', "[0]") + '[sweep]\n"optimizer.lr" = [0.01, 1e30]\n'


def test_a_run_that_diverges_is_in_the_ledger_and_the_others_carry_on(path: Path) -> None:
    report = go(path, DIVERGING)
    assert (report.state, report.exit_code) == ("failed", 1)
    assert {(f.run, f.error_class, f.permanent) for f in report.failures} == {
        ("tiny/lr=1e+30/init0-data0-split0", "TrainingDiverged", True)
    }
    states = Archive(path).rows(
        "SELECT DISTINCT run, state FROM v_cell WHERE measure = 'log.loss' ORDER BY ALL"
    )
    assert [s["state"] for s in states] == ["done", "failed (permanent)"]
    ended = Archive(path).value("SELECT max(step) FROM v_log WHERE run LIKE '%1e+30%'")
    assert ended < 11
    assert Archive(path).value("SELECT count(*) FROM v_checkpoint WHERE run LIKE '%=0.01%'") == len(STEPS)
    assert Archive(path).value("SELECT max(step) FROM v_checkpoint WHERE run LIKE '%1e+30%'") <= ended

    again = go(path, DIVERGING)
    assert (again.state, again.n_left) == ("nothing to do", 0)
    assert again.n_given_up > 0
    asked = go(path, DIVERGING, retry_failed=True)
    assert asked.state == "failed"
    assert Archive(path).value("SELECT max(step) FROM v_log WHERE run LIKE '%1e+30%'") == ended


def test_a_measure_that_fails_is_named_and_kept_apart(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fails(model: object) -> None:
        raise ZeroDivisionError("no such luck")

    with monkeypatch.context() as patch:
        whole = MEASURES.get("weight_norm")
        patch.setitem(
            MEASURES._entries, "weight_norm", replace_thing("weight_norm", replace(whole, function=fails))
        )
        report = go(path)
    assert report.state == "failed"
    assert {(f.measure, f.error_class, f.permanent) for f in report.failures} == {
        ("weight_norm", "ZeroDivisionError", True)
    }
    assert report.n_present == 2 * (N_LOGS + len(STEPS))
    assert go(path).state == "nothing to do"
    assert Archive(path).value("SELECT message FROM v_failure LIMIT 1") == "no such luck"
    assert go(path, retry_failed=True).state == "done"
    assert Archive(path).value("SELECT count(*) FROM v_failure") == 0


def replace_thing(name: str, thing: Any) -> Any:
    return replace(MEASURES._entries[name], thing=thing)


def test_what_may_pass_is_tried_again_by_the_next_call(
    path: Path, reference: Content, monkeypatch: pytest.MonkeyPatch
) -> None:
    go(path, deadline=time.time() - 1)
    once = stopping_after(1)
    assert go(path, watcher=once).state == "stopped"

    def no_memory(*args: object, **named: object) -> None:
        raise MemoryError("cannot allocate")

    for times in (1, 2):
        with monkeypatch.context() as patch:
            patch.setattr(worker, "train_batch", no_memory)
            report = go(path)
        assert report.state == "failed"
        assert not any(f.permanent for f in report.failures)
        assert report.n_left > 0
        attempts = "SELECT max(attempts) FROM v_cell WHERE state = 'failed (transient)'"
        assert Archive(path).value(attempts) == times
    assert go(path).state == "done"
    assert content(path) == reference


class DyingWorkers(Executor):
    """Loses the first n units as a killed worker process does."""

    to_lose = 0

    def submit(self, fn: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Future[Any]:
        future: Future[Any] = Future()
        if DyingWorkers.to_lose:
            DyingWorkers.to_lose -= 1
            future.set_exception(BrokenProcessPool("a process was terminated abruptly"))
        else:
            future.set_result(fn(*args, **kwargs))
        return future


def test_a_lost_worker_is_replaced_at_once(
    path: Path, reference: Content, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(conduct, "make_executor", lambda choice: (DyingWorkers(), 1))
    DyingWorkers.to_lose = 1
    assert go(path).state == "done"
    assert content(path) == reference
    assert "a worker was lost" in next(Layout.of(path).logs.iterdir()).read_text()


def test_a_unit_that_keeps_losing_workers_is_a_failure_that_may_pass(
    path: Path, reference: Content, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(conduct, "make_executor", lambda choice: (DyingWorkers(), 1))
    DyingWorkers.to_lose = 2
    report = go(path)
    assert report.state == "failed"
    [failure] = report.failures
    assert (failure.run, failure.error_class, failure.permanent) == (
        "tiny/init0-data0-split0",
        "WorkerLost",
        False,
    )
    assert Archive(path).value("SELECT count(DISTINCT run) FROM v_scalar") == 1
    assert go(path).state == "done"
    assert content(path) == reference


class Failing(Executor):
    """Answers every unit with the same error."""

    def __init__(self, error: Exception) -> None:
        self.error = error

    def submit(self, fn: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Future[Any]:
        future: Future[Any] = Future()
        future.set_exception(self.error)
        return future


def test_a_full_disk_ends_the_call(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    full = Failing(OSError(errno.ENOSPC, "No space left on device"))
    with monkeypatch.context() as patch:
        patch.setattr(conduct, "make_executor", lambda choice: (full, 1))
        with pytest.raises(NoSpace, match="is full; what is committed is safe"):
            go(path, SHORT)
    assert go(path, SHORT).state == "done"


def test_an_executor_that_cannot_take_a_unit_is_named(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with monkeypatch.context() as patch:
        patch.setattr(conduct, "make_executor", lambda choice: (Failing(TypeError("cannot pickle")), 1))
        report = go(path, SHORT)
    assert {f.error_class for f in report.failures} == {"TypeError"}
    for kind in ("nonsense", "os:getcwd", "os:nothing", "no.such.module:x"):
        with pytest.raises(UsageError, match=f"executor '{kind}'"):
            go(path, SHORT, executor=ExecutorChoice(kind=kind), retry_failed=True)


def test_a_vanished_folder_fails_its_run_only(finished: Path) -> None:
    shutil.rmtree(Layout.of(finished).checkpoints / "tiny" / "init0-data0-split0")
    more = TOML.replace('"weight_norm"', '"weight_norm", "accuracy"')
    report = go(finished, more)
    assert report.state == "failed"
    assert {(f.run, f.error_class) for f in report.failures} == {("tiny/init0-data0-split0", "WeightsLost")}
    assert "pathscope drop --run tiny/init0-data0-split0" in report.failures[0].message
    assert Archive(finished).value("SELECT count(DISTINCT run) FROM v_scalar WHERE measure = 'accuracy'") == 1
    assert go(finished, more).state == "nothing to do"


def test_a_folder_that_vanishes_before_training_is_over_fails_its_run(path: Path) -> None:
    stop = stopping_after(2)
    assert go(path, watcher=stop).state == "stopped"
    shutil.rmtree(Layout.of(path).checkpoints / "tiny" / "init0-data0-split0")
    report = go(path)
    assert {f.error_class for f in report.failures} == {"WeightsLost"}
    assert (
        Archive(path).value(
            "SELECT count(DISTINCT run) FROM v_cell WHERE measure = 'log.loss' AND state = 'done'"
        )
        == 1
    )
    assert go(path).state == "nothing to do"


def test_a_folder_without_results_is_trained_again(path: Path, reference: Content) -> None:
    """A worker was killed before its first shard: nothing of the run is known, so nothing is lost."""
    layout = ensure_archive(path)
    folder = layout.checkpoints / "tiny" / "init0-data0-split0"
    folder.mkdir(parents=True)
    (folder / ".step-000000000.safetensors.tmp").write_bytes(b"half")
    run = ("tiny/init1-data0-split1", Seeds(init=1, data_order=0, split=1))
    begun = layout.checkpoints / "tiny" / "init1-data0-split1"
    spec = study().runs[1].spec
    train_batch(spec, [run], begun, should_stop=lambda: True)
    # the other was killed between its first checkpoint and its first resume state
    (begun / "resume.safetensors").unlink()
    assert go(path).state == "done"
    assert content(path) == reference


def test_a_damaged_checkpoint_fails_its_cells_only(finished: Path) -> None:
    [damaged, gone] = [
        Layout.of(finished).checkpoints / "tiny" / "init0-data0-split0" / f"step-{step:09d}.safetensors"
        for step in (0, 8)
    ]
    damaged.write_bytes(damaged.read_bytes()[:100])
    gone.unlink()
    report = go(finished, TOML.replace('"weight_norm"', '"weight_norm", "accuracy"'))
    assert {(f.step, f.measure, f.error_class) for f in report.failures} == {
        (0, "accuracy", "CheckpointDamaged"),
        (8, "accuracy", "CheckpointNotKept"),
    }
    assert report.n_filled == 2 * len(STEPS) - 2


def test_checkpoints_without_their_resume_state_can_be_measured_but_not_trained_on(finished: Path) -> None:
    (Layout.of(finished).checkpoints / "tiny" / "init0-data0-split0" / "resume.safetensors").unlink()
    assert go(finished, TOML.replace('"weight_norm"', '"weight_norm", "accuracy"')).state == "done"
    report = go(finished, TOML.replace("steps = 12", "steps = 20"))
    assert {(f.run, f.error_class) for f in report.failures} == {
        ("tiny/init0-data0-split0", "CheckpointFolderLost")
    }


def test_leftovers_of_other_settings_are_not_trained_on(finished: Path) -> None:
    """The first call was killed before anything was committed, then somebody changed the learning rate."""
    other = finished.with_name("other.duckdb")
    shutil.copytree(Layout.of(finished).checkpoints, Layout.of(other).checkpoints)
    with pytest.raises(UsageError, match=r"holds training of 'tiny/init0-data0-split0' with other settings"):
        go(other, TOML.replace("[seeds]", "[train.optimizer]\nlr = 0.1\n[seeds]"))


def test_results_of_a_killed_call_are_committed_first(
    path: Path, reference: Content, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The parent died before it could commit: units lie in the inbox, and training is further than the archive."""

    class Killed(BaseException):
        pass

    def die(tally: Tally) -> None:
        if tally.n_units == 3:
            raise Killed

    with pytest.raises(Killed):
        go(path, watcher=Quiet(on_progress=die))
    layout = Layout.of(path)
    waiting = sorted(layout.inbox.iterdir())
    assert len(waiting) == 3
    shutil.rmtree(waiting[0])  # one was not even written: its log and cells must come again from disk
    report = go(path)
    assert report.state == "done"
    assert content(path) == reference


def test_a_busy_archive_delays_commits_and_loses_nothing(
    path: Path, reference: Content, monkeypatch: pytest.MonkeyPatch
) -> None:
    calls = []

    def busy_at_first(layout: Layout, **named: Any) -> Any:
        calls.append(named)
        if "patience" in named:
            raise ArchiveBusy("held by a reader")
        return commit_inbox(layout, **named)

    monkeypatch.setattr(dispatch, "COMMIT_SECONDS", 0.0)
    monkeypatch.setattr(dispatch, "commit_inbox", busy_at_first)
    assert go(path).state == "done"
    assert len(calls) > 2
    assert content(path) == reference


def test_a_refused_unit_is_a_failure(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def damage_first(layout: Layout, **named: Any) -> Any:
        first = min(layout.inbox.iterdir(), default=None)
        if first is not None:
            (first / "manifest.json").write_text("{")
        return commit_inbox(layout, **named)

    with monkeypatch.context() as patch:
        patch.setattr(dispatch, "commit_inbox", damage_first)
        report = go(path, SHORT)
    assert (report.state, len(report.refused)) == ("failed", 1)
    shutil.rmtree(Layout.of(path).failed)
    Layout.of(path).make_folders()
    assert go(path, SHORT).state == "done"
