"""The test for transitions: errors and power (docs/statistics.md has more replicates), and its p values."""

import numpy as np
import pytest

from queries.stats.change_windows import Windows
from queries.stats.smooth_null import SmoothNull, sequential_p
from tests.calibration.transitions import FIRST, GROWING, NULLS, SCHEDULES, TRANSITIONS, rejections
from tests.references.smooth_curves import largest_excess

TIMES = SCHEDULES[FIRST]
X = np.log2(TIMES)


@pytest.fixture(scope="module")
def null() -> SmoothNull:
    return SmoothNull.at(TIMES)


@pytest.mark.parametrize("name", NULLS)
def test_smooth_curves_are_rejected_at_most_12_times_in_100(null: SmoothNull, name: str) -> None:
    octaves, linear = rejections(null, NULLS[name], 0.05, 0.3, replicates=100, seed=1)

    assert octaves <= 12
    assert linear <= 12


def test_noise_that_grows_with_time_is_no_transition(null: SmoothNull) -> None:
    # a bound on jumps from the whole series took the loud end for one: 99 of 100
    sizes = GROWING["grows with √t to σ 0.1"](TIMES)
    octaves, linear = rejections(null, NULLS["t^-0.5"], sizes, 0.3, replicates=100, seed=1)

    assert octaves <= 12
    assert linear <= 12


def test_noise_that_grows_along_a_short_series_is_no_transition() -> None:
    # by the bootstrap alone, which cannot tell it in so few: 98 of 100
    null = SmoothNull.at(SCHEDULES["40 log-spaced"])
    sizes = GROWING["grows with √t to σ 0.1"](null.times)
    octaves, linear = rejections(null, NULLS["t^-0.5"], sizes, 0.3, replicates=100, seed=1)

    assert octaves <= 12
    assert linear <= 12


@pytest.mark.parametrize("name", ["logistic, w 0.25", "logistic, w 0.1"])
def test_sharp_sigmoids_are_found_at_least_9_times_in_10(null: SmoothNull, name: str) -> None:
    assert rejections(null, TRANSITIONS[name], 0.05, 0.3, replicates=30, seed=1)[0] >= 27


def test_a_small_bump_is_found_where_noise_is_small(null: SmoothNull) -> None:
    assert rejections(null, TRANSITIONS["10 % bump on t^-0.2"], 0.005, 0.0, replicates=20, seed=1)[0] >= 18


def test_the_statistic_is_that_of_a_slow_twin(null: SmoothNull) -> None:
    y = 1 / (1 + np.exp(-(X - 8) / 0.2)) + 0.02 * np.random.default_rng(0).normal(size=len(X))
    found = null.test(y[:, None], most_draws=99)
    calm = [y[0], *(sorted(y[k : k + 3])[1] for k in range(len(y) - 2)), y[-1]]
    event = Windows.octaves(TIMES).start.tolist().index(int(found.at[0]))

    assert found.excess[0] * np.ptp(y) == pytest.approx(
        largest_excess(TIMES, calm, found.fitted[:, 0]), abs=1e-4
    )
    assert TIMES[found.at[0]] < 2**8 < 2 * TIMES[found.at[0]]
    assert event >= 0
    assert found.rss[0] == pytest.approx(((y - found.fitted[:, 0]) ** 2).sum(), rel=1e-3)


def test_a_series_has_the_same_p_whatever_is_tested_with_it_and_in_any_unit(null: SmoothNull) -> None:
    y = TIMES[:, None] ** -0.3 + 0.02 * np.random.default_rng(0).normal(size=(80, 6))
    together, alone = null.test(y, most_draws=399), null.test(y[:, 3:4], most_draws=399)
    scaled = null.test(y[:, 3:4] * 1024, most_draws=399)

    assert together.p[3] == alone.p[0] == scaled.p[0]
    assert together.jump[3] == alone.jump[0] == scaled.jump[0]
    assert scaled.sigma[0] == pytest.approx(1024 * alone.sigma[0])


def test_draws_stop_early_where_nothing_is_there(null: SmoothNull) -> None:
    y = np.column_stack([TIMES**-0.5, 1 / (1 + np.exp(-(X - 8) / 0.2))])
    y += 0.02 * np.random.default_rng(0).normal(size=y.shape)
    found = null.test(y, most_draws=2000)

    assert found.n_draws[0] < found.n_draws[1] == 2000
    assert found.p[1] == pytest.approx(1 / 2001)


def test_a_constant_series_has_no_p_and_no_noise_is_no_evidence(null: SmoothNull) -> None:
    found = null.test(np.column_stack([np.full(80, 3.0), TIMES**-0.123]), most_draws=99)

    assert np.isnan(found.p[0])
    assert np.isnan(found.excess[0])
    assert found.p[1] > 0.05


def test_one_odd_checkpoint_is_no_event_however_odd(null: SmoothNull) -> None:
    y = TIMES[:, None] ** -0.3 + 0.01 * np.random.default_rng(0).normal(size=(80, 20))
    y[40] += 0.5

    assert (null.test(y, most_draws=399).p <= 0.05).sum() <= 4


def test_sequential_p_counts_draws_until_the_twentieth() -> None:
    assert sequential_p(np.ones(50, bool)) == 1.0
    assert sequential_p(np.tile([True, False], 100)) == pytest.approx(20 / 39)
    assert sequential_p(np.r_[np.ones(3, bool), np.zeros(96, bool)]) == 4 / 100


def test_sequential_p_of_a_true_null_is_uniform() -> None:
    rng = np.random.default_rng(0)
    draws, values = rng.normal(size=(3000, 400)), rng.normal(size=(3000, 1))
    p = np.array([sequential_p(reached) for reached in draws >= values])

    for level in (0.05, 0.2, 0.5):
        assert np.mean(p <= level) == pytest.approx(level, abs=4 * np.sqrt(level * (1 - level) / 3000))


@pytest.mark.parametrize("times", [TIMES[:15], TIMES[::-1], np.r_[0.0, TIMES], np.linspace(100, 199, 30)])
def test_times_that_cannot_be_tested_are_refused(times: np.ndarray) -> None:
    with pytest.raises(ValueError, match="the test needs"):
        SmoothNull.at(times)
