"""Shares over runs: exact where runs are all or nothing, never narrower than either method, coverage as promised."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from queries.stats.few_runs import share_interval
from queries.stats.means import mean_interval
from queries.stats.share_over_runs import share_over_runs


@pytest.mark.parametrize(("k", "n"), [(5, 5), (0, 4), (1, 1)])
def test_runs_that_are_all_alike_are_trials(k: int, n: int) -> None:
    mean, low, high = share_over_runs([1.0] * k + [0.0] * (n - k))

    assert mean == k / n
    assert (low, high) == pytest.approx(share_interval(k, n))


@given(st.lists(st.floats(0, 1), min_size=2, max_size=12))
def test_it_holds_the_mean_and_both_intervals(shares: list[float]) -> None:
    mean, low, high = share_over_runs(shares)
    _, t_low, t_high = mean_interval(shares, 0.95, (0, 1))

    assert 0 <= low <= mean + 1e-12
    assert mean - 1e-12 <= high <= 1
    assert low <= t_low + 1e-12
    assert high >= t_high - 1e-12


def test_without_a_run_nothing_is_said() -> None:
    assert np.isnan(share_over_runs([])).all()


@pytest.mark.parametrize("within", [0.02, 1.0, 50.0], ids=["all or nothing", "alike", "nearly independent"])
def test_coverage_holds_however_much_a_run_decides(within: float) -> None:
    rng = np.random.default_rng(0)
    for truth in (0.3, 0.9):
        # beta-binomial: runs whose own chances vary the more the smaller `within`
        chances = rng.beta(within * truth, within * (1 - truth), size=(400, 6))
        shares = rng.binomial(4, chances) / 4
        intervals = [share_over_runs(row)[1:] for row in shares]
        covered = np.mean([low <= truth <= high for low, high in intervals])

        assert covered > 0.95 - 3 * np.sqrt(0.05 * 0.95 / 400)
