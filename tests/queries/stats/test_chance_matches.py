"""How many places match by chance: closed forms, all outcomes counted one by one, and what it may never do."""

from itertools import product

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from queries.stats.chance_matches import chance_of_matches
from queries.stats.token_attention import above_even


def one_by_one(shares: list[float], matches: int) -> float:
    """Every way in which places match or not."""
    total = 0.0
    for outcome in product((0, 1), repeat=len(shares)):
        if sum(outcome) >= matches:
            total += float(np.prod([s if hit else 1 - s for s, hit in zip(shares, outcome, strict=True)]))
    return total


def test_equal_shares_are_binomial() -> None:
    matches = np.arange(21)
    p = chance_of_matches(np.full((21, 20), 0.13), matches)
    assert p == pytest.approx(stats.binom.sf(matches - 1, 20, 0.13), rel=1e-9)
    assert p[20] == pytest.approx(0.13**20, rel=1e-9)


def test_shares_of_0_and_1_are_certain_and_no_place_is_no_chance() -> None:
    shares = np.array([[1.0, 1.0, 0.0], [np.nan, np.nan, np.nan], [0.5, np.nan, np.nan]])
    assert chance_of_matches(shares, np.array([2, 1, 1])).tolist() == [1.0, 0.0, 0.5]
    assert chance_of_matches(shares, np.array([3, 0, 0])).tolist() == [0.0, 1.0, 1.0]
    assert chance_of_matches(np.empty((0, 0)), np.empty(0, np.int64)).shape == (0,)


@given(st.lists(st.floats(0, 1), min_size=1, max_size=8), st.integers(0, 8))
def test_it_is_the_sum_over_all_outcomes(shares: list[float], matches: int) -> None:
    (p,) = chance_of_matches(np.array([shares]), np.array([matches]))
    assert p == pytest.approx(one_by_one(shares, matches), abs=1e-12)
    more, fewer = chance_of_matches(np.array([shares, shares]), np.array([matches + 1, matches]))
    assert more <= fewer


def test_attention_above_even_is_students_test_of_shares_of_what_is_possible() -> None:
    attention, even = np.array([0.5, 0.4, 0.45, 0.6]), np.array([0.3, 0.35, 0.3, 0.4])
    able = np.array([1.0, 0.8, 0.9, 0.4])
    mean, chance, p = above_even(attention, even, able)
    assert (mean, chance) == (pytest.approx(0.4875), pytest.approx(0.3375))
    shares = [0.2 / 0.7, 0.05 / 0.45, 0.15 / 0.6]  # the last leaves no room
    assert p == pytest.approx(stats.ttest_1samp(shares, 0, alternative="greater").pvalue)


def test_attention_of_few_or_equal_items() -> None:
    one = np.ones(2)
    assert np.isnan(above_even(one[:0], one[:0], one[:0])).all()
    assert np.isnan(above_even(one[:1] / 2, one[:1] / 4, one[:1])[2])
    assert np.isnan(above_even(np.array([0.5, np.nan]), one / 4, one)[2])
    assert above_even(one / 2, one / 4, one)[2] == 0.0
    assert above_even(one / 4, one / 4, one)[2] == 1.0
