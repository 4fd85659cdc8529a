import math
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from archive.records import NO_ENCODING, Checkpoint, Encoding, Measure, Part, Quantity, Run, Site, Source
from tests.archive.making import HEAD_MEASURE


def test_a_record_refuses_fields_it_does_not_have() -> None:
    with pytest.raises(ValidationError, match="Extra inputs are not permitted"):
        Run(name="r", seed=3)  # type: ignore[call-arg]  # "seed" alone is never a column


def test_a_record_does_not_change() -> None:
    with pytest.raises(ValidationError, match="frozen"):
        Run(name="r").name = "s"  # type: ignore[misc]  # the point of the test


@pytest.mark.parametrize(
    ("record", "key"),
    [
        (Run(name="r", init_seed=1), ("r",)),
        (Checkpoint(run="r", step=7, snapshot="2023"), ("r", 7, "2023")),
        (HEAD_MEASURE, ("head.previous_token", 1)),
        (Part(kind="split", name="test"), ("split", "test")),
        (Encoding(hash="abc"), ("abc",)),
    ],
)
def test_the_natural_key_is_what_makes_two_records_one_thing(record: Any, key: tuple[object, ...]) -> None:
    assert record.natural_key == key


@pytest.mark.parametrize(
    "fields", [{"step": -1}, {"step": 1.5}, {"step": 0, "integrity": "fine"}, {"step": 0, "run": ""}]
)
def test_a_checkpoint_refuses_what_cannot_be(fields: dict[str, object]) -> None:
    with pytest.raises(ValidationError):
        Checkpoint(**{"run": "r", **fields})  # type: ignore[arg-type]  # wrong on purpose


@pytest.mark.parametrize(("kind", "name"), [("none", "train"), ("split", "")])
def test_a_part_has_kind_and_name_or_neither(kind: str, name: str) -> None:
    with pytest.raises(ValidationError, match="give both or neither"):
        Part(kind=kind, name=name)


CHANGES: dict[str, Any] = {
    "measure": Measure(**{**HEAD_MEASURE.model_dump(), "version": 2}),
    "encoding": Encoding(hash="other"),
    "params": {"lag": 1},
    "weight_processing": "fold_ln",
    "dtype": "bfloat16",
    "site": Site(name="mlp.post"),
    "source": Source(name="published"),
}


@pytest.mark.parametrize("field", CHANGES)
def test_every_field_of_a_quantity_makes_another_quantity(field: str) -> None:
    changed = Quantity(**{"measure": HEAD_MEASURE, field: CHANGES[field]})
    assert changed.hash != Quantity(measure=HEAD_MEASURE).hash


def test_every_field_of_a_quantity_is_covered_above() -> None:
    assert set(CHANGES) == set(Quantity.model_fields)


def test_words_about_a_measure_do_not_make_another_quantity() -> None:
    reworded = HEAD_MEASURE.model_copy(update={"summary": "In other words.", "citation": "Somebody 2024"})
    assert Quantity(measure=reworded).hash == Quantity(measure=HEAD_MEASURE).hash


@given(
    st.dictionaries(st.text(), st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text())
)
def test_the_order_of_parameters_does_not_matter(params: dict[str, object]) -> None:
    turned = dict(reversed(list(params.items())))
    assert (
        Quantity(measure=HEAD_MEASURE, params=turned).hash
        == Quantity(measure=HEAD_MEASURE, params=params).hash
    )


def test_parameters_that_have_no_one_spelling_are_refused() -> None:
    with pytest.raises(ValueError, match="not JSON compliant"):
        _ = Quantity(measure=HEAD_MEASURE, params={"scale": math.nan}).hash


def test_an_eval_set_known_by_name_only_belongs_to_its_source() -> None:
    ours, theirs = Encoding.named_only("lambada", source="a"), Encoding.named_only("lambada", source="b")
    assert ours.hash != theirs.hash != NO_ENCODING.hash
    assert not ours.frozen
    assert Encoding.named_only("lambada", source="a", version=2).hash != ours.hash
