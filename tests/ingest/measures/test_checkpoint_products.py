"""Inner products of a run's checkpoints as measures: what is in the vectors, and that rows only ever grow."""

from collections import Counter

import numpy as np
import pytest
import torch

from archive.schema.base import CellState
from ingest.mathematics.inner_products import SKETCH_DIMENSION, sketch
from ingest.measure import MEASURES
from ingest.measures import checkpoint_products
from ingest.measuring.checkpoint import measure_checkpoint, measure_history, measure_only_checkpoint
from ingest.measuring.measured import MeasuredValue
from ingest.measuring.scanning import ParametersOf
from ingest.models.layout import Layout
from ingest.models.loaded import LoadedModel
from ingest.models.own import OwnModel
from ingest.readings import history as history_module
from ingest.readings.history import WeightHistory
from ingest.tasks.modular_arithmetic import ModularArithmetic
from tests.ingest.small_models import random_model
from tests.references.trajectories import gram_by_loops

TASK = ModularArithmetic(p=5)
LAYOUT = Layout(n_tokens=6, n_outputs=6, n_positions=3, n_layers=1, d_model=8, n_heads=2, d_head=4, d_mlp=6)
STEPS = (0, 3, 10, 40)
MODELS = {
    step: LoadedModel("a", step, LAYOUT, random_model(LAYOUT, seed).weights)
    for seed, step in enumerate(STEPS)
}


def history(steps: tuple[int, ...] = STEPS, wanted: tuple[int, ...] = STEPS) -> WeightHistory:
    return WeightHistory(
        layout=LAYOUT,
        steps=steps,
        wanted=wanted,
        load=lambda step: MODELS[step],
        load_tensor=lambda step, name: MODELS[step].weights[name],
    )


def rows(name: str, of: WeightHistory) -> dict[int, tuple[list[float], list[float]]]:
    """(steps, products) by step."""
    found = measure_history(of, TASK, [MEASURES.get(name)])
    made = {}
    for step, [value] in found.items():
        assert value.state is CellState.DONE, value.trace
        assert [part.name for part in value.parts] == ["steps", "products"]
        made[step] = tuple(value.columns["values"].tolist())
    return made


def weight_vector(step: int) -> list[float]:
    return [float(x) for name in LAYOUT.shapes for x in MODELS[step].weights[name].flatten()]


def logit_vector(step: int) -> list[float]:
    tokens = torch.from_numpy(TASK.evaluation().tokens).long()
    logits = MODELS[step].logits(tokens)[:, 2].double().numpy()
    return (logits - logits.mean(1, keepdims=True)).flatten().tolist()


@pytest.mark.parametrize(
    ("name", "vector", "rtol"),
    [("weight_products", weight_vector, 1e-12), ("logit_products", logit_vector, 1e-4)],
)
def test_rows_are_inner_products_with_all_checkpoints_up_to_it(name, vector, rtol) -> None:
    found = rows(name, history())
    gram = gram_by_loops([vector(step) for step in STEPS])
    for i, step in enumerate(STEPS):
        assert found[step][0] == list(STEPS[: i + 1])
        np.testing.assert_allclose(found[step][1], gram[i][: i + 1], rtol=rtol, atol=rtol * gram[i][i])


@pytest.mark.parametrize("name", ["weight_products", "logit_products"])
def test_training_on_adds_rows_and_changes_none(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(history_module, "BLOCK", 100)  # several blocks
    before, after = rows(name, history(STEPS[:2], STEPS[:2])), rows(name, history())
    assert {step: after[step] for step in STEPS[:2]} == before
    assert rows(name, history(wanted=(10,))) == {10: after[10]}


def test_every_tensor_of_every_checkpoint_is_read_once() -> None:
    read: Counter[tuple[int, str]] = Counter()

    def counted(step: int, name: str) -> torch.Tensor:
        read[step, name] += 1
        return MODELS[step].weights[name]

    of = WeightHistory(LAYOUT, STEPS, STEPS, lambda step: MODELS[step], counted)
    measure_history(of, TASK, [MEASURES.get("weight_products")])
    assert read == Counter({(step, name): 1 for step in STEPS for name in LAYOUT.shapes})


def test_blocks_of_examples_change_nothing_but_rounding(monkeypatch: pytest.MonkeyPatch) -> None:
    whole = rows("logit_products", history())
    monkeypatch.setattr(history_module, "BLOCK", 20)  # three examples
    for step, (_, products) in rows("logit_products", history()).items():
        np.testing.assert_allclose(products, whole[step][1], rtol=1e-5, atol=1e-5 * whole[step][1][-1])


def test_beyond_its_size_the_exact_one_names_the_sketch(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(checkpoint_products, "MOST_NUMBERS", 1000)
    for name in ("weight_products", "logit_products"):
        size = LAYOUT.n_params if name.startswith("weight") else 25 * 6
        many = history() if size * 4 > 1000 else history((0, *STEPS, 3, 3, 3), (40,))
        for [value] in measure_history(many, TASK, [MEASURES.get(name)]).values():
            assert value.state is CellState.NOT_APPLICABLE
            assert value.message.endswith(f"exact products stop at 1e+03; `{name}:sketch` has no limit")
            assert f"checkpoints of {size} numbers" in value.message


def sketched(name: str, step: int) -> np.ndarray:
    [value] = measure_checkpoint(MODELS[step], TASK, 0, [MEASURES.get(name)])
    assert value.state is CellState.DONE, value.trace
    [vector] = value.columns["values"]
    assert len(vector) == SKETCH_DIMENSION
    return vector


@pytest.mark.parametrize(
    ("name", "vector"), [("weight_products", weight_vector), ("logit_products", logit_vector)]
)
def test_sketches_give_the_products_within_their_error(name, vector) -> None:
    sketches = np.array([sketched(f"{name}:sketch", step) for step in STEPS])
    exact = np.array(gram_by_loops([vector(step) for step in STEPS]))
    norms = np.sqrt(np.diag(exact))
    # standard deviation at most |x||y| sqrt(2 / 4096) = |x||y| / 45
    assert (np.abs(sketches @ sketches.T - exact) < 4 / 45 * np.outer(norms, norms)).all()


def test_the_sketch_of_weights_is_the_same_number_by_number_for_a_model_of_any_kind() -> None:
    model = MODELS[3]
    # as it was taken of the small transformer alone: tensors in the order of storage
    expected = sketch((name, model.weights[name]) for name in LAYOUT.shapes)
    of_any = checkpoint_products.sketched_weights(ParametersOf(OwnModel(model)))
    assert torch.equal(of_any[checkpoint_products.SKETCH], expected)
    assert sketched("weight_products:sketch", 3).tolist() == expected.tolist()


def test_a_run_with_one_checkpoint_is_its_own_history() -> None:
    names = ("weight_products", "logit_products:sketch", "weight_products:sketch", "logit_products")
    measures = [MEASURES.get(name) for name in names]
    values = measure_only_checkpoint(MODELS[10], TASK, 0, measures)
    assert [value.quantity.measure for value in values] == [one.record for one in measures]
    first: MeasuredValue = values[0]
    assert first.columns["values"][0].tolist() == [10]
    assert first.columns["values"][1].tolist() == pytest.approx([sum(x * x for x in weight_vector(10))])


def test_a_measure_that_fails_fails_for_every_wanted_step() -> None:
    def broken(step: int, name: str) -> torch.Tensor:
        raise OSError("gone")

    of = WeightHistory(LAYOUT, STEPS, (3, 10), lambda step: MODELS[step], broken)
    found = measure_history(of, TASK, [MEASURES.get("weight_products")])
    assert {(v.state, v.message) for [v] in found.values()} == {(CellState.FAILED_PERMANENT, "gone")}
    assert set(found) == {3, 10}
    with pytest.raises(ValueError, match="weight_products compares all checkpoints of a run"):
        measure_checkpoint(MODELS[3], TASK, 0, [MEASURES.get("weight_products")])
