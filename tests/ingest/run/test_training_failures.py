"""Training that goes wrong in the middle of a study: in the ledger with its reason, and the other runs carry on."""

import shutil
from pathlib import Path
from typing import Any

import pytest
import torch

from archive.errors import UsageError
from archive.layout import Layout
from archive.store import Archive
from ingest.run import worker
from tests.ingest.run.running import STEPS, TOML, Content, Quiet, content, go


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


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ("every = 4 }", "every = 4, at = [13] }", "checkpoint at step 13, but training runs from 0 to 12"),
        (
            '"weight_norm"]',
            '"weight_norm"]\nschedule = { loss = [0, 500] }',
            r"measures.schedule.loss asks for step 500, but training runs from 0 to 12; lower it or raise train.steps",
        ),
        (
            "[seeds]",
            '[train.optimizer]\ndecay = "linear"\ndecay_steps = 11\n[seeds]',
            r"the learning rate is 0 from step 11 on .*, but training runs to step 12",
        ),
        ("frac_train = 0.5", "frac_train = 0.01", "gives 0 training pairs; both splits need at least one"),
        ("p = 5", "p = 6", "p = 6 is not a prime"),
    ],
)
def test_what_cannot_be_done_is_refused_with_the_numbers_before_anything_runs(
    tmp_path: Path, old: str, new: str, said: str
) -> None:
    assert old in TOML
    with pytest.raises(UsageError, match=said):
        go(tmp_path / "x.duckdb", TOML.replace(old, new))
    assert list(Layout.of(tmp_path / "x.duckdb").checkpoints.glob("*")) == []


def test_an_impossible_value_of_a_sweep_fails_alone_and_is_in_the_ledger(path: Path) -> None:
    text = TOML.replace(
        "[seeds]", '[sweep]\n"task_params.p" = [5, 6, 7]\n"task_params.frac_train" = [0.5, 0.001]\n[seeds]'
    )
    planned = go(path, text, dry_run=True)
    assert (planned.state, planned.n_runs, len(planned.failures)) == ("planned", 4, 4)
    watcher = Quiet()
    report = go(path, text, watcher)
    assert (report.exit_code, report.n_present, report.n_left) == (1, report.n_wanted, 0)
    assert watcher.failures == list(report.failures)
    said = {failure.run: failure.message for failure in report.failures}
    assert "p = 6 is not a prime" in said["tiny/p=6,frac_train=0.5"]
    assert "both splits need at least one" in said["tiny/p=5,frac_train=0.001"]
    archive = Archive(path)
    failed = archive.rows(
        "SELECT DISTINCT run, state, message FROM v_failure WHERE run LIKE '%p=6,frac_train=0.5%' ORDER BY run"
    )
    assert [(row["run"], row["state"]) for row in failed] == [
        ("tiny/p=6,frac_train=0.5/init0-data0-split0", "failed (permanent)"),
        ("tiny/p=6,frac_train=0.5/init1-data0-split1", "failed (permanent)"),
    ]
    assert {"p = 6 is not a prime" in row["message"] for row in failed} == {True}
    assert go(path, text).state == "nothing to do"


@pytest.mark.skipif(torch.cuda.is_available(), reason="a machine without a GPU is needed")
def test_a_gpu_that_is_not_there_is_refused_before_runs_are_entered_as_failed(path: Path) -> None:
    text = TOML.replace('kind = "inline"', 'kind = "inline"\ndevice = "cuda"')
    with pytest.raises(UsageError, match=r'executor.device = "cuda", but torch .* finds no GPU'):
        go(path, text)
    assert Archive(path).value("SELECT count(*) FROM v_cell") == 0
    assert go(path, text, dry_run=True).state == "planned"
