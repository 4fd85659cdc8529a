"""Neurons of SoLU before and after the LayerNorm that follows it: two sites, and one for all other models."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch

from archive.schema.base import CellState
from ingest.measure import MEASURES
from ingest.measuring.measured import MeasuredValue
from ingest.measuring.scanning import scan
from ingest.models.hooked import HookedModel
from ingest.readings.units import NEURON_SITES
from tests.ingest.language import DOCUMENTS, model_of, own, text, tokens_of

GOLDEN = Path(__file__).parents[2] / "data" / "measures_golden.json"
NAMES = ("neuron.top", "neuron.statistics", "neuron.histogram")
BOTH = [*NAMES, *(f"{name}:mid" for name in NAMES)]


def taken(model: HookedModel, *names: str, batch: int = 3) -> dict[str, MeasuredValue]:
    found = scan(model, text(), [MEASURES.get(name) for name in names], batch=batch)
    return dict(zip(names, found, strict=True))


def by_hand(model: HookedModel) -> tuple[np.ndarray, np.ndarray]:
    """Activations [layer, sequence, position, neuron] before and after the norm, from the weights."""
    layout = model.loaded.layout  # type: ignore[attr-defined]
    mid, post = [], []
    model.watch_mid(lambda _, layer: mid.append(layer.double()))
    model.trunk(tokens_of(text()))
    model.watch_mid(None)
    for layer, values in enumerate(mid):
        plain = (values - values.mean(-1, keepdim=True)) / (
            values.var(-1, correction=0, keepdim=True) + 1e-5
        ).sqrt()
        if layout.norm_weights:
            name = f"blocks.{layer}.mlp.ln"
            plain = plain * model.weight(f"{name}.w").double() + model.weight(f"{name}.b").double()
        post.append(plain)
    return torch.stack(mid).numpy(), torch.stack(post).numpy()


def solu(seed: int = 0, **sizes: object) -> HookedModel:
    return own(seed, activation="solu_ln", **sizes)


def test_each_site_has_its_numbers() -> None:
    model = solu()
    found = taken(model, *BOTH)
    assert {value.state for value in found.values()} == {CellState.DONE}
    for variant, values in zip(("mid", ""), by_hand(model), strict=True):
        of_site = {name: found[f"{name}:{variant}" if variant else name] for name in NAMES}
        assert {value.quantity.site.name for value in of_site.values()} == {NEURON_SITES[variant].name}
        flat = values.reshape(len(values), -1, values.shape[-1])
        top = of_site["neuron.top"].columns
        np.testing.assert_allclose(np.array(top["values"])[:, 0], flat.max(1).flatten(), rtol=1e-5, atol=1e-6)
        for row in (0, 5, 20):
            layer, unit = top["layer"][row], top["unit"][row]
            place = (top["sequences"][row][0], top["positions"][row][0])
            assert values[layer][place][unit] == pytest.approx(top["values"][row][0], abs=1e-5)
        parts = [part.name for part in of_site["neuron.statistics"].parts]
        statistics = np.array(of_site["neuron.statistics"].columns["values"])
        means = statistics[[i for i, part in enumerate(parts) if part == "mean"]]
        np.testing.assert_allclose(means, flat.mean(1), rtol=1e-4, atol=1e-6)
        rates = statistics[[i for i, part in enumerate(parts) if part == "firing_rate"]]
        np.testing.assert_allclose(rates, (flat > 0).mean(1), atol=1e-9)


def test_a_norm_without_weights_leaves_neurons_that_sum_to_nothing() -> None:
    # closed form: over the neurons of a layer, mean 0 at every token after the norm, whatever the model
    means = np.array(
        taken(solu(norm_weights=False), "neuron.statistics")["neuron.statistics"].columns["values"]
    )[::5]
    np.testing.assert_allclose(means.sum(-1), 0, atol=1e-5)
    before = taken(solu(norm_weights=False), "neuron.statistics:mid")["neuron.statistics:mid"]
    assert (np.abs(np.array(before.columns["values"])[::5].sum(-1)) > 1e-3).all()


def test_one_site_alone_is_as_with_the_other_and_in_any_batch() -> None:
    together = taken(solu(), *BOTH)
    for name in BOTH:
        for column, numbers in taken(solu(), name, batch=7)[name].columns.items():
            np.testing.assert_allclose(
                np.array(together[name].columns[column], dtype=float),
                np.array(numbers, dtype=float),
                rtol=1e-4,
                atol=1e-5,
            )


@pytest.mark.parametrize("kind", ["own", "pythia"])
@pytest.mark.parametrize("name", NAMES)
def test_other_models_have_one_site(kind: str, name: str) -> None:
    [value] = taken(model_of(kind), f"{name}:mid").values()
    assert value.state == CellState.NOT_APPLICABLE
    assert value.message == "the model has no norm between its neurons and what reads them"


def test_top_examples_come_from_different_documents_at_both_sites() -> None:
    found = taken(solu(), "neuron.top", "neuron.top:mid")
    for value in found.values():
        for places in value.columns["sequences"]:
            documents = [DOCUMENTS[i] for i in places]
            assert len(set(documents)) == len(documents)


@pytest.mark.parametrize("name", [name for name in BOTH if name.endswith(":mid")])
def test_values_of_a_frozen_model_have_not_changed(name: str) -> None:
    """If this fails: raise the measure's `version` and say why in the changelog, or undo the change."""
    [value] = taken(solu(11), name).values()
    column = "counts" if name.startswith("neuron.histogram") else "values"
    flat = np.array(value.columns[column], dtype=float)
    flat = flat[np.isfinite(flat)].flatten()
    sums = [len(flat), flat.sum(), np.abs(flat).sum(), flat @ np.cos(np.arange(len(flat)))]
    found = [float(f"{x:.7g}") for x in sums]
    golden = json.loads(GOLDEN.read_text())
    key = f"{name}@{MEASURES.get(name).record.version}"
    assert key in golden, f'new: "{key}": {found}'
    assert found == pytest.approx(golden[key], rel=1e-4, abs=1e-4 * golden[key][2])
