"""Overlap of ranked lists: closed forms, a slow twin, what chance gives."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from queries.stats.ranked_lists import least_above_chance, overlaps


def slow(a: list[int], b: list[int], p: float) -> float:
    """RBO_ext as Webber, Moffat and Zobel write it, for lists of equal length k."""
    k = len(a)
    agreement = [len(set(a[:d]) & set(b[:d])) / d for d in range(1, k + 1)]
    return agreement[-1] * p**k + (1 - p) / p * sum(x * p**d for d, x in enumerate(agreement, start=1))


def test_equal_reversed_and_disjoint_lists() -> None:
    a = np.array([[1, 2, 3, 4]] * 3)
    b = np.array([[1, 2, 3, 4], [4, 3, 2, 1], [5, 6, 7, 8]])
    shared, overlap, biased = overlaps(a, b)
    assert shared.tolist() == [4, 4, 0]
    assert overlap.tolist() == [1.0, 1.0, 0.0]
    assert biased[0] == pytest.approx(1.0)
    assert 0 < biased[1] < 1
    assert biased[2] == 0.0


def test_agreement_at_the_top_weighs_more() -> None:
    a = np.array([[1, 2, 3, 4]] * 2)
    _, overlap, biased = overlaps(a, np.array([[1, 2, 8, 9], [8, 9, 3, 4]]))
    assert overlap[0] == overlap[1] == 0.5
    assert biased[0] > biased[1]


def test_shorter_and_empty_lists() -> None:
    a = np.array([[1, 2, -1], [-1, -1, -1], [1, 2, 3], [1, 2, -1]])
    b = np.array([[1, 2, -1], [-1, -1, -1], [-1, -1, -1], [1, 2, 3]])
    shared, overlap, biased = overlaps(a, b)
    assert shared.tolist() == [2, 0, 0, 2]
    assert biased[0] == pytest.approx(1.0)
    assert np.isnan([overlap[1], biased[1]]).all()
    assert (overlap[2], biased[2]) == (0.0, 0.0)
    assert overlap[3] == pytest.approx(2 / 3)


@settings(max_examples=30)
@given(st.permutations(range(9)), st.permutations(range(9)), st.integers(1, 9))
def test_it_is_what_the_formula_says_and_symmetric(a: list[int], b: list[int], k: int) -> None:
    x, y = np.array([a[:k]]), np.array([b[:k]])
    (shared,), (overlap,), (biased,) = overlaps(x, y)
    assert shared == len(set(a[:k]) & set(b[:k]))
    assert overlap == shared / k
    assert biased == pytest.approx(slow(a[:k], b[:k], 0.9))
    assert overlaps(y, x)[2][0] == pytest.approx(biased)


def test_many_lists_are_compared_as_one() -> None:
    rng = np.random.default_rng(0)
    a, b = (np.stack([rng.permutation(30)[:5] for _ in range(5000)]) for _ in range(2))
    shared, _, biased = overlaps(a, b)
    for row in (0, 4095, 4096, 4999):
        assert overlaps(a[row : row + 1], b[row : row + 1])[2][0] == biased[row]
    assert shared.mean() / 5 == pytest.approx(5 / 30, abs=0.01)  # what chance gives


def test_what_is_rare_by_chance() -> None:
    rng = np.random.default_rng(1)
    least = least_above_chance(8, 60)
    drawn = np.array([np.isin(rng.permutation(60)[:8], np.arange(8)).sum() for _ in range(4000)])
    assert (drawn >= least).mean() <= 0.013
    assert (drawn >= least - 1).mean() > 0.01
    assert least_above_chance(20, 10**6) == 1
    assert least_above_chance(5, 5) == 6  # nothing else is possible
    assert least_above_chance(0, 100) == 1
    assert least_above_chance(8, 4) == 9
