"""Training on endless data and on losses read at many positions: the promises of test_trainer hold there too.

How training that was killed goes on is in test_trainer for all.
"""

import pytest
import torch

from ingest.train.spec import Seeds, TrainSpec
from ingest.train.trainer import TrainingData, train_batch
from tests.ingest.tasks.corpora import write_texts
from tests.ingest.training import hashes, logs, runs, same_log

COMMON = {"batch": 8, "steps": 14, "checkpoints": {"per_octave": 1, "every": 5}}
TASKS = {
    "induction": {
        "task": "repeated_tokens",
        "task_params": {"n_tokens": 8, "length": 9, "min_period": 3, "max_period": 5},
        "model": {"n_layers": 2, "d_model": 16, "d_mlp": 0},
    },
    "addition": {
        "task": "digit_addition",
        "task_params": {"n_digits": 2},
        "model": {"d_model": 16, "d_mlp": 32},
        "optimizer": {"decay": "cosine", "decay_steps": 20, "decay_to": 0.1},
    },
    "skip trigram": {
        "task": "skip_trigram",
        "task_params": {"length": 6, "n_fillers": 8},
        "model": {"d_model": 16, "d_mlp": 0},
    },
    "text": {
        "task": "text",
        "task_params": {"held_out": 1, "context": 20, "repeated": 0.5, "max_period": 12},
        "model": {"n_layers": 2, "d_model": 16, "d_mlp": 16, "layer_norm": True, "positions": "attention"},
    },
}


@pytest.fixture(scope="module")
def texts(tmp_path_factory):
    """A folder of texts, so that a test does not read the whole standard library."""
    return write_texts(tmp_path_factory.mktemp("endless"), 3)


@pytest.fixture
def spec_of(texts):
    """The settings of a task by its name."""
    return lambda name: TrainSpec.model_validate({**COMMON, **_told(TASKS[name], texts)})


def _told(chosen, texts):
    if chosen["task"] != "text":
        return chosen
    return {**chosen, "task_params": {**chosen["task_params"], "files": (str(texts),)}}


@pytest.mark.parametrize("name", TASKS)
def test_a_run_has_the_same_bits_whatever_rides_along_and_wherever_it_is_interrupted(tmp_path, name, spec_of):
    spec = spec_of(name)
    train_batch(spec, runs(0, 1, 2), tmp_path / "three")
    train_batch(spec, runs(1), tmp_path / "alone", should_stop=iter([False] * 7 + [True]).__next__)
    train_batch(spec, runs(1), tmp_path / "alone")
    three, alone = hashes(tmp_path / "three"), hashes(tmp_path / "alone")
    assert alone == {key: value for key, value in three.items() if key[0] == "run1"}
    assert len(set(three.values())) == len(three)
    log = {key: values for key, values in logs(tmp_path / "three").items() if key[0] == "run1"}
    assert same_log(logs(tmp_path / "alone"), log)


@pytest.mark.parametrize("name", TASKS)
def test_the_three_seeds_are_separate(name, spec_of):
    spec = spec_of(name)

    def batch(data_order, init=0, split=0):
        seeds = Seeds(init=init, data_order=data_order, split=split)
        return TrainingData(spec, [seeds], torch.device("cpu")).at(3)[0]

    assert torch.equal(batch(1), batch(1, init=5, split=7))
    assert not torch.equal(batch(1), batch(2))
    assert spec.data_order_hash(Seeds(init=0, data_order=1, split=0)) == spec.data_order_hash(
        Seeds(init=4, data_order=1, split=9)
    )
