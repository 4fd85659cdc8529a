import subprocess
import sys

import pytest
from pydantic import ValidationError

from archive.errors import UnknownName, UsageError
from ingest.train.spec import Seeds, TrainSpec

SMALL = {"task_params": {"p": 7}, "model": {"d_model": 16, "d_mlp": 32}, "steps": 20}


def test_defaults_are_filled_in_so_that_spelling_them_out_is_the_same_condition():
    spelled = TrainSpec(
        task_params={"p": 47, "frac_train": 0.4},
        optimizer={"lr": 0.005, "weight_decay": 2.0},
        model={"n_layers": 1},
    )
    assert spelled == TrainSpec()
    assert spelled.hash == TrainSpec().hash
    assert TrainSpec().task_params == {"p": 47, "frac_train": 0.4}


def test_a_condition_keeps_its_hash():
    # a stored run is found again by it: change the trainer's numbers -> raise TRAINER_VERSION; add a setting
    # -> its default must leave old hashes alone
    assert TrainSpec().hash == "6130c00ba1b0aa8d3bb362a9212bc4ec7bb09f6f2a9c26a0204b83d37de8f9fa"


@pytest.mark.parametrize(
    "change",
    [
        {"task_params": {"p": 5}},
        {"task_params": {"frac_train": 0.41}},
        {"model": {"d_mlp": 100}},
        {"model": {"activation": "gelu"}},
        {"optimizer": {"lr": 1e-3}},
        {"optimizer": {"name": "adam"}},
        {"optimizer": {"warmup_steps": 0}},
        {"batch": 10},
        {"dtype": "float64"},
        {"loss_dtype": "float32"},
    ],
)
def test_the_hash_changes_with_everything_that_changes_numbers(change):
    assert TrainSpec(**change).hash != TrainSpec().hash


def test_the_hash_ignores_what_only_chooses_what_is_kept():
    other = TrainSpec(steps=9, checkpoints={"every": 3, "per_octave": 0, "at": [5]})
    assert other.hash == TrainSpec().hash
    assert other.checkpoint_steps() == (0, 3, 5, 6, 9)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"model": {"d_model": 10, "n_heads": 4}}, "d_model = 10 is not a multiple of n_heads = 4"),
        ({"task_params": {"p": 7}, "batch": 20}, "batch = 20 exceeds the 19 training examples"),
        ({"task_params": {"p": 48}}, "p = 48 is not a prime; the nearest are 47 and 53"),
        ({"stepss": 3}, "stepss"),
        ({"optimizer": {"lr": 0}}, "greater than 0"),
        ({"task_params": {"q": 3}}, "Extra inputs are not permitted"),
    ],
)
def test_settings_that_cannot_be_right_are_refused(settings, message):
    with pytest.raises(ValidationError, match=message):
        TrainSpec(**settings)


def test_an_unknown_task_and_a_checkpoint_past_the_end_are_usage_errors():
    with pytest.raises(UnknownName, match="no task 'modular_adition'; did you mean 'modular_addition'"):
        TrainSpec(task="modular_adition")
    with pytest.raises(UsageError, match="checkpoint at step 21, but training runs from 0 to 20"):
        TrainSpec(**SMALL, checkpoints={"at": [21]})


def test_tokens_per_step_counts_what_an_update_sees():
    assert TrainSpec().tokens_per_step == 883 * 3
    assert TrainSpec(batch=32).tokens_per_step == 96


def test_data_order_hash_is_equal_exactly_when_the_examples_are():
    full, batches = TrainSpec(**SMALL), TrainSpec(**SMALL, batch=4)
    base = Seeds(init=0, data_order=0, split=0)
    for spec in (full, batches):
        assert spec.data_order_hash(base) == spec.data_order_hash(Seeds(init=5, data_order=0, split=0))
        assert spec.data_order_hash(base) != spec.data_order_hash(Seeds(init=0, data_order=0, split=1))
    reordered = Seeds(init=0, data_order=1, split=0)
    assert full.data_order_hash(base) == full.data_order_hash(reordered)
    assert batches.data_order_hash(base) != batches.data_order_hash(reordered)


def test_planning_imports_no_torch():
    code = "import sys, ingest.train.spec as s; s.TrainSpec().checkpoint_steps(); sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
