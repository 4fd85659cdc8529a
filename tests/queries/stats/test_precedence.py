import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import binomtest, rankdata

from queries.stats.precedence import certainly_before, interval_ranks, precedence

INF = math.inf


def brackets(rows: list[list[tuple[float, float]]]) -> tuple[np.ndarray, np.ndarray]:
    table = np.array(rows, dtype=float)
    return table[..., 0], table[..., 1]


def test_brackets_that_meet_are_in_order_and_those_that_overlap_are_not() -> None:
    low, high = brackets([[(0, 10), (10, 20), (15, 30), (40, INF), (20, INF)]])
    before = certainly_before(low, high)[0]

    assert before[0].tolist() == [False, True, True, True, True]
    assert not before[1, 2]  # (10, 20] and (15, 30] overlap
    assert before[1, 3]
    assert not before[3].any()  # never seen: whatever else was never seen may be later or earlier


@given(st.lists(st.integers(0, 6), min_size=2, max_size=8))
def test_ranks_of_equal_or_separate_brackets_are_mid_ranks(times: list[int]) -> None:
    at = np.array([times], dtype=float)

    assert interval_ranks(at, at + 1)[0] == pytest.approx(rankdata(times))


@given(st.lists(st.tuples(st.floats(0, 100), st.floats(0.1, 50)), min_size=2, max_size=8))
def test_ranks_sum_to_what_ranks_sum_to(events: list[tuple[float, float]]) -> None:
    low = np.array([[a for a, _ in events]])
    m = len(events)

    assert interval_ranks(low, low + [w for _, w in events]).sum() == pytest.approx(m * (m + 1) / 2)


def test_five_of_five_are_not_enough_for_always() -> None:
    low, high = brackets([[(0, 1), (1, 2)]] * 5)
    found = precedence(low, high, 0, 1)

    assert (found.n_before, found.n_after, found.n_unclear) == (5, 0, 0)
    assert found.low == pytest.approx(0.478, abs=1e-3)
    assert found.p == pytest.approx(binomtest(5, 5).pvalue)


def test_unclear_runs_count_against_either_side() -> None:
    low, high = brackets([[(0, 1), (1, 2)]] * 6 + [[(0, 5), (1, 2)]] * 2)
    found = precedence(low, high, 0, 1)

    assert (found.n_before, found.n_after, found.n_unclear) == (6, 0, 2)
    assert found.low == pytest.approx(binomtest(6, 8).proportion_ci().low)
    assert found.high == 1
    assert found.p == pytest.approx(binomtest(6, 8).pvalue)


def test_a_run_that_lacks_an_event_says_nothing() -> None:
    low, high = brackets([[(0, 1), (1, 2)], [(np.nan, np.nan), (1, 2)]])

    assert precedence(low, high, 0, 1).n_before == 1
    assert precedence(low[1:], high[1:], 0, 1).p == 1


def test_the_interval_holds_the_true_share_as_often_as_promised_on_a_coarse_grid() -> None:
    # event a comes first in 80 % of runs, but both times are known to a grid that hides much of the order
    rng = np.random.default_rng(0)
    first = rng.random((400, 10)) < 0.8
    a = 8 + rng.random((400, 10)) * 2
    b = np.where(first, a + rng.random((400, 10)) * 2, a - rng.random((400, 10)) * 2)
    covered = []
    for times in np.stack([a, b], axis=-1):
        low = np.floor(times)
        found = precedence(low, low + 1, 0, 1)
        covered.append(found.low <= 0.8 <= found.high)

    assert np.mean(covered) >= 0.95 - 3 * math.sqrt(0.05 * 0.95 / 400)


def test_a_fair_coin_is_refused_at_most_as_often_as_promised() -> None:
    rng = np.random.default_rng(1)
    times = rng.random((600, 8, 2))
    p = [precedence(t, t + 1e-9, 0, 1).p for t in times]

    assert np.mean(np.array(p) <= 0.05) <= 0.05 + 3 * math.sqrt(0.05 * 0.95 / 600)
