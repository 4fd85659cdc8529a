import math

import numpy as np
import pytest
from scipy import stats

from queries.stats.means import mean_interval, t_half_width


def test_the_interval_is_students() -> None:
    values = np.array([0.3, 0.9, 1.4, 1.1, 0.2])
    mean, low, high = mean_interval(values, level=0.9)
    expected = stats.t.interval(0.9, 4, values.mean(), stats.sem(values))

    assert (mean, low, high) == pytest.approx((values.mean(), *expected))


def test_one_value_has_a_mean_and_no_interval() -> None:
    mean, low, high = mean_interval([2.0])

    assert mean == 2.0
    assert math.isnan(low)
    assert math.isnan(high)


def test_what_is_not_finite_is_left_out() -> None:
    assert mean_interval([1.0, np.nan, 3.0, np.inf]) == pytest.approx(mean_interval([1.0, 3.0]))
    assert all(math.isnan(x) for x in mean_interval([np.nan]))


def test_an_interval_ends_at_the_bounds_of_the_measure() -> None:
    assert mean_interval([0.9, 1.0, 0.95], bounds=(0, 1))[2] == 1
    assert mean_interval([0.9, 0.1], bounds=(None, 1))[1] < 0


def test_widths_broadcast_over_groups() -> None:
    widths = t_half_width([1.0, 1.0, 2.0], [1, 2, 5])

    assert math.isnan(widths[0])
    assert widths[1:] == pytest.approx([12.7062 / math.sqrt(2), 2 * 2.77645 / math.sqrt(5)], rel=1e-4)
