"""Gradients of the loss at a checkpoint: closed form, finite differences, another program's backward pass."""

import math

import numpy as np
import pytest
import torch

from archive.records import WHOLE, Part
from archive.schema.base import CellState
from ingest.measure import MEASURES
from ingest.measuring.checkpoint import measure_checkpoint
from ingest.measuring.measured import MeasuredValue
from ingest.models.layout import Layout
from ingest.models.loaded import LoadedModel
from ingest.models.small import forward
from ingest.readings import gradients
from ingest.readings.answers import negative_log_likelihood
from ingest.readings.gradients import loss_gradients
from ingest.task import TRAIN, Task
from ingest.tasks.modular_arithmetic import ModularArithmetic
from ingest.tasks.repeated_tokens import RepeatedTokens
from tests.ingest.small_models import random_model
from tests.references.trajectories import slope

ADDITION = ModularArithmetic(p=5, frac_train=0.4)
REPEATED = RepeatedTokens(n_tokens=6, length=9, min_period=3, max_period=4)


def model_for(task: Task, **changes: object) -> LoadedModel:
    sizes = {"n_layers": 2, "d_model": 8, "n_heads": 2, "d_head": 4, "d_mlp": 6, "layer_norm": True}
    layout = Layout(
        n_tokens=len(task.vocabulary),
        n_outputs=task.n_outputs,
        n_positions=task.n_positions,
        **{**sizes, **changes},  # type: ignore[arg-type]
    )
    return random_model(layout, seed=2, dtype=torch.float64)


def measured(name: str, task: Task, model: LoadedModel) -> MeasuredValue:
    [value] = measure_checkpoint(model, task, 0, [MEASURES.get(name)])
    return value


def mean_loss(layout: Layout, weights: dict[str, torch.Tensor], task: Task, rows: np.ndarray) -> float:
    examples = task.evaluation()[rows]
    stacked = {name: tensor[None] for name, tensor in weights.items()}
    logits = forward(layout, stacked, torch.from_numpy(examples.tokens).long()[None], task.read_positions)[0]
    return float(negative_log_likelihood(logits, torch.from_numpy(examples.targets).long()).mean())


def norms(value: MeasuredValue) -> dict[str, float]:
    assert value.state is CellState.DONE, value.trace
    return {part.name: x for part, x in zip(value.parts, value.columns["value"], strict=True)}


def test_without_layers_the_gradient_has_a_closed_form() -> None:
    """Logits are x W_U: the gradient is the mean of x ⊗ (softmax − right answer), and its image under W_U."""
    model = model_for(ADDITION, n_layers=0, layer_norm=False)
    found = norms(measured("gradient_norm", ADDITION, model))
    w_e, w_pos, w_u = (model.weights[n].numpy() for n in ("embed.W_E", "pos_embed.W_pos", "unembed.W_U"))
    train = ADDITION.splits(0)[TRAIN]
    x = w_e[5] + w_pos[2]  # `=` is the same in every pair
    powers = np.exp(x @ w_u)
    answers = np.eye(6)[ADDITION.evaluation().targets[train, 0]]
    error = (powers / powers.sum() - answers).mean(0)
    of_x = float(np.linalg.norm(w_u @ error))
    assert found["unembed.W_U"] == pytest.approx(np.linalg.norm(np.outer(x, error)), rel=1e-10)
    assert found["embed.W_E"] == pytest.approx(of_x, rel=1e-10)
    assert found["pos_embed.W_pos"] == pytest.approx(of_x, rel=1e-10)
    total = math.sqrt(sum(v**2 for n, v in found.items() if n))
    assert found[""] == pytest.approx(total, rel=1e-12)


@pytest.mark.parametrize("task", [ADDITION, REPEATED], ids=lambda task: task.name)
def test_slopes_are_those_of_finite_differences(task: Task) -> None:
    model = model_for(task)
    examples = task.evaluation()
    rows = np.arange(20)
    tokens, targets = (torch.from_numpy(a[rows]).long() for a in (examples.tokens, examples.targets))
    found = loss_gradients(model, tokens, targets, task.read_positions)
    assert set(found) == set(model.layout.shapes)
    for name, gradient in found.items():
        index = tuple(int(i) for i in np.unravel_index(int(gradient.abs().argmax()), gradient.shape))
        expected = slope(lambda w: mean_loss(model.layout, w, task, rows), dict(model.weights), name, index)
        assert gradient[index].item() == pytest.approx(expected, rel=1e-5, abs=1e-8), name


def test_training_examples_only_or_all_of_endless_data(monkeypatch: pytest.MonkeyPatch) -> None:
    for task, rows in [(ADDITION, np.flatnonzero(ADDITION.splits(0)[TRAIN])), (REPEATED, np.arange(256))]:
        model = model_for(task)
        found = norms(measured("gradient_norm", task, model))
        weights = {name: w.clone().requires_grad_() for name, w in model.weights.items()}
        examples = task.evaluation()[rows]
        tokens, targets = torch.from_numpy(examples.tokens).long(), torch.from_numpy(examples.targets).long()
        stacked = {name: w[None] for name, w in weights.items()}
        logits = forward(model.layout, stacked, tokens[None], task.read_positions)[0]
        torch.nn.functional.cross_entropy(logits.flatten(0, 1), targets.flatten()).backward()
        for name, weight in weights.items():
            assert weight.grad is not None
            assert found[name] == pytest.approx(float(weight.grad.norm()), rel=1e-9)
        monkeypatch.setattr(gradients, "PIECE", 7)
        in_pieces = norms(measured("gradient_norm", task, model))
        assert in_pieces == pytest.approx(found, rel=1e-9)


def test_where_nothing_moves_the_logits_the_norm_is_0_and_there_is_nothing_to_share() -> None:
    model = model_for(REPEATED, n_layers=0, layer_norm=False)
    weights = {name: torch.zeros_like(w) for name, w in model.weights.items()}
    flat = LoadedModel("a", 0, model.layout, weights)
    assert norms(measured("gradient_norm", REPEATED, flat))[""] == 0
    shares = measured("gradient_position_share", REPEATED, flat)
    assert (shares.state, shares.message) == (
        CellState.NOT_APPLICABLE,
        "the gradient is 0: there is nothing to share",
    )


def test_shares_are_those_of_each_position_by_itself_and_sum_to_one() -> None:
    model = model_for(REPEATED)
    value = measured("gradient_position_share", REPEATED, model)
    assert value.state is CellState.DONE, value.trace
    assert value.parts == (WHOLE,)
    [shares] = value.columns["values"]
    examples = REPEATED.evaluation()
    squares = []
    for i, position in enumerate(REPEATED.read_positions):
        weights = {name: w.clone().requires_grad_() for name, w in model.weights.items()}
        stacked = {name: w[None] for name, w in weights.items()}
        tokens = torch.from_numpy(examples.tokens).long()
        # all positions are computed, and the loss reads one
        logits = forward(model.layout, stacked, tokens[None], range(10))[0, :, position]
        torch.nn.functional.cross_entropy(logits, torch.from_numpy(examples.targets[:, i]).long()).backward()
        squares.append(sum(float(w.grad.square().sum()) for w in weights.values() if w.grad is not None))
    np.testing.assert_allclose(shares, np.array(squares) / sum(squares), rtol=1e-8)
    assert shares.sum() == pytest.approx(1, rel=1e-12)
    assert value.quantity.params == {"labels": list(REPEATED.read_labels)}


@pytest.mark.parametrize(
    ("task", "said"),
    [
        (ADDITION, "modular_arithmetic reads 1 position; shares are taken of 2 to 32"),
        (
            RepeatedTokens(n_tokens=6, length=40),
            "repeated_tokens reads 40 positions; shares are taken of 2 to 32",
        ),
    ],
    ids=["one", "many"],
)
def test_one_position_and_very_many_are_not_applicable(task: Task, said: str) -> None:
    value = measured("gradient_position_share", task, model_for(task))
    assert (value.state, value.message) == (CellState.NOT_APPLICABLE, said)


def test_the_parts_are_all_tensors() -> None:
    value = measured("gradient_norm", ADDITION, model_for(ADDITION))
    assert value.parts[0] == WHOLE
    assert set(value.parts[1:]) == {Part(kind="tensor", name=n) for n in model_for(ADDITION).layout.shapes}
