"""Weights by their role in models whose norms have no weights, or whose last norm subtracts no mean."""

from dataclasses import replace

import torch

from ingest.models.layout import Layout
from ingest.models.own import OwnModel
from ingest.readings.circuit import CircuitWeights
from tests.ingest.small_models import random_model

BASE = Layout(
    n_tokens=9,
    n_outputs=9,
    n_positions=4,
    n_layers=2,
    d_model=8,
    n_heads=2,
    d_head=4,
    d_mlp=6,
    activation="solu_ln",
    layer_norm=True,
)


def circuit(layout: Layout) -> tuple[CircuitWeights, OwnModel]:
    model = OwnModel(random_model(layout, 3, torch.float32))
    return CircuitWeights(model), model


def test_where_the_mean_is_read_at_the_end_nothing_written_is_centred() -> None:
    found, model = circuit(replace(BASE, final_rms=True))
    assert (found.has_layer_norm, found.centres, found.n_directions) == (True, False, 8)
    scaled = model.weight("ln_final.w")[:, None] * model.weight("unembed.W_U")
    torch.testing.assert_close(found.unembedding, scaled - scaled.mean(-1, keepdim=True))
    assert torch.equal(found.embedding, model.weight("embed.W_E"))
    assert torch.equal(found.attention[1]["W_O"], model.weight("blocks.1.attn.W_O"))
    plain, _ = circuit(BASE)
    assert (plain.centres, plain.n_directions) == (True, 7)
    assert plain.attention[1]["W_O"].mean(-1).abs().max() < 1e-6
    # what reads a norm that subtracts the mean is folded either way
    torch.testing.assert_close(found.attention[1]["W_Q"], plain.attention[1]["W_Q"])


def test_a_norm_without_weights_is_one_with_scale_1_and_shift_0() -> None:
    found, model = circuit(replace(BASE, norm_weights=False))
    assert (found.has_layer_norm, found.centres, found.n_directions) == (True, True, 7)
    weights = model.weight("blocks.0.attn.W_K")
    torch.testing.assert_close(found.attention[0]["W_K"], weights - weights.mean(-2, keepdim=True))
    out = model.weight("blocks.1.mlp.W_out")
    out = out - out.mean(-2, keepdim=True)  # what it reads sums to nothing over the neurons
    torch.testing.assert_close(found.neuron_outputs(1), out - out.mean(-1, keepdim=True))


def test_what_weights_compute_is_what_the_model_computes() -> None:
    # the direct path of a token through folded weights, with the last norm's division put back
    layout = replace(BASE, n_layers=0, final_rms=True)
    found, model = circuit(layout)
    tokens = torch.arange(9)[:, None]
    residual = found.embedding + model.weight("pos_embed.W_pos")[0]
    scale = (residual.square().mean(-1, keepdim=True) + 1e-5).sqrt()
    logits = model.logits(tokens)[:, 0]
    torch.testing.assert_close(
        (residual / scale) @ found.unembedding, logits - logits.mean(-1, keepdim=True), atol=1e-5, rtol=1e-5
    )
