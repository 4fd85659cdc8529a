"""Losses by position, by token, by place in the context and by copy."""

import math
from dataclasses import dataclass, replace

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from archive.records import WHOLE, Part
from archive.schema.base import CellState
from ingest.importers.repeated_windows import RepeatedWindows
from ingest.measure import MEASURES
from ingest.measures.icl_score import icl_score, late_and_early
from ingest.measures.induction_loss import FIRST, GAIN, LATER, copied, induction_loss
from ingest.measuring.checkpoint import measure_checkpoint
from ingest.measuring.measured import MeasuredValue
from ingest.models.layout import Layout
from ingest.models.loaded import LoadedModel
from ingest.readings.answers import Answers
from ingest.readings.evaluation import Predictions
from ingest.task import TEST, TRAIN, Task
from ingest.tasks.modular_arithmetic import ModularArithmetic
from ingest.tasks.repeated_tokens import RepeatedTokens
from tests.ingest.small_models import random_model
from tests.references.behaviour import (
    accuracy_by_loops,
    induction_losses_by_loops,
    position_losses_by_loops,
)

REPEATED = RepeatedTokens(n_tokens=6, length=9, min_period=3, max_period=4)
ADDITION = ModularArithmetic(p=5, frac_train=0.4)


def model_for(task: Task) -> LoadedModel:
    layout = Layout(
        n_tokens=len(task.vocabulary),
        n_outputs=task.n_outputs,
        n_positions=task.n_positions,
        n_layers=1,
        d_model=8,
        n_heads=2,
        d_head=4,
        d_mlp=6,
    )
    return random_model(layout, seed=5, dtype=torch.float64)


def measured(name: str, task: Task, split: object = 0) -> MeasuredValue:
    [value] = measure_checkpoint(model_for(task), task, split, [MEASURES.get(name)])  # type: ignore[arg-type]
    return value


def read_logits(task: Task) -> torch.Tensor:
    tokens = torch.from_numpy(task.evaluation().tokens).long()
    return model_for(task).logits(tokens)[:, list(task.read_positions)]


def losses_of(task: Task) -> np.ndarray:
    return np.array(position_losses_by_loops(read_logits(task).tolist(), task.evaluation().targets.tolist()))


@dataclass
class Answering:
    """Answers of our own, of a model that is not there."""

    task: Task

    def with_losses(self, losses: torch.Tensor) -> Predictions:
        """Predictions in which the right answers have these losses: [example, read]."""
        splits = {p: torch.from_numpy(inside) for p, inside in self.task.splits(0).items()}
        return Predictions(self.task, splits, Answers(losses.double(), torch.zeros_like(losses)))


# --- by position -------------------------------------------------------------------------------------------


def test_loss_and_accuracy_of_each_position_are_means_over_a_split() -> None:
    losses, accuracies = measured("position_loss", REPEATED), measured("position_accuracy", REPEATED)
    expected = losses_of(REPEATED)
    assert (losses.table, losses.parts) == ("fact_position", (WHOLE,))
    np.testing.assert_allclose(losses.columns["values"], expected.mean(0)[None], rtol=1e-12)
    ses = expected.std(0, ddof=1) / math.sqrt(len(expected))
    np.testing.assert_allclose(losses.columns["ses"], ses[None], rtol=1e-10)
    logits, targets = read_logits(REPEATED).tolist(), REPEATED.evaluation().targets.tolist()
    for read in range(len(REPEATED.read_positions)):
        at_read = [row[read] for row in logits], [row[read] for row in targets]
        assert accuracies.columns["values"][0, read] == pytest.approx(accuracy_by_loops(*at_read))


def test_their_mean_is_the_loss_and_positions_are_named() -> None:
    value, whole = measured("position_loss", REPEATED), measured("loss", REPEATED)
    assert value.columns["values"].mean() == pytest.approx(whole.columns["value"][0], rel=1e-12)
    assert value.quantity.params == {"labels": list(REPEATED.read_labels)}
    assert len(REPEATED.read_labels) == value.columns["values"].shape[1]


def test_splits_are_rows_and_one_example_has_no_standard_error() -> None:
    only = np.zeros(25, dtype=bool)
    only[3] = True
    value = measured("position_loss", ADDITION, {TRAIN: only, TEST: ~only})
    assert value.parts == (TRAIN, TEST)
    assert value.columns["values"][0, 0] == pytest.approx(losses_of(ADDITION)[3, 0])
    assert value.columns["ses"][0] == [None]
    assert value.columns["ses"][1][0] > 0


# --- by token ----------------------------------------------------------------------------------------------


def test_every_prediction_has_its_loss_and_other_tokens_have_none() -> None:
    value = measured("token_loss", REPEATED)
    assert (value.table, value.parts) == ("fact_token", ())
    assert value.columns["sequence"].tolist() == list(range(256))
    found = value.columns["values"]
    np.testing.assert_allclose(found[:, :9], losses_of(REPEATED), rtol=1e-12)
    assert np.isnan(found[:, 9]).all()
    found = measured("token_loss", ADDITION).columns["values"]
    assert np.isnan(found[:, :2]).all()
    np.testing.assert_allclose(found[:, 2:], losses_of(ADDITION), rtol=1e-12)


def test_an_infinite_loss_is_a_failure_although_none_at_all_is_not() -> None:
    model = model_for(REPEATED)
    weights = {**model.weights, "unembed.W_U": model.weights["unembed.W_U"] * 1e308}
    [value] = measure_checkpoint(replace(model, weights=weights), REPEATED, 0, [MEASURES.get("token_loss")])
    assert value.state is CellState.FAILED_PERMANENT


# --- in the context ----------------------------------------------------------------------------------------


def test_a_logarithmic_loss_has_the_closed_form() -> None:
    task = RepeatedWindows(n_tokens=50, length=61, n_repeats=3, n_copied=4)
    at = torch.arange(1, 61, dtype=torch.float64)
    losses = (3 - 0.4 * at.log()).expand(256, -1)
    assert late_and_early(task) == {"late": 60, "early": 6}
    found = icl_score(Answering(task).with_losses(losses))
    assert found[WHOLE].mean().item() == pytest.approx(-0.4 * math.log(10), rel=1e-9)
    flat = icl_score(Answering(task).with_losses(torch.full((256, 60), 2.0)))
    assert flat[WHOLE].abs().max().item() < 1e-9


@pytest.mark.parametrize(
    ("length", "late", "early"), [(3, 2, 1), (13, 12, 1), (85, 84, 8), (500, 499, 50), (501, 500, 50)]
)
def test_late_and_early_positions(length: int, late: int, early: int) -> None:
    task = RepeatedWindows(n_tokens=5, length=length, n_repeats=1, n_copied=1)
    assert late_and_early(task) == {"late": late, "early": early}


def test_the_score_is_the_mean_difference_with_its_error() -> None:
    value, losses = measured("icl_score", REPEATED), losses_of(REPEATED)
    differences = losses[:, 8] - losses[:, 0]
    assert value.parts == (WHOLE,)
    assert value.columns["value"][0] == pytest.approx(differences.mean(), rel=1e-12)
    assert value.columns["se"][0] == pytest.approx(differences.std(ddof=1) / 16, rel=1e-10)
    assert value.quantity.params == {"late": 9, "early": 1}


def test_tasks_that_do_not_predict_every_token_are_not_applicable() -> None:
    value = measured("icl_score", ADDITION)
    assert (value.state, value.message) == (
        CellState.NOT_APPLICABLE,
        "modular_arithmetic reads 1 of 3 positions; loss by position in the context takes a task that predicts every next token",
    )


# --- by copy -----------------------------------------------------------------------------------------------


def test_a_perfect_copier_has_no_loss_on_later_copies() -> None:
    copies = torch.from_numpy(REPEATED.copies())
    known = copied(copies) > 1
    losses = torch.where(known, 0.0, math.log(6))
    found = induction_loss(Answering(REPEATED).with_losses(losses))
    assert found[LATER].max().item() == 0
    assert found[FIRST].mean().item() == pytest.approx(math.log(6))
    assert found[GAIN].mean().item() == pytest.approx(math.log(6))


@given(st.lists(st.integers(2, 4), min_size=2, max_size=3), st.integers(0, 1000))
def test_the_tokens_of_a_copy_are_found_as_by_loops(gaps: list[int], seed: int) -> None:
    row = [0]
    for number, gap in enumerate(gaps, start=1):
        row += [number] * 2 + [0] * (gap - 2)
    inside = copied(torch.tensor([row]))[0]
    losses = torch.rand(len(row) - 1, generator=torch.Generator().manual_seed(seed))
    first, later = induction_losses_by_loops(losses.tolist(), row)
    assert losses[inside == 1].mean().item() == pytest.approx(first, rel=1e-5)
    assert losses[inside > 1].mean().item() == pytest.approx(later, rel=1e-5)


def test_the_stored_parts_are_means_over_sequences() -> None:
    value, losses = measured("induction_loss", REPEATED), losses_of(REPEATED)
    pairs = [
        induction_losses_by_loops(row, c) for row, c in zip(losses, REPEATED.copies().tolist(), strict=True)
    ]
    first, later = np.array(pairs).T
    assert value.parts == tuple(Part(kind="copy", name=name) for name in ("first", "later", "gain"))
    for row, expected in enumerate([first, later, first - later]):
        assert value.columns["value"][row] == pytest.approx(expected.mean(), rel=1e-10)
        assert value.columns["se"][row] == pytest.approx(expected.std(ddof=1) / 16, rel=1e-9)


def test_a_task_without_copies_is_not_applicable() -> None:
    value = measured("induction_loss", ADDITION)
    assert value.state is CellState.NOT_APPLICABLE
    assert value.message.startswith("nothing in the task's sequences repeats")
