import math

import numpy as np
import pytest

from queries.stats.width import width_octaves

TIMES = 2 ** np.arange(0, 12, 0.05)


@pytest.mark.parametrize("w", [0.1, 0.3, 0.8])
def test_a_logistic_takes_its_closed_form(w: float) -> None:
    y = 1 / (1 + np.exp(-(np.log2(TIMES) - 6) / w))
    low, high = width_octaves(TIMES, y, "up")

    assert low <= 2 * math.log(9) * w <= high
    assert high - low == pytest.approx(0.1)
    assert width_octaves(TIMES, -y, "down") == pytest.approx((low, high))


def test_noise_around_a_step_does_not_widen_it_much() -> None:
    y = np.where(TIMES < 100, 2.0, 0.0) + np.random.default_rng(0).normal(0, 0.02, len(TIMES))

    assert width_octaves(TIMES, y, "down")[1] <= 0.2


def test_what_does_not_change_or_is_not_resolved_has_no_width() -> None:
    assert math.isnan(width_octaves(TIMES, np.ones(len(TIMES)), "down")[0])
    assert math.isnan(width_octaves(TIMES[:2], np.array([1.0, 0]), "down")[0])
    octaves = 2.0 ** np.arange(8)
    assert math.isnan(width_octaves(octaves, np.where(octaves < 20, 1.0, 0), "down")[1])


def test_values_that_are_not_finite_are_gaps() -> None:
    y = np.where(TIMES < 100, 2.0, 0.0)
    y[::2] = np.nan

    assert width_octaves(TIMES, y, "down")[1] == pytest.approx(0.1)
