"""One-sided tests against bounds: known tails, all at once, and the promised rate under the null."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from queries.stats.bounds import all_beyond, any_short, beyond, beyond_or_short


def test_tails_are_those_of_student_and_of_the_normal_where_items_are_not_known() -> None:
    p = beyond([0.5, 0.5, 0.1], 0.3, 0.1, [6, np.nan, 6])

    assert p == pytest.approx([stats.t.sf(2, 5), stats.norm.sf(2), stats.t.sf(-2, 5)])


def test_what_cannot_be_tested_is_nan_and_no_error_decides_by_the_value() -> None:
    missing = beyond([np.nan, 0.5, 0.5, 0.5], [0.3, 0.3, np.nan, 0.3], [0.1, np.nan, 0.1, 0.1], [9, 9, 9, 1])
    exact = beyond([0.4, 0.2, 0.3], 0.3, 0.0, 10)

    assert np.isnan(missing).all()
    assert exact == pytest.approx([0, 1, 0.5])


@given(st.floats(-5, 5), st.floats(-5, 5), st.floats(0.01, 3), st.integers(2, 50))
def test_either_side_of_a_bound_adds_up_to_one(value: float, bound: float, se: float, n: int) -> None:
    assert beyond(value, bound, se, n) + beyond(-value, -bound, se, n) == pytest.approx(1)


@given(st.floats(-50, 50), st.floats(0.01, 3), st.sampled_from([np.nan, 1.0, 2.0, 9.0, 100.0]))
def test_both_tails_at_once_are_those_of_the_value_and_of_its_negative(
    value: float, se: float, n: float
) -> None:
    df = n - 1
    tails = [stats.norm.sf(t) if np.isnan(n) else stats.t.sf(t, df) for t in (value / se, -value / se)]
    expected = tails if np.isnan(n) or n >= 2 else [np.nan, np.nan]

    assert beyond_or_short(value, 0.0, se, n) == pytest.approx(expected, rel=1e-9, nan_ok=True)


def test_all_of_several_takes_the_largest_and_one_short_the_corrected_smallest() -> None:
    p = np.array([[0.01, 0.2, np.nan], [0.03, 0.001, 0.2]])

    assert all_beyond(p) == pytest.approx([0.03, 0.2, np.nan], nan_ok=True)
    assert any_short(p) == pytest.approx([0.02, 0.002, 0.2])
    assert np.isnan(any_short(np.full((2, 1), np.nan))).all()


def test_false_yeses_come_at_the_promised_rate_whichever_null_holds() -> None:
    rng = np.random.default_rng(0)
    n, items = 4000, 12
    # the first is at its bound, the second far beyond: the hardest null of "all beyond"
    draws = rng.normal(size=(2, n, items)) + np.array([0.0, 5.0])[:, None, None]
    se = draws.std(axis=2, ddof=1) / np.sqrt(items)
    p = beyond(draws.mean(axis=2), 0.0, se, items)
    both = beyond(-draws.mean(axis=2) + np.array([0.0, 5.0])[:, None], 0.0, se, items)

    tolerance = 3.5 * np.sqrt(0.05 * 0.95 / n)
    assert (all_beyond(p) < 0.05).mean() == pytest.approx(0.05, abs=tolerance)
    # every one exactly at its bound: that any is short is said at most so often
    assert (any_short(both) < 0.05).mean() < 0.05 + tolerance
