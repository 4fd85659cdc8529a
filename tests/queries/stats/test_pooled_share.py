import math

import numpy as np
import pytest

from queries.stats.few_runs import share_interval
from queries.stats.pooled_share import excess_over, pooled_share


def test_no_success_anywhere_still_allows_some() -> None:
    assert pooled_share([0] * 5, [4] * 5) == (0, 0, share_interval(0, 20)[1])
    assert pooled_share([4] * 5, [4] * 5) == (1, share_interval(20, 20)[0], 1)


def test_runs_that_differ_count_as_runs() -> None:
    mean, low, high = pooled_share([40, 0, 40, 0], [40] * 4)
    exact = share_interval(80, 160)

    assert mean == 0.5
    assert low < exact[0]
    assert high > exact[1]


def test_one_run_has_a_share_and_no_interval() -> None:
    mean, low, high = pooled_share([2], [4])

    assert mean == 0.5
    assert math.isnan(low)
    assert math.isnan(high)
    assert math.isnan(pooled_share([], [])[0])


@pytest.mark.parametrize("spread", [0.0, 3.0], ids=["runs alike", "runs differ"])
@pytest.mark.parametrize("share", [0.07, 0.5])
def test_the_interval_holds_the_share_as_often_as_promised(share: float, spread: float) -> None:
    rng = np.random.default_rng(0)
    size = (400, 6)
    p = rng.beta(share * 2 / spread, (1 - share) * 2 / spread, size) if spread else np.full(size, share)
    counts = rng.binomial(5, p)
    hits = [low <= share <= high for _, low, high in (pooled_share(c.tolist(), [5] * 6) for c in counts)]
    # runs that differ wildly around a share near 0 are what t does worst: admitted down to 85 %
    promised = 0.85 if spread and share < 0.1 else 0.95

    assert np.mean(hits) >= promised - 3 * math.sqrt(promised * (1 - promised) / 400)


def test_runs_with_the_same_difference_still_leave_some_open() -> None:
    none = excess_over([0] * 4, [50] * 4, [0] * 4, [50] * 4)
    reach = share_interval(0, 200)[1]

    assert none == pytest.approx((0, -reach, reach))
    some = excess_over([20] * 4, [50] * 4, [5] * 4, [50] * 4)
    assert some[0] == pytest.approx(0.3)
    assert 0.15 < some[1] < 0.25 < 0.35 < some[2] < 0.45
    # trials of runs with one init are those of one run
    fewer = excess_over([20] * 4, [50] * 4, [5] * 4, [50] * 4, shared=[np.array([0, 0, 1, 1])])
    assert fewer[1] < some[1] < some[2] < fewer[2]
    assert math.isnan(excess_over([1], [5], [0], [5])[1])


def test_a_difference_is_held_as_often_as_promised() -> None:
    rng = np.random.default_rng(3)
    hits = []
    for _ in range(300):
        a, b = rng.binomial(30, 0.2, 4), rng.binomial(30, 0.05, 4)
        _, low, high = excess_over(a.tolist(), [30] * 4, b.tolist(), [30] * 4)
        hits.append(low <= 0.15 <= high)
    assert np.mean(hits) >= 0.95 - 3 * math.sqrt(0.05 * 0.95 / 300)
