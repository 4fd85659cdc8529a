"""What training costs, counted by hand, and what the estimate and the size of batches make of it."""

from pathlib import Path

import pytest
import torch
from torch.utils.flop_counter import FlopCounterMode

from ingest.models.layout import EXAMPLE_MULTIPLE
from ingest.models.small import initial_rows
from ingest.planning.estimate import estimate
from ingest.planning.plan import make_plan
from ingest.planning.wanted import WantedCondition, WantedMeasure
from ingest.run.groups import GPU_BYTES, batch_size
from ingest.run.present import Pace
from ingest.studies.files import parse_study
from ingest.train.cost import activation_bytes, examples_of, update_flops, widest_activation
from ingest.train.data import TrainingData
from ingest.train.gradients import Gradients
from ingest.train.spec import Seeds, TrainSpec
from ingest.train.stack import Stack
from tests.ingest.run.running import TOML

ONE_LAYER = TrainSpec(
    task_params={"p": 7, "frac_train": 0.5}, model={"d_model": 8, "n_heads": 2, "d_mlp": 16}
)
MAINLINE = TrainSpec(task_params={"p": 113, "frac_train": 0.3}, model={"d_model": 128, "d_mlp": 512})


# examples in multiples of 16, or padding would be counted too
EXACT = {"task_params": {"p": 11, "frac_train": 0.53}}
COUNTED = {
    "read at the end": ({**EXACT, "model": {"d_model": 16, "d_mlp": 32}}, 2 * 64 * 3 * 16),
    "two layers": ({**EXACT, "model": {"n_layers": 2, "d_model": 16, "d_mlp": 32}}, 2 * 64 * 3 * 16),
    "read at many": (
        {
            "task": "repeated_tokens", "batch": 32, "model": {"n_layers": 2, "d_model": 16, "d_mlp": 0},
            "task_params": {"n_tokens": 8, "length": 9, "min_period": 3, "max_period": 5},
        },
        0,
    ),
}  # fmt: skip


@pytest.mark.parametrize(("settings", "not_products"), COUNTED.values(), ids=COUNTED)
def test_an_update_carries_out_the_products_counted_and_no_others(settings, not_products):
    """So the last layer is computed at the positions read only, and keys and values once for each token."""
    spec = TrainSpec.model_validate(settings)
    assert examples_of(spec) % EXAMPLE_MULTIPLE == 0
    seeds = [Seeds(init=k, data_order=k, split=k) for k in range(2)]
    rows = initial_rows(spec.layout(), [0, 1], torch.float32)
    stack = Stack(spec, [("a", seeds[0]), ("b", seeds[1])], rows, {})
    data = TrainingData(spec, seeds, torch.device("cpu"))
    with FlopCounterMode(display=False) as counter:
        Gradients(stack, data.task.read_positions)(*data.at(0))
    # a single query's scores and mixing are sums of products, no matrix products
    assert counter.get_total_flops() == 2 * (update_flops(spec) - 6 * not_products)


def test_the_products_of_a_one_layer_model_are_those_at_the_position_read():
    examples = 24
    assert examples_of(ONE_LAYER) == examples
    looked_up = 3 * (8 * 3) * 8 * 8  # queries, keys and values of 8 tokens at 3 positions
    scores_and_mixing = 2 * examples * 3 * 8
    rest = examples * (8 * 8 + 2 * 8 * 16 + 8 * 8)  # W_O, the MLP, the unembedding
    assert update_flops(ONE_LAYER) == 6 * (looked_up + scores_and_mixing + rest)


def test_all_but_the_last_layer_work_at_every_position():
    deep = TrainSpec(
        task_params={"p": 7, "frac_train": 0.5}, model={"n_layers": 2, "d_model": 8, "n_heads": 2}
    )
    # the same by tensors: what a batch goes through, times their columns
    first = 3 * 8 * 3 * 64 + 24 * 3 * (64 + 2 * 8 * 192) + 2 * 24 * 3 * 3 * 8
    second = 24 * (64 + 64 + 2 * 8 * 192) + 2 * 24 * 3 * 64 + 2 * 24 * 3 * 8
    assert update_flops(deep) == 6 * (first + second + 24 * 8 * 8)


def test_a_model_without_layers_has_only_its_unembedding():
    assert update_flops(TrainSpec(task_params={"p": 7}, model={"n_layers": 0})) == 6 * 19 * 48 * 8


def test_the_widest_activation_decides_how_many_seeds_a_core_trains_at_once():
    assert widest_activation(ONE_LAYER) == 24 * 16
    assert widest_activation(MAINLINE) == 3830 * 512
    assert batch_size(MAINLINE, 100, 2) == 1
    assert batch_size(ONE_LAYER, 100, 2) == 50


def test_a_gpu_trains_as_many_as_its_memory_holds():
    assert batch_size(MAINLINE, 100, 1, "cuda") == 100
    assert batch_size(MAINLINE, 1000, 1, "cuda") == 128
    long = TrainSpec(
        task="repeated_tokens",
        task_params={"length": 512, "min_period": 100, "max_period": 200},
        model={"n_layers": 2},
        batch=64,
    )
    size = batch_size(long, 1000, 1, "cuda")
    assert size * activation_bytes(long) <= GPU_BYTES < (size + 1) * activation_bytes(long)
    # the patterns of 64 examples, 4 heads and 512 positions each way alone are 268 MB a layer
    assert activation_bytes(long) > 4 * 64 * 4 * 512 * 512


@pytest.mark.parametrize(("device", "faster"), [("cpu", 1), ("cuda", 100)])
def test_an_estimate_is_the_sum_over_runs_and_goes_by_the_device(device, faster):
    text = TOML.replace("p = 5", "p = 113").replace("d_model = 8", "d_model = 128").replace("= 12", "= 1000")
    runs = parse_study(text, Path("/x.toml")).runs
    wanted = WantedCondition(1000, ("log",), (WantedMeasure("loss", "q", (0, 1000)),))
    plan = make_plan(runs, {"": wanted}, {}, {})
    alone = make_plan(runs[:1], {"": wanted}, {}, {})
    two, one = (estimate(p, Pace(), 1, device) for p in (plan, alone))
    assert two.hours == pytest.approx(2 * one.hours)
    assert two.gigabytes == pytest.approx(2 * one.gigabytes)
    assert estimate(plan, Pace(), 2, device).hours == pytest.approx(one.hours)
    timed = estimate(plan, Pace(train=0.5, measure=10.0), 1, device)
    assert timed.timed
    assert timed.hours == pytest.approx(2 * (1000 * 0.5 + 2 * 10.0) / 3600)
    on_cpu = estimate(plan, Pace(measure=0.0), 1, "cpu").hours
    assert estimate(plan, Pace(measure=0.0), 1, device).hours <= on_cpu / faster
