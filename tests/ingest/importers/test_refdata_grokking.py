"""The published grokking runs, imported and measured, against values computed elsewhere from the same files.

Expected numbers: open-facts.json (curves) and an independent analysis of the weights, whose tolerances they
are given with: 2e-4 absolute on scores, 1e-3 relative on losses and norms.
"""

import json
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from archive.store import Archive
from ingest.importers import grokking_runs
from ingest.importers.importing import import_results
from ingest.importers.published_models import Setting, shuffled_split
from ingest.importers.report import ImportReport
from ingest.mathematics.fourier import clustered
from ingest.mathematics.trig_losses import excluded_losses, logits_explained, restricted_losses
from ingest.measure import MEASURES
from ingest.measuring.checkpoint import measure_only_checkpoint
from ingest.measuring.measured import MeasuredValue
from ingest.models.loaded import LoadedModel
from ingest.readings.addition_grid import AdditionGrid
from ingest.readings.answers import negative_log_likelihood
from ingest.readings.evaluation import WholeEvaluation
from ingest.task import TRAIN
from ingest.tasks.modular_arithmetic import ModularArithmetic
from tests.ingest.importers.published import ADDITION, INDUCTION, LOSS, loaded, scalars, vectors
from tests.torture.invariants import broken

pytestmark = [pytest.mark.refdata, pytest.mark.slow]

KEYS = (6, 23, 37, 39, 41)


# what somebody else has computed too; all the other measures take three times as long on a model of this size
COMPARED = (
    *("loss", "accuracy", "fourier_norm", "key_frequencies", "key_frequency_count", "restricted_loss"),
    *("excluded_loss", "excluded_loss_by_frequency", "fve", "sum_of_squared_weights", "weight_products"),
)


def measure_compared(model: LoadedModel, setting: Setting) -> list[MeasuredValue]:
    """As an import measures, without what no number here is held against; test_refdata_induction.py measures all."""
    if model.run != ADDITION:
        return []
    chosen = [e.thing for e in MEASURES.entries().values() if e.thing.record.name in COMPARED]
    return measure_only_checkpoint(model, setting.task, setting.splits, chosen)


@pytest.fixture(scope="module")
def published(refdata: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Archive, ImportReport]:
    """An archive with the published grokking runs, the addition model measured."""
    path = tmp_path_factory.mktemp("grokking") / "x.duckdb"
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(grokking_runs, "measure_model", measure_compared)
        report = import_results(path, refdata / "grokking", format_name="grokking-runs")
    return Archive(path), report


@pytest.fixture(scope="module")
def archive(published: tuple[Archive, ImportReport]) -> Archive:
    return published[0]


# --- curves ------------------------------------------------------------------------------------------------


def facts_of(values: list[float]) -> dict[str, Any]:
    array = np.array(values)
    first_below = {
        level: next((i for i, value in enumerate(values) if value < float(level)), None)
        for level in ("1", "0.1", "0.01", "0.001")
    }
    return {
        "n": len(values),
        "first": values[0],
        "last": values[-1],
        "min": array.min(),
        "min_index": int(array.argmin()),
        "max": array.max(),
        "max_index": int(array.argmax()),
        "first_index_lt": first_below,
    }


def test_every_curve_is_the_published_one(archive: Archive, refdata: Path) -> None:
    expected = json.loads((refdata / "open-facts.json").read_text())["grokking_open"]
    rows = archive.rows(
        "SELECT run, part, step, value FROM v_log WHERE source = 'grokking' ORDER BY run, part, step"
    )
    found: dict[str, list[float]] = {}
    steps: dict[str, list[int]] = {}
    for row in rows:
        name = row["run"].removeprefix("grokking/").replace("frac_train=", "")
        if name.startswith("mod_addition_frac_train_sweep/"):
            name = f"{name}/{row['part']}"
        elif name != "5_digit_addition_infinite_train":
            name = f"{name}/{row['part']}_losses"
        found.setdefault(name, []).append(row["value"])
        steps.setdefault(name, []).append(row["step"])

    assert set(found) == set(expected)
    for name, facts in expected.items():
        mine = facts_of(found[name])
        assert mine == {key: facts[key] for key in mine}, name
        assert sum(found[name]) == pytest.approx(facts["sum"], rel=1e-12)
        every = 10 if name == "wd_10-1_mod_addition_loss_curve/test_losses" else 1
        assert steps[name] == list(range(0, every * facts["n"], every)), name


def test_everything_goes_in_and_says_what_was_inferred(published: tuple[Archive, ImportReport]) -> None:
    archive, report = published

    assert (report.n_files, report.exit_code, report.problems) == (5, 0, [])
    assert report.notes == {
        "test_losses are taken to be every 10 epochs, from the lengths of the lists": 1,
        "config says weight_decay 1, the optimizer's state 0.1: the optimizer's is what was used": 1,
    }
    assert archive.rows("SELECT DISTINCT source FROM v_log") == [{"source": "grokking"}]
    assert archive.rows("SELECT DISTINCT source FROM v_scalar") == [{"source": "pathscope"}]
    # test loss below 0.01 at index 9873, which is epoch 98730
    first = archive.value(
        "SELECT min(step) FROM v_log WHERE run = $run AND part = 'test' AND value < 0.01", {"run": ADDITION}
    )
    assert first == 98730
    assert broken(archive) == []


def test_runs_carry_their_settings(archive: Archive) -> None:
    [row] = archive.rows(
        """SELECT split_seed, init_seed, n_layers, n_heads, d_model, d_mlp, final_step,
                  config_json->>'$.optimizer.weight_decay' AS used, config_json->>'$.config.weight_decay' AS said
           FROM run WHERE name = $run""",
        {"run": ADDITION},
    )
    assert row == {
        "split_seed": 1,
        "init_seed": None,
        "n_layers": 1,
        "n_heads": 4,
        "d_model": 128,
        "d_mlp": 512,
        "final_step": 107791,
        "used": "0.1",
        "said": "1",
    }
    assert archive.rows(
        "SELECT n_params, init_seed, data_order_seed, n_layers, d_mlp FROM run WHERE name = $run",
        {"run": INDUCTION},
    ) == [{"n_params": 34800, "init_seed": 1, "data_order_seed": 1, "n_layers": 2, "d_mlp": 0}]


# --- modular addition --------------------------------------------------------------------------------------


def test_accuracy_and_losses_confirm_forward_pass_and_split(archive: Archive) -> None:
    assert scalars(archive, ADDITION, "accuracy") == {"train": 1.0, "test": 1.0}
    counts = archive.rows(
        "SELECT part, n_items FROM v_scalar WHERE run = $run AND measure = 'accuracy' ORDER BY part",
        {"run": ADDITION},
    )
    assert [r["n_items"] for r in counts] == [8939, 3830]
    found = scalars(archive, ADDITION, "loss")
    assert found["train"] == pytest.approx(9.2024e-09, **LOSS)
    assert found["test"] == pytest.approx(4.98838e-07, **LOSS)


def test_another_split_seed_is_detected(refdata: Path) -> None:
    model = loaded(refdata, "wd_10-1_mod_addition_loss_curve")
    pairs = ModularArithmetic(p=113, frac_train=0.3).evaluation()
    logits = model.activations(
        torch.from_numpy(pairs.tokens), torch.from_numpy(pairs.targets), (2,), traced=False
    ).logits
    losses = negative_log_likelihood(logits, torch.from_numpy(pairs.targets)).mean(-1)
    assert float(losses.mean()) == pytest.approx(3.5197e-07, **LOSS)
    assert float(losses.max()) == pytest.approx(4.8914e-04, **LOSS)
    train = torch.from_numpy(shuffled_split(113, 0.3, 0)[TRAIN])
    assert float(losses[train].mean()) == pytest.approx(3.754e-07, **LOSS)
    assert float(losses[~train].mean()) == pytest.approx(3.419e-07, **LOSS)


def test_fourier_norms_are_the_published_weights(archive: Archive) -> None:
    norms = vectors(archive, ADDITION, "fourier_norm")
    expected = {
        "W_E": {
            **{23: 6.8389, 6: 5.7537, 37: 5.4700, 41: 5.3232, 39: 4.9984},
            **{46: 2.5288, 12: 2.2988, 54: 1.7905, 31: 1.7461, 3: 1.7100},
        },
        "W_L": {23: 37.688, 6: 24.278, 41: 21.593, 39: 20.655, 37: 19.417, 54: 3.026, 3: 2.439, 4: 1.377},
        "logits": {
            **{23: 26586.03, 6: 7962.94, 37: 5779.60, 41: 5153.48, 39: 4289.79},
            **{54: 23.36, 46: 17.86, 12: 10.08},
        },
    }
    for matrix, by_frequency in expected.items():
        assert len(norms[matrix]) == 56
        for k, value in by_frequency.items():
            assert norms[matrix][k - 1] == pytest.approx(value, rel=1e-3), (matrix, k)
        strongest = np.argsort(norms[matrix])[::-1][: len(by_frequency)] + 1
        assert strongest.tolist() == list(by_frequency), matrix
    assert sorted(norms["W_E"])[27] == pytest.approx(0.4972, rel=1e-3)  # the lower of the two middle ones


def test_key_frequencies_by_every_rule(archive: Archive) -> None:
    flags = vectors(archive, ADDITION, "key_frequencies")
    keys = {rule: tuple((np.flatnonzero(values) + 1).tolist()) for rule, values in flags.items()}

    assert keys["W_L"] == keys["neurons"] == KEYS
    assert keys["logits"] == (6, 23)
    assert keys["W_E"] == (3, 6, 12, 23, 31, 37, 39, 41, 46, 54)
    assert scalars(archive, ADDITION, "key_frequency_count") == {
        rule: len(chosen) for rule, chosen in keys.items()
    }


def test_restricted_and_excluded_losses(archive: Archive) -> None:
    current = {"frequencies": "current"}
    restricted = scalars(archive, ADDITION, "restricted_loss", variant="sum_directions", **current)
    assert restricted[""] == pytest.approx(2.2011e-09, **LOSS)
    assert restricted["test"] == pytest.approx(2.2477e-09, **LOSS)
    excluded = scalars(archive, ADDITION, "excluded_loss", variant="sum_directions", **current)
    assert excluded["train"] == pytest.approx(8.38537, **LOSS)
    single = vectors(archive, ADDITION, "excluded_loss_by_frequency")["train"]
    for k, value in {23: 1.17578, 6: 2.9258e-02, 37: 4.3566e-04, 41: 2.6081e-04, 39: 6.5477e-05}.items():
        assert single[k - 1] == pytest.approx(value, **LOSS)
    for variant in ("block_2x2", "block_3x3"):  # wider blocks hold more, and differ
        other = scalars(archive, ADDITION, "excluded_loss", variant=variant)
        assert 8 < other["train"] < 8.38


def test_explained_variance_and_neuron_clusters(archive: Archive, refdata: Path) -> None:
    fve = scalars(archive, ADDITION, "fve", adjusted=False, frequencies="current")  # type: ignore[arg-type]
    assert fve["logits"] == pytest.approx(0.97477, abs=2e-4)
    model = loaded(refdata, "wd_10-1_mod_addition_loss_curve")
    task = ModularArithmetic(p=113, frac_train=0.3)
    pairs = task.evaluation()
    activations = model.activations(torch.from_numpy(pairs.tokens), torch.from_numpy(pairs.targets), (2,))
    whole = WholeEvaluation(model, task, {}, activations.logits, activations.mlp[:, :, 2:])
    grid = AdditionGrid.of(whole)

    best = grid.neuron_fractions.max(0)
    expected = {37: 127, 6: 117, 41: 105, 23: 84, 39: 54, 3: 10, 54: 7, 46: 6, 12: 1, 31: 1}
    assert Counter((best.indices + 1).tolist()) == expected
    assert float((best.values > 0.85).double().mean()) == pytest.approx(0.3613, abs=2e-4)
    # 0.7141 is the lower of the two middle values; fve takes their mean
    assert float(best.values.median()) == pytest.approx(0.7141, abs=2e-4)
    assert fve["neurons"] == pytest.approx(0.7158, abs=2e-4)
    assert set(clustered(grid.neuron_fractions)) == set(KEYS)
    assert logits_explained(grid.logits, KEYS).share == pytest.approx(fve["logits"], rel=1e-6)
    assert float(restricted_losses(grid.logits, KEYS, "sum_directions").mean()) == pytest.approx(
        2.2011e-09, **LOSS
    )
    assert float(excluded_losses(grid.logits, [23], "sum_directions").mean()) > 1


def test_attention_and_weights(archive: Archive, refdata: Path) -> None:
    model = loaded(refdata, "wd_10-1_mod_addition_loss_curve")
    pairs = ModularArithmetic(p=113, frac_train=0.3).evaluation()
    pattern = model.activations(
        torch.from_numpy(pairs.tokens), torch.from_numpy(pairs.targets), (2,)
    ).attention
    found = pattern[:, 0, :, 2].double().mean(0)
    expected = [
        [0.5092, 0.4889, 0.0019],
        [0.4928, 0.5054, 0.0018],
        [0.5003, 0.4979, 0.0018],
        [0.4928, 0.5052, 0.0020],
    ]
    np.testing.assert_allclose(found.numpy(), expected, atol=2e-4)
    squares = scalars(archive, ADDITION, "sum_of_squared_weights")
    for name, value in {
        "": 1180.966,
        "embed.W_E": 203.826,
        "unembed.W_U": 192.936,
        "blocks.0.mlp.W_in": 188.392,
        "blocks.0.mlp.W_out": 188.665,
        "blocks.0.attn.W_V": 189.724,
        "blocks.0.attn.W_O": 189.671,
        "blocks.0.attn.W_K": 9.767,
        "blocks.0.attn.W_Q": 9.800,
    }.items():
        assert squares[name] == pytest.approx(value, rel=1e-3)


def test_a_published_model_is_its_own_reference(archive: Archive) -> None:
    for measure in ("restricted_loss", "excluded_loss"):
        params = {"variant": "sum_directions"}
        current = scalars(archive, ADDITION, measure, frequencies="current", **params)
        assert scalars(archive, ADDITION, measure, frequencies="final", **params) == current
    rows = archive.rows(
        """SELECT DISTINCT (params_json->>'$.reference_step')::INT AS step FROM v_scalar
           WHERE run = $run AND (params_json->>'$.frequencies') = 'final'""",
        {"run": ADDITION},
    )
    assert [r["step"] for r in rows] == [107791]
    products = archive.rows(
        """SELECT part, "values" FROM v_vector WHERE run = $run AND measure = 'weight_products'
           AND part = 'products'""",
        {"run": ADDITION},
    )
    assert products[0]["values"] == pytest.approx([1180.966], rel=1e-3)
