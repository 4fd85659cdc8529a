"""The table of what few runs can show, and the laws behind it."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats
from scipy.integrate import quad
from scipy.stats import norm

from queries.stats import few_runs


@pytest.mark.parametrize(("n", "expected"), [(3, 2.48), (5, 1.24), (9, 0.77), (10, 0.72)])
def test_half_width_of_a_mean_in_sd(n: int, expected: float) -> None:
    assert few_runs.half_width_of_mean(n) == pytest.approx(expected, abs=0.005)


@pytest.mark.parametrize(("n", "low", "high"), [(3, 0.52, 6.29), (5, 0.60, 2.87), (10, 0.69, 1.83)])
def test_multipliers_of_an_sd(n: int, low: float, high: float) -> None:
    assert few_runs.sd_multipliers(n - 1) == pytest.approx((low, high), abs=0.006)


@pytest.mark.parametrize(("n", "expected"), [(3, 3.07), (5, 2.02), (9, 1.41), (10, 1.32)])
def test_detectable_difference_of_two_groups(n: int, expected: float) -> None:
    assert few_runs.detectable_difference(n, n) == pytest.approx(expected, abs=0.006)


@pytest.mark.parametrize(("n", "expected"), [(3, 3.26), (5, 1.68), (9, 1.07), (10, 1.00)])
def test_detectable_difference_of_pairs(n: int, expected: float) -> None:
    assert few_runs.detectable_paired_difference(n) == pytest.approx(expected, abs=0.006)


@pytest.mark.parametrize(("n", "expected"), [(5, 23.8), (10, 7.2)])
def test_detectable_ratio_of_variances(n: int, expected: float) -> None:
    assert few_runs.detectable_variance_ratio(n, n) == pytest.approx(expected, abs=0.06)


@pytest.mark.parametrize(("n", "expected"), [(3, 0.29), (5, 0.478), (10, 0.692)])
def test_seen_in_all_runs_is_not_always(n: int, expected: float) -> None:
    low, high = few_runs.share_interval(n, n)
    assert (low, high) == (pytest.approx(expected, abs=0.003), 1.0)


@pytest.mark.parametrize(
    ("n", "two_groups", "pairs"), [(3, 0.1, 0.25), (5, 2 / 252, 0.0625), (6, 2 / 924, 0.03125)]
)
def test_smallest_p_of_exact_tests(n: int, two_groups: float, pairs: float) -> None:
    assert few_runs.smallest_permutation_p(n, n) == pytest.approx(two_groups)
    assert few_runs.smallest_sign_flip_p(n) == pytest.approx(pairs)


def test_the_detectable_difference_is_found_as_often_as_promised() -> None:
    # an independent check of the power: simulate the test it speaks of
    rng = np.random.default_rng(0)
    difference = few_runs.detectable_difference(4, 6)
    a, b = rng.normal(size=(20_000, 4)), rng.normal(difference, size=(20_000, 6))
    found = stats.ttest_ind(a, b, axis=1).pvalue < few_runs.ALPHA
    assert found.mean() == pytest.approx(few_runs.POWER, abs=0.012)


@given(st.integers(0, 40), st.integers(1, 40))
def test_the_interval_of_a_share_is_exact(k: int, n: int) -> None:
    k = min(k, n)
    low, high = few_runs.share_interval(k, n)
    expected = stats.binomtest(k, n).proportion_ci(method="exact")
    assert (low, high) == pytest.approx((expected.low, expected.high), abs=1e-9)


def test_one_run_says_nothing_about_spread() -> None:
    assert math.isnan(few_runs.half_width_of_mean(1))
    assert math.isnan(few_runs.detectable_difference(1, 1))
    assert math.isnan(few_runs.detectable_variance_ratio(1, 5))
    assert all(math.isnan(m) for m in few_runs.sd_multipliers(0))


def test_an_impossible_count_is_refused() -> None:
    with pytest.raises(ValueError, match="6 of 5"):
        few_runs.share_interval(6, 5)


def test_two_pairs_and_three_runs_detect_only_the_enormous() -> None:
    # one degree of freedom: T = (Z + centre) / |W| with W standard normal, integrated over W
    critical = 12.7062

    def power(centre: float) -> float:
        inside = quad(lambda w: 2 * norm.pdf(w) * norm.cdf(centre - critical * w), 0, 6)
        return float(inside[0])

    assert power(few_runs.detectable_paired_difference(2) * math.sqrt(2)) == pytest.approx(0.8, abs=1e-3)
    assert power(few_runs.detectable_difference(1, 2) * math.sqrt(2 / 3)) == pytest.approx(0.8, abs=1e-3)
