"""What a scan does where a number is none, and where memory ends."""

import weakref
from dataclasses import replace

import numpy as np
import pytest
import torch

from archive.schema.base import CellState
from ingest.measure import MEASURES
from ingest.measuring.scanning import scan
from ingest.readings.circuit import CircuitWeights
from tests.ingest.language import own, prompts, text


def test_what_is_no_number_is_refused_by_name_and_place(monkeypatch: pytest.MonkeyPatch) -> None:
    model = own()
    trunk = model.trunk

    def broken(tokens, *, attention=None, neurons=None):
        def spoilt_patterns(layer, pattern):
            pattern = pattern.clone()
            pattern[0, 1, 2, 0] = torch.nan if layer == 1 else pattern[0, 1, 2, 0]
            attention(layer, pattern)

        def spoilt_neurons(layer, activations):
            activations = activations.clone()
            activations[0, 7, 4] = torch.inf if layer == 2 else activations[0, 7, 4]
            neurons(layer, activations)

        final = trunk(
            tokens, attention=attention and spoilt_patterns, neurons=neurons and spoilt_neurons
        ).clone()
        final[-1, 2] = torch.nan
        return final

    monkeypatch.setattr(model, "trunk", broken)
    said = {
        "neuron.top": "neuron.top in layer 2: sequence 0",
        "neuron.statistics": "neuron.statistics in layer 2: unit 4",
        "attention_pattern": "attention_pattern is nan at layer 1, head 1, item 0 at index 40",
        "token_top": "token_top of sequence 6: the logits at position 2",
        "head.attention_entropy": "head.attention_entropy is nan",
        "head.mask:word_start": "head.mask:word_start is nan",
        "loss": "loss is nan",
        "accuracy": "accuracy is nan",
    }
    for name, message in said.items():
        [value] = scan(model, text(), [MEASURES.get(name)], batch=8)
        assert value.state is CellState.FAILED_PERMANENT, name
        assert value.error_class == "FloatingPointError"
        assert message in value.message
    for name in ("logit_difference", "top_accuracy"):
        [value] = scan(model, prompts(), [MEASURES.get(name)])
        assert value.state is CellState.FAILED_PERMANENT
        assert "target_prob is nan at item 6" in value.message


def test_a_head_of_zeros_is_named() -> None:
    model = own(layer_norm=False)
    model.loaded.weights["blocks.1.attn.W_V"][:, 2] = 0
    [eig, composed] = scan(model, text(), [MEASURES.get("head.copying_eig"), MEASURES.get("q_composition")])
    assert {eig.state, composed.state} == {CellState.FAILED_PERMANENT}
    assert "head.copying_eig is nan at layer 1, head 2" in eig.message
    assert "q_composition is nan at earlier layer 1, later layer 2 at index 6" in composed.message


def test_what_comes_again_after_memory_ran_out_is_counted_once(monkeypatch: pytest.MonkeyPatch) -> None:
    model = own()
    names = ("neuron.histogram", "neuron.statistics", "neuron.top", "attention_pattern", "head.class_profile")
    measures = [MEASURES.get(name) for name in names]
    expected = scan(model, text(), measures, batch=2)
    trunk = model.trunk

    def small_memory(tokens, **sinks):
        final = trunk(tokens, **sinks)  # callbacks have run when memory ends
        if len(tokens) > 2:
            raise MemoryError("too much")
        return final

    monkeypatch.setattr(model, "trunk", small_memory)
    for here, there in zip(scan(model, text(), measures, batch=8), expected, strict=True):
        for column, numbers in there.columns.items():
            np.testing.assert_allclose(here.columns[column], numbers, rtol=1e-5, atol=1e-6)


def test_folded_weights_do_not_stay_in_memory_during_the_pass(monkeypatch: pytest.MonkeyPatch) -> None:
    made: list[weakref.ref[CircuitWeights]] = []
    original = CircuitWeights.__init__

    def watched(self, model):
        made.append(weakref.ref(self))
        original(self, model)

    monkeypatch.setattr(CircuitWeights, "__init__", watched)
    model = own()
    trunk, alive = model.trunk, []

    def looking(tokens, **sinks):
        alive.extend(ref() is not None for ref in made)
        return trunk(tokens, **sinks)

    monkeypatch.setattr(model, "trunk", looking)
    scan(
        model, text(), [MEASURES.get(name) for name in ("head.copying_eig", "q_composition", "loss")], batch=8
    )
    assert alive == [False]


@pytest.mark.parametrize("name", ["head.previous_token", "neuron.top", "token_top", "attention_pattern"])
def test_a_measure_that_runs_out_of_memory_gets_smaller_pieces(name: str) -> None:
    measure, said = MEASURES.get(name), []
    [expected] = scan(own(), text(), [measure])
    calls = 0

    def greedy(reads):
        nonlocal calls
        calls += 1
        if calls == 1:
            raise RuntimeError("DefaultCPUAllocator: can't allocate memory")
        return measure.function(reads)

    [found] = scan(own(), text(), [replace(measure, function=greedy)], batch=8, say=said.append)
    assert said == ["memory does not hold a batch of 8 sequences; going on with 4"]
    for column, numbers in expected.columns.items():
        np.testing.assert_allclose(
            np.array(found.columns[column], float), np.array(numbers, float), rtol=1e-5, atol=1e-5
        )
