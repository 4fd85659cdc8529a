import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from queries.stats.turnbull import arrival, median_interval

INF = math.inf


def test_exact_and_right_censored_times_give_kaplan_meier() -> None:
    times = np.array([3.0, 5, 5, 8, 12, 12, 20])
    censored = np.array([False, False, True, False, False, True, True])
    # a bracket narrower than any gap stands for an exact time
    low = np.where(censored, times, times - 1e-6)
    high = np.where(censored, INF, times)
    found = arrival(low, high)
    expected = stats.ecdf(stats.CensoredData.right_censored(times, censored)).cdf

    known = np.isfinite(found.right)
    assert found.right[known] == pytest.approx([3, 5, 8, 12])
    cumulative = np.cumsum(found.mass)[known]
    assert cumulative == pytest.approx([float(expected.evaluate(t)) for t in found.right[known]], abs=1e-6)


def test_overlapping_brackets_share_their_mass() -> None:
    # (0, 2] and (1, 3] can both be explained by one time in (1, 2]
    found = arrival(np.array([0.0, 1]), np.array([2.0, 3]))

    assert (found.left.tolist(), found.right.tolist()) == ([1], [2])
    assert found.mass == pytest.approx([1])


def test_brackets_that_touch_do_not_meet() -> None:
    found = arrival(np.array([0.0, 2]), np.array([2.0, 4]))

    assert (found.left.tolist(), found.right.tolist()) == ([0, 2], [2, 4])
    assert found.mass == pytest.approx([0.5, 0.5])


def test_quantiles_are_brackets_and_never_stays_never() -> None:
    found = arrival(np.array([0.0, 2, 10, 10]), np.array([1.0, 4, INF, INF]))

    assert found.quantile(0.25) == (0, 1)
    assert found.quantile(0.5) == (2, 4)
    assert found.quantile(0.75)[1] == INF


def test_the_likelihood_is_at_its_top() -> None:
    # independent check: no nearby mass vector explains the brackets better
    rng = np.random.default_rng(3)
    centre = rng.normal(10, 3, 25)
    low, high = centre - rng.uniform(0.2, 3, 25), centre + rng.uniform(0.2, 3, 25)
    found = arrival(low, high)
    inside = (found.left[None] >= low[:, None]) & (found.right[None] <= high[:, None])

    def likelihood(mass: np.ndarray) -> float:
        return float(np.log(inside @ mass).sum())

    top = likelihood(found.mass)
    for _ in range(200):
        other = found.mass * np.exp(0.05 * rng.normal(size=len(found.mass)))
        assert likelihood(other / other.sum()) <= top + 1e-7


@settings(max_examples=50)
@given(st.lists(st.tuples(st.integers(0, 30), st.integers(1, 10), st.booleans()), min_size=1, max_size=15))
def test_mass_is_a_probability(brackets: list[tuple[int, int, bool]]) -> None:
    low = np.array([float(a) for a, _, _ in brackets])
    high = np.array([INF if never else float(a + w) for a, w, never in brackets])
    found = arrival(low, high)

    assert found.mass.sum() == pytest.approx(1)
    assert (found.mass >= 0).all()


def test_times_without_width_are_refused() -> None:
    with pytest.raises(ValueError, match="low < high"):
        arrival(np.array([1.0]), np.array([1.0]))
    with pytest.raises(ValueError, match="no times"):
        arrival(np.array([]), np.array([]))


def test_the_median_interval_is_that_of_order_statistics() -> None:
    # with 10 exact times the 95 % sign-test interval runs from the 2nd to the 9th
    times = np.arange(1.0, 11)
    low, high = median_interval(times - 1e-9, times)

    assert (low, high) == (pytest.approx(2), pytest.approx(9))


def test_five_runs_have_no_95_percent_interval_but_a_90_percent_one() -> None:
    times = np.array([10.0, 20, 30, 40, 50])

    assert median_interval(times - 1, times) == (-INF, INF)
    assert median_interval(times - 1, times, level=0.9) == (9, 50)
    assert median_interval(np.array([]), np.array([])) == (-INF, INF)


def test_runs_that_never_arrive_leave_the_median_open_above() -> None:
    low = np.array([1.0, 2, 100, 100, 100, 100, 100])
    high = np.array([2.0, 3, *[INF] * 5])

    assert median_interval(low, high)[1] == INF


def test_coverage_of_the_median_interval_is_at_least_nominal() -> None:
    rng = np.random.default_rng(8)
    covered = 0
    for _ in range(400):
        times = rng.exponential(100, 9)
        low, high = 10 * np.floor(times / 10), 10 * np.floor(times / 10) + 10
        a, b = median_interval(low, high)
        covered += a <= 100 * math.log(2) <= b
    assert covered >= 380
