"""neuron.final_examples: closed forms, a twin of loops, what is bound to hold, and who may be asked for it."""

from pathlib import Path

import numpy as np
import pytest
import torch

from archive.schema.base import CellState
from ingest.measure import MEASURES
from ingest.measuring.checkpoint import measure_checkpoint
from ingest.measuring.measured import MeasuredValue
from ingest.measuring.scanning import scan
from ingest.models.hooked import HookedModel
from ingest.readings.final_places import PURPOSE
from ingest.streams import stream
from tests.ingest.language import DOCUMENTS, own, text, tokens_of
from tests.references.neurons import final_examples_by_loops

ONE = MEASURES.get("neuron.final_examples")
PARTS = ["top", "held_out", "other_neuron", "random", "direction"]
K = 20


def taken(model: HookedModel, final: HookedModel, batch: int = 3) -> np.ndarray:
    """[layer, part, unit]"""
    [value] = scan(model, text(), [ONE], batch=batch, final=final)
    return rows_of(value)


def rows_of(value: MeasuredValue) -> np.ndarray:
    assert value.state is CellState.DONE, value.message
    values = np.array(value.columns["values"])
    names = [part.name for part in value.parts]
    assert names == PARTS * (len(values) // len(PARTS))
    assert np.asarray(value.columns["layer"]).tolist() == np.repeat(range(len(values) // 5), 5).tolist()
    return values.reshape(-1, len(PARTS), values.shape[1])


def activations(model: HookedModel) -> np.ndarray:
    """[layer, sequence, position, unit]"""
    found: list[torch.Tensor] = []
    model.trunk(tokens_of(text()), neurons=lambda _, layer: found.append(layer))
    return torch.stack(found).double().numpy()


def test_at_the_end_the_examples_are_the_top_examples() -> None:
    model = own(1)
    [top] = scan(model, text(), [MEASURES.get("neuron.top")], batch=3)
    found = taken(model, model)
    expected = np.array([np.mean(values) for values in top.columns["values"]]).reshape(found[:, 0].shape)
    np.testing.assert_allclose(found[:, 0], expected, rtol=1e-6)
    # nothing is above the largest activations, one a document as they are
    assert (found[:, 0] >= found[:, 2] - 1e-6).all()


def test_it_is_what_loops_find() -> None:
    model, final = own(0), own(1)
    found, now, last = taken(model, final), activations(model), activations(final)
    tokens = tokens_of(text()).tolist()
    half = stream(0, f"{PURPOSE}.half").permutation(np.unique(DOCUMENTS))[:3]
    first = [document in half for document in DOCUMENTS]
    drawn = stream(0, f"{PURPOSE}.random")
    sequences = drawn.permutation(len(tokens))[:K]
    positions = drawn.randint(len(tokens[0]), size=len(sequences))
    for layer in range(len(now)):
        n_units = now.shape[-1]
        draws = stream(0, f"{PURPOSE}.held_out", layer).random_sample((n_units, 3))  # documents of the half
        top, held_out, places = final_examples_by_loops(
            now[layer], last[layer], tokens, DOCUMENTS, first, draws, K
        )
        np.testing.assert_allclose(found[layer, 0], top, rtol=1e-5, atol=1e-6)
        np.testing.assert_allclose(found[layer, 1], held_out, rtol=1e-5, atol=1e-6)
        order = stream(0, f"{PURPOSE}.others", layer).permutation(n_units).tolist()
        for place, unit in enumerate(order):
            theirs = places[order[place - 1]]
            mean = np.mean([now[layer][s, p, unit] for s, p in theirs])
            assert found[layer, 2, unit] == pytest.approx(mean, rel=1e-5, abs=1e-6)
        at_random = np.mean([now[layer][s, p] for s, p in zip(sequences, positions, strict=True)], axis=0)
        np.testing.assert_allclose(found[layer, 3], at_random, rtol=1e-5, atol=1e-6)


def test_directions_are_chosen_as_neurons_are() -> None:
    model, final = own(0), own(1)
    found, now, last = taken(model, final), activations(model), activations(final)
    for layer in range(len(now)):
        directions = stream(0, f"{PURPOSE}.directions", layer).standard_normal((8, 8))
        directions /= np.linalg.norm(directions, axis=1, keepdims=True)
        along, then = now[layer] @ directions.T, last[layer] @ directions.T
        nothing = np.zeros_like(directions)
        top, _, _ = final_examples_by_loops(
            along, then, tokens_of(text()).tolist(), DOCUMENTS, [False] * 7, nothing, K
        )
        np.testing.assert_allclose(found[layer, 4], top, rtol=1e-4, atol=1e-5)


def test_only_the_final_checkpoint_chooses() -> None:
    a, b = own(0), own(1)
    by_a, by_b = taken(a, a), taken(a, b)
    assert not np.allclose(by_a[:, 0], by_b[:, 0])
    np.testing.assert_array_equal(by_a[:, 3], by_b[:, 3])  # random places are nobody's choice
    # its own best is what no other choice of as many documents exceeds
    assert (by_a[:, 0] >= by_b[:, 0] - 1e-6).all()
    np.testing.assert_array_equal(taken(a, b), by_b)  # whatever was asked in between


def test_a_neuron_that_is_added_to_a_layer_alone_has_no_other() -> None:
    model = own(0, d_mlp=1)
    found = taken(model, model)
    assert np.isnan(found[:, 2]).all()
    assert np.isfinite(found[:, [0, 3, 4]]).all()


def test_a_task_with_a_grid_takes_it_with_its_final_checkpoint() -> None:
    from ingest.train.spec import TrainSpec
    from tests.ingest.small_models import random_model

    spec = TrainSpec(
        task="modular_arithmetic", task_params={"p": 5}, model={"d_model": 16, "d_mlp": 12}, batch=4
    )
    task = spec.make_task()
    now, last = (random_model(spec.layout(), seed) for seed in (0, 1))
    [value] = measure_checkpoint(now, task, 0, [ONE], final=last)
    assert value.quantity.params == {"k": 20, "directions": 128, "seed": 0, "reference_step": last.step}
    found = rows_of(value)
    assert found.shape == (1, 5, 12)
    [again] = measure_checkpoint(now, task, 0, [ONE], final=now)
    assert (rows_of(again)[:, 0] >= found[:, 0] - 1e-6).all()
    with pytest.raises(ValueError, match="compares with the run's final checkpoint"):
        measure_checkpoint(now, task, 0, [ONE])


def test_activations_of_the_final_checkpoint_that_are_none_are_trouble() -> None:
    final = own(2)
    final.loaded.weights["blocks.0.mlp.W_in"].fill_(torch.nan)  # type: ignore[attr-defined]
    [value] = scan(own(0), text(), [ONE], final=final)
    assert value.state is CellState.FAILED_PERMANENT
    assert "the final checkpoint chooses nothing" in value.message


def test_a_study_that_loads_is_refused(tmp_path: Path) -> None:
    from types import SimpleNamespace

    from archive.errors import UsageError
    from ingest.planning.load_wanted import _taken_on

    study = SimpleNamespace(path=tmp_path / "s.toml", file=SimpleNamespace(eval_sets=[]))
    with pytest.raises(UsageError, match="needs a run's final checkpoint beside each other one"):
        _taken_on(study, ONE, {})  # type: ignore[arg-type]
