import math
from itertools import permutations, product

import numpy as np
import pytest

from queries.stats.concordance import concordance, kendall_w
from queries.stats.precedence import interval_ranks


def null_quantile(n_runs: int, n_events: int) -> float:
    """95 % quantile of W for runs with independent random orders without ties: what any W must be held against."""
    return concordance(np.tile(np.arange(1.0, n_events + 1), (n_runs, 1))).q95


@pytest.mark.parametrize(("n_events", "expected"), [(3, 0.52), (4, 0.47), (6, 0.42), (10, 0.35), (20, 0.31)])
def test_what_five_seeds_reach_by_chance(n_events: int, expected: float) -> None:
    # measured independently, to two places; with 4 events W has steps of 0.016 and all 331,776 arrangements
    # put the 95 % quantile one step above 0.47
    assert null_quantile(5, n_events) == pytest.approx(expected, abs=0.02)


def test_small_quantiles_are_exact() -> None:
    assert null_quantile(5, 3) == pytest.approx(0.52)
    assert null_quantile(5, 4) == pytest.approx(0.488)


def test_agreement_is_one_and_a_balanced_disagreement_is_nothing() -> None:
    assert kendall_w(np.tile([1.0, 2, 3, 4], (5, 1))) == pytest.approx(1)
    assert kendall_w(np.array([[1.0, 2, 3], [3, 2, 1]])) == pytest.approx(0)
    assert math.isnan(kendall_w(np.full((4, 3), 2.0)))


def test_w_by_the_textbook_with_ties() -> None:
    # Kendall & Gibbons: W = 12 S / (n²(m³ − m) − n Σ T), T = Σ (t³ − t) over ties
    ranks = np.array([[1.0, 2.5, 2.5, 4], [1.0, 2, 3, 4], [2.0, 2, 2, 4]])
    ranks[2] = [2, 2, 2, 4]
    s = float(((ranks.sum(axis=0) - ranks.sum() / 4) ** 2).sum())
    ties = (2**3 - 2) + 0 + (3**3 - 3)

    assert kendall_w(ranks) == pytest.approx(12 * s / (9 * (64 - 4) - 3 * ties))


def test_exact_p_is_a_count_of_all_arrangements() -> None:
    ranks = np.array([[1.0, 2, 3], [1, 3, 2], [2, 1, 3]])
    observed = kendall_w(ranks)
    all_w = [
        kendall_w(np.array([a, b, c]))
        for a, b, c in product(
            permutations([1.0, 2, 3]), permutations([1.0, 3, 2]), permutations([2.0, 1, 3])
        )
    ]
    found = concordance(ranks)

    assert found.exact
    assert found.p == pytest.approx(np.mean(np.array(all_w) >= observed - 1e-9))


def test_unclear_orders_weigh_nothing() -> None:
    clear = np.tile([1.0, 2, 3], (3, 1))
    with_unclear = np.vstack([clear, np.full((2, 3), 2.0)])
    n_clear = concordance(clear)
    found = concordance(with_unclear)

    # W falls because two runs agree with nobody, and the null knows it: p is that of the three
    assert found.w < n_clear.w
    assert found.p == pytest.approx(n_clear.p, abs=0.01)


def test_an_order_that_no_run_shows_is_no_order() -> None:
    found = concordance(np.full((4, 3), 2.0))

    assert math.isnan(found.w)
    assert math.isnan(found.p)


def test_random_orders_are_called_an_order_as_rarely_as_promised() -> None:
    # times on a coarse grid, so that many orders are unclear
    rng = np.random.default_rng(0)
    p = []
    for _ in range(300):
        low = np.floor(rng.random((5, 3)) * 6)
        p.append(concordance(interval_ranks(low, low + 1), seed=1).p)

    for alpha in (0.05, 0.2):
        assert np.mean(np.array(p) <= alpha) == pytest.approx(
            alpha, abs=3.5 * math.sqrt(alpha * (1 - alpha) / 300)
        )


def test_a_planted_order_is_found() -> None:
    rng = np.random.default_rng(0)
    found = [
        concordance(interval_ranks(low, low + 1e-9)).p < 0.05
        for low in np.arange(6) + rng.normal(0, 0.7, (30, 5, 6))
    ]

    assert np.mean(found) > 0.95


def test_many_events_of_few_runs_are_sampled() -> None:
    found = concordance(np.tile(np.arange(24.0), (2, 1)))

    assert not found.exact
    assert found.w == pytest.approx(1)
    assert found.p < 0.001
