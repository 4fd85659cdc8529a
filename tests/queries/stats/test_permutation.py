import math
from itertools import combinations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from scipy.stats import mannwhitneyu, rankdata, wilcoxon

from queries.stats.few_runs import smallest_permutation_p, smallest_sign_flip_p
from queries.stats.permutation import mid_ranks, sign_flips, two_groups

INF = math.inf
VALUES = st.floats(-5, 5).map(lambda x: round(x, 2))


@pytest.mark.parametrize(("n_a", "n_b", "smallest"), [(5, 5, 0.0079), (3, 3, 0.1), (4, 6, 2 / 210)])
def test_complete_separation_gives_the_smallest_p_there_is(n_a: int, n_b: int, smallest: float) -> None:
    found = two_groups(np.arange(n_a, dtype=float), 100.0 + np.arange(n_b))

    assert found.exact
    assert found.p == pytest.approx(found.smallest_p)
    assert found.p == pytest.approx(smallest, rel=0.01)
    assert found.p == smallest_permutation_p(n_a, n_b)


def slow_p(a: list[float], b: list[float]) -> float:
    """The same test in plain loops."""
    values = [*a, *b]
    ranks = rankdata(values)

    def statistic(chosen: tuple[int, ...]) -> tuple[float, float]:
        others = [i for i in range(len(values)) if i not in chosen]
        medians = np.median([values[i] for i in chosen]) - np.median([values[i] for i in others])
        means = np.mean([ranks[i] for i in chosen]) - np.mean([ranks[i] for i in others])
        return round(abs(float(medians)), 7), round(abs(float(means)), 7)

    observed = statistic(tuple(range(len(a), len(values))))
    every = [statistic(c) for c in combinations(range(len(values)), len(b))]
    return sum(s >= observed for s in every) / len(every)


@given(st.lists(VALUES, min_size=2, max_size=4), st.lists(VALUES, min_size=2, max_size=4))
def test_p_is_a_count_of_all_arrangements(a: list[float], b: list[float]) -> None:
    assert two_groups(np.array(a), np.array(b)).p == pytest.approx(slow_p(a, b))


@given(arrays(float, st.integers(3, 7), elements=VALUES), arrays(float, st.integers(3, 7), elements=VALUES))
def test_by_ranks_it_is_the_exact_mann_whitney_test_where_there_are_no_ties(
    a: np.ndarray, b: np.ndarray
) -> None:
    if len(np.unique(np.concatenate([a, b]))) < len(a) + len(b):
        return
    expected = mannwhitneyu(a, b, method="exact").pvalue

    assert two_groups(a, b, by_ranks=True).p == pytest.approx(expected)


def test_a_run_that_never_got_there_is_later_than_every_other_however_late() -> None:
    a = np.array([1.0, 2, 3, 4, 5])
    late = two_groups(a, np.array([6.0, 7, 8, 9, 99]))
    never = two_groups(a, np.array([6.0, 7, 8, INF, INF]))

    assert never.ranks
    assert not late.ranks
    assert never.p == late.p
    assert never.difference == 5  # both medians are known
    assert never.high == INF
    assert math.isinf(two_groups(a, np.full(5, INF)).difference)
    assert two_groups(np.full(3, INF), np.full(3, INF)).p == 1


def test_five_pairs_never_reach_five_percent_and_six_do() -> None:
    five, six = (sign_flips(np.arange(1.0, n + 1)) for n in (5, 6))

    assert five.p == smallest_sign_flip_p(5) == 0.0625
    assert (five.low, five.high) == (-INF, INF)
    assert six.p == smallest_sign_flip_p(6) == 0.03125
    assert 0 < six.low < six.difference < six.high < 7


@given(arrays(float, st.integers(3, 8), elements=st.integers(-50, 50), unique=True))
def test_pairs_with_a_censored_run_are_wilcoxons_test(differences: np.ndarray) -> None:
    size = np.abs(differences)
    if len(np.unique(size)) < len(size) or (size == 0).any():
        return
    top = int(np.argmax(size))
    censored = differences.copy()
    censored[top] = math.copysign(INF, differences[top])
    expected = wilcoxon(differences, method="exact").pvalue

    assert sign_flips(censored).p == pytest.approx(expected)
    assert sign_flips(differences, by_ranks=True).p == pytest.approx(expected)


def test_pairs_that_tie_say_nothing() -> None:
    assert sign_flips(np.zeros(6)).p == 1
    assert sign_flips(np.array([1.0, 2, 3, 4, 5, 6, 0])).p == sign_flips(np.arange(1.0, 7)).p


@given(arrays(float, st.integers(1, 9), elements=st.one_of(VALUES, st.sampled_from([INF, -INF]))))
def test_mid_ranks(values: np.ndarray) -> None:
    assert mid_ranks(values) == pytest.approx(rankdata(values))


def test_without_runs_there_is_no_test() -> None:
    with pytest.raises(ValueError, match="without runs"):
        two_groups(np.array([]), np.array([1.0]))
    with pytest.raises(ValueError, match="no pairs"):
        sign_flips(np.array([]))


def rate(p: list[float]) -> float:
    return float(np.mean(np.array(p) <= 0.05))


SLACK = 3 * math.sqrt(0.05 * 0.95 / 300)


def test_equal_groups_differ_as_rarely_as_promised_and_the_interval_holds_the_shift() -> None:
    rng = np.random.default_rng(0)
    # both from one question: the interval of unshifted groups holds 0 where it is not refused
    found = [two_groups(a, b) for a, b in rng.standard_exponential((300, 2, 5))]
    p, covered = [f.p for f in found], [f.low <= 0 <= f.high for f in found]

    assert 0.01 < rate(p) <= 0.05 + SLACK
    assert np.mean(covered) >= 0.95 - SLACK


def test_a_shift_of_one_group_shifts_the_interval() -> None:
    a, b = np.random.default_rng(4).standard_exponential((2, 5))
    found, shifted = two_groups(a, b), two_groups(a, b + 2)

    assert shifted.low == pytest.approx(found.low + 2, abs=1e-3)
    assert shifted.high == pytest.approx(found.high + 2, abs=1e-3)


def test_censored_groups_differ_as_rarely_as_promised() -> None:
    rng = np.random.default_rng(1)
    times = rng.normal(size=(300, 2, 6))
    times[times > 0.5] = INF

    assert rate([two_groups(a, b).p for a, b in times]) <= 0.05 + SLACK


def test_pairs_differ_as_rarely_as_promised_and_the_interval_holds_the_shift() -> None:
    rng = np.random.default_rng(2)
    found = [sign_flips(d) for d in rng.normal(size=(300, 8))]

    assert 0.01 < rate([f.p for f in found]) <= 0.05 + SLACK
    assert np.mean([f.low <= 0 <= f.high for f in found]) >= 0.95 - SLACK


def test_many_runs_are_sampled_with_a_fixed_seed() -> None:
    a, b = np.random.default_rng(3).normal(size=(2, 12))
    found = two_groups(a, b + 1.5)

    assert not found.exact
    assert found == two_groups(a, b + 1.5)
    assert found.p < 0.05
    assert found.low <= found.difference <= found.high
