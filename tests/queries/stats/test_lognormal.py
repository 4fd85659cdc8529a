import math
from dataclasses import astuple

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from queries.stats.lognormal import fit_lognormal
from tests.references.censored_times import restricted_mode

INF = math.inf
LOG2_TIMES = np.array([9.1, 9.8, 10.0, 10.4, 11.3])


def exact(log2_times: np.ndarray, width: float = 1e-4) -> tuple[np.ndarray, np.ndarray]:
    """Brackets so narrow that the times are as good as known."""
    return 2 ** (log2_times - width), 2 ** (log2_times + width)


def test_known_times_give_students_interval_of_the_median() -> None:
    fit = fit_lognormal(*exact(LOG2_TIMES))
    expected = stats.t.interval(0.95, 4, LOG2_TIMES.mean(), stats.sem(LOG2_TIMES))

    assert fit is not None
    assert (fit.mu, fit.mu_low, fit.mu_high) == pytest.approx((LOG2_TIMES.mean(), *expected), abs=2e-3)
    assert fit.median == pytest.approx(tuple(2 ** np.array([LOG2_TIMES.mean(), *expected])), rel=2e-3)


@pytest.mark.parametrize("level", [0.8, 0.95])
def test_known_times_give_the_chi_square_interval_of_the_spread(level: float) -> None:
    fit = fit_lognormal(*exact(LOG2_TIMES), level=level)
    sd, tail = LOG2_TIMES.std(ddof=1), (1 - level) / 2
    expected = [sd * math.sqrt(4 / stats.chi2.ppf(q, 4)) for q in (1 - tail, tail)]

    assert fit is not None
    assert (fit.sigma, fit.sigma_low, fit.sigma_high) == pytest.approx((sd, *expected), rel=2e-3)


def test_the_spread_is_at_the_top_of_its_likelihood() -> None:
    low = np.array([100.0, 200, 200, 400, 800])
    high = np.array([200.0, 400, 400, 800, INF])
    fit = fit_lognormal(low, high)

    assert fit is not None
    assert fit.sigma == pytest.approx(restricted_mode(low, high), rel=1e-2)


def test_brackets_too_wide_to_show_a_spread_give_an_upper_limit() -> None:
    fit = fit_lognormal(np.full(5, 64.0), np.full(5, 128.0))

    assert fit is not None
    assert (fit.mu, fit.sigma_low) == (6.5, 0)
    assert fit.sigma < 0.01
    assert 0 < fit.sigma_high < 1
    assert fit.mu_low < 6.5 < fit.mu_high


def test_a_run_that_never_arrives_moves_the_median_later_and_widens_everything() -> None:
    low, high = exact(LOG2_TIMES)
    seen = fit_lognormal(low, high)
    late = fit_lognormal(np.r_[low[:4], 2.0**11], np.r_[high[:4], INF])

    assert seen is not None
    assert late is not None
    assert late.n_events == 4
    assert late.mu > seen.mu - 0.05
    assert late.sigma_high > seen.sigma_high


def test_nothing_is_said_where_nothing_can_be() -> None:
    assert fit_lognormal(np.array([4.0, 8]), np.array([INF, INF])) is None
    assert fit_lognormal(np.array([4.0, 8]), np.array([8.0, INF])) is None
    # every time is only known to be before 100: it may be arbitrarily early
    assert fit_lognormal(np.zeros(5), np.full(5, 100.0)) is None


def test_brackets_without_width_are_refused() -> None:
    with pytest.raises(ValueError, match="low < high"):
        fit_lognormal(np.array([1.0, 2]), np.array([2.0, 2]))


@settings(max_examples=15)
@given(st.floats(-6, 12), st.integers(0, 4))
def test_a_change_of_unit_moves_the_median_and_nothing_else(shift: float, seed: int) -> None:
    rng = np.random.default_rng(seed)
    times = rng.normal(8, 0.7, 6)
    low = 2 ** (np.floor(times * 4) / 4)  # measured four times an octave
    high = low * 2**0.25
    here, there = fit_lognormal(low, high), fit_lognormal(low * 2**shift, high * 2**shift)

    assert here is not None
    assert there is not None
    assert there.mu - here.mu == pytest.approx(shift, abs=1e-2)
    assert there.sigma == pytest.approx(here.sigma, rel=2e-2, abs=1e-2)
    assert there.mu_high - here.mu_high == pytest.approx(shift, abs=2e-2)


def test_the_order_of_runs_does_not_matter() -> None:
    low, high = exact(LOG2_TIMES, 0.3)
    order = [3, 0, 4, 1, 2]

    here, there = fit_lognormal(low, high), fit_lognormal(low[order], high[order])

    assert here is not None
    assert there is not None
    assert astuple(here) == pytest.approx(astuple(there))
