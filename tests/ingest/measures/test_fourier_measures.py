"""The measures on modular addition's grid: that each takes the right part of the right model.

The mathematics is tested in tests/ingest/mathematics (test_fourier.py, test_trig_losses.py).
"""

import math

import numpy as np
import pytest
import torch

from archive.records import WHOLE, Part
from archive.schema.base import CellState
from ingest.importers.repeated_windows import RepeatedWindows
from ingest.mathematics.fourier import VARIANTS
from ingest.measure import MEASURES
from ingest.measuring.checkpoint import measure_checkpoint
from ingest.measuring.measured import MeasuredValue
from ingest.models.layout import Layout
from ingest.models.loaded import LoadedModel
from ingest.task import TEST, TRAIN
from ingest.tasks.modular_arithmetic import ModularArithmetic
from tests.ingest.small_models import random_model
from tests.references.fourier import (
    frequency_norm_by_sums,
    gini_by_pairs,
    logit_coefficient_by_sums,
    neuron_fraction_by_fit,
    pair_losses_by_loops,
    part_by_directions,
)

P = 7
TASK = ModularArithmetic(p=P, frac_train=0.4)
OF_ADDITION = [
    name
    for name, entry in MEASURES.entries().items()
    if name.split(":")[0] in {"restricted_loss", "excluded_loss", "excluded_loss_by_frequency", "fve"}
    or name.startswith(("fourier_", "key_frequenc"))
]


def matrix(name: str) -> Part:
    return Part(kind="matrix", name=name)


def rule(name: str) -> Part:
    return Part(kind="rule", name=name)


def random_adder(d_mlp: int = 24, **changes: object) -> LoadedModel:
    sizes = {"n_tokens": P + 1, "n_outputs": P + 1, "n_positions": 3, "n_layers": 2}
    layout = Layout(**sizes, d_model=16, n_heads=2, d_head=8, d_mlp=d_mlp, **changes)  # type: ignore[arg-type]
    return random_model(layout, seed=3, dtype=torch.float64)


def one_frequency() -> LoadedModel:
    """W_E and W_L hold frequency 3 and nothing else; neurons and logits are all 0."""
    layout = Layout(
        n_tokens=P + 1, n_outputs=P + 1, n_positions=3, n_layers=1, d_model=8, n_heads=1, d_head=2, d_mlp=2
    )
    weights = {name: torch.zeros(shape, dtype=torch.float64) for name, shape in layout.shapes.items()}
    angle = 2 * math.pi * 3 / P * torch.arange(P, dtype=torch.float64)
    weights["embed.W_E"][:P, 0], weights["embed.W_E"][:P, 1] = angle.cos(), angle.sin()
    weights["blocks.0.mlp.W_out"][:, 2:4] = torch.eye(2)
    weights["unembed.W_U"][2, :P], weights["unembed.W_U"][3, :P] = angle.cos(), angle.sin()
    return LoadedModel("a", 0, layout, weights)


def measured(
    name: str,
    model: LoadedModel,
    task: object = TASK,
    split: object = 0,
    final: LoadedModel | None = None,
) -> MeasuredValue:
    [value] = measure_checkpoint(model, task, split, [MEASURES.get(name)], final=final or model)  # type: ignore[arg-type]
    return value


def by_part(name: str, model: LoadedModel, final: LoadedModel | None = None) -> dict[Part, np.ndarray]:
    value = measured(name, model, final=final)
    assert value.state is CellState.DONE, value.trace
    return dict(zip(value.parts, value.columns.get("values", value.columns.get("value")), strict=True))  # type: ignore[arg-type]


def grid_of(model: LoadedModel) -> np.ndarray:
    """Logits over (a, b, c) without `=`, from the model's own pass."""
    tokens = torch.tensor([[a, b, P] for a in range(P) for b in range(P)])
    return model.logits(tokens)[:, 2, :P].numpy().reshape(P, P, P)


def test_norms_are_those_of_embedding_output_map_and_logits() -> None:
    model = random_adder()
    found = by_part("fourier_norm", model)
    w = {name: tensor.numpy() for name, tensor in model.weights.items()}
    w_l = (w["blocks.1.mlp.W_out"] @ w["unembed.W_U"][:, :P]).T  # of the last layer, over answers
    for k in range(1, (P + 1) // 2):
        assert found[matrix("W_E")][k - 1] == pytest.approx(frequency_norm_by_sums(w["embed.W_E"][:P], k))
        assert found[matrix("W_L")][k - 1] == pytest.approx(frequency_norm_by_sums(w_l, k))
        assert found[matrix("logits")][k - 1] == pytest.approx(logit_coefficient_by_sums(grid_of(model), k))


def test_gini_is_of_those_norms() -> None:
    model = random_adder()
    ginis, norms = by_part("fourier_gini", model), by_part("fourier_norm", model)
    assert list(ginis) == list(norms)
    for part, strengths in norms.items():
        assert ginis[part] == pytest.approx(gini_by_pairs(strengths))


def test_key_frequencies_follow_their_rules_and_are_counted() -> None:
    model = random_adder()
    norms, flags = by_part("fourier_norm", model), by_part("key_frequencies", model)
    for name in ("W_E", "W_L", "logits"):
        strong = np.abs(norms[matrix(name)])
        assert flags[rule(name)].tolist() == (strong > strong.max() / 4).astype(float).tolist()
    counts = by_part("key_frequency_count", model)
    assert counts == {part: values.sum() for part, values in flags.items()}
    assert set(counts) == {rule(name) for name in ("W_E", "W_L", "logits", "neurons")}


def test_the_last_frequency_alone_is_found_and_what_has_none_is_left_out() -> None:
    model = one_frequency()
    flags = by_part("key_frequencies", model)
    assert flags[rule("W_E")].tolist() == flags[rule("W_L")].tolist() == [0, 0, 1]
    assert flags[rule("logits")].tolist() == flags[rule("neurons")].tolist() == [0, 0, 0]
    ginis = by_part("fourier_gini", model)
    assert set(ginis) == {matrix("W_E"), matrix("W_L")}
    assert ginis[matrix("W_L")] == pytest.approx(1 - 1 / 3)
    flat = measured("fve", model)
    assert (flat.state, flat.message) == (
        CellState.NOT_APPLICABLE,
        "all logits are equal: there is no variance to explain",
    )
    assert measured("restricted_loss", model).columns["value"] == pytest.approx([math.log(P)] * 3)


@pytest.mark.parametrize("variant", VARIANTS)
@pytest.mark.parametrize("name", ["restricted_loss", "excluded_loss"])
def test_losses_are_means_over_each_split_with_the_current_key_frequencies(name: str, variant: str) -> None:
    model = random_adder()
    called = name if variant == "sum_directions" else f"{name}:{variant}"
    value = measured(called, model)
    keys = np.flatnonzero(by_part("key_frequencies", model)[rule("W_L")]) + 1
    logits = grid_of(model)
    part = part_by_directions(logits, keys.tolist(), variant)
    other = part + logits.mean((0, 1)) if name == "restricted_loss" else logits - part
    losses = pair_losses_by_loops(other).reshape(-1)

    assert value.quantity.measure.name == name
    assert value.quantity.params == {"variant": variant, "frequencies": "current", "rule": "W_L"}
    assert value.parts == (TRAIN, TEST, WHOLE)
    split = TASK.splits(0)
    for row, inside in enumerate([split[TRAIN], split[TEST], np.ones(P * P, dtype=bool)]):
        assert value.columns["value"][row] == pytest.approx(losses[inside].mean(), rel=1e-9)
        assert value.columns["n_items"][row] == inside.sum()
        expected = losses[inside].std(ddof=1) / math.sqrt(inside.sum())
        assert value.columns["se"][row] == pytest.approx(expected, rel=1e-9)
    assert value.columns["chance"] == math.log(P)


def test_excluding_each_frequency_by_itself() -> None:
    model = random_adder()
    found = by_part("excluded_loss_by_frequency", model)
    assert list(found) == [TRAIN, TEST]
    logits, split = grid_of(model), TASK.splits(0)
    for k in range(1, 4):
        losses = pair_losses_by_loops(logits - part_by_directions(logits, [k], "sum_directions")).reshape(-1)
        for part in (TRAIN, TEST):
            assert found[part][k - 1] == pytest.approx(losses[split[part]].mean(), rel=1e-9)


def test_explained_variance_of_logits_and_the_median_neuron() -> None:
    model = random_adder()
    found, adjusted = by_part("fve", model), by_part("fve:adjusted", model)
    logits = grid_of(model)
    keys = np.flatnonzero(by_part("key_frequencies", model)[rule("W_L")]) + 1
    explained = sum(logit_coefficient_by_sums(logits, k) ** 2 for k in keys)
    share = explained / ((logits - logits.mean()) ** 2).sum()
    assert found[matrix("logits")] == pytest.approx(share)
    assert adjusted[matrix("logits")] == pytest.approx(1 - (1 - share) * (P**3 - 1) / (P**3 - 1 - len(keys)))
    tokens = torch.tensor([[a, b, P] for a in range(P) for b in range(P)])
    neurons = model.activations(tokens, tokens[:, :1], (2,)).mlp[:, -1, 2].numpy().reshape(P, P, -1)
    best = [
        max(neuron_fraction_by_fit(neurons[:, :, n], k) for k in (1, 2, 3)) for n in range(neurons.shape[2])
    ]
    assert found[matrix("neurons")] == pytest.approx(np.median(best))


def test_without_an_mlp_only_what_needs_none_is_measured() -> None:
    model = random_adder(d_mlp=0)
    assert list(by_part("fourier_norm", model)) == [matrix("W_E"), matrix("logits")]
    assert list(by_part("key_frequencies", model)) == [rule("W_E"), rule("logits")]
    assert by_part("excluded_loss_by_frequency", model)
    for name in ("restricted_loss", "excluded_loss", "fve"):
        value = measured(name, model)
        assert value.state is CellState.NOT_APPLICABLE
        assert "the model has no MLP" in value.message


@pytest.mark.parametrize("name", OF_ADDITION)
def test_other_tasks_and_p_2_are_not_applicable_with_a_reason(name: str) -> None:
    windows = RepeatedWindows(n_tokens=P + 1, length=7, n_repeats=2, n_copied=2)
    layout = Layout(
        n_tokens=P + 1, n_outputs=P + 1, n_positions=7, n_layers=1, d_model=8, n_heads=1, d_head=8, d_mlp=4
    )
    value = measured(name, random_model(layout), windows)
    assert value.state is CellState.NOT_APPLICABLE
    assert value.message == "frequencies are those of addition modulo a prime; the task is repeated_windows"
    layout = Layout(
        n_tokens=3, n_outputs=3, n_positions=3, n_layers=1, d_model=8, n_heads=1, d_head=8, d_mlp=4
    )
    value = measured(name, random_model(layout), ModularArithmetic(p=2, frac_train=0.5))
    assert (value.state, value.message) == (CellState.NOT_APPLICABLE, "modulo 2 there is no frequency")
    value = measured(name, random_adder(), ModularArithmetic(operation="subtract", p=P, frac_train=0.4))
    assert value.state is CellState.NOT_APPLICABLE
    assert value.message == "frequencies are those of addition modulo a prime; this operation is subtract"


def test_a_split_made_elsewhere_is_the_one_that_counts() -> None:
    model = random_adder()
    train = np.zeros(P * P, dtype=bool)
    train[:5] = True
    value = measured("loss", model, split={TRAIN: train, TEST: ~train})
    assert value.columns["n_items"].tolist() == [5, P * P - 5]
    same = measured("excluded_loss", model, split=TASK.splits(0))
    np.testing.assert_array_equal(same.columns["value"], measured("excluded_loss", model).columns["value"])


# --- key frequencies of the final checkpoint ---------------------------------------------------------------


def with_frequencies(model: LoadedModel, *frequencies: int) -> LoadedModel:
    """The same model with a map of neurons to logits that holds these frequencies alone."""
    waves = [f(2 * math.pi * k / P * torch.arange(P)) for k in frequencies for f in (torch.cos, torch.sin)]
    unembed = torch.zeros(16, P + 1, dtype=torch.float64)
    unembed[: len(waves), :P] = torch.stack(waves).double()
    out = torch.zeros(24, 16, dtype=torch.float64)
    out[: len(waves), : len(waves)] = torch.eye(len(waves))
    changed = {"blocks.1.mlp.W_out": out, "unembed.W_U": unembed}
    return LoadedModel(model.run, 9, model.layout, {**model.weights, **changed})


@pytest.mark.parametrize("keys", [(1,), (2, 3)])
def test_final_variants_take_the_frequencies_of_the_final_checkpoint(keys: tuple[int, ...]) -> None:
    model = random_adder()
    final = with_frequencies(model, *keys)
    logits = grid_of(model)
    part = part_by_directions(logits, list(keys), "sum_directions")
    for name, other in {
        "restricted_loss": part + logits.mean((0, 1)),
        "excluded_loss": logits - part,
    }.items():
        value = measured(f"{name}:final", model, final=final)
        expected = pair_losses_by_loops(other).reshape(-1)
        assert value.columns["value"][2] == pytest.approx(expected.mean(), rel=1e-9)
        assert value.quantity.params == {
            "variant": "sum_directions",
            "frequencies": "final",
            "rule": "W_L",
            "reference_step": 9,
        }
        assert value.quantity.measure == MEASURES.get(name).record
    explained = sum(logit_coefficient_by_sums(logits, k) ** 2 for k in keys)
    found = by_part("fve:final", model, final)
    assert found[matrix("logits")] == pytest.approx(explained / ((logits - logits.mean()) ** 2).sum())
    tokens = torch.tensor([[a, b, P] for a in range(P) for b in range(P)])
    neurons = model.activations(tokens, tokens[:, :1], (2,)).mlp[:, -1, 2].numpy().reshape(P, P, -1)
    best = [max(neuron_fraction_by_fit(neurons[:, :, n], k) for k in keys) for n in range(neurons.shape[2])]
    assert found[matrix("neurons")] == pytest.approx(np.median(best))


@pytest.mark.parametrize("name", ["restricted_loss", "excluded_loss", "fve"])
def test_the_final_checkpoint_compared_with_itself_is_the_current_variant(name: str) -> None:
    model = random_adder()
    same, current = measured(f"{name}:final", model), measured(name, model)
    rows = (
        slice(0, 1) if name == "fve" else slice(None)
    )  # neurons choose among all frequencies, or among the keys
    assert same.columns["value"][rows].tolist() == current.columns["value"][rows].tolist()


def test_without_a_final_checkpoint_they_cannot_be_taken() -> None:
    with pytest.raises(ValueError, match="restricted_loss:final compares with the run's final checkpoint"):
        measure_checkpoint(random_adder(), TASK, 0, [MEASURES.get("restricted_loss:final")])
