import itertools
import math

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from archive.records import WHOLE, Part
from archive.schema.base import CellState
from ingest.mathematics.moments import Moments
from ingest.measure import MEASURES, NotApplicable, RegisteredMeasure, measure
from ingest.measuring.checkpoint import measure_checkpoint
from ingest.models.loaded import Activations, LoadedModel
from ingest.readings.evaluation import WholeEvaluation
from ingest.task import TEST, TRAIN
from ingest.tasks.modular_arithmetic import ModularArithmetic
from ingest.tasks.repeated_tokens import RepeatedTokens
from ingest.train.spec import TrainSpec
from tests.ingest.small_models import random_model

SPEC = TrainSpec(task_params={"p": 7}, model={"d_model": 16, "d_mlp": 20, "n_layers": 2})
TASK = SPEC.make_task()


@pytest.fixture
def declare(monkeypatch):
    """Registers a measure for one test."""
    monkeypatch.setattr(MEASURES, "_entries", dict(MEASURES.entries()))

    def declared(function, **changes) -> RegisteredMeasure:
        settings = {
            "scope": "split",
            "unit": "1",
            "bounds": (None, None),
            "direction": "neither",
            "citation": "test",
        }
        function.__doc__ = "A test."
        measure("test.own", **{**settings, **changes})(function)
        return MEASURES.get("test.own")

    return declared


def model():
    return random_model(SPEC.layout())


def test_values_are_means_over_the_examples_of_each_split(declare):
    def first_number(batch: Activations):
        return batch.tokens[:, 0].double()

    [value] = measure_checkpoint(model(), TASK, 5, [declare(first_number)])
    split = TASK.splits(5)
    assert value.state is CellState.DONE
    assert value.table == "fact_scalar"
    assert value.parts == (TRAIN, TEST)
    numbers = TASK.evaluation().tokens[:, 0]
    for row, part in enumerate(value.parts):
        inside = numbers[split[part]]
        assert value.columns["value"][row] == pytest.approx(inside.mean(), rel=1e-12)
        assert value.columns["se"][row] == pytest.approx(
            inside.std(ddof=1) / math.sqrt(len(inside)), rel=1e-12
        )
        assert value.columns["n_items"][row] == len(inside)


def test_head_values_are_rows_by_layer_and_head(declare):
    def place(batch: Activations):
        n, layers, heads = batch.attention.shape[:3]
        return (10 * torch.arange(layers)[:, None] + torch.arange(heads)).expand(n, layers, heads)

    [value] = measure_checkpoint(model(), TASK, 0, [declare(place, scope="head", traced=True)])
    assert value.table == "fact_head"
    assert value.parts == ()
    assert value.columns["layer"].tolist() == [0, 0, 0, 0, 1, 1, 1, 1]
    assert value.columns["head"].tolist() == [0, 1, 2, 3, 0, 1, 2, 3]
    assert value.columns["value"].tolist() == [0, 1, 2, 3, 10, 11, 12, 13]
    assert value.columns["n_items"].tolist() == [49] * 8


def test_one_forward_pass_serves_all_measures(monkeypatch):
    calls = []
    real = LoadedModel.activations

    def counted(self, *arguments, **options):
        calls.append(options["traced"])
        return real(self, *arguments, **options)

    monkeypatch.setattr(LoadedModel, "activations", counted)
    everything = [entry.thing for entry in MEASURES.entries().values()]
    everything = [one for one in everything if one.needs != "history"]
    values = measure_checkpoint(model(), TASK, 0, everything, final=model())
    assert calls == [True]
    assert [value.quantity.measure for value in values] == [one.record for one in everything]
    measure_checkpoint(model(), TASK, 0, [MEASURES.get("loss")])
    assert calls == [True, False]  # no attention patterns when nothing asks for them
    measure_checkpoint(model(), TASK, 0, [MEASURES.get("weight_norm")])
    assert len(calls) == 2  # and no pass at all for weights


def test_a_measure_that_fails_is_reported_and_the_others_are_measured(declare):
    def broken(batch: Activations):
        raise ZeroDivisionError("by nothing")

    failed, loss = measure_checkpoint(model(), TASK, 0, [declare(broken), MEASURES.get("loss")])
    assert failed.state is CellState.FAILED_PERMANENT
    assert (failed.error_class, failed.message) == ("ZeroDivisionError", "by nothing")
    assert "in broken" in failed.trace
    assert loss.state is CellState.DONE


def test_a_measure_of_weights_that_fails_is_reported_too(declare):
    def broken(of: LoadedModel):
        return {WHOLE: 1 / 0}

    [failed] = measure_checkpoint(model(), TASK, 0, [declare(broken, scope="tensor")])
    assert failed.state is CellState.FAILED_PERMANENT
    assert failed.error_class == "ZeroDivisionError"


def test_a_measure_that_does_not_apply_says_why(declare):
    def unsuitable(batch: Activations):
        raise NotApplicable("no such thing here")

    [value] = measure_checkpoint(model(), TASK, 0, [declare(unsuitable)])
    assert value.state is CellState.NOT_APPLICABLE
    assert (value.message, value.trace) == ("no such thing here", "")


def test_a_measure_of_the_whole_evaluation_sees_all_examples_at_once(declare):
    seen = []

    def whole(evaluation: WholeEvaluation):
        seen.append(evaluation)
        return evaluation.logits[:, 0, 0]

    [value] = measure_checkpoint(model(), TASK, 5, [declare(whole, traced=True)], piece=10)
    [evaluation] = seen
    n = len(TASK.evaluation())
    assert evaluation.logits.shape == (n, 1, TASK.n_outputs)
    assert evaluation.neurons.shape == (n, 2, 1, 20)
    tokens = torch.from_numpy(TASK.evaluation().tokens)
    expected = model().activations(tokens, tokens[:, :1], (2,)).mlp[:, :, 2:]
    torch.testing.assert_close(evaluation.neurons, expected, rtol=1e-5, atol=1e-5)
    assert value.parts == (TRAIN, TEST, WHOLE)
    assert value.columns["n_items"].tolist() == [*(s.sum() for s in TASK.splits(5).values()), n]
    assert value.columns["value"][2] == pytest.approx(float(evaluation.logits[:, 0, 0].double().mean()))


def test_what_measures_share_is_made_once(declare):
    made = []

    def total(evaluation: WholeEvaluation):
        made.append(evaluation)
        return float(evaluation.logits.sum())

    def first(evaluation: WholeEvaluation):
        return {WHOLE: evaluation.once(total)}

    declare(first, scope="part")

    def second(evaluation: WholeEvaluation):
        return {WHOLE: 2 * evaluation.once(total)}

    one = MEASURES.get("test.own")
    two = declare(second, scope="part")
    a, b = measure_checkpoint(model(), TASK, 0, [one, two])
    assert len(made) == 1
    assert b.columns["value"] == 2 * a.columns["value"]


def test_vectors_are_rows_by_part(declare):
    def spectrum(evaluation: WholeEvaluation):
        return {
            Part(kind="matrix", name="a"): torch.tensor([1.0, 2.0]),
            Part(kind="matrix", name="b"): torch.ones(2),
        }

    [value] = measure_checkpoint(model(), TASK, 0, [declare(spectrum, scope="vector")])
    assert value.table == "fact_vector"
    assert [part.name for part in value.parts] == ["a", "b"]
    assert value.columns["values"].tolist() == [[1.0, 2.0], [1.0, 1.0]]
    assert (value.columns["layer"], value.columns["unit"], value.n_rows) == (-1, -1, 2)


def test_values_of_examples_by_part_are_means_with_errors(declare):
    def halves(evaluation: WholeEvaluation):
        first = evaluation.logits[:, 0, 0]
        return {Part(kind="half", name="a"): first[:20], Part(kind="half", name="b"): first[20:]}

    [value] = measure_checkpoint(model(), TASK, 0, [declare(halves, scope="part")])
    tokens = torch.from_numpy(TASK.evaluation().tokens)
    expected = model().logits(tokens)[:, 2, 0].double().numpy()
    assert [part.name for part in value.parts] == ["a", "b"]
    for row, half in enumerate((expected[:20], expected[20:])):
        assert value.columns["value"][row] == pytest.approx(half.mean(), rel=1e-5)
        assert value.columns["se"][row] == pytest.approx(half.std(ddof=1) / math.sqrt(len(half)), rel=1e-4)
        assert value.columns["n_items"][row] == len(half)


def test_values_by_position_are_rows_by_split(declare):
    def at_read(batch: Activations):
        return batch.logits[:, :, 1]

    [value] = measure_checkpoint(model(), TASK, 5, [declare(at_read, scope="position")], piece=10)
    assert (value.table, value.parts, value.n_rows) == ("fact_position", (TRAIN, TEST), 2)
    assert value.columns["values"].shape == np.shape(value.columns["ses"]) == (2, 1)


def test_values_by_token_keep_their_gaps(declare):
    def gaps(evaluation: WholeEvaluation):
        found = torch.full((len(evaluation.logits), 3), math.nan)
        found[:, 2] = evaluation.logits[:, 0, 0]
        return found

    [value] = measure_checkpoint(model(), TASK, 0, [declare(gaps, scope="token")])
    assert (value.table, value.parts, value.n_rows) == ("fact_token", (), 49)
    assert np.isnan(value.columns["values"][:, :2]).all()
    assert np.isfinite(value.columns["values"][:, 2]).all()


def test_a_model_of_a_task_is_told_which_copy_a_token_is_in(declare):
    task = RepeatedTokens(n_tokens=6, length=8, min_period=2, max_period=4)
    spec = TrainSpec(task=task.name, task_params=task.model_dump(), model={"d_model": 16}, batch=4)
    seen = []

    def look(batch: Activations):
        seen.append(batch.copies)
        return batch.logits[:, 0, 0]

    measure_checkpoint(random_model(spec.layout()), task, 0, [declare(look)], piece=100)
    assert [len(copies) for copies in seen] == [100, 100, 56]
    assert torch.equal(torch.cat(seen), torch.from_numpy(task.copies()))
    seen.clear()
    measure_checkpoint(model(), TASK, 0, [MEASURES.get("test.own")])
    assert seen == [None]


def test_a_vector_that_is_not_finite_names_part_and_index(declare):
    def odd(evaluation: WholeEvaluation):
        return {WHOLE: torch.ones(2), Part(kind="matrix", name="b"): torch.tensor([1.0, math.nan])}

    [value] = measure_checkpoint(model(), TASK, 0, [declare(odd, scope="vector")])
    assert value.state is CellState.FAILED_PERMANENT
    assert value.message == "test.own is nan of matrix b at index 1; expected a finite number"


def test_a_measure_of_the_whole_evaluation_that_fails_leaves_the_others(declare):
    def broken(evaluation: WholeEvaluation):
        raise ZeroDivisionError("by nothing")

    failed, loss = measure_checkpoint(model(), TASK, 0, [declare(broken), MEASURES.get("loss")])
    assert (failed.state, failed.message) == (CellState.FAILED_PERMANENT, "by nothing")
    assert loss.state is CellState.DONE
    assert (failed.n_rows, loss.n_rows) == (0, 2)


def test_variants_of_a_measure_are_quantities_of_their_own(declare):
    def plain(evaluation: WholeEvaluation):
        return {WHOLE: 1.0}

    one = declare(plain, scope="part", params={"way": "a"})
    measure(
        "test.own",
        scope="part",
        unit="1",
        bounds=(None, None),
        direction="neither",
        citation="test",
        variant="b",
        params={"way": "b"},
    )(plain)
    other = MEASURES.get("test.own:b")
    assert other.record == one.record
    assert one.quantity(TASK).params == {"way": "a"}
    assert one.quantity(TASK).hash != other.quantity(TASK).hash


@pytest.mark.parametrize("bad", [math.nan, math.inf])
def test_a_value_that_is_not_finite_is_a_failure_that_names_its_place(declare, bad):
    def odd(of: LoadedModel):
        return {WHOLE: 1.0, Part(kind="tensor", name="embed.W_E"): bad}

    [value] = measure_checkpoint(model(), TASK, 0, [declare(odd, scope="tensor")])
    assert value.state is CellState.FAILED_PERMANENT
    assert value.message == f"test.own is {bad} of tensor embed.W_E; expected a finite number"


def test_a_split_of_one_example_has_no_standard_error(declare):
    def first_number(batch: Activations):
        return batch.tokens[:, 0].double()

    task = ModularArithmetic(p=7, frac_train=0.03)  # one training pair
    [value] = measure_checkpoint(model(), task, 0, [declare(first_number)])
    assert value.state is CellState.DONE
    assert value.columns["se"][0] is None
    assert value.columns["se"][1] > 0


def test_weights_are_one_quantity_for_all_tasks_and_losses_are_not():
    other = ModularArithmetic(p=5)
    loss, norm = MEASURES.get("loss"), MEASURES.get("weight_norm")
    assert loss.quantity(TASK).hash != loss.quantity(other).hash
    assert norm.quantity(TASK).hash == norm.quantity(other).hash
    assert loss.quantity(TASK).hash != loss.quantity(TASK, dtype="float64").hash


def test_the_dtype_measured_in_is_part_of_the_quantity():
    [value] = measure_checkpoint(
        random_model(SPEC.layout(), dtype=torch.float64), TASK, 0, [MEASURES.get("loss")]
    )
    assert value.quantity == MEASURES.get("loss").quantity(TASK, dtype="float64")


@given(
    values=st.lists(st.floats(-1e6, 1e6), min_size=2, max_size=40),
    cuts=st.lists(st.integers(0, 40), max_size=4),
)
def test_moments_do_not_depend_on_the_pieces(values, cuts):
    whole = torch.tensor(values, dtype=torch.float64)
    moments = Moments.none()
    edges = [0, *sorted(min(cut, len(values)) for cut in cuts), len(values)]
    for start, stop in itertools.pairwise(edges):
        moments.add(whole[start:stop])
    assert moments.n == len(values)
    scale = max(1.0, float(whole.abs().max()))
    assert float(moments.mean) == pytest.approx(np.mean(values), abs=1e-12 * scale)
    expected = np.std(values, ddof=1) / math.sqrt(len(values))
    assert float(moments.standard_error) == pytest.approx(expected, abs=1e-11 * scale)
