"""What every registered measure promises, tried on small models; a new measure is covered by existing."""

import json
import math
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from archive.committer import commit_inbox
from archive.create import ensure_archive
from archive.identity import canonical_json
from archive.records import Checkpoint, Run
from archive.schema.base import CellState
from archive.shard import FACT_TABLES, ShardBuilder
from archive.store import Archive
from ingest.measure import MEASURES, RegisteredMeasure
from ingest.measuring import add_eval_set, measure_checkpoint
from ingest.models.loaded import LoadedModel
from ingest.train.spec import TrainSpec
from tests.ingest.models import random_model

GOLDEN = Path(__file__).parents[1] / "data" / "measures_golden.json"
MEASURED = [pytest.param(entry.thing, id=name) for name, entry in MEASURES.entries().items()]
PER_HEAD = [p for p in MEASURED if p.values[0].scope == "head"]
TASK_PARAMS = {"p": 5}
MODELS = {
    "two layers": {"n_layers": 2, "d_model": 16, "d_mlp": 20},
    "attention only": {"d_model": 16, "d_mlp": 0},
    "mlp only": {"d_model": 16, "n_heads": 0, "d_mlp": 20},
    "layer norm": {"d_model": 16, "d_mlp": 20, "layer_norm": True, "activation": "gelu"},
    "no layers": {"n_layers": 0, "d_model": 16},
}


def specified(name: str) -> TrainSpec:
    return TrainSpec(task_params=TASK_PARAMS, model=MODELS[name])


def model_of(name: str, seed: int = 0) -> LoadedModel:
    return random_model(specified(name).layout(), seed)


TASK = specified("two layers").make_task()


def measured(measure: RegisteredMeasure, model: LoadedModel, **options):
    [value] = measure_checkpoint(model, TASK, 0, [measure], **options)
    return value


def values_of(value) -> np.ndarray:
    """One number or one vector a row."""
    return np.asarray(value.columns["values" if value.table == "fact_vector" else "value"])


def numbers(value) -> dict[str, list[object]]:
    return {name: np.asarray(column).tolist() for name, column in value.columns.items()}


@pytest.mark.parametrize("measure", MEASURED)
def test_it_describes_itself(measure):
    record = measure.record
    assert record.table in FACT_TABLES
    assert record.summary[0].isupper()
    assert record.summary.endswith(".")
    assert record.unit
    assert len(record.citation) > 8
    if record.lower_bound is not None and record.upper_bound is not None:
        assert record.lower_bound < record.upper_bound
    assert measure.schedule in ("all", "sparse")
    quantity = measure.quantity(TASK)
    assert (quantity.encoding == TASK.eval_set.encoding) == (measure.reads != "weights")
    assert quantity.params == measure.params
    assert measure.chance is None or math.isfinite(measure.chance(TASK))


@pytest.mark.parametrize("name", MODELS)
@pytest.mark.parametrize("measure", MEASURED)
def test_values_have_the_declared_rows_and_bounds_or_say_why_not(measure, name):
    value = measured(measure, model_of(name))
    if value.state is CellState.NOT_APPLICABLE:
        assert value.message
        assert name != "two layers"
        return
    assert value.state is CellState.DONE, value.trace
    values = values_of(value)
    assert values.dtype == np.float64
    assert np.isfinite(values).all()
    record = measure.record
    # rounding of a mean may leave [0, 1] by the last bits
    assert record.lower_bound is None or (values >= record.lower_bound - 1e-12).all()
    assert record.upper_bound is None or (values <= record.upper_bound + 1e-12).all()
    schema = FACT_TABLES[value.table]
    assert set(value.columns) <= set(schema.local_schema.names)
    assert bool(value.parts) == schema.has_part
    if value.parts:
        assert len(value.parts) == len(values)
    if measure.scope == "head":
        layout = specified(name).layout()
        assert len(values) == layout.n_layers * layout.n_heads


@pytest.mark.parametrize("measure", MEASURED)
def test_the_same_model_gives_the_same_bytes(measure):
    assert numbers(measured(measure, model_of("two layers"))) == numbers(
        measured(measure, model_of("two layers"))
    )


@pytest.mark.parametrize("measure", MEASURED)
def test_other_models_give_other_values(measure):
    values = [values_of(measured(measure, model_of("two layers", seed))) for seed in range(8)]
    assert len({value.tobytes() for value in values}) > 1


@pytest.mark.parametrize("measure", MEASURED)
def test_many_pieces_are_one_whole(measure):
    whole = numbers(measured(measure, model_of("two layers")))
    for piece in (13, 7, 1):
        pieces = numbers(measured(measure, model_of("two layers"), piece=piece))
        assert pieces.keys() == whole.keys()
        for column, expected in whole.items():
            # another piece size is another matrix shape, hence float32 rounding
            np.testing.assert_allclose(pieces[column], expected, rtol=2e-5, atol=1e-7)


@pytest.mark.parametrize("measure", PER_HEAD)
def test_relabelling_heads_relabels_rows(measure):
    model = model_of("two layers")
    order = [2, 0, 3, 1]
    relabelled = {
        name: w[:, order] if name.endswith(("W_Q", "W_K", "W_V")) else w[order] if name.endswith("W_O") else w
        for name, w in model.weights.items()
    }
    before = np.asarray(measured(measure, model).columns["value"]).reshape(2, 4)
    after = np.asarray(measured(measure, replace(model, weights=relabelled)).columns["value"]).reshape(2, 4)
    np.testing.assert_allclose(after, before[:, order], rtol=1e-5)


@pytest.mark.parametrize("measure", MEASURED)
def test_it_runs_without_gradients_and_leaves_the_model_as_it_was(measure):
    model = model_of("two layers")
    before = model.weights_hash
    gradients_on = []

    def watched(reads):
        gradients_on.append(torch.is_grad_enabled())
        return measure.function(reads)

    assert measured(replace(measure, function=watched), model).state is CellState.DONE
    assert gradients_on == [False]
    assert model.weights_hash == before


def test_what_is_written_is_read_back(tmp_path):
    layout = ensure_archive(tmp_path / "x.duckdb")
    everything = [entry.thing for entry in MEASURES.entries().values()]
    builder = ShardBuilder(kind="measure")
    builder.run(Run(name="run0"))
    expected = {}
    for step, name in enumerate(MODELS):
        owner = builder.checkpoint(Checkpoint(run="run0", step=step))
        for value in measure_checkpoint(model_of(name), TASK, 0, everything):
            value.add_to(builder, owner)
            expected[step, value.quantity.measure.name, canonical_json(value.quantity.params)] = value
    add_eval_set(builder, TASK)
    builder.write(layout.inbox)
    report = commit_inbox(layout)
    assert report.refused == []
    archive = Archive(layout.database)
    rows = archive.query(
        """SELECT step, measure, params_json, unit, part, NULL AS layer, NULL AS head, value, se, chance, n_items
           FROM v_scalar
        UNION ALL SELECT step, measure, params_json, unit, NULL, layer, head, value, se, chance, n_items
           FROM v_head_score
        UNION ALL BY NAME SELECT step, measure, params_json, unit, part, "values" FROM v_vector"""
    ).to_pylist()
    stored = {}
    for row in rows:
        stored.setdefault((row["step"], row["measure"], row["params_json"]), []).append(row)
    for key, value in expected.items():
        if value.state is not CellState.DONE:
            assert key not in stored
            continue
        columns = numbers(value)
        found = {(r["part"] or "", r["layer"], r["head"]): r for r in stored[key]}
        parts = [part.name for part in value.parts] or [""] * len(values_of(value))
        if value.table == "fact_vector":
            assert {part: row["values"] for (part, *_), row in found.items()} == dict(
                zip(parts, columns["values"], strict=True)
            )
            continue
        layers, heads = (columns.get(c, [None] * len(parts)) for c in ("layer", "head"))
        assert len(found) == len(parts)
        for i, place in enumerate(zip(parts, layers, heads, strict=True)):
            assert found[place]["value"] == columns["value"][i]
            assert found[place]["unit"] == value.quantity.measure.unit
            for column in ("se", "n_items"):
                assert found[place][column] == (columns[column][i] if column in columns else None)
            assert found[place]["chance"] == columns.get("chance")
    states = archive.query("SELECT state, count(*) AS n FROM cell GROUP BY state").to_pylist()
    assert {row["state"]: row["n"] for row in states} == {
        int(state): sum(value.state is state for value in expected.values())
        for state in {value.state for value in expected.values()}
    }
    tokens = archive.query("SELECT token_ids FROM content_sequence ORDER BY sequence").to_pylist()
    assert [row["token_ids"] for row in tokens] == TASK.evaluation().tokens.tolist()


@pytest.mark.parametrize("measure", MEASURED)
def test_values_of_a_frozen_model_have_not_changed(measure):
    """If this fails: raise the measure's `version` and say why in the changelog, or undo the change.

    A new measure or version: add the line that the message shows to tests/data/measures_golden.json.
    """
    value = measured(measure, random_model(specified("two layers").layout(), seed=11, dtype=torch.float64))
    found = [float(f"{x:.12g}") for x in values_of(value).flatten()]
    golden = json.loads(GOLDEN.read_text())
    key = f"{measure.name}@{measure.record.version}"
    assert key in golden, f'new: "{key}": {found}'
    assert found == pytest.approx(golden[key], rel=1e-9), "value changed: raise the version or explain"
