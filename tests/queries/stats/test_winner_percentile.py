import math
from itertools import permutations

import numpy as np
import pytest

from queries.stats.winner_percentile import Winner, expected_half_width, percentiles, winner_percentile
from tests.calibration.initial_weights import Design, pairs


def test_percentiles_are_half_on_average_and_ties_share_theirs() -> None:
    assert percentiles(np.array([[3.0, 1.0], [2.0, 4.0]])).tolist() == [[0.625, 0.125], [0.375, 0.875]]
    assert percentiles(np.array([[1.0, 1.0, 0.0]])) == pytest.approx(np.array([[2 / 3, 2 / 3, 1 / 6]]))
    assert percentiles(np.random.default_rng(0).random((5, 7))).mean() == pytest.approx(0.5)


def test_one_winner_may_be_anywhere_in_its_layers() -> None:
    before = np.arange(16.0).reshape(4, 4)
    found = winner_percentile([Winner(0, before, ((3, 3),), 0, 1)], {0: 0})

    assert found.mean == 15.5 / 16
    assert found.p == pytest.approx(2 / 16, abs=0.01)
    assert found.null_mean == pytest.approx(0.5, abs=0.01)
    assert found.null_sd == pytest.approx(math.sqrt((16**2 - 1) / 12) / 16, abs=0.01)
    assert math.isnan(found.low)


def test_every_rearrangement_by_hand_where_runs_share_an_init() -> None:
    rng = np.random.default_rng(1)
    before = rng.random((3, 3))
    winners = [Winner(0, before, ((0, 1),), 0, 1), Winner(1, before, ((0, 2), (1, 1)), 0, 1)]
    found = winner_percentile(winners, {0: 0, 1: 0}, n_permuted=40_000)
    ranks = percentiles(before)
    null = [
        (ranks[s[0], d[1]] + (ranks[s[0], d[2]] + ranks[s[1], d[1]]) / 2) / 2
        for s in permutations(range(3))
        for d in permutations(range(3))
    ]

    assert found.mean == pytest.approx((ranks[0, 1] + (ranks[0, 2] + ranks[1, 1]) / 2) / 2)
    assert found.null_mean == pytest.approx(np.mean(null), abs=0.005)
    assert found.null_sd == pytest.approx(np.std(null), rel=0.03)
    assert found.p == pytest.approx(
        np.mean(np.abs(np.array(null) - 0.5) >= abs(found.mean - 0.5) - 1e-9), abs=0.01
    )
    assert (found.n_starts, found.by_run[0]) == (1, ranks[0, 1])


def test_what_20_runs_can_show() -> None:
    assert expected_half_width(20) == pytest.approx(0.135, abs=0.001)
    assert math.isnan(expected_half_width(1))
    with pytest.raises(ValueError, match="no run"):
        winner_percentile([], {})


@pytest.mark.parametrize("design", [Design(5, 1), Design(3, 4)], ids=["an init a run", "shared inits"])
def test_winners_anywhere_are_called_predicted_as_rarely_as_promised(design: Design) -> None:
    rng = np.random.default_rng(2)
    found = [pairs(rng, design, 0.0) for _ in range(100)]

    assert sum(f.p <= 0.05 for f in found) <= 12
    assert sum(f.p <= 0.5 for f in found) > 30
    assert sum(f.low <= 0.5 <= f.high for f in found) >= 88


def test_a_planted_relation_is_found_in_20_inits() -> None:
    rng = np.random.default_rng(3)
    found = [pairs(rng, Design(20, 1), 0.3) for _ in range(10)]

    assert all(f.p < 0.05 for f in found)
    assert all(f.low > 0.5 for f in found)
