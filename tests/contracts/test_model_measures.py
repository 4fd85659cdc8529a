"""What measures of models of any kind promise, tried on two small language models; a new one is covered by existing.

Those with a shape of their own: circuits, neurons, prompts, likely tokens, patterns, profiles and masks of heads.
What all measures promise on tasks is in test_measures.py.
"""

import json
import math
from collections.abc import Callable
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
from ingest.evalsets.next_tokens import NextTokens
from ingest.mathematics.unit_histogram import sampled_positions
from ingest.measure import MEASURES, RegisteredMeasure
from ingest.measuring import scanning
from ingest.measuring.measured import MeasuredValue
from ingest.readings.units import SOLU_NEURONS
from tests.ingest.causal import pairs
from tests.ingest.language import DOCUMENTS, KINDS, LENGTH, model_of, own, prompts, text

GOLDEN = Path(__file__).parents[1] / "data" / "measures_golden.json"
OF_MODELS = [
    entry.thing
    for entry in MEASURES.entries().values()
    if (
        entry.thing.of_models
        or entry.thing.scope == "head vector"
        or entry.thing.record.name.startswith("head.mask")
    )
    # a place that these models do not have: tests/ingest/measures/test_neuron_sites.py
    and entry.thing.site != SOLU_NEURONS
]
MEASURED = [pytest.param(one, id=one.name) for one in OF_MODELS]
ON_TEXT = [pytest.param(one, id=one.name) for one in OF_MODELS if one.taken_on != "prompts"]
OF_PASSES = [
    pytest.param(one, id=one.name)
    for one in OF_MODELS
    if one.reads in ("examples", "units", "final units", "distributions")
]
VALUES = {
    "token top": "log_probs", "unit histogram": "counts", "head": "value", "item": "value", "part": "value",
}  # fmt: skip
DOUBLES = ("fact_vector", "fact_item", "fact_head", "fact_scalar")
# components of a layer and of a whole model
PARTS = {"logit_attribution": (2, 3), "patch_recovery": (3, 0), "attribution_patching_agreement": (0, 1)}
# where a number may be missing, because nothing defines it
MAY_BE_NAN = {"fact_head_pair.z", "fact_neuron.values"}


def scan(model, task, measures, **options):
    """As of a model that is the final checkpoint of its run, for measures that need one."""
    return scanning.scan(model, task, measures, final=model, **options)


def home_of(measure: RegisteredMeasure) -> Callable[[], NextTokens]:
    """The eval set to try it on."""
    if measure.taken_on != "prompts":
        return text
    return pairs if measure.reads == "interventions" else prompts


@cache
def all_of(kind: str, seed: int = 0, batch: int = 8) -> dict[str, MeasuredValue]:
    """Every measure on its eval set, all in one pass each."""
    model, found = model_of(kind, seed), {}
    for make in (text, prompts, pairs):
        task, measures = make(), [one for one in OF_MODELS if home_of(one) is make]
        values = scan(model, task, measures, batch=batch)
        found.update({one.name: value for one, value in zip(measures, values, strict=True)})
    return found


def column_of(measure: RegisteredMeasure) -> str:
    return VALUES.get(measure.scope, "values")


def stacked(column: object) -> np.ndarray:
    return np.array(column, dtype=float)


def n_rows_of(measure: RegisteredMeasure, kind: str) -> int:
    """What the table of the contract says, by hand."""
    shape = model_of(kind).shape
    heads, neurons = shape.n_layers * shape.n_heads, shape.n_layers * shape.d_mlp
    of_layer, of_model = PARTS.get(measure.record.name, (0, 0))
    return {
        "part": of_layer * shape.n_layers + of_model,
        "head": heads,
        "head vector": heads,
        "head pair": shape.n_layers * (shape.n_layers - 1) // 2,
        "unit": 5 * shape.n_layers,
        "unit top": neurons,
        "unit histogram": neurons,
        "unit vector": 4 * neurons,
        "item": 7,
        "token top": len(DOCUMENTS) * (LENGTH - 1),
        "attention": 4 * heads,
    }[measure.scope]


@pytest.mark.parametrize("measure", MEASURED)
def test_it_describes_itself(measure):
    record = measure.record
    assert record.table in FACT_TABLES
    assert record.summary[0].isupper()
    assert record.summary.endswith(".")
    assert record.unit
    assert len(record.citation) > 8
    assert measure.any_model == (measure.needs == "checkpoint")
    task = home_of(measure)()
    quantity = measure.quantity(task, reference_step=7)
    assert (quantity.encoding == task.eval_set.encoding) == (measure.reads != "circuit")
    assert quantity.weight_processing == ("fold_ln_center" if measure.reads == "circuit" else "raw")
    assert quantity.site.name == ("mlp.hook_post" if measure.name.startswith("neuron.") else "none")
    json.dumps(quantity.params)
    assert measure.chance is None or math.isfinite(measure.chance(task))


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("measure", MEASURED)
def test_values_have_the_declared_rows_and_bounds(measure, kind):
    value = all_of(kind)[measure.name]
    assert value.state is CellState.DONE, value.message + value.trace
    schema = FACT_TABLES[value.table]
    assert set(value.columns) <= set(schema.local_schema.names)
    required = {f.name for f in schema.local_schema if not f.nullable} - {"owner", "quantity", "part"}
    assert required | {column_of(measure)} <= set(value.columns)
    assert value.n_rows == n_rows_of(measure, kind)
    assert not value.parts or (schema.has_part and len(value.parts) == value.n_rows)
    numbers = stacked(value.columns[column_of(measure)])
    if f"{value.table}.{column_of(measure)}" not in MAY_BE_NAN and not value.message:
        assert not np.isnan(numbers).any()
    assert np.isinf(numbers).sum() == 0 or measure.scope == "token top"
    record = measure.record
    numbers = numbers[~np.isnan(numbers)]
    assert record.lower_bound is None or (numbers >= record.lower_bound - 1e-6).all()
    assert record.upper_bound is None or (numbers <= record.upper_bound + 1e-6).all()


@pytest.mark.parametrize("kind", KINDS)
def test_the_same_model_gives_the_same_bytes(kind):
    again = all_of.__wrapped__(kind)
    for name, value in all_of(kind).items():
        for column, numbers in value.columns.items():
            np.testing.assert_array_equal(again[name].columns[column], numbers, err_msg=f"{name}.{column}")


@pytest.mark.parametrize("measure", MEASURED)
def test_other_models_give_other_values(measure):
    found = [stacked(all_of("own", seed)[measure.name].columns[column_of(measure)]) for seed in range(4)]
    assert len({numbers.tobytes() for numbers in found}) > 1


def alike(here: MeasuredValue, there: MeasuredValue, name: str) -> None:
    assert here.parts == there.parts
    assert here.columns.keys() == there.columns.keys()
    for column, expected in there.columns.items():
        # another batch is another matrix shape, hence float32 rounding
        np.testing.assert_allclose(
            stacked(here.columns[column]), stacked(expected), rtol=1e-4, atol=2e-5, err_msg=f"{name}.{column}"
        )


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("batch", [1, 3])
def test_the_batch_changes_nothing(kind, batch):
    for name, value in all_of(kind, batch=batch).items():
        alike(value, all_of(kind)[name], name)


@pytest.mark.parametrize("kind", KINDS)
def test_the_order_of_documents_changes_nothing(kind):
    order = (5, 2, 6, 0, 3, 1, 4)
    names = ["neuron.top", "neuron.statistics", "head.distance_profile", "head.class_profile", "token_top"]
    names += [one.name for one in OF_MODELS if one.record.name.startswith("head.mask")]
    values = scan(model_of(kind), text(order), [MEASURES.get(name) for name in names], batch=3)
    by_name = dict(zip(names, values, strict=True))
    places = np.array(order)
    for name in ("neuron.top", "token_top"):
        value = by_name[name]
        column = "sequences" if name == "neuron.top" else "sequence"
        columns = {**value.columns, column: places[value.columns[column]]}
        if name == "token_top":
            rank = np.lexsort((columns["position"], columns["sequence"]))
            columns = {c: np.asarray(numbers)[rank] for c, numbers in columns.items()}
        by_name[name] = replace(value, columns=columns)
    for name, value in by_name.items():
        expected = all_of(kind)[name]
        if name == "neuron.top":
            value, expected = of_documents(value, expected), of_documents(expected, expected)
        alike(value, expected, name)


def of_documents(value: MeasuredValue, best: MeasuredValue) -> MeasuredValue:
    """Values and their documents; -1 where a value comes twice, and the number of a sequence decides."""
    values = best.columns["values"]
    tied = np.zeros(values.shape, dtype=bool)
    close = np.abs(np.diff(values)) < 1e-5
    tied[:, 1:] |= close
    tied[:, :-1] |= close
    assert tied.mean() < 0.5
    documents = np.where(tied, -1, np.array(DOCUMENTS)[value.columns["sequences"]])
    return replace(value, columns={"values": value.columns["values"], "sequences": documents})


def test_counts_do_not_depend_on_the_order_in_which_sequences_come():
    from ingest.readings.units import Units

    activations = torch.randn(6, 40, 3, generator=torch.Generator().manual_seed(0))
    numbers, found = torch.arange(6), []
    for order in (numbers, numbers.flip(0), numbers[torch.tensor([3, 1, 5, 0, 2, 4])]):
        reducer = MEASURES.get("neuron.histogram").function(Units(0, 3))
        for some in order.split(2):
            reducer.update(activations[some], some, some)
        found.append(reducer.rows()[0]["counts"])
    assert found[0].sum() == 3 * sum(len(sampled_positions(i, 40, 16)) for i in range(6))
    for counts in found[1:]:
        np.testing.assert_array_equal(counts, found[0])


def test_what_is_written_is_read_back(tmp_path):
    layout = ensure_archive(tmp_path / "x.duckdb")
    builder = ShardBuilder(kind="measure")
    builder.run(Run(name="a"))
    expected = {}
    for step, kind in enumerate(KINDS):
        owner = builder.checkpoint(Checkpoint(run="a", step=step))
        for value in all_of(kind).values():
            value.add_to(builder, owner)
            expected[step, value.quantity.measure.name, canonical_json(value.quantity.params)] = value
    builder.write(layout.inbox)
    for task in (text(), prompts(), pairs()):
        content = ShardBuilder(kind="content")
        task.frozen.add_to(content)
        content.write(layout.inbox)
    assert commit_inbox(layout).refused == []
    archive = Archive(layout.database)
    assert len(expected) == 2 * len(OF_MODELS)
    with archive.session():  # a hundred questions, opened once
        for (step, name, params), value in expected.items():
            spec = FACT_TABLES[value.table]
            part = "p.kind AS part_kind, p.name AS part_name," if spec.has_part else ""
            join = "JOIN part p ON p.id = f.part_id" if spec.has_part else ""
            rows = archive.rows(
                f"""SELECT {part} f.* FROM {value.table} f {join}
                    JOIN v_quantity q ON q.quantity_id = f.quantity_id JOIN checkpoint c ON c.id = f.checkpoint_id
                    WHERE c.step = {step} AND q.measure = '{name}' AND q.params_json = '{params}'"""
            )
            rows = list(rows)
            assert len(rows) == value.n_rows, name
            parts = [(part.kind, part.name) for part in value.parts]
            columns = {
                c: (np.full(value.n_rows, column) if np.ndim(column) == 0 else column)
                for c, column in value.columns.items()
            }
            key = [c for c in spec.key if c in columns]
            found = {
                ((row["part_kind"], row["part_name"]) if parts else (), *(row[c] for c in key)): row
                for row in rows
            }
            assert len(found) == value.n_rows
            for i in range(value.n_rows):
                row = found[(parts[i] if parts else (), *(int(columns[c][i]) for c in key))]
                for c, numbers in columns.items():
                    as_stored = np.float64 if value.table in DOUBLES else np.float32
                    stored = np.array(row[c], dtype=as_stored)
                    np.testing.assert_array_equal(
                        stored, np.asarray(numbers[i], dtype=as_stored), err_msg=name
                    )
        items = archive.rows(
            """SELECT i.template, avg(f.value) AS share FROM fact_item f JOIN v_quantity q ON q.quantity_id = f.quantity_id
               JOIN content_item i ON i.encoding_id = q.encoding_id AND i.item = f.item
               JOIN checkpoint c ON c.id = f.checkpoint_id
               WHERE q.measure = 'task_accuracy' AND c.step = 0 GROUP BY ALL ORDER BY ALL"""
        )
        templates = np.array(prompts().frozen.items.template)
        right = all_of("own")["task_accuracy"].columns["value"]
        assert [(row["template"], row["share"]) for row in items] == [
            (template, pytest.approx(right[templates == template].mean())) for template in ("even", "odd")
        ]


def only(model, task, name):
    [value] = scan(model, task, [MEASURES.get(name)])
    assert value.state is CellState.NOT_APPLICABLE, (value.state, value.message)
    return value.message


@pytest.mark.parametrize("measure", ON_TEXT)
def test_a_model_without_heads_or_neurons_says_so(measure):
    if measure.name.startswith("neuron."):
        assert only(own(d_mlp=0), text(), measure.name) == "the model has no MLP neurons"
        assert only(own(n_layers=0), text(), measure.name) == "the model has no MLP neurons"
    elif measure.scope != "token top":
        for model in (own(n_heads=0), own(n_layers=0)):
            assert only(model, text(), measure.name) == "the model has no attention heads"


def test_one_layer_has_no_composition():
    for mode in "qkv":
        assert "no later layer" in only(own(n_layers=1), text(), f"{mode}_composition")


def test_scores_of_prompts_want_prompts():
    for measure in OF_MODELS:
        if measure.taken_on == "prompts":
            assert "no prompts" in only(own(), text(), measure.name)


@pytest.mark.parametrize("measure", [*OF_PASSES, pytest.param(MEASURES.get("icl_score"), id="icl_score")])
def test_prompts_of_several_lengths_have_no_common_positions(measure):
    assert "different lengths" in only(own(), prompts(), measure.name)


@pytest.mark.parametrize("measure", [p for p in MEASURED if p.values[0].reads == "circuit"])
def test_weights_are_measured_whatever_the_eval_set(measure):
    [value] = scan(own(), prompts(), [measure])
    alike(value, all_of("own")[measure.name], measure.name)


def test_prompts_of_one_length_are_text_as_well():
    task = prompts((6, 6, 6))
    found = scan(own(), task, [MEASURES.get(name) for name in ("neuron.top", "task_accuracy", "loss")])
    assert {value.state for value in found} == {CellState.DONE}


@pytest.mark.parametrize("name", ["head.class_profile", "head.mask:punctuation"])
def test_tokens_of_no_kind_have_no_profile_of_kinds(name):
    assert "tokens are of no kind" in only(own(), text(classes=False), name)


def test_copying_wants_the_same_tokens_in_and_out():
    for name in ("head.copying_eig", "head.copying_logit"):
        assert "reads 128 tokens and writes 100" in only(own(n_outputs=100), text(), name)
    small = own(n_tokens=20, n_outputs=20)
    few = replace_tokens(text(), 20)
    assert "vocabulary has 20 tokens" in only(small, few, "head.copying_logit")


def replace_tokens(task, n_vocab):
    sequences = replace(task.frozen.sequences, ids=task.frozen.sequences.ids % n_vocab)
    return task.model_copy(update={"frozen": replace(task.frozen, sequences=sequences)})


@pytest.mark.parametrize("measure", MEASURED)
def test_it_runs_without_gradients_and_leaves_the_model_as_it_was(measure):
    model = own()
    before = model.weights_hash
    gradients_on = []

    def watched(*reads):
        gradients_on.append(torch.is_grad_enabled())
        return measure.function(*reads)

    [value] = scan(model, home_of(measure)(), [replace(measure, function=watched)])
    assert value.state is CellState.DONE, value.trace
    assert set(gradients_on) == {False}
    assert model.weights_hash == before


def fingerprint(values: np.ndarray) -> list[float]:
    """Three sums that any change of a number moves, and how many there are."""
    flat = values[np.isfinite(values)].flatten()
    sums = [len(flat), flat.sum(), np.abs(flat).sum(), flat @ np.cos(np.arange(len(flat)))]
    return [float(f"{x:.7g}") for x in sums]


@pytest.mark.parametrize("measure", MEASURED)
def test_values_of_a_frozen_model_have_not_changed(measure):
    """If this fails: raise the measure's `version` and say why in the changelog, or undo the change.

    A new measure or version: add the line that the message shows to tests/data/measures_golden.json.
    """
    found = fingerprint(stacked(all_of("own", 11)[measure.name].columns[column_of(measure)]))
    golden = json.loads(GOLDEN.read_text())
    key = f"{measure.name}@{measure.record.version}"
    assert key in golden, f'new: "{key}": {found}'
    # float32: kernels of another CPU round otherwise, and sums with signs lose digits
    assert found == pytest.approx(golden[key], rel=1e-4, abs=1e-4 * golden[key][2])
