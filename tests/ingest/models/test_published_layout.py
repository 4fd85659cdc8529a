from dataclasses import replace

import pytest
import torch

from ingest.models.loaded import LoadedModel
from ingest.models.published import UnknownLayout, from_published, to_published
from tests.ingest.importers.making import published_tensors
from tests.ingest.small_models import random_model
from tests.references.published_transformer import published_forward


def converted(tensors, activation="relu"):
    layout, weights = from_published(tensors, activation)
    return LoadedModel("a", 0, layout, weights)


@pytest.mark.parametrize(
    ("sizes", "reference"),
    [
        ({}, {}),
        ({"n_layers": 2, "n_heads": 4, "d_mlp": 10}, {"n_layers": 2}),
        ({"n_layers": 2, "d_mlp": 0, "n_positions": 7}, {"n_layers": 2, "blocks": "attn_blocks"}),
    ],
)
def test_logits_and_patterns_are_those_of_the_published_computation(sizes, reference):
    tensors = {name: tensor.double() for name, tensor in published_tensors(**sizes).items()}
    model = converted(tensors)
    length = sizes.get("n_positions", 3)
    tokens = torch.randint(6, (20, length), generator=torch.Generator().manual_seed(1))
    logits, patterns = published_forward(tensors, tokens, **reference)
    torch.testing.assert_close(model.logits(tokens), logits, rtol=1e-11, atol=1e-11)
    found = model.activations(tokens, tokens, range(length)).attention
    expected = torch.stack([torch.stack(of_layer, 1) for of_layer in patterns], 1)
    torch.testing.assert_close(found, expected, rtol=1e-11, atol=1e-12)


def test_sizes_are_read_off_the_tensors():
    layout = converted(published_tensors(n_tokens=9, n_heads=4, d_mlp=20, n_layers=3, d_model=16)).layout
    assert (layout.n_tokens, layout.n_outputs, layout.n_positions, layout.n_layers) == (9, 9, 3, 3)
    assert (layout.d_model, layout.n_heads, layout.d_head, layout.d_mlp) == (16, 4, 4, 20)
    assert layout.activation == "relu"
    assert not layout.layer_norm
    assert converted(published_tensors(), "gelu").layout.activation == "gelu"


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"ln.w": torch.ones(8)}, "tensor ln.w has no place"),
        ({"blocks.0.attn.mask": torch.ones(3, 3)}, "not lower triangular"),
        ({"unembed.W_U": torch.ones(6, 8)}, "shape"),
        ({"embed.W_E": torch.ones(6)}, "embed.W_E has shape .6,.; expected 2 axes"),
        ({"blocks.0.attn.W_O": torch.ones(8, 9)}, "blocks.0.attn.W_O has shape .8, 9."),
        ({"blocks.0.mlp.b_in": torch.ones(12).half()}, "tensors of types"),
        ({"blocks.1.mlp.b_in": torch.ones(12)}, "no tensor blocks.1"),
    ],
)
def test_anything_else_is_refused_with_its_name(change, words):
    with pytest.raises(UnknownLayout, match=words):
        from_published(published_tensors() | change, "relu")


def test_a_missing_tensor_is_named():
    tensors = published_tensors()
    del tensors["unembed.W_U"]
    with pytest.raises(UnknownLayout, match=r"no tensor unembed\.W_U"):
        from_published(tensors, "relu")


@pytest.mark.parametrize(
    "sizes", [{}, {"n_layers": 2, "n_heads": 4, "d_mlp": 10}, {"n_layers": 2, "d_mlp": 0, "n_positions": 7}]
)
def test_there_and_back_gives_the_published_tensors_bit_for_bit(sizes):
    tensors = published_tensors(**sizes)
    layout, weights = from_published(tensors, "gelu")
    back = to_published(layout, weights)
    assert back.keys() == tensors.keys()
    for name, tensor in tensors.items():
        assert torch.equal(back[name], tensor)
        assert back[name].is_contiguous()


@pytest.mark.parametrize("change", [{}, {"d_mlp": 0}, {"n_layers": 0}, {"n_heads": 0, "d_head": 0}])
def test_our_own_runs_come_back_the_same(change):
    layout = replace(converted(published_tensors(n_layers=2, n_heads=4)).layout, **change)
    model = random_model(layout)
    back, weights = from_published(to_published(layout, model.weights), layout.activation)
    assert back.shapes == layout.shapes
    assert all(torch.equal(weights[name], tensor) for name, tensor in model.weights.items())


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"layer_norm": True}, "no place for layer_norm"),
        ({"activation": "solu"}, "no place for activation 'solu'"),
        ({"positions": "attention"}, "no place for positions 'attention'"),
        ({"input": "sum"}, "no place for input 'sum'"),
        ({"attention_bias": True}, "no place for attention_bias"),
        ({"unembed_bias": True}, "no place for unembed_bias"),
    ],
)
def test_what_the_published_layout_has_no_place_for_is_refused(change, words):
    layout = replace(converted(published_tensors()).layout, **change)
    with pytest.raises(UnknownLayout, match=words):
        to_published(layout, random_model(layout).weights)
