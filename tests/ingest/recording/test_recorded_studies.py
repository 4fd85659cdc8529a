"""Checkpoints of recorded runs, measured: a module through its adapter, a model of transformers through its Trainer."""

from pathlib import Path
from typing import Any

import pytest
import torch
from transformers import GPTNeoXConfig, GPTNeoXForCausalLM, Trainer, TrainingArguments

from archive.committer import commit_inbox
from archive.errors import UsageError
from archive.layout import Layout
from archive.store import Archive
from ingest.recording.recorder import Recorder
from ingest.recording.trainer import RecorderCallback
from ingest.run.calls import ingest
from ingest.run.conduct import Options
from ingest.studies.files import load_study
from tests.ingest.run.running import Quiet
from tests.ingest.run.series import SHAPE

EVAL_SETS = """
[[eval_sets]]
kind = "repeated_tokens"
block = 5
copies = 2
n_sequences = 4
[measures]
names = ["loss"]
[executor]
kind = "inline"
"""


ADAPTER = """
from torch import nn

from ingest.models.hooked import Shape
from ingest.models.module import ModuleAdapter


class Bigram(nn.Module):
    def __init__(self):
        super().__init__()
        self.table = nn.Embedding(257, 257)

    def forward(self, tokens):
        return self.table(tokens)

class Adapter(ModuleAdapter):
    shape = Shape(0, 0, 0, 257, 0, 257, 64)

    def build(self):
        return Bigram()
"""


@pytest.fixture
def home(layout: Layout) -> Path:
    return layout.database.parent


def measured(home: Path, study: Path) -> dict[int, float]:
    report = ingest(load_study(study), home / "x.duckdb", Options(), Quiet())
    assert not report.failures, report.failures
    assert (report.exit_code, report.n_left) == (0, 0)
    rows = Archive(home / "x.duckdb").rows("SELECT step, value FROM v_scalar WHERE measure = 'loss'")
    return {row["step"]: row["value"] for row in rows}


def test_checkpoints_of_a_module_are_measured_under_the_recorded_run(home: Path) -> None:
    (home / "w").mkdir()
    (home / "w" / "recorded_bigram.py").write_text(ADAPTER)  # beside the study
    torch.manual_seed(0)
    model = {"table.weight": torch.randn(257, 257)}
    with Recorder(home / "x.duckdb", home / "w", run="mine", init_seed=0, tokens_per_step=10) as recorder:
        for step in (0, 5):
            recorder.log(step, {"loss": 1.0})
            recorder.checkpoint(step, model)
            model["table.weight"].zero_()
        study = recorder.study(EVAL_SETS, adapter="recorded_bigram:Adapter", tokenizer="bytes")
    losses = measured(home, study)
    assert losses[5] == pytest.approx(torch.log(torch.tensor(257.0)).item())
    assert losses[0] > losses[5]
    rows = Archive(home / "x.duckdb").rows("SELECT run, init_seed, family FROM v_run")
    assert rows == [{"run": "mine", "init_seed": 0, "family": "module"}]
    found = Archive(home / "x.duckdb").rows("SELECT step, tokens_seen FROM v_checkpoint ORDER BY step")
    assert found == [{"step": 0, "tokens_seen": 0.0}, {"step": 5, "tokens_seen": 50.0}]


def test_the_trainer_of_transformers_is_recorded(home: Path) -> None:
    torch.manual_seed(0)
    model = GPTNeoXForCausalLM(GPTNeoXConfig(**SHAPE))
    data: list[dict[str, Any]] = [{"input_ids": row, "labels": row} for row in torch.randint(257, (8, 12))]
    recorder = Recorder(home / "x.duckdb", home / "out", run="hf", family="hugging_face", init_seed=0)
    arguments = TrainingArguments(
        output_dir=str(home / "out"), max_steps=4, save_steps=2, logging_steps=1, eval_strategy="steps", eval_steps=2,
        per_device_train_batch_size=2, report_to=[], disable_tqdm=True, use_cpu=True,
    )  # fmt: skip
    trainer = Trainer(
        model, arguments, train_dataset=data, eval_dataset=data, callbacks=[RecorderCallback(recorder)]
    )
    trainer.train()
    study = recorder.study(EVAL_SETS, tokenizer="bytes")
    assert commit_inbox(Layout.of(home / "x.duckdb")).refused == []
    archive = Archive(home / "x.duckdb")
    rows = archive.rows("SELECT measure, part, step, value FROM v_log ORDER BY ALL")
    steps: dict[tuple[str, str], list[int]] = {}
    for row in rows:
        steps.setdefault((row["measure"], row["part"]), []).append(row["step"])
    assert steps == {
        ("log.grad_norm", ""): [1, 2, 3, 4],
        ("log.learning_rate", ""): [1, 2, 3, 4],
        ("log.loss", "eval"): [2, 4],
        ("log.loss", "train"): [1, 2, 3, 4],
    }
    said = {h["step"]: h["loss"] for h in trainer.state.log_history if "loss" in h}
    kept = {
        row["step"]: row["value"] for row in rows if (row["measure"], row["part"]) == ("log.loss", "train")
    }
    assert kept == said
    assert sorted(measured(home, study)) == [2, 4]
    assert archive.rows("SELECT run, family FROM v_run") == [{"run": "hf", "family": "hugging_face"}]


def test_a_study_that_could_not_be_read_is_not_written(home: Path) -> None:
    recorder = Recorder(home / "x.duckdb", home / "w", run="mine")
    with pytest.raises(UsageError, match="adapter"):
        recorder.study(EVAL_SETS)
    with pytest.raises(UsageError, match="kind"):
        recorder.study('[[eval_sets]]\nkind = "songs"', adapter="a:B")
    assert not (home / "w").exists()
