import math
from dataclasses import replace

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from archive.records import WHOLE, Part
from ingest.measures.sum_of_squared_weights import sum_of_squared_weights, sum_of_squares
from ingest.measures.weight_norm import weight_norm
from ingest.models.layout import Layout
from ingest.models.loaded import LoadedModel
from tests.ingest.small_models import random_model
from tests.references.behaviour import squares_by_loops

LAYOUT = Layout(n_tokens=5, n_outputs=5, n_positions=3, n_layers=1, d_model=4, n_heads=2, d_head=2, d_mlp=3)


def filled(number):
    weights = {name: torch.full(shape, number) for name, shape in LAYOUT.shapes.items()}
    return LoadedModel("a", 0, LAYOUT, weights)


def test_equal_weights_have_the_closed_form():
    # n weights of 2: sum of squares 4 n, norm 2 sqrt(n); 5*4 numbers in W_E, 139 in all:
    # 20 + 12 + 4 * 16 + (12 + 3 + 12 + 4) + 20 = 147
    assert LAYOUT.n_params == 147
    assert sum_of_squared_weights(filled(2.0))[WHOLE] == 4 * 147
    assert weight_norm(filled(2.0))[WHOLE] == pytest.approx(2 * math.sqrt(147), rel=1e-15)
    assert weight_norm(filled(2.0))[Part(kind="tensor", name="embed.W_E")] == pytest.approx(
        2 * math.sqrt(20), rel=1e-15
    )


def test_a_model_of_zeros_has_norm_zero():
    assert set(weight_norm(filled(0.0)).values()) == {0.0}


def test_every_tensor_has_its_row_and_the_whole_comes_first():
    parts = list(weight_norm(random_model(LAYOUT)))
    assert parts == [WHOLE, *(Part(kind="tensor", name=name) for name in LAYOUT.shapes)]
    assert list(sum_of_squared_weights(random_model(LAYOUT))) == parts


@given(seed=st.integers(0, 50))
def test_agrees_with_the_loop(seed):
    model = random_model(LAYOUT, seed)
    numbers = [x for tensor in model.weights.values() for x in tensor.flatten().tolist()]
    assert sum_of_squared_weights(model)[WHOLE] == pytest.approx(squares_by_loops(numbers), rel=1e-13)
    assert weight_norm(model)[WHOLE] == pytest.approx(math.sqrt(squares_by_loops(numbers)), rel=1e-13)


def test_float64_sums_keep_what_float32_would_lose():
    # 1e8 + 1000 * 1 in float32 steps of 8: a float32 running sum would stay at 1e8
    assert sum_of_squares(torch.cat([torch.tensor([1e4]), torch.ones(1000)])) == 1e8 + 1000


@given(seed=st.integers(0, 50), scale=st.floats(0.01, 100))
def test_scaling_all_weights_scales_the_norm_and_reordering_them_does_not(seed, scale):
    model = random_model(LAYOUT, seed, torch.float64)
    scaled = replace(model, weights={n: w * scale for n, w in model.weights.items()})
    flipped = replace(model, weights={n: w.flip(0) for n, w in model.weights.items()})
    for part, norm in weight_norm(model).items():
        assert weight_norm(scaled)[part] == pytest.approx(scale * norm, rel=1e-12)
        assert weight_norm(flipped)[part] == pytest.approx(norm, rel=1e-14)
        assert sum_of_squared_weights(model)[part] == pytest.approx(norm**2, rel=1e-14)
