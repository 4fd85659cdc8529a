import math

import numpy as np
import pytest

from archive.errors import UsageError
from queries.reading.onsets import parse_predictor

STEPS = np.array([0.0, 10, 20, 40, 80, 160])
# falls by 3 an octave
FALLING = (STEPS, np.array([50.0, 40, 37, 34, 31, 28]))


def test_a_predictor_is_a_scalar_and_what_is_taken_of_it() -> None:
    found = parse_predictor("log.loss[train]   log slope")
    assert (found.text, found.form, found.spec.measure, found.spec.part) == (
        "log.loss[train] log slope",
        "log slope",
        "log.loss",
        "train",
    )
    assert parse_predictor("weight_norm").form == "value"
    assert parse_predictor("weight_norm value").form == "value"
    assert parse_predictor("fourier_gini{source=W_E} log").spec.params == (("source", "W_E"),)
    assert parse_predictor("loss slope").form == "slope"
    assert parse_predictor("slope").spec.measure == "slope"
    # of many heads the largest, where an event without a level would be read as falling
    assert parse_predictor("head.prefix_matching").spec.direction == "up"


@pytest.mark.parametrize("text", ["", "  ", "accuracy[test] >= 0.9", "loss twice"])
def test_anything_else_is_refused(text: str) -> None:
    with pytest.raises(UsageError, match=r"is (no predictor|not an event)"):
        parse_predictor(text)


@pytest.mark.parametrize(
    ("form", "cutoff", "value", "read_at"),
    [
        ("value", 80, 31, 80),
        ("value", 79, 34, 40),
        ("value", 5, 50, 0),
        ("log", 40, math.log2(34), 40),
        # two octaves before 80 is 20: only 40 and 80 come later, and two points are no slope
        ("slope", 80, math.nan, math.nan),
        ("slope", 30, math.nan, math.nan),
    ],
)
def test_only_what_was_measured_by_the_cutoff_counts(
    form: str, cutoff: float, value: float, read_at: float
) -> None:
    found = parse_predictor(f"x {form}").at(FALLING, cutoff)
    assert found == pytest.approx((value, read_at), nan_ok=True)


def test_a_slope_is_least_squares_over_two_octaves() -> None:
    steps = np.array([1.0, 30, 50, 70, 90, 110])
    values = np.array([99.0, *(7 * np.log2(steps[1:]) + np.array([0, 1, -1, 0, 1]))])
    expected = np.polyfit(np.log2(steps[1:]), values[1:], 1)[0]
    assert parse_predictor("x slope").at((steps, values), 115) == pytest.approx((expected, 110))


def test_values_that_are_not_finite_were_not_measured() -> None:
    curve = (STEPS, np.array([50.0, 40, math.nan, math.inf, 31, math.nan]))
    assert parse_predictor("x").at(curve, 1000) == (31, 80)
    assert parse_predictor("x").at(curve, 50) == (40, 10)
    below = (STEPS[:2], np.array([1.0, -1.0]))
    assert parse_predictor("x log").at(below, 50) == (0, 0)
    assert math.isnan(parse_predictor("x").at(None, 50)[0])
