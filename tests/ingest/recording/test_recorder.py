"""A training loop that is not pathscope's, from its first step to its answers."""

import math
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file
from torch import nn

from archive.committer import commit_inbox
from archive.errors import UsageError
from archive.layout import Layout
from archive.store import Archive
from ingest.recording import recorder as recorder_module
from ingest.recording.recorder import Recorder


@pytest.fixture
def home(layout: Layout) -> Path:
    return layout.database.parent


def record(home: Path, run: str = "mine", **settings: object) -> Recorder:
    return Recorder(home / "x.duckdb", home / "weights", run=run, **settings)  # type: ignore[arg-type]


def committed(home: Path) -> Archive:
    report = commit_inbox(Layout.of(home / "x.duckdb"))
    assert report.refused == []
    return Archive(home / "x.duckdb")


def logged(archive: Archive, metric: str, part: str, run: str = "mine") -> dict[int, float]:
    rows = archive.rows(
        "SELECT step, value FROM v_log WHERE measure = $measure AND part = $part AND run = $run",
        {"measure": f"log.{metric}", "part": part, "run": run},
    )
    return {row["step"]: row["value"] for row in rows}


def states(archive: Archive) -> dict[str, tuple[str, int]]:
    return {
        row["measure"]: (row["state"], row["n_rows"])
        for row in archive.rows("SELECT measure, state, n_rows FROM v_cell")
    }


def test_every_number_comes_back_under_its_name_and_part(home: Path) -> None:
    with record(home, init_seed=3, data_order_seed=4, tokens_per_step=128, config={"lr": 0.1}) as recorder:
        for step in range(20):
            recorder.log(step, {"loss": 5 - step / 10, "gate": np.float32(step)})
            if step % 10 == 0:
                recorder.log(step, {"loss/test": torch.tensor(6.0 + step)})
    archive = committed(home)
    assert logged(archive, "loss", "train") == {step: 5 - step / 10 for step in range(20)}
    assert logged(archive, "loss", "test") == {0: 6.0, 10: 16.0}
    assert logged(archive, "gate", "") == {step: float(step) for step in range(20)}
    assert states(archive) == {"log.loss": ("done", 22), "log.gate": ("done", 20)}
    (run,) = archive.rows("SELECT init_seed, data_order_seed, tokens_per_step, final_step FROM v_run")
    assert run == {"init_seed": 3, "data_order_seed": 4, "tokens_per_step": 128.0, "final_step": 19}


def test_a_loop_that_breaks_off_keeps_its_log_and_is_not_called_finished(home: Path) -> None:
    def loop() -> None:
        with record(home) as recorder:
            recorder.log(0, {"loss": 2.0})
            recorder.log(1, {"loss": 1 / 0})

    with pytest.raises(ZeroDivisionError):
        loop()
    archive = committed(home)
    assert logged(archive, "loss", "train") == {0: 2.0}
    assert states(archive) == {}


@pytest.mark.parametrize("finished", [False, True])
def test_steps_that_are_logged_again_replace_what_was_there(home: Path, finished: bool) -> None:
    first = record(home)
    for step in range(10):
        first.log(step, {"loss": 1.0, "loss/test": 2.0} if step % 2 == 0 else {"loss": 1.0})
    first.close() if finished else first._hand_in(before=10)
    committed(home)
    with record(home) as again:
        for step in range(6, 12):
            again.log(step, {"loss": 3.0})
    archive = committed(home)
    assert logged(archive, "loss", "train") == {
        **dict.fromkeys(range(6), 1.0),
        **dict.fromkeys(range(6, 12), 3.0),
    }
    assert logged(archive, "loss", "test") == {0: 2.0, 2: 2.0, 4: 2.0}  # what was abandoned is gone with it
    assert states(archive) == {"log.loss": ("done", 15)}


def test_a_unit_never_ends_in_the_middle_of_a_step(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(recorder_module, "ROWS", 3)
    with record(home) as recorder:
        for step in range(12):
            recorder.log(step, {"loss": 1.0})
            recorder.log(step, {"loss/test": 2.0})
            recorder.log(step, {"loss/test": 3.0})  # corrected: the last word counts
    assert len(list(Layout.of(home / "x.duckdb").inbox.iterdir())) > 3
    archive = committed(home)
    assert logged(archive, "loss", "train") == dict.fromkeys(range(12), 1.0)
    assert logged(archive, "loss", "test") == dict.fromkeys(range(12), 3.0)


def test_what_is_logged_shows_up_while_the_loop_runs(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(recorder_module, "SECONDS", 0.0)
    recorder = record(home)
    for step in range(3):
        recorder.log(step, {"loss": 1.0})
    assert sorted(logged(committed(home), "loss", "train")) == [0, 1]


def test_what_could_not_be_written_is_handed_in_the_next_time(
    home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    recorder = record(home)
    for step in range(3):
        recorder.log(step, {"loss": 1.0})

    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(recorder_module.ShardBuilder, "write", full)
        with pytest.raises(OSError, match="No space"):
            recorder.flush()
    recorder.log(3, {"loss": 1.0})
    recorder.close()
    archive = committed(home)
    assert logged(archive, "loss", "train") == dict.fromkeys(range(4), 1.0)
    assert states(archive) == {"log.loss": ("done", 4)}


def test_a_loss_that_is_no_number_is_kept(home: Path) -> None:
    with record(home) as recorder:
        recorder.log(0, {"loss": float("nan")})
    assert math.isnan(logged(committed(home), "loss", "train")[0])


def test_two_runs_record_into_one_archive(home: Path) -> None:
    with record(home, "a") as a, record(home, "b") as b:
        a.log(0, {"loss": 1.0})
        b.log(0, {"loss": 2.0})
    archive = committed(home)
    assert [logged(archive, "loss", "train", run)[0] for run in ("a", "b")] == [1.0, 2.0]


@pytest.mark.parametrize(
    ("step", "values", "said"),
    [
        (3, {"loss": 1.0}, "step 3 of run 'mine' after step 5.*makes a new Recorder"),
        (6, {"loss": "low"}, "loss at step 6 of run 'mine' is 'low'; a metric is one number"),
        (6, {"loss": torch.ones(2)}, "a metric is one number"),
    ],
)
def test_what_cannot_be_logged_is_named(home: Path, step: int, values: dict[str, float], said: str) -> None:
    recorder = record(home)
    recorder.log(5, {"loss": 1.0})
    with pytest.raises(UsageError, match=said):
        recorder.log(step, values)


class Tied(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.embed = nn.Embedding(5, 3)
        self.head = nn.Linear(3, 5, bias=False)
        self.head.weight = self.embed.weight


def test_weights_come_back_tied_ones_too(home: Path) -> None:
    model = Tied()
    file = record(home).checkpoint(7, model)
    assert file == home / "weights" / "step-000000007.safetensors"
    stored = load_file(file)
    assert stored.keys() == model.state_dict().keys()
    assert all(torch.equal(stored[name], tensor) for name, tensor in model.state_dict().items())
    assert torch.equal(
        load_file(record(home).checkpoint(8, model.state_dict()))["embed.weight"], model.embed.weight
    )
