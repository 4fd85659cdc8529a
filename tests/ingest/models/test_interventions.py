"""Running a model from the middle: nothing changed changes nothing, and layers before the change are not run again."""

from dataclasses import replace

import pytest
import torch
from torch import nn

from ingest.applicable import NotApplicable
from ingest.models.hooked import Shape
from ingest.models.interventions import Change, intervening
from ingest.models.module import ModuleAdapter, ModuleModel
from tests.ingest.causal import RULES, model_of
from tests.ingest.language import own

TOKENS = torch.randint(100, (3, 9), generator=torch.Generator().manual_seed(1))


def same(tensor: torch.Tensor) -> torch.Tensor:
    return tensor.clone()


@pytest.mark.parametrize("frozen", [False, True])
@pytest.mark.parametrize("kind", RULES)
def test_a_change_of_nothing_leaves_every_bit(kind: str, frozen: bool) -> None:
    model = intervening(model_of(kind))
    with torch.no_grad():
        run = model.clean(TOKENS, frozen=frozen)
        assert len(run.residual) == model.shape.n_layers + 1
        for place in ("heads", "attention", "mlp", "residual"):
            for layer in range(model.shape.n_layers):
                assert torch.equal(model.resume(run, Change(layer, place, same)), run.final)


@pytest.mark.parametrize("kind", RULES)
def test_a_clean_run_is_the_models_own_and_patterns_held_fixed_change_nothing(kind: str) -> None:
    model = model_of(kind)
    with torch.no_grad():
        expected = model.trunk(TOKENS)
        for frozen in (False, True):
            found = intervening(model).clean(TOKENS, frozen=frozen).final
            torch.testing.assert_close(found, expected, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("kind", RULES)
def test_gradients_go_through_a_resumed_run(kind: str) -> None:
    model = intervening(model_of(kind))
    with torch.no_grad():
        run = model.clean(TOKENS)
    direction = torch.randn(run.heads[0].shape, generator=torch.Generator().manual_seed(2))
    nudge = torch.zeros(run.heads[0].shape, requires_grad=True)
    final = model.resume(run, Change(0, "heads", lambda said: said + nudge))
    [slope] = torch.autograd.grad(final[:, -1].sum(), [nudge])
    step = 3e-3
    with torch.no_grad():
        up, down = (
            model.resume(run, Change(0, "heads", lambda said, s=s: said + s * direction))[:, -1].sum()
            for s in (step, -step)
        )
    torch.testing.assert_close((slope * direction).sum(), (up - down) / (2 * step), rtol=1e-2, atol=2e-3)


@pytest.mark.parametrize("kind", RULES)
def test_a_change_of_all_positions_of_the_stream_replaces_the_run(kind: str) -> None:
    model = intervening(model_of(kind))
    with torch.no_grad():
        run, other = model.clean(TOKENS), model.clean(TOKENS.flip(0))
        for layer in range(model.shape.n_layers):
            there = other.residual[layer + 1]
            final = model.resume(run, Change(layer, "residual", lambda _, there=there: there))
            torch.testing.assert_close(final, other.final)


@pytest.mark.parametrize("kind", ["own", "pythia"])
def test_layers_before_the_change_are_not_run_again(kind: str) -> None:
    model = intervening(model_of(kind))
    with torch.no_grad():
        run = model.clean(TOKENS)
        without = replace(run, residual=[None, *run.residual[1:]])
        assert torch.equal(model.resume(without, Change(1, "mlp", same)), run.final)
        with pytest.raises((TypeError, AttributeError)):  # of the first layer's input there is nothing
            model.resume(without, Change(0, "mlp", same))


def test_no_hook_stays_behind() -> None:
    model = model_of("pythia")
    with torch.no_grad():
        run = intervening(model).clean(TOKENS, frozen=True)
        with pytest.raises(RuntimeError, match="planted"):
            intervening(model).resume(run, Change(0, "heads", _fails))
    for module in model.module.modules():
        assert not module._forward_hooks
        assert not module._forward_pre_hooks


def _fails(_said: torch.Tensor) -> torch.Tensor:
    raise RuntimeError("planted")


@pytest.mark.parametrize(
    "sizes",
    [{"d_mlp": 0}, {"n_heads": 0}, {"layer_norm": False}, {"positions": "attention"}, {"input": "sum"}],
)
def test_small_transformers_of_every_form(sizes: dict[str, object]) -> None:
    model = intervening(own(**sizes))
    with torch.no_grad():
        run = model.clean(TOKENS)
        torch.testing.assert_close(run.final, model.model.trunk(TOKENS), rtol=1e-5, atol=1e-5)
        for layer in range(model.shape.n_layers):
            assert torch.equal(model.resume(run, Change(layer, "residual", same)), run.final)


class Foreign(ModuleAdapter):
    shape = Shape(n_layers=1, n_heads=1, d_head=1, d_model=1, d_mlp=0, d_vocab=5, context=9)

    def build(self) -> nn.Module:
        return nn.Embedding(5, 5)


def test_a_module_of_ones_own_says_that_nothing_can_be_replaced() -> None:
    adapter = Foreign()
    with pytest.raises(NotApplicable, match="ModuleModel does not say where its heads and layers write"):
        intervening(ModuleModel(adapter, adapter.build(), run="a", step=0))


def test_a_stream_that_is_normed_after_each_layer_is_refused() -> None:
    from transformers import AutoConfig, AutoModelForCausalLM

    from ingest.models.hugging_face import HuggingFaceModel
    from tests.ingest.families.fixtures import CONFIGS, OPT

    settings = {**CONFIGS[OPT], "do_layer_norm_before": False, "torch_dtype": "float32"}
    config = AutoConfig.for_model(settings.pop("model_type"), **settings)
    module = AutoModelForCausalLM.from_config(config, attn_implementation="eager")
    with pytest.raises(NotApplicable, match="normed after each layer"):
        intervening(HuggingFaceModel(module.eval(), run="a", step=0))
