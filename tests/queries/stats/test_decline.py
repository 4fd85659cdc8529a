import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import ArrayLike
from scipy.special import ndtr

from queries.stats.decline import declines, never_higher


def one(values: ArrayLike, ses: ArrayLike) -> float:
    """The probability of a single curve."""
    (p,) = never_higher(np.array([values], float), np.array([ses], float))
    return float(p)


def summed(values: np.ndarray, ses: np.ndarray, n_places: int = 40_001) -> float:
    """The same of a curve with every error known and none 0, at very many evenly spaced errors of the last measurement."""
    at = np.linspace(-8, 8, n_places)
    spread = np.hypot(ses[:-1], ses[-1])
    largest = ((values[:-1] - values[-1]) / spread).max()
    none_beyond = np.ones(n_places)
    for se, both in zip(ses[:-1], spread, strict=True):
        none_beyond *= ndtr((largest * both + ses[-1] * at) / se)
    density = np.exp(-(at**2) / 2)
    return float((density * (1 - none_beyond)).sum() / density.sum())


def test_of_two_checkpoints_it_is_a_plain_z_test() -> None:
    p = one([0.6, 0.5], [0.03, 0.04])

    assert p == pytest.approx(ndtr(-0.1 / 0.05), rel=1e-9)


def test_it_agrees_with_drawing_curves_that_stay_the_same() -> None:
    ses = np.array([0.01, 0.02, 0.015, 0.03, 0.02])
    values = np.array([0.50, 0.53, 0.54, 0.49, 0.495])
    rng = np.random.default_rng(0)
    drawn = ses * rng.standard_normal((200_000, 5))
    spread = np.hypot(ses[:-1], ses[-1])
    largest = ((drawn[:, :-1] - drawn[:, -1:]) / spread).max(axis=1)
    reached = (largest >= ((values[:-1] - values[-1]) / spread).max()).mean()

    assert one(values, ses) == pytest.approx(reached, abs=3.5 * math.sqrt(reached / 200_000))


@pytest.mark.parametrize("n", [3, 27])
def test_curves_that_stay_the_same_decline_as_often_as_promised(n: int) -> None:
    rng = np.random.default_rng(n)
    ses = rng.uniform(0.005, 0.02, n)
    p = never_higher(0.5 + ses * rng.standard_normal((1500, n)), np.tile(ses, (1500, 1)))

    for alpha in (0.01, 0.05, 0.2):
        assert (p < alpha).mean() == pytest.approx(alpha, abs=3.5 * math.sqrt(alpha * (1 - alpha) / 1500))


@pytest.mark.parametrize("shared", [0.0, 0.8])
def test_rising_curves_and_shared_items_decline_less_often(shared: float) -> None:
    rng = np.random.default_rng(5)
    ses, true = np.full(12, 0.02), np.minimum(np.linspace(0.1, 0.9, 12), 0.5)
    noise = math.sqrt(1 - shared) * rng.standard_normal((800, 12)) + math.sqrt(shared) * rng.standard_normal(
        (800, 1)
    )
    p = never_higher(true + noise * ses, np.tile(ses, (800, 1)))

    assert (p < 0.05).mean() < 0.05


def test_a_planted_decline_is_found_with_its_size() -> None:
    rng = np.random.default_rng(1)
    true = np.array([0.1, 0.3, 0.45, 0.5, 0.45, 0.4])
    found = declines(true + 0.01 * rng.standard_normal((300, 6)), np.full((300, 6), 0.01))

    assert (found.p < 0.001).mean() > 0.95
    assert (found.best == 3).mean() > 0.95
    assert found.lost.mean() == pytest.approx(0.1, abs=0.01)
    assert found.se == pytest.approx(0.01 * math.sqrt(2))


@given(st.lists(st.floats(0, 1), min_size=2, max_size=8), st.floats(0.001, 0.1), st.floats(-3, 3))
def test_only_differences_count(values: list[float], se: float, shift: float) -> None:
    v, ses = np.array(values), np.full(len(values), se)

    assert one(v + shift, ses) == pytest.approx(one(v, ses), abs=1e-6)
    assert 0 <= one(v, ses) <= 1
    # the farther down the last value, the surer the decline
    lower = np.r_[v[:-1], v[-1] - se]
    assert one(lower, ses) <= one(v, ses) + 1e-9


@pytest.mark.parametrize("n", [2, 27, 154])
@pytest.mark.parametrize("unequal", [1.0, 10.0])
def test_as_few_places_as_it_takes_are_as_good_as_very_many(n: int, unequal: float) -> None:
    rng = np.random.default_rng(n)
    ses = 0.01 * unequal ** rng.uniform(-1, 1, (4, n))
    # the largest is so many standard errors above the last
    largest = np.array([-4, 0, 2, 5])
    values = np.where(np.arange(n) == 0, largest[:, None] * np.hypot(ses[:, :1], ses[:, -1:]), -100)
    values[:, -1] = 0

    expected = [summed(*curve) for curve in zip(values, ses, strict=True)]
    np.testing.assert_allclose(never_higher(values, ses), expected, rtol=0, atol=1e-9)
    # alone, in other company and in another order
    np.testing.assert_allclose(
        [one(*curve) for curve in zip(values, ses, strict=True)], expected, rtol=0, atol=1e-9
    )


def test_without_standard_errors_nothing_is_said() -> None:
    nothing = math.nan

    assert math.isnan(one([0.6, 0.5], [0.1, nothing]))
    assert math.isnan(one([0.6, 0.5], [nothing, 0.1]))
    assert math.isnan(one([0.6], [0.1]))
    assert math.isnan(one([0.6, 0.5], [0, 0]))
    p = never_higher(
        np.array([[0.6, 0.7, 0.5]] * 2), np.array([[nothing, 0.03, 0.04], [0.03, nothing, nothing]])
    )
    assert p[0] == pytest.approx(ndtr(-0.2 / 0.05), rel=1e-6)
    assert math.isnan(p[1])


def test_an_exact_value_is_exceeded_by_the_error_of_the_other_alone() -> None:
    assert one([0, 0, 0.5], [0, 0, 0.1]) == pytest.approx(1, abs=1e-6)
    assert one([0.7, 0.5], [0, 0.1]) == pytest.approx(ndtr(-2), abs=1e-9)
    assert one([0.7, 0.5], [0.1, 0]) == pytest.approx(ndtr(-2), abs=1e-9)
    # an exact and a noisy one: the last is off by so much, or the noisy one is
    at = np.linspace(-2, 9, 200_001)
    noisy = np.trapezoid(np.exp(-(at**2) / 2) / math.sqrt(2 * math.pi) * ndtr(-2 * math.sqrt(2) - at), at)
    assert one([0.7, 0.6, 0.5], [0, 0.1, 0.1]) == pytest.approx(ndtr(-2) + noisy, abs=1e-9)
