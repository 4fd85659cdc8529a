import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from queries.stats.intervals import crossing, n_crossings, rising_crossings

STEPS = np.array([0, 1, 2, 4, 8, 16], dtype=float)


def test_a_crossing_lies_after_the_last_point_below() -> None:
    found = crossing(STEPS, np.array([0, 0.1, 0.2, 0.96, 0.5, 1.0]), 0.95)

    assert (found.low, found.high, found.kind, found.level_at_high) == (2, 4, "observed", 0.96)
    assert found.octaves == 1


def test_staying_is_later_than_arriving() -> None:
    found = crossing(STEPS, np.array([0, 0.1, 0.2, 0.96, 0.5, 1.0]), 0.95, rule="stays")

    assert (found.low, found.high) == (8, 16)
    assert n_crossings(np.array([0, 0.1, 0.2, 0.96, 0.5, 1.0]), 0.95) == 2


def test_the_level_itself_counts_as_reached() -> None:
    assert crossing(STEPS, np.array([0, 0, 0, 0, 0.95, 1.0]), 0.95).high == 8


def test_a_loss_falls_to_its_level() -> None:
    assert crossing(STEPS, np.array([5, 4, 3, 2, 1, 0.1]), 1.0, direction="down").high == 8


def test_never_is_censored_at_the_last_point() -> None:
    found = crossing(STEPS, np.zeros(6), 0.5)

    assert (found.low, found.high, found.kind) == (16, math.inf, "never")
    assert math.isnan(found.octaves)


def test_arriving_and_leaving_again_is_never_to_stay() -> None:
    assert crossing(STEPS, np.array([0, 1, 1, 1, 1, 0]), 0.5, rule="stays").kind == "never"


def test_there_from_the_first_point_is_censored_on_the_left() -> None:
    found = crossing(STEPS[1:], np.ones(5), 0.5)

    assert (found.low, found.high, found.kind) == (-math.inf, 1, "before")


def test_a_point_that_is_not_finite_widens_the_bracket() -> None:
    found = crossing(STEPS, np.array([0, 0, np.nan, np.nan, 1, 1]), 0.5)

    assert (found.low, found.high, found.n_points) == (1, 8, 4)


def test_a_run_that_diverges_is_censored_where_it_was_last_seen() -> None:
    assert crossing(STEPS, np.array([0, 0, 0, 0, np.nan, np.inf]), 0.5).low == 4


def test_nothing_measured_is_no_data() -> None:
    assert crossing(STEPS, np.full(6, np.nan), 0.5).kind == "no data"


def test_from_step_zero_a_bracket_has_no_width_in_octaves() -> None:
    assert crossing(STEPS, np.array([0, 1, 1, 1, 1, 1]), 0.5).octaves == math.inf


def test_two_values_at_one_step_are_refused() -> None:
    with pytest.raises(ValueError, match="increase strictly"):
        crossing(np.array([0.0, 1, 1]), np.zeros(3), 0.5)
    with pytest.raises(ValueError, match="3 times for 2 values"):
        crossing(np.arange(3.0), np.zeros(2), 0.5)


@given(
    st.floats(1.5, 90_000),
    st.lists(st.integers(1, 100_000), min_size=1, max_size=60, unique=True),
    st.sampled_from(["first", "stays"]),
)
def test_the_bracket_holds_the_planted_time(at: float, steps: list[int], rule: str) -> None:
    times = np.array([0, *sorted(steps)], dtype=float)
    found = crossing(times, (times >= at).astype(float), 0.5, rule=rule)  # type: ignore[arg-type]

    assert found.low < at <= found.high
    assert found.low in times
    assert found.high in times or found.kind == "never"


@given(rises=st.lists(st.floats(0, 1), min_size=1, max_size=6), levels=st.lists(st.floats(-1, 7), max_size=4))
def test_several_levels_of_a_rising_curve_are_found_as_one_by_one(
    rises: list[float], levels: list[float]
) -> None:
    values = np.cumsum(rises)
    times = STEPS[: len(values)]

    found = rising_crossings(times, values, levels)

    # as text: nan is not equal to itself
    assert list(map(str, found)) == [str(crossing(times, values, level)) for level in levels]
