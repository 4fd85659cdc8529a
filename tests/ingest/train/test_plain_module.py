"""The twin that training is timed against is the same model with the same optimizer."""

import pytest
import torch

from benchmarks.plain_module import PlainTraining
from ingest.models.small import initial_rows, stack_views
from ingest.train.data import TrainingData
from ingest.train.gradients import LOSS, gradients_of
from ingest.train.spec import Seeds, TrainSpec
from ingest.train.stack import Stack


def test_it_takes_the_same_losses_through_the_same_updates():
    spec = TrainSpec(
        task_params={"p": 7, "frac_train": 0.5},
        model={"d_model": 16, "d_mlp": 64},
        optimizer={"lr": 1e-2, "weight_decay": 1.0, "warmup_steps": 0},
        dtype="float64",
    )
    layout, seeds = spec.layout(), Seeds(init=3, data_order=0, split=0)
    rows = initial_rows(layout, [seeds.init], torch.float64)
    ours = {name: view[0].clone() for name, view in stack_views(layout, rows).items()}
    stack = Stack(spec, [("run", seeds)], rows, {})
    data = TrainingData(spec, [seeds], torch.device("cpu"))
    gradients = gradients_of(stack, data.task.read_positions)

    plain = PlainTraining(0, p=7, n_train=24, d_model=16, lr=1e-2, weight_decay=1.0)
    plain.model.double()
    examples = data.task.training_set(seeds.split)
    plain.tokens, plain.targets = torch.tensor(examples.tokens), torch.tensor(examples.targets[:, 0])
    attn, mlp = "blocks.0.attn.", "blocks.0.mlp."
    by_head = {f"W_{m}": ours[f"{attn}W_{m}"].permute(1, 2, 0) for m in "QKV"}
    turned = {
        "W_E": ours["embed.W_E"].T, "W_pos": ours["pos_embed.W_pos"], **by_head,
        "W_O": ours[f"{attn}W_O"].flatten(0, 1).T, "W_in": ours[f"{mlp}W_in"].T, "b_in": ours[f"{mlp}b_in"],
        "W_out": ours[f"{mlp}W_out"].T, "b_out": ours[f"{mlp}b_out"], "W_U": ours["unembed.W_U"],
    }  # fmt: skip
    with torch.no_grad():
        for name, value in turned.items():
            getattr(plain.model, name).copy_(value)
    for step in range(8):
        loss = gradients(*data.at(step))[0, LOSS].item()
        stack.update(spec.optimizer.learning_rate(step))
        assert plain.update() == pytest.approx(loss, rel=1e-9)
