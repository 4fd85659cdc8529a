import numpy as np
import pyarrow as pa
import pytest

from queries.reading.select import RunRow, Selected
from queries.reading.tables import floats, in_order, only_value, shared_words, stretches, with_groups


def selected(*runs: tuple[int, str, str]) -> Selected:
    return Selected(
        tuple(
            RunRow(i, name, "f", "s", condition, None, None, None, "", (), False, None, None, (name,))
            for i, name, condition in runs
        ),
        (),
    )


def test_runs_come_in_the_order_people_count() -> None:
    table = pa.table({"run_id": [1, 1, 2, 3], "run": ["s10", "s10", "s2", "a"], "value": [0.0, 1, 2, 3]})
    grouped = with_groups(table, selected((1, "s10", "c"), (2, "s2", "c"), (3, "a", "b9")))

    assert grouped["run"].to_pylist() == ["a", "s2", "s10", "s10"]
    assert grouped["group"].to_pylist() == ["b9", "c", "c", "c"]
    assert grouped["value"].to_pylist() == [3, 2, 0, 1]
    assert grouped.column_names[:3] == ["run_id", "run", "group"]


def test_runs_by_id_come_in_that_order_too() -> None:
    chosen = selected((1, "s10", "c"), (2, "s2", "c"), (3, "a", "b"))

    assert in_order(chosen, [1, 2, 3]) == [3, 2, 1]
    assert in_order(chosen, [1, 2]) == [2, 1]


def test_decimals_in_names_count_as_numbers() -> None:
    table = pa.table({"run_id": [1, 2, 3], "run": ["f=0.4", "f=0.35", "f=0.6"]})
    grouped = with_groups(table, selected((1, "f=0.4", "c"), (2, "f=0.35", "c"), (3, "f=0.6", "c")))

    assert grouped["run"].to_pylist() == ["f=0.35", "f=0.4", "f=0.6"]


@pytest.mark.parametrize(
    ("names", "expected"),
    [
        (["p=47 wd=0.25 #a", "p=47 wd=0.5 #b"], "p=47 "),
        (["a/b c", "a/b d", "a/e"], "a/"),
        (["same words", "same words"], ""),
        (["ab", "ac"], ""),
        ([], ""),
    ],
)
def test_words_that_all_names_begin_with(names: list[str], expected: str) -> None:
    assert shared_words(names) == expected


def test_stretches_are_rows_that_agree() -> None:
    table = pa.table({"a": [1, 1, 1, 2], "b": ["x", "x", "y", "y"]})
    starts, ends = stretches(table, ["a", "b"])

    assert (starts.tolist(), ends.tolist()) == ([0, 2, 3], [2, 3, 4])
    assert [part.tolist() for part in stretches(table.slice(0, 0), ["a"])] == [[], []]


def test_missing_numbers_are_nan() -> None:
    assert np.isnan(floats(pa.table({"x": pa.array([1, None])}), "x")[1])


@pytest.mark.parametrize(("values", "expected"), [([5, 5, None], 5), ([5, 6], None), ([None], None)])
def test_a_value_that_all_rows_share(values: list[int | None], expected: int | None) -> None:
    assert only_value(pa.table({"n": pa.array(values, pa.int64())}), "n") == expected
