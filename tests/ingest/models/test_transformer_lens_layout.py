from dataclasses import replace

import pytest
import torch

from ingest.models.layout import Layout
from ingest.models.loaded import LoadedModel
from ingest.models.published import UnknownLayout
from ingest.models.transformer_lens import from_transformer_lens, to_transformer_lens
from tests.ingest.small_models import random_model
from tests.references.transformer_lens_forward import lens_forward

BASE = Layout(n_tokens=5, n_outputs=6, n_positions=4, n_layers=2, d_model=6, n_heads=2, d_head=3, d_mlp=7)
SHAPES = {
    "relu": BASE,
    "gelu, layer norm": replace(BASE, activation="gelu", layer_norm=True),
    "solu": replace(BASE, activation="solu"),
    "solu_ln, layer norm": replace(BASE, activation="solu_ln", layer_norm=True),
    "attention only": replace(BASE, d_mlp=0),
    "attention only, layer norm": replace(BASE, d_mlp=0, layer_norm=True),
    "wide heads": replace(BASE, n_layers=1, d_head=5),
    "shortformer": replace(BASE, d_mlp=0, positions="attention"),
    "shortformer, layer norm": replace(BASE, positions="attention", layer_norm=True),
    "no layers": replace(BASE, n_layers=0),
    "biases": replace(BASE, layer_norm=True, attention_bias=True, unembed_bias=True),
    "attention only, biases": replace(BASE, d_mlp=0, attention_bias=True, positions="attention"),
    "LNPre, solu_ln": replace(BASE, activation="solu_ln", layer_norm=True, norm_weights=False),
    "final RMS norm": replace(BASE, activation="solu_ln", layer_norm=True, final_rms=True),
    "final RMS norm, LNPre": replace(BASE, layer_norm=True, norm_weights=False, final_rms=True),
}


def converted(**changes):
    return to_transformer_lens(BASE, random_model(BASE).weights | changes)


@pytest.mark.parametrize("layout", SHAPES.values(), ids=SHAPES.keys())
def test_logits_patterns_and_neurons_are_theirs(layout):
    model = random_model(layout, 1, torch.float64)
    config, state = to_transformer_lens(layout, model.weights)
    tokens = torch.randint(5, (20, 4), generator=torch.Generator().manual_seed(0))
    logits, patterns, neurons, *_ = lens_forward(config, state, tokens)
    torch.testing.assert_close(model.logits(tokens), logits, rtol=1e-11, atol=1e-11)
    seen = model.activations(tokens, tokens, range(4))
    for layer, pattern in enumerate(patterns):
        torch.testing.assert_close(seen.attention[:, layer], pattern, rtol=1e-11, atol=1e-12)
    for layer, layer_neurons in enumerate(neurons):
        torch.testing.assert_close(seen.mlp[:, layer], layer_neurons, rtol=1e-11, atol=1e-11)


@pytest.mark.parametrize("layout", SHAPES.values(), ids=SHAPES.keys())
def test_there_and_back_is_the_same_model(layout):
    model = random_model(layout)
    config, state = to_transformer_lens(layout, model.weights)
    back, weights = from_transformer_lens(config, state)
    assert back == layout
    assert LoadedModel("b", 0, back, weights).weights_hash == model.weights_hash


def test_names_and_shapes_are_theirs():
    config, state = converted()
    assert state["blocks.1.attn.W_Q"].shape == (2, 6, 3)
    assert state["blocks.1.attn.W_O"].shape == (2, 3, 6)
    assert state["blocks.0.attn.b_V"].tolist() == [[0.0] * 3] * 2
    assert state["blocks.0.attn.b_O"].tolist() == [0.0] * 6
    assert state["unembed.b_U"].tolist() == [0.0] * 6
    assert state["blocks.0.mlp.W_in"].shape == (6, 7)
    assert config == {
        "n_layers": 2, "d_model": 6, "n_ctx": 4, "d_head": 3, "n_heads": 2, "d_mlp": 7, "d_vocab": 5,
        "d_vocab_out": 6, "attn_only": False, "act_fn": "relu", "normalization_type": None, "eps": 1e-5,
        "positional_embedding_type": "standard", "attention_dir": "causal",
    }  # fmt: skip
    assert to_transformer_lens(SHAPES["attention only"], random_model(SHAPES["attention only"]).weights)[0][
        "attn_only"
    ]
    changed = state["embed.W_E"].clone()
    state["embed.W_E"].zero_()  # a copy: the model's own weights stay as they are
    assert torch.equal(random_model(BASE).weights["embed.W_E"], changed)


def test_buffers_zero_biases_and_what_their_config_leaves_to_be_worked_out_are_taken():
    config, state = converted()
    state |= {
        "blocks.0.attn.mask": torch.ones(4, 4).tril().bool(),
        "blocks.0.attn.IGNORE": torch.tensor(-1e9),
    }
    same = from_transformer_lens(config, state)[0]
    assert same == BASE
    square = replace(BASE, n_outputs=5, d_mlp=24)
    config, state = to_transformer_lens(square, random_model(square).weights)
    config |= {
        "d_vocab_out": -1,
        "d_mlp": None,
        "n_heads": -1,
        "attn_scale": -1.0,
        "device": "cpu",
        "seed": 3,
    }
    assert from_transformer_lens(config, state)[0] == square
    config |= {"attn_scale": 3**0.5, "n_key_value_heads": 2}
    assert from_transformer_lens(config, state)[0] == square


@pytest.mark.parametrize("name", ["blocks.1.attn.b_Q", "blocks.0.attn.b_O", "unembed.b_U"])
def test_a_bias_that_is_not_zero_makes_it_a_model_with_biases(name):
    config, state = converted()
    state = {key: tensor.double() for key, tensor in state.items()}
    state[name] = state[name] + 0.1
    layout, weights = from_transformer_lens(config, state)
    assert layout == replace(BASE, attention_bias="attn" in name, unembed_bias="attn" not in name)
    tokens = torch.randint(5, (3, 4), generator=torch.Generator().manual_seed(2))
    ours = LoadedModel("a", 0, layout, weights).logits(tokens)
    torch.testing.assert_close(ours, lens_forward(config, state, tokens)[0], rtol=1e-11, atol=1e-11)


def test_a_series_keeps_biases_that_are_zero_at_first():
    config, state = converted()
    first, _ = from_transformer_lens(config, state, keep_zeros=True)
    later, _ = from_transformer_lens(
        config, {name: t + 0.1 if ".b_" in name else t for name, t in state.items()}, keep_zeros=True
    )
    assert first == later == replace(BASE, attention_bias=True, unembed_bias=True)
    del state["blocks.1.attn.b_K"]
    with pytest.raises(UnknownLayout, match=r"no tensor blocks\.1\.attn\.b_K"):
        from_transformer_lens(config, state, keep_zeros=True)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"ln_final.w": torch.ones(6)}, "tensor ln_final.w has no place"),
        ({"blocks.2.mlp.b_in": torch.ones(7)}, "tensor blocks.2.mlp.b_in has no place"),
        ({"embed.W_E": torch.ones(6, 5)}, r"embed.W_E has shape \(6, 5\), which does not fit the config"),
        ({"blocks.0.attn.W_Q": torch.ones(6, 2, 3)}, r"W_Q has shape \(6, 2, 3\)"),
        ({"blocks.0.attn.W_Q": torch.ones(6)}, r"W_Q has shape \(6,\)"),
        ({"blocks.0.mlp.b_in": torch.ones(7).half()}, "tensors of types"),
    ],
)
def test_other_tensors_are_refused_by_name(change, words):
    config, state = converted()
    with pytest.raises(UnknownLayout, match=words):
        from_transformer_lens(config, state | change)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"act_fn": "gelu_new"}, "config has act_fn = 'gelu_new'; the small transformer has 'relu', 'gelu', 'solu'"),
        ({"normalization_type": "RMS"}, "normalization_type = 'RMS'; the small transformer has None, 'LN', 'LNPre'"),
        ({"positional_embedding_type": "rotary"}, "positional_embedding_type = 'rotary'"),
        ({"attention_dir": "bidirectional"}, "attention_dir = 'bidirectional'"),
        ({"attn_scale": 1.0}, "attn_scale = 1.0; the small transformer divides by 1.73205"),
        ({"n_key_value_heads": 1}, "shared between heads"),
        ({"output_logits_soft_cap": 30.0}, "output_logits_soft_cap = 30.0"),
    ],
)  # fmt: skip
def test_settings_that_compute_something_else_are_refused(change, words):
    config, state = converted()
    with pytest.raises(UnknownLayout, match=words):
        from_transformer_lens(config | change, state)


def test_another_epsilon_matters_only_where_there_is_a_norm():
    config, state = converted()
    assert from_transformer_lens(config | {"eps": 1e-6}, state)[0] == BASE
    normed = replace(BASE, layer_norm=True)
    config, state = to_transformer_lens(normed, random_model(normed).weights)
    with pytest.raises(UnknownLayout, match="eps = 1e-06; the small transformer has 1e-05"):
        from_transformer_lens(config | {"eps": 1e-6}, state)


def test_missing_things_are_named():
    config, state = converted()
    with pytest.raises(UnknownLayout, match=r"no tensor unembed\.W_U"):
        from_transformer_lens(config, {k: v for k, v in state.items() if k != "unembed.W_U"})
    with pytest.raises(UnknownLayout, match="config has no d_vocab"):
        from_transformer_lens({k: v for k, v in config.items() if k != "d_vocab"}, state)


def test_the_norm_after_solu_without_layer_norm_has_no_weights_there():
    layout = replace(BASE, activation="solu_ln")
    model = random_model(layout, dtype=torch.float64)
    with pytest.raises(UnknownLayout, match=r"blocks\.0\.mlp\.ln\.w is not one everywhere"):
        to_transformer_lens(layout, model.weights)
    plain = {
        name: torch.full_like(w, float(name.endswith("w"))) if ".mlp.ln." in name else w
        for name, w in model.weights.items()
    }
    config, state = to_transformer_lens(layout, plain)
    assert not any(".mlp.ln." in name for name in state)
    tokens = torch.arange(4)[None] + torch.tensor([[0], [1]])
    ours = LoadedModel("a", 0, layout, plain).logits(tokens)
    torch.testing.assert_close(ours, lens_forward(config, state, tokens)[0], rtol=1e-11, atol=1e-11)
    back, weights = from_transformer_lens(config, state)
    assert back == layout
    assert all(torch.equal(weights[name], tensor) for name, tensor in plain.items())


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"input": "sum"}, "no place for input 'sum'"),
        ({"n_heads": 0, "d_head": 0}, "layers without attention"),
    ],
)
def test_what_transformer_lens_has_no_place_for_is_refused(change, words):
    layout = replace(BASE, **change)
    with pytest.raises(UnknownLayout, match=words):
        to_transformer_lens(layout, random_model(layout).weights)
