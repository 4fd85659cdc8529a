import hashlib
import math
from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from archive.identity import canonical_json
from ingest.models.layout import ALIGNMENT, EXAMPLE_MULTIPLE, Layout
from ingest.models.loaded import LoadedModel
from ingest.models.own import OwnModel
from ingest.models.small import Trace, forward, forward_each, initial_rows, solu, stack_views
from tests.ingest.small_models import random_model, random_rows
from tests.references.transformer_loops import logits_and_patterns

BASE = Layout(n_tokens=5, n_outputs=6, n_positions=4, n_layers=2, d_model=6, n_heads=2, d_head=3, d_mlp=7)
SHAPES = {
    "two layers": BASE,
    "one layer": replace(BASE, n_layers=1),
    "no layers": replace(BASE, n_layers=0),
    "attention only": replace(BASE, d_mlp=0),
    "mlp only": replace(BASE, n_heads=0, d_head=0),
    "layer norm, gelu": replace(BASE, layer_norm=True, activation="gelu"),
    "one layer, layer norm": replace(BASE, n_layers=1, layer_norm=True),
    "wide heads": replace(BASE, d_head=5),
    "solu": replace(BASE, activation="solu"),
    "solu_ln": replace(BASE, activation="solu_ln"),
    "solu_ln among norms": replace(BASE, activation="solu_ln", layer_norm=True),
    "positions in attention": replace(BASE, positions="attention"),
    "positions in attention, one layer": replace(BASE, n_layers=1, positions="attention"),
    "positions in attention, layer norm": replace(BASE, positions="attention", layer_norm=True),
    "biases": replace(BASE, attention_bias=True, unembed_bias=True),
    "biases, norms without weights": replace(
        BASE, attention_bias=True, layer_norm=True, norm_weights=False, activation="solu_ln"
    ),
    "RMS norm at the end": replace(BASE, layer_norm=True, final_rms=True, unembed_bias=True),
    "RMS norm at the end, no weights": replace(BASE, layer_norm=True, final_rms=True, norm_weights=False),
    "positions in attention, biases": replace(BASE, d_mlp=0, positions="attention", attention_bias=True),
    "summed": replace(BASE, input="sum"),
    "summed, one layer, positions in attention": replace(
        BASE, n_layers=1, input="sum", positions="attention"
    ),
    "summed, mlp only": replace(BASE, n_layers=1, n_heads=0, d_head=0, input="sum"),
    "summed, no layers": replace(BASE, n_layers=0, input="sum"),
}


def sequences(layout, n_runs, n_examples, seed=0):
    generator = torch.Generator().manual_seed(seed)
    shape = (n_runs, n_examples, layout.n_positions)
    return torch.randint(layout.n_tokens, shape, generator=generator)


@pytest.mark.parametrize(
    "n_examples", [3, 9], ids=["direct", "looked up"]
)  # fewer and more than the 5 tokens
@pytest.mark.parametrize("read", [(3,), (0, 2), (0, 1, 2, 3)], ids=["last", "two", "all"])
@pytest.mark.parametrize("layout", SHAPES.values(), ids=SHAPES.keys())
def test_agrees_with_the_loops(layout, read, n_examples):
    rows = random_rows(layout, 2)
    weights = stack_views(layout, rows)
    tokens = sequences(layout, 2, n_examples)
    trace = Trace([], [])
    narrow = forward(layout, weights, tokens, read)
    traced = forward(layout, weights, tokens, read, trace)
    for run in range(2):
        own = {name: view[run].numpy() for name, view in weights.items()}
        for example in range(n_examples):
            logits, patterns, neurons = logits_and_patterns(layout, own, tokens[run, example].tolist())
            np.testing.assert_allclose(narrow[run, example], logits[list(read)], atol=1e-12)
            np.testing.assert_allclose(traced[run, example], logits[list(read)], atol=1e-12)
            for layer, pattern in enumerate(trace.attention):
                np.testing.assert_allclose(pattern[run, example], patterns[layer], atol=1e-12)
            for layer, activation in enumerate(trace.mlp):
                np.testing.assert_allclose(activation[run, example], neurons[layer], atol=1e-12)
    assert len(trace.attention) == (layout.n_layers if layout.n_heads else 0)
    assert len(trace.mlp) == (layout.n_layers if layout.d_mlp else 0)


@pytest.mark.parametrize(
    "layout",
    [
        BASE,
        replace(BASE, positions="attention", activation="solu_ln"),
        replace(BASE, n_layers=1, n_heads=0, d_head=0, input="sum", activation="solu"),
    ],
    ids=["base", "positions in attention", "summed"],
)
def test_gradients_agree_between_the_narrow_pass_and_the_whole_one(layout):
    rows = random_rows(layout, 2)
    tokens = sequences(layout, 2, 9)
    gradients = []
    for trace in (None, Trace([], [])):
        weights = {n: v.clone().requires_grad_() for n, v in stack_views(layout, rows).items()}
        forward(layout, weights, tokens, (3,), trace).square().sum().backward()
        gradients.append(torch.cat([w.grad.flatten() for w in weights.values()]))
    torch.testing.assert_close(gradients[0], gradients[1], atol=1e-12, rtol=1e-11)


@given(changed=st.integers(1, 3), token=st.integers(0, 4), seed=st.integers(0, 100))
@settings(max_examples=20, deadline=None)
def test_no_position_sees_a_later_token(changed, token, seed):
    model = random_model(BASE, seed, torch.float64)
    tokens = sequences(BASE, 1, 1, seed)[0]
    other = tokens.clone()
    other[0, changed] = token
    torch.testing.assert_close(
        model.logits(tokens)[:, :changed], model.logits(other)[:, :changed], rtol=0, atol=1e-14
    )


@given(heads=st.permutations(range(2)), seed=st.integers(0, 100))
@settings(max_examples=20, deadline=None)
def test_relabelling_heads_relabels_patterns_and_keeps_logits(heads, seed):
    model = random_model(BASE, seed, torch.float64)
    relabelled = dict(model.weights)
    for layer in range(BASE.n_layers):
        name = f"blocks.{layer}.attn."
        for matrix in ("W_Q", "W_K", "W_V"):
            relabelled[name + matrix] = model.weights[name + matrix][:, heads]
        relabelled[name + "W_O"] = model.weights[name + "W_O"][heads]
    tokens = sequences(BASE, 1, 4, seed)[0]
    before = model.activations(tokens, tokens[:, :1], (3,))
    after = LoadedModel("b", 0, BASE, relabelled).activations(tokens, tokens[:, :1], (3,))
    torch.testing.assert_close(after.attention, before.attention[:, :, heads])
    torch.testing.assert_close(after.logits, before.logits)


def test_activations_have_the_declared_shapes_and_patterns_sum_to_one():
    model = random_model(BASE)
    tokens = sequences(BASE, 1, 8)[0]
    seen = model.activations(tokens, tokens[:, :2], (1, 3))
    assert seen.logits.shape == (8, 2, 6)
    assert seen.attention.shape == (8, 2, 2, 4, 4)
    assert seen.mlp.shape == (8, 2, 4, 7)
    torch.testing.assert_close(seen.attention.sum(-1), torch.ones(8, 2, 2, 4))
    untraced = model.activations(tokens, tokens[:, :2], (1, 3), traced=False)
    assert untraced.attention.shape == (8, 0, 0, 4, 4)
    assert untraced.mlp.shape == (8, 0, 4, 0)
    torch.testing.assert_close(untraced.logits, seen.logits)


def test_runs_in_a_stack_do_not_mix():
    rows = random_rows(BASE, 3)
    tokens = sequences(BASE, 3, 9)
    changed = rows.clone()
    changed[1] += 1
    before = forward(BASE, stack_views(BASE, rows), tokens, (3,))
    after = forward(BASE, stack_views(BASE, changed), tokens, (3,))
    assert torch.equal(before[[0, 2]], after[[0, 2]])
    assert not torch.equal(before[1], after[1])


EXACT = Layout(n_tokens=8, n_outputs=7, n_positions=3, n_layers=2, d_model=16, n_heads=2, d_head=8, d_mlp=11)


@pytest.mark.parametrize("n_examples", [16, 48, 19])
@pytest.mark.parametrize(
    "layout",
    [
        EXACT,
        replace(EXACT, d_model=10, d_head=5),
        replace(EXACT, activation="solu_ln", positions="attention"),
        replace(EXACT, n_positions=33, d_mlp=0, positions="attention", layer_norm=True),
        replace(EXACT, n_layers=1, n_heads=0, d_head=0, input="sum", activation="solu"),
    ],
    ids=["aligned", "odd", "positions in attention", "long", "summed"],
)
def test_a_pass_over_each_run_has_the_bits_of_the_run_alone(layout, n_examples):
    def pass_over(rows, tokens):
        weights = {n: v.requires_grad_() for n, v in stack_views(layout, rows).items()}
        logits = forward_each(layout, weights, tokens, (1, 2))
        return logits, torch.autograd.grad(logits.square().sum(), list(weights.values()))

    rows = random_rows(layout, 4, dtype=torch.float32)
    tokens = sequences(layout, 4, n_examples)
    together, gradients = pass_over(rows, tokens)
    for run in range(4):
        alone, own = pass_over(rows[run : run + 1].clone(), tokens[run : run + 1])
        assert torch.equal(alone[0], together[run])
        if n_examples % EXAMPLE_MULTIPLE == 0:  # as in training, which pads to it
            for mine, among_others in zip(own, gradients, strict=True):
                assert torch.equal(mine[0], among_others[run])


def test_the_savings_for_the_positions_read_hold_where_positions_are_added_in_attention(monkeypatch):
    # the last block multiplies one row per example at the position read, and one per token or position
    # before the first attention; nothing is multiplied at all positions of all examples
    layout = replace(EXACT, n_layers=1, n_positions=9, positions="attention")
    sizes = []
    whole = torch.bmm

    def noted(a, b):
        sizes.append(a.shape[1])
        return whole(a, b)

    monkeypatch.setattr(torch, "bmm", noted)
    n_examples = 64
    with torch.no_grad():
        forward(layout, stack_views(layout, random_rows(layout, 2)), sequences(layout, 2, n_examples), (8,))
    assert max(sizes) == n_examples
    # keys, values and queries from 8 tokens; keys of 9 places, the query of one; then W_O and W_U
    assert sorted(sizes) == sorted([8, 8, 8, 9, 1, n_examples, n_examples])


def test_solu_prefers_the_largest_and_its_norm_is_a_part_of_the_model():
    x = torch.tensor([1.0, 4.0, 1.0, 4.0], dtype=torch.float64)
    share = 1 / (1 + math.exp(-3)) / 2  # of the softmax, for each of the two largest
    torch.testing.assert_close(
        solu(x), torch.tensor([0.5 - share, 4 * share, 0.5 - share, 4 * share]).double()
    )
    plain, normed = (random_model(replace(BASE, activation=kind)) for kind in ("solu", "solu_ln"))
    assert {"blocks.0.mlp.ln.w", "blocks.1.mlp.ln.b"} < normed.weights.keys()
    assert normed.weights["blocks.0.mlp.ln.w"].shape == (BASE.d_mlp,)
    assert plain.weights.keys() == random_model(BASE).weights.keys()
    # the trace has the activations before that norm: those of a layer are x · softmax(x), of mixed signs
    tokens = sequences(BASE, 1, 8)[0]
    same = LoadedModel(
        "a",
        0,
        normed.layout,
        dict(normed.weights) | {"blocks.0.mlp.ln.w": 2 * normed.weights["blocks.0.mlp.ln.w"]},
    )
    before, after = (model.activations(tokens, tokens[:, :1], (3,)) for model in (normed, same))
    assert torch.equal(before.mlp[:, 0], after.mlp[:, 0])
    assert not torch.equal(before.mlp[:, 1], after.mlp[:, 1])


def test_values_and_outputs_see_no_positions_where_they_are_added_in_attention():
    layout = replace(BASE, n_layers=1, positions="attention")
    model = random_model(layout, dtype=torch.float64)
    alike = torch.full((1, 4), 2)
    # the same token everywhere: what heads move is the same, wherever they look
    logits = model.logits(alike)
    torch.testing.assert_close(logits, logits[:, :1].expand_as(logits), rtol=0, atol=1e-13)
    pattern = model.activations(alike, alike[:, :1], (3,)).attention[0, 0, 0, 3]
    assert pattern.max() - pattern.min() > 0.01  # where they look does depend on positions
    moved = random_model(replace(layout, positions="learned"), dtype=torch.float64).logits(alike)
    assert (moved - moved[:, :1]).abs().max() > 0.01


def test_a_sum_of_embeddings_lets_a_model_without_attention_see_every_earlier_token():
    layout = replace(BASE, n_heads=0, d_head=0, input="sum")
    model = random_model(layout, dtype=torch.float64)
    tokens = torch.tensor([[0, 1, 2, 3], [1, 0, 2, 3], [4, 1, 2, 3]])
    logits = model.logits(tokens)
    torch.testing.assert_close(logits[0, 1:], logits[1, 1:])  # a sum does not know the order
    assert (logits[0] - logits[2]).abs().amin(1).max() > 1e-3
    blind = random_model(replace(layout, input="token"), dtype=torch.float64).logits(tokens)
    torch.testing.assert_close(blind[0, 1:], blind[2, 1:])


def test_layout_places_every_number_once_and_aligns_rows():
    for layout in SHAPES.values():
        assert layout.places[0].start == 0
        assert [p.start for p in layout.places[1:]] == [p.stop for p in layout.places[:-1]]
        assert layout.n_params == sum(int(np.prod(shape)) for shape in layout.shapes.values())
        assert layout.row_length % ALIGNMENT == 0
        assert 0 <= layout.row_length - layout.n_params < ALIGNMENT
        assert Layout(**layout.as_dict()) == layout


def test_parameter_count_of_the_published_mainline_run():
    # Nanda et al.: p = 113, d_model 128, 4 heads, d_mlp 512, 114 tokens and outputs, biases b_in and b_out only
    mainline = Layout(114, 114, 3, 1, 128, 4, 32, 512)
    d = 128
    assert (
        mainline.n_params == 114 * d + 3 * d + 4 * d * d + (512 * d + 512 + d * 512 + d) + d * 114 == 226_816
    )


def test_initial_matrices_are_normal_with_variance_one_over_d_model():
    layout = Layout(50, 50, 10, 1, 64, 4, 16, 256, layer_norm=True, activation="solu_ln")
    views = stack_views(layout, initial_rows(layout, [7], torch.float64))
    assert "blocks.0.mlp.ln.w" in views
    for name, view in views.items():
        kind = name.rsplit(".", 1)[-1]
        if kind.startswith("W"):
            n = view.numel()
            assert abs(view.mean().item()) < 5 / (n * 64) ** 0.5  # 5 standard errors
            assert view.var().item() * 64 == pytest.approx(1, abs=5 * (2 / n) ** 0.5)
        else:
            assert torch.equal(view, torch.ones_like(view) if kind == "w" else torch.zeros_like(view))


def test_a_tensor_starts_the_same_whatever_else_the_model_has():
    small, large = BASE, replace(BASE, n_layers=3, d_mlp=11)
    a = stack_views(small, initial_rows(small, [3], torch.float32))
    b = stack_views(large, initial_rows(large, [1, 3], torch.float32))
    for name in ("embed.W_E", "blocks.1.attn.W_Q", "unembed.W_U"):
        assert torch.equal(a[name][0], b[name][1])
    assert not torch.equal(b["embed.W_E"][0], b["embed.W_E"][1])
    assert not torch.equal(b["blocks.0.attn.W_Q"][0], b["blocks.1.attn.W_Q"][0])


def test_weights_hash_changes_with_any_weight_and_with_the_layout():
    model = random_model(BASE)
    hashes = {model.weights_hash}
    for name, tensor in model.weights.items():
        changed = tensor.clone()
        changed.view(-1)[-1] += 1e-3
        hashes.add(LoadedModel("a", 0, BASE, {**model.weights, name: changed}).weights_hash)
    for change in ({"activation": "gelu"}, {"positions": "attention"}, {"input": "sum"}):
        hashes.add(LoadedModel("a", 0, replace(BASE, **change), model.weights).weights_hash)
    assert len(hashes) == len(model.weights) + 4
    assert LoadedModel("other", 9, BASE, dict(model.weights)).weights_hash == model.weights_hash


def test_what_the_output_matrix_reads_is_after_the_norm_that_follows_solu():
    for layout in (SHAPES["solu_ln"], SHAPES["biases, norms without weights"], BASE):
        weights = stack_views(layout, random_rows(layout, 1))
        before, after = [], []
        forward(layout, weights, sequences(layout, 1, 3), (3,), Trace([], before, after))
        for layer in range(layout.n_layers):
            expected = before[layer]
            if layout.activation == "solu_ln":
                centred = expected - expected.mean(-1, keepdim=True)
                expected = centred / (centred.square().mean(-1, keepdim=True) + 1e-5).sqrt()
                name = f"blocks.{layer}.mlp.ln"
                if layout.norm_weights:
                    expected = expected * weights[f"{name}.w"] + weights[f"{name}.b"]
            torch.testing.assert_close(after[layer], expected, atol=1e-12, rtol=1e-12)


def test_settings_that_came_later_leave_older_hashes_and_headers_as_they_were():
    assert set(BASE.as_dict()) == {
        *("n_tokens", "n_outputs", "n_positions", "n_layers", "d_model", "n_heads", "d_head", "d_mlp"),
        *("activation", "layer_norm", "positions", "input"),
    }
    model = random_model(BASE)
    digest = hashlib.sha256(canonical_json(BASE.as_dict()).encode())
    for name in BASE.shapes:
        digest.update(model.weights[name].numpy().tobytes())
    assert model.weights_hash == digest.hexdigest()
    later = replace(BASE, attention_bias=True, final_rms=True, norm_weights=False)
    assert Layout(**later.as_dict()) == later
    assert later.as_dict()["final_rms"] is True


def test_a_model_as_measures_see_it_names_what_norms_without_weights_amount_to():
    layout = SHAPES["RMS norm at the end, no weights"]
    model = OwnModel(random_model(layout))
    assert "ln_final.b" not in model.weight_names()
    assert torch.equal(model.weight("ln_final.w"), torch.ones(layout.d_model))
    assert torch.equal(model.weight("blocks.1.ln2.b"), torch.zeros(layout.d_model))
    assert {name for name, _ in model.parameters()} == set(layout.shapes)
    with pytest.raises(KeyError):
        model.weight("ln_final.b")
