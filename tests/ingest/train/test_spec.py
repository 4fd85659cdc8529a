import subprocess
import sys

import pytest
from pydantic import ValidationError

from archive.errors import UnknownName, UsageError
from ingest.train.spec import OptimizerSettings, Seeds, TrainSpec
from tests.references.plain_training import rate_of_update

SMALL = {"task_params": {"p": 7}, "model": {"d_model": 16, "d_mlp": 32}, "steps": 20}


def test_defaults_are_filled_in_so_that_spelling_them_out_is_the_same_condition():
    spelled = TrainSpec(
        task_params={"p": 47, "frac_train": 0.4},
        optimizer={"lr": 0.005, "weight_decay": 2.0},
        model={"n_layers": 1},
    )
    assert spelled == TrainSpec()
    assert spelled.hash == TrainSpec().hash
    assert TrainSpec().task_params == {"operation": "add", "p": 47, "frac_train": 0.4}


def test_a_condition_keeps_its_hash():
    # a stored run is found again by it: change the trainer's numbers -> raise TRAINER_VERSION; add a setting
    # -> its default must leave old hashes alone
    assert TrainSpec().hash == "aee83c933bb01f2dd57791c26534fa09e88bc797c836fdd07d31622c22b11f8f"


@pytest.mark.parametrize(
    "change",
    [
        {"task_params": {"p": 5}},
        {"task_params": {"frac_train": 0.41}},
        {"model": {"d_mlp": 100}},
        {"model": {"activation": "gelu"}},
        {"model": {"activation": "solu_ln"}},
        {"model": {"positions": "attention"}},
        {"model": {"input": "sum"}},
        {"task_params": {"operation": "divide"}},
        {"optimizer": {"lr": 1e-3}},
        {"optimizer": {"name": "adam"}},
        {"optimizer": {"warmup_steps": 0}},
        {"optimizer": {"decay": "linear", "decay_steps": 3000}},
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
        ({"task_params": {"p": 7, "frac_train": 0.0}}, "frac_train = 0.0 of 49 pairs gives 0 training pairs"),
        (
            {"task_params": {"p": 7, "frac_train": 1.0}},
            "gives 49 training pairs; both splits need at least one",
        ),
        (
            {"model": {"n_heads": 0, "positions": "attention"}},
            "positions = 'attention' adds positions to queries and keys, and n_heads = 0 with n_layers = 1 has none",
        ),
        ({"model": {"n_layers": 0, "positions": "attention"}}, "with n_layers = 0 has none"),
        ({"model": {"activation": "solu_ln", "d_mlp": 1}}, "d_mlp = 1 makes constant"),
        ({"stepss": 3}, "stepss"),
        ({"optimizer": {"lr": 0}}, "greater than 0"),
        ({"optimizer": {"decay": "linear"}}, "decay = 'linear' needs decay_steps"),
        ({"optimizer": {"decay_steps": 9}}, "decay_steps and decay_to mean nothing without decay"),
        (
            {"optimizer": {"decay": "cosine", "decay_steps": 10}},
            "decay_steps = 10 counts the 10 updates of the warm",
        ),
        (
            {"optimizer": {"decay": "cosine", "decay_steps": 100}, "steps": 101},
            r"the learning rate is 0 from step 100 on \(optimizer.decay_steps\), but training runs to step 101",
        ),
        ({"task_params": {"q": 3}}, "Extra inputs are not permitted"),
    ],
)
def test_settings_that_cannot_be_right_are_refused(settings, message):
    with pytest.raises(ValidationError, match=message):
        TrainSpec(**settings)


def test_an_unknown_task_and_a_checkpoint_past_the_end_are_usage_errors():
    with pytest.raises(UnknownName, match="no task 'modular_aritmetic'; did you mean 'modular_arithmetic'"):
        TrainSpec(task="modular_aritmetic")
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


DECAYS = [
    {},
    {"decay": "linear", "decay_steps": 30},
    {"decay": "linear", "decay_steps": 30, "decay_to": 0.25, "warmup_steps": 0},
    {"decay": "cosine", "decay_steps": 30},
    {"decay": "cosine", "decay_steps": 17, "decay_to": 0.1, "warmup_steps": 5},
]


@pytest.mark.parametrize("settings", DECAYS, ids=str)
def test_the_learning_rate_of_every_update_is_that_of_the_definition_by_cases(settings):
    optimizer = OptimizerSettings(lr=0.3, **settings)
    rates = [optimizer.learning_rate(step) for step in range(40)]
    assert rates == pytest.approx([rate_of_update(optimizer, step + 1) for step in range(40)], abs=1e-15)


def test_the_learning_rate_at_places_that_can_be_worked_out_by_hand():
    linear = OptimizerSettings(lr=1.0, warmup_steps=4, decay="linear", decay_steps=14, decay_to=0.5)
    assert [linear.learning_rate(step) for step in (0, 1, 3, 4, 9, 14, 500)] == [
        0.25, 0.5, 1.0, 1.0, 0.75, 0.5, 0.5,
    ]  # fmt: skip
    cosine = OptimizerSettings(lr=1.0, warmup_steps=0, decay="cosine", decay_steps=12)
    thirds = [cosine.learning_rate(step) for step in (0, 4, 6, 8)]
    assert thirds == pytest.approx([1.0, 0.75, 0.5, 0.25])  # cos of 0, 60, 90 and 120 degrees


def test_training_on_does_not_change_the_rates_before():
    decaying = {"decay": "cosine", "decay_steps": 90, "decay_to": 0.1}
    short, long = TrainSpec(optimizer=decaying, steps=50), TrainSpec(optimizer=decaying, steps=500)
    assert short.hash == long.hash
