import os
import shutil
from contextlib import contextmanager

import numpy as np
import pytest
import torch

import ingest.train.trainer as trainer
from archive.errors import UsageError
from ingest.train.checkpoints import iter_checkpoints, iter_log_segments, load_run, resume_step
from ingest.train.files import CheckpointFolderLost
from ingest.train.log import LOG_METRICS
from ingest.train.outcome import RunFailure
from ingest.train.spec import Seeds, TrainSpec
from ingest.train.trainer import train_batch
from tests.ingest.train.killed_trainer import trainers_in_forks
from tests.ingest.training import (
    BATCHES,
    SMALL,
    hashes,
    logs,
    poisoned,
    runs,
    same_log,
    seeds,
    train_in_another_process,
)
from tests.references.plain_training import train_one

ENDLESS = {
    "task": "repeated_tokens",
    "task_params": {"n_tokens": 8, "length": 9, "min_period": 3, "max_period": 5},
    "model": {"n_layers": 2, "d_model": 16, "d_mlp": 0},
    "batch": 8,
    "steps": 24,
    "checkpoints": {"per_octave": 1, "every": 5},
}


@pytest.mark.parametrize(
    "optimizer",
    [
        {"weight_decay": 1.0},
        {"weight_decay": 1.0, "decay": "cosine", "decay_steps": 24, "decay_to": 0.1},
        {"name": "adam", "weight_decay": 0.01, "betas": [0.8, 0.95], "eps": 1e-6},
        {
            "name": "sgd",
            "lr": 0.1,
            "momentum": 0.9,
            "weight_decay": 0.01,
            "decay": "linear",
            "decay_steps": 40,
        },
    ],
    ids=["adamw", "adamw decaying", "adam", "sgd decaying"],
)
def test_agrees_with_a_plain_loop_over_one_run(tmp_path, optimizer):
    spec = TrainSpec(**{**SMALL, "dtype": "float64", "optimizer": optimizer})
    train_batch(spec, runs(3, 5), tmp_path)
    (_, first), *_, (last, path) = iter_checkpoints(tmp_path)
    assert last == 24
    log = logs(tmp_path)
    for name, own in runs(3, 5):
        expected, losses, norms = train_one(spec, own, load_run(first, name).weights, 24)
        for tensor, value in load_run(path, name).weights.items():
            torch.testing.assert_close(value, expected[tensor], atol=1e-9, rtol=1e-7)
        np.testing.assert_allclose(log[name, "log.loss"], losses, rtol=1e-9)
        np.testing.assert_allclose(log[name, "log.grad_norm"], norms, rtol=1e-9)


@pytest.mark.parametrize(
    "settings",
    [
        SMALL,
        BATCHES,
        {**SMALL, "model": {"d_model": 9, "n_heads": 3, "d_mlp": 13, "activation": "gelu"}},
        {**SMALL, "model": {"d_model": 16, "n_layers": 2, "d_mlp": 13, "layer_norm": True}},
        {**SMALL, "model": {"d_model": 16, "d_mlp": 0, "n_layers": 2}},
        {**SMALL, "optimizer": {"name": "sgd", "lr": 0.1, "momentum": 0.9, "weight_decay": 0.01}},
        {**SMALL, "dtype": "float64", "optimizer": {"name": "adam", "weight_decay": 0.01}},
        {**SMALL, "optimizer": {"decay": "linear", "decay_steps": 30}},
    ],
    ids=[
        "full batch",
        "minibatch",
        "odd widths",
        "layer norm",
        "attention only",
        "sgd",
        "adam float64",
        "decaying",
    ],
)
def test_a_run_has_the_same_bits_whatever_rides_along(tmp_path, settings):
    spec = TrainSpec(**settings)
    for folder, numbers in {
        "three": (0, 1, 2),
        "permuted": (2, 0, 1),
        "alone": (1,),
        "five": (4, 1, 3, 2, 0),
    }.items():
        train_batch(spec, runs(*numbers), tmp_path / folder)
    three, three_log = hashes(tmp_path / "three"), logs(tmp_path / "three")
    assert len(set(three.values())) == len(three)
    assert hashes(tmp_path / "permuted") == three
    assert same_log(logs(tmp_path / "permuted"), three_log)
    for folder in ("alone", "five"):
        other, other_log = hashes(tmp_path / folder), logs(tmp_path / folder)
        shared = three.keys() & other.keys()
        assert len(shared) == len(three) // (3 if folder == "alone" else 1)
        assert {k: other[k] for k in shared} == {k: three[k] for k in shared}
        for key in three_log.keys() & other_log.keys():
            assert other_log[key] == three_log[key]


@pytest.mark.slow
def test_the_quick_start_has_the_same_bits_in_batches_of_three_and_of_one(tmp_path):
    spec = TrainSpec(steps=60)
    train_batch(spec, runs(0, 1, 2), tmp_path / "three")
    train_batch(spec, runs(1), tmp_path / "alone")
    three, alone = hashes(tmp_path / "three"), hashes(tmp_path / "alone")
    assert {k: three[k] for k in alone} == alone


@pytest.fixture(scope="module")
def train_in_a_fork():
    with trainers_in_forks() as train:
        yield train


@pytest.mark.parametrize(
    "settings", [SMALL, BATCHES, ENDLESS], ids=["full batch", "minibatch", "endless data"]
)
def test_killed_twice_and_resumed_is_bit_identical(tmp_path, settings, train_in_a_fork):
    spec = TrainSpec(**settings)
    train_batch(spec, runs(0, 1), tmp_path / "whole")
    folder = tmp_path / "killed"
    for die_at in (9, 18):  # between the states at 6 and 15, and after that, with checkpoints kept in between
        assert train_in_a_fork(spec, runs(0, 1), folder, die_at=die_at, saves=[6, 15]) == -9
        assert resume_step(folder) == {9: 6, 18: 15}[die_at]
    outcome = train_batch(spec, runs(0, 1), folder)
    assert outcome.finished
    assert outcome.n_steps == 24 - 15
    assert hashes(folder) == hashes(tmp_path / "whole")
    assert same_log(logs(folder), logs(tmp_path / "whole"))


@contextmanager
def two_threads():
    before = torch.get_num_threads()
    torch.set_num_threads(2)
    try:
        yield
    finally:
        torch.set_num_threads(before)


@pytest.mark.parametrize("elsewhere", ["two threads", "another processor"])
def test_twenty_steps_elsewhere_stay_within_a_ten_thousandth(tmp_path, monkeypatch, elsewhere):
    # measured: 5e-7 on a processor without vector instructions; 20 updates may move a weight by 0.07
    spec = TrainSpec(**{**SMALL, "task_params": {"p": 23}, "steps": 20})
    train_batch(spec, runs(0, 1), tmp_path / "here")
    if elsewhere == "two threads":
        monkeypatch.setattr(trainer, "_one_thread", two_threads)
        train_batch(spec, runs(0), tmp_path / "there")
    else:
        old = {**os.environ, "ATEN_CPU_CAPABILITY": "default", "MKL_CBWR": "COMPATIBLE"}
        assert train_in_another_process(spec, runs(0), tmp_path / "there", env=old) == 0
    here, there = (load_run(iter_checkpoints(tmp_path / d)[-1][1], "run0") for d in ("here", "there"))
    for name, tensor in here.weights.items():
        torch.testing.assert_close(there.weights[name], tensor, atol=1e-4, rtol=0)


def test_stopped_anywhere_and_resumed_is_bit_identical(tmp_path):
    spec = TrainSpec(**BATCHES)
    train_batch(spec, runs(0, 1), tmp_path / "whole")
    folder = tmp_path / "stopped"
    steps = []
    while not (
        outcome := train_batch(spec, runs(0, 1), folder, should_stop=iter([False] * 7 + [True]).__next__)
    ).finished:
        steps.append(outcome.last_step)
        assert outcome.n_steps == 7
        assert resume_step(folder) == outcome.last_step
    assert steps == [7, 14, 21]
    assert outcome.last_step == 24
    assert hashes(folder) == hashes(tmp_path / "whole")
    assert same_log(logs(folder), logs(tmp_path / "whole"))


def test_saving_more_often_changes_nothing(tmp_path, monkeypatch):
    spec = TrainSpec(**SMALL)
    train_batch(spec, runs(0), tmp_path / "whole")
    monkeypatch.setattr(trainer, "SAVE_SECONDS", -1.0)
    train_batch(spec, runs(0), tmp_path / "often")
    assert len(list((tmp_path / "often").glob("log-*"))) == 24
    assert hashes(tmp_path / "often") == hashes(tmp_path / "whole")
    assert same_log(logs(tmp_path / "often"), logs(tmp_path / "whole"))


def test_a_log_segment_the_state_has_not_passed_is_not_offered_and_made_again(tmp_path):
    spec = TrainSpec(**SMALL)
    for n in (10, 5, 24):
        train_batch(spec, runs(0), tmp_path / "whole", should_stop=iter([False] * n + [True]).__next__)
    folder = tmp_path / "crashed"
    train_batch(spec, runs(0), folder, should_stop=iter([False] * 10 + [True]).__next__)
    # a crash between the segment (10, 15] and the state of step 15
    later = tmp_path / "whole" / "log-000000010-000000014.npz"
    shutil.copy(later, folder)
    assert max(segment.last_step for segment in iter_log_segments(folder)) == 9
    # stopping elsewhere this time, so that the stale segment would overlap the new ones
    train_batch(spec, runs(0), folder, should_stop=iter([False] * 2 + [True]).__next__)
    train_batch(spec, runs(0), folder)
    assert same_log(logs(folder), logs(tmp_path / "whole"))


def test_a_second_call_does_nothing(tmp_path):
    spec = TrainSpec(**SMALL)
    first = train_batch(spec, runs(0), tmp_path)
    before = {path: path.read_bytes() for path in tmp_path.iterdir()}
    again = train_batch(
        spec, runs(0), tmp_path, should_stop=lambda: pytest.fail("asked although there is nothing to do")
    )
    assert (first.finished, first.n_steps) == (True, 24)
    assert (again.finished, again.n_steps, again.last_step) == (True, 0, 24)
    assert {path: path.read_bytes() for path in tmp_path.iterdir()} == before


def test_more_steps_train_on_to_the_bits_of_one_long_call(tmp_path):
    train_batch(TrainSpec(**{**SMALL, "steps": 40}), runs(0), tmp_path / "long")
    train_batch(TrainSpec(**SMALL), runs(0), tmp_path / "short")
    train_batch(TrainSpec(**{**SMALL, "steps": 40}), runs(0), tmp_path / "short")
    long, short = hashes(tmp_path / "long"), hashes(tmp_path / "short")
    assert {k: short[k] for k in long} == long
    assert short.keys() - long.keys() == {("run0", 24)}  # the old last step
    assert same_log(logs(tmp_path / "short"), logs(tmp_path / "long"))


def test_checkpoints_and_log_are_complete_and_mean_what_they_say(tmp_path):
    spec = TrainSpec(**SMALL)
    reached = []
    outcome = train_batch(spec, runs(0, 1), tmp_path, on_step=reached.append)
    assert reached == list(range(1, 25))
    assert outcome.failures == ()
    assert [step for step, _ in iter_checkpoints(tmp_path)] == [0, 1, 2, 4, 8, 10, 15, 20, 24]
    log = logs(tmp_path)
    assert log.keys() == {(run, metric.name) for run in ("run0", "run1") for metric in LOG_METRICS}
    assert all(len(values) == 24 for values in log.values())
    # warm-up over 10 updates: update number t uses lr * t / 10
    np.testing.assert_allclose(
        log["run0", "log.learning_rate"][:12], [*(5e-4 * np.arange(1, 11)), 5e-3, 5e-3]
    )
    # row t describes the weights of checkpoint t
    for step, path in iter_checkpoints(tmp_path)[:-1]:
        model = load_run(path, "run1")
        norm = sum(float(w.double().square().sum()) for w in model.weights.values()) ** 0.5
        assert log["run1", "log.weight_norm"][step] == pytest.approx(norm, rel=1e-12)
        examples = spec.make_task().training_set(1)
        logits = model.logits(torch.from_numpy(examples.tokens))[:, -1].double()
        right = (logits.argmax(-1).numpy() == examples.targets[:, 0]).mean()
        loss = torch.nn.functional.cross_entropy(logits, torch.from_numpy(examples.targets[:, 0]))
        assert log["run1", "log.loss"][step] == pytest.approx(loss.item(), rel=1e-5)
        assert log["run1", "log.accuracy"][step] == pytest.approx(right)


@pytest.mark.parametrize(
    "settings",
    [SMALL, {**SMALL, "model": {"d_model": 10, "n_heads": 2, "d_mlp": 5}}],
    ids=["stacked", "one by one"],
)
def test_a_run_that_diverges_is_reported_and_the_others_are_untouched(tmp_path, monkeypatch, settings):
    spec = TrainSpec(**settings)
    train_batch(spec, runs(0, 2), tmp_path / "healthy")
    monkeypatch.setattr(trainer, "initial_rows", poisoned)
    outcome = train_batch(spec, runs(0, 1, 2), tmp_path / "mixed")
    assert outcome.finished
    assert [(f.run, f.step) for f in outcome.failures] == [("run1", 0)]
    assert "training diverged at step 0: loss nan" in outcome.failures[0].reason
    mixed = hashes(tmp_path / "mixed")
    assert mixed.keys() - hashes(tmp_path / "healthy").keys() == {("run1", 0)}
    del mixed["run1", 0]
    assert mixed == hashes(tmp_path / "healthy")
    log = logs(tmp_path / "mixed")
    assert np.isnan(log["run1", "log.loss"]).tolist() == [True]
    assert same_log({k: v for k, v in log.items() if k[0] != "run1"}, logs(tmp_path / "healthy"))
    # the failure is remembered, the run not tried again
    again = train_batch(spec, runs(0, 1, 2), tmp_path / "mixed")
    assert (again.n_steps, again.failures) == (0, outcome.failures)


def test_a_run_that_diverges_later_leaves_the_others_their_momentum(tmp_path, monkeypatch):
    spec = TrainSpec(
        **{**SMALL, "optimizer": {"name": "sgd", "lr": 0.1, "momentum": 0.9, "weight_decay": 0.0}}
    )
    train_batch(spec, runs(0, 2), tmp_path / "healthy")

    class Poison:
        """Overwrites run1's weights in its stack after 7 updates."""

        def __init__(self):
            self.stack = None

        def make(self, *arguments):
            self.stack = real(*arguments)
            return self.stack

        def on_step(self, step):
            if step == 7 and "run1" in self.stack.names:
                with torch.no_grad():
                    self.stack.rows[self.stack.names.index("run1")] = float("inf")

    real, poison = trainer.Stack, Poison()
    monkeypatch.setattr(trainer, "Stack", poison.make)
    outcome = train_batch(spec, runs(0, 1, 2), tmp_path / "mixed", on_step=poison.on_step)
    assert [(f.run, f.step) for f in outcome.failures] == [("run1", 7)]
    mixed = {k: v for k, v in hashes(tmp_path / "mixed").items() if k[0] != "run1"}
    assert mixed == hashes(tmp_path / "healthy")
    assert len(logs(tmp_path / "mixed")["run1", "log.loss"]) == 8


def test_when_every_run_diverges_training_ends_with_what_there_is(tmp_path):
    spec = TrainSpec(
        **{**SMALL, "optimizer": {"name": "sgd", "lr": 1e30, "weight_decay": 0.0, "warmup_steps": 0}}
    )
    outcome = train_batch(spec, runs(0, 1), tmp_path)
    assert outcome.finished
    assert {f.run for f in outcome.failures} == {"run0", "run1"}
    assert outcome.last_step == max(f.step for f in outcome.failures) + 1 < 24
    assert all(isinstance(f, RunFailure) for f in outcome.failures)
    assert train_batch(spec, runs(0, 1), tmp_path).n_steps == 0


def test_a_folder_of_other_training_is_refused(tmp_path):
    train_batch(TrainSpec(**SMALL), runs(0, 1), tmp_path)
    with pytest.raises(UsageError, match="holds training of other settings"):
        train_batch(TrainSpec(**{**SMALL, "task_params": {"p": 11}}), runs(0, 1), tmp_path)
    with pytest.raises(UsageError, match="holds runs run0, run1, asked for run0, run2"):
        train_batch(TrainSpec(**SMALL), runs(0, 2), tmp_path)


def test_a_folder_that_vanishes_is_a_clear_error(tmp_path):
    folder = tmp_path / "runs"

    def on_step(step):
        if step == 6:
            shutil.rmtree(folder)

    with pytest.raises(CheckpointFolderLost, match=r"cannot write step-000000008.safetensors into .*runs"):
        train_batch(TrainSpec(**SMALL), runs(0), folder, on_step=on_step)


def test_minibatches_take_every_example_once_an_epoch_in_an_order_of_the_seed():
    spec = TrainSpec(**{**SMALL, "batch": 4})  # 19 examples: 4 batches an epoch, 3 examples left out
    data = trainer.TrainingData(spec, [seeds(0), Seeds(init=0, data_order=1, split=0)], torch.device("cpu"))
    epochs = []
    for epoch in range(2):
        batches = [data.at(4 * epoch + i)[1] for i in range(4)]
        tokens = [data.at(4 * epoch + i)[0][:, :4] for i in range(4)]
        epochs.append(torch.cat(tokens, dim=1))
        assert all(batch.shape == (2, 4, 1) for batch in batches)
        assert data.at(epoch)[0].shape == (2, 16, 3)  # padded, or runs would be computed one by one
        for run in range(2):
            assert len({tuple(t) for t in epochs[-1][run].tolist()}) == 16
    assert not torch.equal(epochs[0], epochs[1])
    assert not torch.equal(epochs[0][0], epochs[0][1])
    assert torch.equal(data.at(2)[0], trainer.TrainingData(spec, data.seeds, torch.device("cpu")).at(2)[0])
