"""Our attention is eager attention, in all families, and leaves a model as it was."""

import math
from contextlib import nullcontext
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor
from transformers import (
    GPT2Config,
    GPT2LMHeadModel,
    GPTNeoConfig,
    GPTNeoForCausalLM,
    GPTNeoXConfig,
    GPTNeoXForCausalLM,
    OPTConfig,
    OPTForCausalLM,
)

from ingest.models import attention
from ingest.models.attention import causal_attention, own_attention
from ingest.models.hugging_face import HuggingFaceModel

# more than the queries taken together, so that there are several blocks, the last one shorter
LENGTH = 150
SIZES = {"vocab_size": 50, "hidden_size": 24, "num_hidden_layers": 2, "max_position_embeddings": 160}


def by_whole_matrices(
    query: Tensor, key: Tensor, value: Tensor, scaling: float, window: int | None
) -> tuple[Tensor, Tensor]:
    at = torch.arange(query.shape[2])
    back = at[:, None] - at
    hidden = (back < 0) | (back >= (window or len(at)))
    scores = (query.double() @ key.double().mT * scaling).masked_fill(hidden, -math.inf)
    pattern = scores.softmax(-1)
    return (pattern @ value.double()).transpose(1, 2), pattern


@given(
    seed=st.integers(0, 99),
    n=st.sampled_from([1, 2, 63, 64, 65, 130]),
    window=st.sampled_from([None, 1, 5, 64, 70, 200]),
    room=st.sampled_from([1, 9_000, 2**18]),
)
def test_it_is_softmax_over_the_keys_that_are_seen(seed: int, n: int, window: int | None, room: int) -> None:
    generator = torch.Generator().manual_seed(seed)
    # as GPT-NeoX has them: side by side for every head
    query, key, value = torch.randn(2, n, 3, 12, generator=generator).transpose(1, 2).chunk(3, -1)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(attention, "_ROOM", room)
        mixed, pattern = causal_attention(query, key, value, scaling=0.7, window=window)
    expected_mixed, expected_pattern = by_whole_matrices(query, key, value, 0.7, window)
    torch.testing.assert_close(pattern.double(), expected_pattern, rtol=0, atol=1e-6)
    torch.testing.assert_close(mixed.double(), expected_mixed, rtol=0, atol=2e-6)
    assert (pattern[expected_pattern == 0] == 0).all()


def test_equal_keys_share_attention() -> None:
    same = torch.ones(1, 1, 80, 4)
    _, pattern = causal_attention(same, same, same, scaling=1.0)
    assert torch.equal(pattern[0, 0, 79], torch.full((80,), 1 / 80))
    _, pattern = causal_attention(same, same, same, scaling=1.0, window=4)
    assert pattern[0, 0, 79].tolist() == [0.0] * 76 + [0.25] * 4


def modules() -> dict[str, Any]:
    """A random model of every architecture, and those settings of attention that other checkpoints have."""
    by_layer = {"scale_attn_by_inverse_layer_idx": True, "reorder_and_upcast_attn": True}
    of_gpt2 = {"vocab_size": 50, "n_embd": 24, "n_layer": 2, "n_head": 3, "n_positions": 160}
    of_neo = {
        "vocab_size": 50, "hidden_size": 24, "num_layers": 2, "num_heads": 3, "max_position_embeddings": 160,
        "attention_types": [[["global", "local"], 1]],
    }  # fmt: skip
    return {
        "neox": GPTNeoXForCausalLM(GPTNeoXConfig(**SIZES, num_attention_heads=3, intermediate_size=48)),
        "neox one after the other": GPTNeoXForCausalLM(
            GPTNeoXConfig(**SIZES, num_attention_heads=3, intermediate_size=48, use_parallel_residual=False)
        ),
        "gpt2": GPT2LMHeadModel(GPT2Config(**of_gpt2)),
        "gpt2 by layer": GPT2LMHeadModel(GPT2Config(**of_gpt2, **by_layer)),
        "opt": OPTForCausalLM(OPTConfig(**SIZES, num_attention_heads=3, ffn_dim=48, word_embed_proj_dim=24)),
        "gpt-neo, 7 tokens": GPTNeoForCausalLM(GPTNeoConfig(**of_neo, window_size=7)),
        "gpt-neo, 100 tokens": GPTNeoForCausalLM(GPTNeoConfig(**of_neo, window_size=100)),
    }


@pytest.fixture(scope="module")
def models() -> dict[str, Any]:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        made = {name: module.eval().requires_grad_(False) for name, module in modules().items()}
        for module in made.values():
            module.set_attn_implementation("eager")
            for parameter in module.parameters():
                parameter.add_(torch.randn(parameter.shape) * 0.1)  # so that heads differ and look somewhere
    return made


@pytest.fixture(scope="module")
def tokens() -> Tensor:
    return torch.randint(50, (3, LENGTH), generator=torch.Generator().manual_seed(1))


@pytest.mark.parametrize("name", list(modules()))
def test_a_model_computes_what_it_does_with_eager_attention(
    name: str, models: dict[str, Any], tokens: Tensor, monkeypatch: pytest.MonkeyPatch
) -> None:
    module = models[name]
    model = HuggingFaceModel(module, run="random", step=0)
    ours: list[Tensor] = []

    def counted(*given: Any, **named: Any) -> tuple[Tensor, Tensor]:
        mixed, pattern = causal_attention(*given, **named)
        ours.append(pattern)
        return mixed, pattern

    monkeypatch.setattr(attention, "causal_attention", counted)
    patterns: list[Tensor] = []
    final = model.trunk(tokens, attention=lambda _, pattern: patterns.append(pattern))
    assert [id(pattern) for pattern in patterns] == [id(pattern) for pattern in ours]  # without a copy
    plain = module(tokens, output_attentions=True, output_hidden_states=True, use_cache=False)
    assert len(ours) == len(patterns) == len(plain.attentions)
    for pattern, expected in zip(patterns, plain.attentions, strict=True):
        torch.testing.assert_close(pattern, expected, rtol=0, atol=1e-6)
        assert torch.equal(pattern == 0, expected == 0)
    scale = float(plain.hidden_states[-1].abs().max())
    torch.testing.assert_close(final, plain.hidden_states[-1], rtol=0, atol=1e-6 * max(1.0, scale))
    assert torch.equal(model.trunk(tokens), final)  # whether or not somebody looks
    alone = model.trunk(tokens[1:2])
    torch.testing.assert_close(alone, final[1:2], rtol=0, atol=1e-6 * max(1.0, scale))


@pytest.mark.parametrize("name", list(modules()))
def test_nothing_of_it_stays(name: str, models: dict[str, Any], tokens: Tensor) -> None:
    module = models[name]
    before = [dict(one.__dict__) for one in module.modules()]
    with pytest.raises(KeyboardInterrupt), torch.no_grad(), own_attention(module):
        raise KeyboardInterrupt
    assert module.config._attn_implementation == "eager"
    assert [dict(one.__dict__) for one in module.modules()] == before


def test_gradients_are_those_of_eager_attention(models: dict[str, Any], tokens: Tensor) -> None:
    module = models["gpt-neo, 7 tokens"]
    found = []
    for attending in (own_attention, nullcontext):
        embedded = module.get_input_embeddings()(tokens).requires_grad_()
        with attending(module):
            module(inputs_embeds=embedded, use_cache=False).logits.square().sum().backward()
        found.append(embedded.grad)
    assert found[0].abs().sum() > 0
    assert torch.equal(*found)


def test_a_layer_called_again_as_it_was_called_gives_the_same(models: dict[str, Any], tokens: Tensor) -> None:
    # so interventions do, outside of the pass and with gradients: the mask must be among what it was given
    layer = models["neox"].gpt_neox.layers[1]
    calls: list[Any] = []
    handle = layer.register_forward_hook(lambda *call: calls.append(call[1:]), with_kwargs=True)
    HuggingFaceModel(models["neox"], run="random", step=0).trunk(tokens)
    handle.remove()
    [(given, named, output)] = calls
    torch.testing.assert_close(layer(*given, **named), output, rtol=0, atol=1e-5)
