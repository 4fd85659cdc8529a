"""Gini coefficient, share of the largest, participation ratio: closed forms and slow twins."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from queries.stats.concentration import gini, noise_participation, participation_ratio, top_share

VALUES = st.lists(st.floats(-1e6, 1e6).filter(lambda x: x == 0 or abs(x) > 1e-6), min_size=1, max_size=60)


def slow_gini(values: list[float]) -> float:
    size = [abs(v) for v in values]
    n, total = len(size), sum(size)
    return sum(abs(x - y) for x in size for y in size) / (2 * n * total) if total else math.nan


@pytest.mark.parametrize("n", [1, 7, 100, 250, 12_345])
@pytest.mark.parametrize("shift", [0.3, -2.0])
def test_a_constant_shift_is_spread_evenly(n: int, shift: float) -> None:
    values = np.full(n, shift)
    assert gini(values) == pytest.approx(0.0, abs=1e-12)
    assert top_share(values) == pytest.approx(0.01, rel=1e-9)
    assert participation_ratio(values) == pytest.approx(n)


def test_one_item_may_hold_everything() -> None:
    values = np.zeros(200)
    values[17] = -3.0
    assert gini(values) == pytest.approx(1 - 1 / 200)
    assert top_share(values) == 1.0
    assert participation_ratio(values) == 1.0


def test_known_distributions() -> None:
    """Exponential sizes: 1/2 and 0.01 (1 + ln 100); normal: √2 − 1; participation of normal changes 2n/π, exponential n/2."""
    n = 200_000
    quantiles = (np.arange(n) + 0.5) / n
    exponential = -np.log(1 - quantiles)
    assert gini(exponential) == pytest.approx(0.5, abs=1e-4)
    assert top_share(exponential) == pytest.approx(0.01 * (1 + math.log(100)), abs=1e-4)
    assert participation_ratio(exponential) == pytest.approx(n / 2, rel=1e-3)
    normal = np.random.default_rng(0).normal(size=n)
    assert gini(normal) == pytest.approx(math.sqrt(2) - 1, abs=2e-3)
    assert participation_ratio(normal) == pytest.approx(2 * n / math.pi, rel=1e-2)


def test_the_last_item_of_a_share_counts_in_part() -> None:
    assert top_share(np.array([4.0, 2.0, 1.0, 1.0]), 0.375) == pytest.approx((4 + 0.5 * 2) / 8)
    assert top_share(np.array([4.0, 2.0, 1.0, 1.0]), 1.0) == 1.0


@given(VALUES)
def test_gini_is_half_the_mean_difference_over_the_mean(values: list[float]) -> None:
    assert gini(np.array(values)) == pytest.approx(slow_gini(values), abs=1e-9, nan_ok=True)


@given(VALUES, st.floats(0.01, 100), st.randoms())
def test_neither_scale_nor_sign_nor_order_matters(
    values: list[float], scale: float, shuffled: object
) -> None:
    there = np.array(values)
    other = list(values)
    shuffled.shuffle(other)  # type: ignore[attr-defined]
    turned = -scale * np.array(other)
    for measure in (gini, top_share, participation_ratio):
        assert measure(turned) == pytest.approx(measure(there), rel=1e-6, abs=1e-9, nan_ok=True)
    if np.any(there):
        assert 0 <= gini(there) < 1
        assert 1 - 1e-9 <= participation_ratio(there) <= len(there) + 1e-6


@pytest.mark.parametrize("values", [np.empty(0), np.zeros(5)])
def test_nothing_has_no_concentration(values: np.ndarray) -> None:
    for measure in (gini, top_share, participation_ratio):
        assert math.isnan(measure(values))


def test_noise_takes_part_as_normal_draws_do() -> None:
    assert noise_participation(np.full(400, 0.2)) == pytest.approx(2 * 400 / math.pi, rel=0.01)
    one = np.array([1.0, 1e-9, 1e-9, math.nan])
    assert noise_participation(one) == pytest.approx(1.0, abs=1e-3)
    assert math.isnan(noise_participation(np.array([0.0, math.nan])))
