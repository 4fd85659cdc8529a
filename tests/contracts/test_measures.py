"""What every registered measure promises, tried on small models; a new measure is covered by existing."""

import json
import math
from dataclasses import replace
from functools import cache
from pathlib import Path

import numpy as np
import pytest
import torch

from archive.committer import commit_inbox
from archive.create import ensure_archive
from archive.identity import canonical_json
from archive.manifest import FACT_TABLES
from archive.records import Checkpoint, Run
from archive.schema.base import CellState
from archive.shard import ShardBuilder
from archive.store import Archive
from ingest.measure import MEASURES
from ingest.measuring.checkpoint import measure_only_checkpoint
from ingest.measuring.measured import MeasuredValue, add_eval_set
from ingest.models.loaded import LoadedModel
from ingest.task import Task
from ingest.train.spec import TrainSpec
from tests.ingest.small_models import random_model

GOLDEN = Path(__file__).parents[1] / "data" / "measures_golden.json"
# the others need a language model or a text: test_model_measures.py
ON_TASKS = [
    entry.thing
    for entry in MEASURES.entries().values()
    if not entry.thing.of_models
    and entry.thing.scope != "head vector"
    and not entry.thing.record.name.startswith("head.mask")
]
MEASURED = [pytest.param(one, id=one.name) for one in ON_TASKS]
PER_HEAD = [p for p in MEASURED if p.values[0].scope == "head"]
# a measure is tried on the first of these that it applies to
TASKS = {
    "modular_arithmetic": {"p": 5},
    "repeated_tokens": {"n_tokens": 6, "length": 8, "min_period": 2, "max_period": 4},
}
PIECES = {"modular_arithmetic": (13, 7, 1), "repeated_tokens": (101,)}
MODELS = {
    "two layers": {"n_layers": 2, "d_model": 16, "d_mlp": 20},
    "attention only": {"d_model": 16, "d_mlp": 0},
    "mlp only": {"d_model": 16, "n_heads": 0, "d_mlp": 20},
    "layer norm": {"d_model": 16, "d_mlp": 20, "layer_norm": True, "activation": "gelu"},
    "no layers": {"n_layers": 0, "d_model": 16},
}


@cache
def specified(name: str, task: str) -> TrainSpec:
    return TrainSpec(task=task, task_params=TASKS[task], model=MODELS[name], batch=4)


@cache
def task_of(name: str) -> Task:
    return specified("two layers", name).make_task()


def model_of(name: str, task: str, seed: int = 0) -> LoadedModel:
    return random_model(specified(name, task).layout(), seed)


@cache
def home(measure_name: str) -> str:
    """The task to try a measure on."""
    for task in TASKS:
        value = all_of("two layers", task)[measure_name]
        if value.state is not CellState.NOT_APPLICABLE:
            return task
    raise AssertionError(f"{measure_name} applies to none of {list(TASKS)}: {value.message}")


@cache
def all_of(name: str, task: str, seed: int = 0, **options: int) -> dict[str, MeasuredValue]:
    """Every measure of a model on a task, all in one pass."""
    values = measure_only_checkpoint(model_of(name, task, seed), task_of(task), 0, ON_TASKS, **options)
    return {one.name: value for one, value in zip(ON_TASKS, values, strict=True)}


def values_of(value: MeasuredValue) -> np.ndarray:
    """One number or one vector a row."""
    return np.asarray(value.columns["values" if "values" in value.columns else "value"])


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
    task = task_of(home(measure.name))
    quantity = measure.quantity(task, reference_step=7)
    of_weights = measure.reads in ("weights", "weight history")
    assert (quantity.encoding == task.eval_set.encoding) == (not of_weights)
    further = measure.of_task(task) if measure.of_task else {}
    reference = {"reference_step": 7} if measure.needs == "final" else {}
    assert quantity.params == {**measure.params, **further, **reference}
    assert measure.chance is None or math.isfinite(measure.chance(task))


@pytest.mark.parametrize("name", MODELS)
@pytest.mark.parametrize("measure", MEASURED)
def test_values_have_the_declared_rows_and_bounds_or_say_why_not(measure, name):
    value = all_of(name, home(measure.name))[measure.name]
    if value.state is CellState.NOT_APPLICABLE:
        assert value.message
        assert name != "two layers"
        return
    assert value.state is CellState.DONE, value.trace
    values = values_of(value)
    assert values.dtype == np.float64
    if measure.scope == "token":
        assert (np.isfinite(values) | np.isnan(values)).all()
        read = list(task_of(home(measure.name)).read_positions)
        assert np.isfinite(values[:, read]).all()
        values = values[:, read]
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
        layout = specified(name, home(measure.name)).layout()
        assert len(values) == layout.n_layers * layout.n_heads


@pytest.mark.parametrize("task", TASKS)
def test_the_same_model_gives_the_same_bytes(task):
    again = all_of.__wrapped__("two layers", task)
    for name, value in all_of("two layers", task).items():
        np.testing.assert_equal(numbers(again[name]), numbers(value), err_msg=name)


@pytest.mark.parametrize("measure", MEASURED)
def test_other_models_give_other_values(measure):
    task = home(measure.name)
    values = [values_of(all_of("two layers", task, seed)[measure.name]) for seed in range(8)]
    assert len({value.tobytes() for value in values}) > 1


@pytest.mark.parametrize("measure", MEASURED)
def test_many_pieces_are_one_whole(measure):
    whole = numbers(all_of("two layers", home(measure.name))[measure.name])
    for piece in PIECES[home(measure.name)]:
        pieces = numbers(all_of("two layers", home(measure.name), piece=piece)[measure.name])
        assert pieces.keys() == whole.keys()
        for column, expected in whole.items():
            # another piece size is another matrix shape, hence float32 rounding
            scale = np.nanmax(np.abs(expected))
            np.testing.assert_allclose(pieces[column], expected, rtol=2e-5, atol=max(1e-7, 2e-6 * scale))


@pytest.mark.parametrize("measure", PER_HEAD)
def test_relabelling_heads_relabels_rows(measure):
    task = home(measure.name)
    model = model_of("two layers", task)
    order = [2, 0, 3, 1]
    relabelled = {
        name: w[:, order] if name.endswith(("W_Q", "W_K", "W_V")) else w[order] if name.endswith("W_O") else w
        for name, w in model.weights.items()
    }
    before, after = (
        np.asarray(value.columns["value"]).reshape(2, 4)
        for one in (model, replace(model, weights=relabelled))
        for value in measure_only_checkpoint(one, task_of(task), 0, [measure])
    )
    np.testing.assert_allclose(after, before[:, order], rtol=1e-5)


@pytest.mark.parametrize("measure", MEASURED)
def test_it_runs_without_gradients_and_leaves_the_model_as_it_was(measure):
    task = home(measure.name)
    model = model_of("two layers", task)
    before = model.weights_hash
    gradients_on = []

    def watched(*reads):
        gradients_on.append(torch.is_grad_enabled())
        return measure.function(*reads)

    spied = replace(measure, function=watched)
    [value] = measure_only_checkpoint(model, task_of(task), 0, [spied])
    assert value.state is CellState.DONE
    assert gradients_on == [False]
    assert model.weights_hash == before


SINGLES = """SELECT run, step, measure, params_json, unit, part, NULL AS layer, NULL AS head, value, se, chance, n_items
       FROM v_scalar
    UNION ALL SELECT run, step, measure, params_json, unit, NULL, layer, head, value, se, chance, n_items
       FROM v_head_score"""
LISTS = """SELECT run, step, measure, params_json, part AS place, "values" FROM v_vector
    UNION ALL SELECT run, step, measure, params_json, part, list(value ORDER BY position) FROM v_position GROUP BY ALL
    UNION ALL SELECT run, step, measure, params_json, sequence::VARCHAR, list(value ORDER BY position)
       FROM v_token GROUP BY ALL"""


def by_key(rows):
    found = {}
    for row in rows:
        found.setdefault((row["run"], row["step"], row["measure"], row["params_json"]), []).append(row)
    return found


def test_what_is_written_is_read_back(tmp_path):
    layout = ensure_archive(tmp_path / "x.duckdb")
    builder = ShardBuilder(kind="measure")
    expected = {}
    for run in TASKS:
        builder.run(Run(name=run))
        for step, name in enumerate(MODELS):
            owner = builder.checkpoint(Checkpoint(run=run, step=step))
            for value in all_of(name, run).values():
                value.add_to(builder, owner)
                key = (run, step, value.quantity.measure.name, canonical_json(value.quantity.params))
                assert key not in expected
                expected[key] = value
        add_eval_set(builder, task_of(run))
    builder.write(layout.inbox)
    report = commit_inbox(layout)
    assert report.refused == []
    archive = Archive(layout.database)
    singles, lists = by_key(archive.rows(SINGLES)), by_key(archive.rows(LISTS))
    for key, value in expected.items():
        if value.state is not CellState.DONE:
            assert key not in singles
            assert key not in lists
            continue
        columns = numbers(value)
        parts = [part.name for part in value.parts]
        if "values" in columns:
            places = parts or [str(sequence) for sequence in columns["sequence"]]
            found = {row["place"]: row["values"] for row in lists[key]}
            assert found.keys() == set(places)
            stored_as = np.float64 if value.table == "fact_vector" else np.float32
            for place, values in zip(places, columns["values"], strict=True):
                np.testing.assert_array_equal(np.array(found[place], stored_as), np.array(values, stored_as))
            continue
        n = len(columns["value"])
        layers, heads = (columns.get(c, [None] * n) for c in ("layer", "head"))
        found = {(r["part"] or "", r["layer"], r["head"]): r for r in singles[key]}
        assert len(found) == n
        for i, place in enumerate(zip(parts or [""] * n, layers, heads, strict=True)):
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
    tokens = archive.query(
        "SELECT token_ids FROM content_sequence ORDER BY encoding_id, sequence"
    ).to_pylist()
    assert [row["token_ids"] for row in tokens] == [
        sequence for run in TASKS for sequence in task_of(run).evaluation().tokens.tolist()
    ]


def fingerprint(values: np.ndarray) -> list[float]:
    """The values themselves, or of a long list three sums that any change of one of them moves."""
    flat = values[np.isfinite(values)].flatten()
    if len(flat) > 64:
        flat = np.array([len(flat), flat.sum(), np.abs(flat).sum(), flat @ np.cos(np.arange(len(flat)))])
    return [float(f"{x:.12g}") for x in flat]


@pytest.mark.parametrize("measure", MEASURED)
def test_values_of_a_frozen_model_have_not_changed(measure):
    """If this fails: raise the measure's `version` and say why in the changelog, or undo the change.

    A new measure or version: add the line that the message shows to tests/data/measures_golden.json.
    """
    task = home(measure.name)
    model = random_model(specified("two layers", task).layout(), seed=11, dtype=torch.float64)
    [value] = measure_only_checkpoint(model, task_of(task), 0, [measure])
    found = fingerprint(values_of(value))
    golden = json.loads(GOLDEN.read_text())
    key = f"{measure.name}@{measure.record.version}"
    assert key in golden, f'new: "{key}": {found}'
    assert found == pytest.approx(golden[key], rel=1e-9), "value changed: raise the version or explain"
