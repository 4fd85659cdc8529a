"""Means and shares over seeds that runs share: closed forms, plain intervals without them, their rate under crossed nulls."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from queries.stats.distributions import t_quantile
from queries.stats.few_runs import detectable_difference, detectable_paired_difference, share_interval
from queries.stats.means import mean_interval
from queries.stats.over_units import (
    apart,
    count_over_units,
    detectable_between,
    detectable_mean,
    fewest_units,
    mean_over_units,
    p_over_units,
    share_over_units,
    unit_means,
)

INITS, ORDERS = np.arange(9) % 3, np.arange(9) // 3
CROSSED = [INITS, ORDERS]


def crossed_values(rng: np.random.Generator, n: int, inits: float, orders: float, noise: float) -> np.ndarray:
    """Values of n inits times n orders with mean 0."""
    a, b = inits * rng.normal(size=(n, 1)), orders * rng.normal(size=(1, n))
    return (a + b + noise * rng.normal(size=(n, n))).ravel()


def seeds(n: int) -> list[np.ndarray]:
    return [np.arange(n * n) // n, np.arange(n * n) % n]


def test_the_mean_is_that_of_runs_and_the_interval_that_of_seeds() -> None:
    values = np.array([1.0, 2, 6] * 3)
    mean, low, high = mean_over_units(values, [INITS])

    assert mean == 3
    assert high - mean == pytest.approx(t_quantile(0.975, 2) * math.sqrt(7 / 3))
    # all orders have the same mean, so the second seed adds nothing; independent runs would be far surer
    assert mean_over_units(values, CROSSED) == pytest.approx((mean, low, high))
    assert mean_over_units(values, [])[1] > low + 4
    assert detectable_mean(values, CROSSED) == pytest.approx(detectable_paired_difference(3) * math.sqrt(7))


def test_half_widths_of_two_seeds_add_as_squares() -> None:
    rng = np.random.default_rng(0)
    values = rng.normal(size=9)
    halves = [mean_over_units(values, [of])[2] - values.mean() for of in CROSSED]

    assert mean_over_units(values, CROSSED)[2] - values.mean() == pytest.approx(math.hypot(*halves))


@given(st.lists(st.floats(0, 1), min_size=2, max_size=12))
def test_without_shared_seeds_it_holds_the_mean_and_both_intervals(shares: list[float]) -> None:
    assert mean_over_units(shares, []) == mean_interval(shares)
    mean, low, high = share_over_units(shares, [])
    _, t_low, t_high = mean_interval(shares, 0.95, (0, 1))

    assert 0 <= low <= mean + 1e-12
    assert mean - 1e-12 <= high <= 1
    if not np.isin(shares, (0.0, 1.0)).all():
        assert low <= t_low + 1e-12
        assert high >= t_high - 1e-12


@pytest.mark.parametrize(("k", "n"), [(5, 5), (0, 4), (1, 1), (3, 6)])
def test_independent_runs_that_are_all_or_nothing_are_trials(k: int, n: int) -> None:
    mean, low, high = share_over_units([True] * k + [False] * (n - k), [])

    assert mean == k / n
    assert (low, high) == pytest.approx(share_interval(k, n))


def test_nine_of_nine_crossed_runs_are_three_of_three() -> None:
    assert share_over_units([True] * 9, CROSSED)[1:] == pytest.approx(share_interval(3, 3))
    # one init without it: t over 1, 1, 0 says nothing
    assert share_over_units(INITS < 2, CROSSED) == (pytest.approx(2 / 3), 0, 1)
    assert fewest_units(CROSSED, 9) == 3
    assert fewest_units([], 9) == 9


def test_what_is_not_known_is_left_out_with_its_seed() -> None:
    values = np.where(INITS == 2, np.nan, 1.0)

    assert share_over_units(values, [INITS])[1:] == pytest.approx(share_interval(2, 2))
    assert share_over_units(np.where(INITS, np.nan, 1.0), [INITS])[1:] == pytest.approx(share_interval(1, 1))
    assert np.isnan(share_over_units([], [])).all()
    assert np.isnan(mean_over_units([np.nan], [np.zeros(1, int)])).all()
    assert np.isnan(mean_over_units([1.0, 2.0], [np.zeros(2, int)])[1:]).all()
    assert unit_means(np.array([1.0, 3, 5]), np.array([4, 4, 9])).tolist() == [2, 5]


def test_as_many_runs_as_share_no_seed_are_found_where_cells_are_missing() -> None:
    assert apart(CROSSED, 9) == [0, 4, 8]
    # without the last cell the first two of the diagonal leave no third
    kept = [of[:8] for of in CROSSED]
    found = apart(kept, 8)
    assert len(found) == 3
    assert all(len(set(of[found].tolist())) == 3 for of in kept)
    assert apart([], 4) == [0, 1, 2, 3]
    assert apart([INITS[:0]], 0) == []


def test_without_shared_seeds_counts_and_what_is_detectable_are_those_of_runs() -> None:
    values = np.array([1.0, 2, 6])

    assert count_over_units([True, True, False], []) == share_interval(2, 3)
    assert count_over_units([True] * 9, CROSSED) == pytest.approx(share_interval(3, 3))
    assert count_over_units([], [INITS[:0]]) == (0, 1)
    assert detectable_between(values, []) == detectable_difference(3, 3) * values.std(ddof=1)
    assert detectable_between(np.tile(values, 3), CROSSED) == pytest.approx(detectable_between(values, []))


def test_the_middle_p_of_a_seed_counts() -> None:
    p = np.array([0.01, 0.02, 0.5, 0.04, 0.9, 0.9])

    assert p_over_units(p, []) == pytest.approx(p)
    assert p_over_units(p, [np.repeat([0, 1], 3)]) == pytest.approx([1.5 * 0.02, 1])
    assert p_over_units(p[:2], [np.array([0, 1])]) == pytest.approx([0.01, 0.02])


@pytest.mark.parametrize("effects", [(1, 0, 0.3), (0, 1, 0.3), (1, 1, 0.3), (0, 0, 1)], ids=str)
def test_a_mean_of_nothing_is_found_as_rarely_as_promised(effects: tuple[float, float, float]) -> None:
    rng = np.random.default_rng(1)
    found = plain = 0
    for _ in range(100):
        values = crossed_values(rng, 4, *effects)
        found += abs(values.mean()) > mean_over_units(values, seeds(4))[2] - values.mean()
        plain += abs(values.mean()) > mean_interval(values)[2] - values.mean()
    assert found <= 12
    # what runs counted as independent would do
    assert plain > 25 or not any(effects[:2])


def test_a_share_of_a_half_is_called_most_as_rarely_as_promised() -> None:
    rng = np.random.default_rng(2)
    found = plain = 0
    for _ in range(100):
        # the init decides alone, and half of all inits have it
        having = (rng.random(5) < 0.5)[seeds(5)[0]]
        _, low, high = share_over_units(having, seeds(5), 0.9)
        found += low > 0.5 or high < 0.5
        _, low, high = share_over_units(having, [], 0.9)
        plain += low > 0.5 or high < 0.5
    assert found <= 12
    assert plain > 25


@pytest.mark.parametrize("within", [0.02, 1.0, 50.0], ids=["all or nothing", "alike", "nearly independent"])
def test_coverage_holds_however_much_a_run_decides(within: float) -> None:
    rng = np.random.default_rng(0)
    for truth in (0.3, 0.9):
        # beta-binomial: runs whose own chances vary the more the smaller `within`
        chances = rng.beta(within * truth, within * (1 - truth), size=(400, 6))
        shares = rng.binomial(4, chances) / 4
        intervals = [share_over_units(row, [])[1:] for row in shares]
        covered = np.mean([low <= truth <= high for low, high in intervals])

        assert covered > 0.95 - 3 * np.sqrt(0.05 * 0.95 / 400)
