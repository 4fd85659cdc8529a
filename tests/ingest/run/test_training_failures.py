"""Training that goes wrong in the middle of a study: in the ledger with its reason, and the other runs carry on."""

import shutil
from pathlib import Path
from typing import Any

import pytest
import torch

from archive.errors import UsageError
from archive.layout import Layout
from archive.store import Archive
from archive.upkeep.status import read_status
from ingest.run import worker
from tests.ingest.run.running import N_LOGS, SHORT, STEPS, TOML, Content, Quiet, content, go, stopping_after

RUNS = ["tiny/init0-data0-split0", "tiny/init1-data0-split1"]


def failures_of(path: Path) -> list[dict[str, object]]:
    """What the ledger says of runs that failed."""
    return Archive(path).rows(
        "SELECT DISTINCT run, state, error_class, message, attempts FROM v_failure ORDER BY run"
    )


def test_a_folder_that_vanishes_during_training_fails_its_run_and_may_be_tried_again(
    path: Path, reference: Content, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = worker.train_batch

    def losing_the_first(spec: Any, runs: Any, folder: Path, *, on_step: Any, **named: Any) -> Any:
        def and_then(step: int) -> None:
            on_step(step)
            if step == 2 and runs[0][0].endswith("init0-data0-split0"):
                shutil.rmtree(folder)

        return whole(spec, runs, folder, on_step=and_then, **named)

    with monkeypatch.context() as patch:
        patch.setattr(worker, "train_batch", losing_the_first)
        report = go(path)
    assert report.state == "failed"
    [failure] = report.failures
    assert (failure.run, failure.error_class) == ("tiny/init0-data0-split0", "CheckpointFolderLost")
    assert "cannot write" in failure.message
    assert not failure.permanent
    states = Archive(path).rows(
        "SELECT DISTINCT run, state FROM v_cell WHERE measure = 'log.loss' ORDER BY ALL"
    )
    assert [s["state"] for s in states] == ["failed (transient)", "done"]
    carried_on = Archive(path).value("SELECT count(*) FROM v_checkpoint WHERE run LIKE '%init1%'")
    assert carried_on == len(STEPS)
    assert go(path).state == "done"
    assert content(path) == reference


IMPOSSIBLE = [
    ("p = 5", "p = 6", "[train.task_params]: p = 6 is not a prime; the nearest are 5 and 7"),
    (
        '"weight_norm"]',
        '"weight_norm"]\nschedule = { loss = [0, 500] }',
        "measures.schedule.loss asks for step 500, but training runs from 0 to 12; lower it or raise train.steps",
    ),
]


@pytest.mark.parametrize(("old", "new", "said"), IMPOSSIBLE)
def test_what_cannot_be_trained_is_named_and_in_the_ledger(path: Path, old: str, new: str, said: str) -> None:
    assert old in TOML
    watcher = Quiet()
    report = go(path, TOML.replace(old, new), watcher)
    assert (report.state, report.exit_code, report.n_present, report.n_left) == ("failed", 1, 0, 0)
    assert report.n_given_up == report.n_wanted == 2 * N_LOGS
    assert watcher.failures == list(report.failures)
    assert [failure.run for failure in report.failures] == RUNS
    assert all(said in failure.message for failure in report.failures)
    rows = failures_of(path)
    assert [(row["run"], row["state"], row["error_class"]) for row in rows] == [
        (run, "failed (permanent)", "ImpossibleSettings") for run in RUNS
    ]
    assert all(said in str(row["message"]) for row in rows)
    [line] = read_status(Layout.of(path)).contents.failures[:1]  # type: ignore[union-attr] # nobody holds it
    assert (line.error_class, line.study) == ("ImpossibleSettings", "tiny")
    assert list(Layout.of(path).checkpoints.glob("*")) == []


def test_a_dry_run_names_what_cannot_be_trained_and_writes_nothing(tmp_path: Path) -> None:
    watcher = Quiet()
    planned = go(tmp_path / "x.duckdb", TOML.replace("p = 5", "p = 6"), watcher, dry_run=True)
    assert (planned.state, planned.exit_code, planned.n_runs) == ("planned", 1, 2)
    assert [failure.run for failure in planned.failures] == RUNS
    assert watcher.failures == list(planned.failures)
    assert list(tmp_path.iterdir()) == []


def test_a_repaired_study_leaves_no_trace_of_what_was_impossible(path: Path, reference: Content) -> None:
    broken = TOML.replace("p = 5", "p = 6")
    go(path, broken)
    again = go(path, broken)
    assert (again.state, again.exit_code, again.n_given_up) == ("nothing to do", 0, 2 * N_LOGS)
    retried = go(path, broken, retry_failed=True)
    assert (retried.exit_code, len(retried.failures)) == (1, 2)
    assert {row["attempts"] for row in failures_of(path)} == {2}
    # broken in another way: the ledger says how
    assert go(path, TOML.replace("p = 5", "p = 8")).exit_code == 1
    assert all("p = 8 is not a prime" in str(row["message"]) for row in failures_of(path))
    assert len(failures_of(path)) == 2
    once = stopping_after(1)
    assert go(path, watcher=once).state == "stopped"  # the failure is still in the ledger then
    repaired = go(path)
    assert (repaired.state, repaired.n_present) == ("done", repaired.n_wanted)
    assert failures_of(path) == []
    assert content(path) == reference


def test_a_run_that_was_trained_is_not_overruled_by_a_study_that_became_impossible(
    finished: Path, reference: Content
) -> None:
    with pytest.raises(
        UsageError,
        match=r"is trained in .*, and with the file's settings it could not be: .*p = 6 is not a prime",
    ):
        go(finished, TOML.replace("p = 5", "p = 6"))
    with pytest.raises(
        UsageError, match=r"it could not be: checkpoint at step 13, but training runs from 0 to 12"
    ):
        go(finished, TOML.replace("every = 4 }", "every = 4, at = [13] }"))
    assert content(finished) == reference


def test_an_impossible_value_of_a_sweep_fails_alone(path: Path) -> None:
    text = TOML.replace("steps = 12", "steps = 4").replace(
        "[seeds]", '[sweep]\n"task_params.p" = [5, 6, 7]\n"task_params.frac_train" = [0.5, 0.001]\n[seeds]'
    )
    planned = go(path, text, dry_run=True)
    assert (planned.state, planned.n_runs, len(planned.failures)) == ("planned", 12, 8)
    report = go(path, text)
    of_one = N_LOGS + 2 * 2
    assert (report.exit_code, report.n_present, report.n_given_up, report.n_left) == (
        1,
        4 * of_one,
        8 * N_LOGS,
        0,
    )
    said = {failure.run.rpartition("/")[0]: failure.message for failure in report.failures}
    assert len(said) == 4
    assert "p = 6 is not a prime" in said["tiny/p=6,frac_train=0.5"]
    assert "both splits need at least one" in said["tiny/p=5,frac_train=0.001"]
    archive = Archive(path)
    assert archive.value("SELECT n_runs FROM v_study") == 12
    assert archive.value("SELECT n_cells_wanted FROM v_study") == report.n_wanted
    assert archive.value("SELECT count(DISTINCT run) FROM v_failure") == 8
    assert archive.value("SELECT count(DISTINCT run) FROM v_checkpoint") == 4
    assert go(path, text).state == "nothing to do"


@pytest.mark.skipif(torch.cuda.is_available(), reason="a machine without a GPU is needed")
def test_a_gpu_that_is_not_there_is_refused_before_runs_are_entered_as_failed(path: Path) -> None:
    text = TOML.replace('kind = "inline"', 'kind = "inline"\ndevice = "cuda"')
    with pytest.raises(UsageError, match=r'executor.device = "cuda", but torch .* finds no GPU'):
        go(path, text)
    assert Archive(path).value("SELECT count(*) FROM v_cell") == 0
    assert go(path, text, dry_run=True).state == "planned"


def test_a_repaired_run_that_fails_in_training_has_that_failure(path: Path) -> None:
    text = SHORT.replace("[seeds]", "[train.optimizer]\nlr = 1e30\n[seeds]")
    assert go(path, text.replace("p = 5", "p = 6")).exit_code == 1
    diverged = go(path, text)
    assert {failure.error_class for failure in diverged.failures} == {"TrainingDiverged"}
    assert {row["error_class"] for row in failures_of(path)} == {"TrainingDiverged"}
    again = go(path, text)
    assert (again.state, again.n_left) == ("nothing to do", 0)
