"""Folding and centring: the same model in other weights."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from ingest.mathematics.weight_folding import fold_ln, fold_ln_center
from tests.references.normed_transformer import logits

D, HEADS, D_HEAD, D_MLP, N_TOKENS, N_LAYERS = 8, 2, 4, 12, 11, 2


def model(seed: int, *, biases: bool = True, solu: bool = False) -> dict[str, torch.Tensor]:
    """Random weights whose LayerNorms, biases and means are all far from trivial."""
    generator = torch.Generator().manual_seed(seed)

    def draw(*shape: int) -> torch.Tensor:
        return torch.randn(*shape, generator=generator, dtype=torch.float64) * 0.6 + 0.3

    weights = {"embed.W_E": draw(N_TOKENS, D), "pos_embed.W_pos": draw(9, D)}
    for layer in range(N_LAYERS):
        block = f"blocks.{layer}"
        weights |= {f"{block}.{norm}.{part}": draw(D) for norm in ("ln1", "ln2") for part in "wb"}
        weights |= {f"{block}.attn.W_{part}": draw(HEADS, D, D_HEAD) for part in "QKV"}
        weights |= {f"{block}.attn.W_O": draw(HEADS, D_HEAD, D)}
        weights |= {f"{block}.mlp.W_in": draw(D, D_MLP), f"{block}.mlp.W_out": draw(D_MLP, D)}
        if biases:
            weights |= {f"{block}.attn.b_{part}": draw(HEADS, D_HEAD) for part in "QKV"}
            weights |= {f"{block}.attn.b_O": draw(D)}
            weights |= {f"{block}.mlp.b_in": draw(D_MLP), f"{block}.mlp.b_out": draw(D)}
        if solu:
            weights |= {f"{block}.mlp.ln.{part}": draw(D_MLP) for part in "wb"}
    return weights | {"ln_final.w": draw(D), "ln_final.b": draw(D), "unembed.W_U": draw(D, N_TOKENS)}


def run(weights: dict[str, torch.Tensor], *, parallel: bool, solu: bool = False) -> torch.Tensor:
    tokens = torch.tensor([3, 1, 4, 1, 5, 9, 2, 6])
    marked = {**weights, "solu": torch.ones(())} if solu else weights
    return logits(marked, tokens, N_LAYERS, parallel)


@pytest.mark.parametrize("parallel", [False, True], ids=["gpt2", "neox"])
@pytest.mark.parametrize("biases", [False, True])
@pytest.mark.parametrize("solu", [False, True])
def test_folding_leaves_logits_and_centring_log_probs(parallel: bool, biases: bool, solu: bool) -> None:
    weights = model(0, biases=biases, solu=solu)
    before = run(weights, parallel=parallel, solu=solu)
    folded = run(fold_ln(weights), parallel=parallel, solu=solu)
    torch.testing.assert_close(folded, before, rtol=0, atol=1e-11)
    centred = run(fold_ln_center(weights), parallel=parallel, solu=solu)
    shift = centred - before
    torch.testing.assert_close(shift, shift[:, :1].expand_as(shift), rtol=0, atol=1e-11)
    assert float(shift.abs().min()) > 1e-3  # there is a constant, or the test says nothing
    torch.testing.assert_close(centred.log_softmax(-1), before.log_softmax(-1), rtol=0, atol=1e-11)


@given(st.integers(0, 99))
def test_norms_are_gone_and_what_is_centred_sums_to_zero(seed: int) -> None:
    folded = fold_ln_center(model(seed))
    assert not [name for name in folded if name.endswith((".w", ".b"))]
    for name, tensor in folded.items():
        last = name.rsplit(".", 1)[-1]
        if last in ("W_E", "W_pos", "W_O", "W_out", "b_O", "b_out"):
            assert float(tensor.mean(-1).abs().max()) < 1e-12, name
        if last in ("W_Q", "W_K", "W_V", "W_in", "W_U"):
            assert float(tensor.mean(-2).abs().max()) < 1e-12, name
    assert float(folded["unembed.W_U"].mean(-1).abs().max()) < 1e-12


def test_what_is_given_stays_as_it_is() -> None:
    weights = model(0)
    kept = {name: tensor.clone() for name, tensor in weights.items()}
    fold_ln_center(weights)
    assert all(torch.equal(weights[name], kept[name]) for name in kept)


def test_a_norm_that_does_nothing_folds_into_centring_alone() -> None:
    weights = model(0)
    for name in weights:
        if name.endswith(".w"):
            weights[name] = torch.ones_like(weights[name])
        elif name.endswith(".b"):
            weights[name] = torch.zeros_like(weights[name])
    folded = fold_ln(weights)
    matrix = weights["blocks.1.attn.W_Q"]
    torch.testing.assert_close(folded["blocks.1.attn.W_Q"], matrix - matrix.mean(1, keepdim=True))
    torch.testing.assert_close(folded["blocks.1.attn.b_Q"], weights["blocks.1.attn.b_Q"])
    assert torch.equal(folded["blocks.1.attn.W_O"], weights["blocks.1.attn.W_O"])


def test_models_that_cannot_be_folded_are_refused() -> None:
    bare = {name: t for name, t in model(0).items() if not name.endswith((".w", ".b"))}
    assert fold_ln(bare) == bare
    with pytest.raises(ValueError, match="without a final LayerNorm centring would change the model"):
        fold_ln_center(bare)
    weights = model(0)
    del weights["blocks.1.mlp.W_in"]
    with pytest.raises(ValueError, match=r"blocks\.1\.ln2 is there but blocks\.1\.mlp\.W_in"):
        fold_ln(weights)
    with pytest.raises(ValueError, match=r"no known reader of LayerNorm 'embed\.ln'"):
        fold_ln({"embed.ln.w": torch.ones(3), "embed.ln.b": torch.zeros(3)})


def test_a_last_norm_that_subtracts_no_mean_is_folded_and_nothing_centred() -> None:
    weights = model(3)
    del weights["ln_final.b"]
    folded = fold_ln(weights)
    expected = weights["ln_final.w"][:, None] * weights["unembed.W_U"]
    assert torch.equal(folded["unembed.W_U"], expected)
    assert "unembed.b_U" not in folded
    assert "ln_final.w" not in folded
    # the others are as ever
    torch.testing.assert_close(folded["blocks.1.mlp.W_in"], fold_ln(model(3))["blocks.1.mlp.W_in"])
    with pytest.raises(ValueError, match=r"no tensor ln_final\.b"):
        fold_ln_center(weights)
