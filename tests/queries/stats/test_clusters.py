"""Means and rank correlations over clustered items: closed forms, a slow twin, coverage with fixed seeds."""

import math

import numpy as np
import pytest

from queries.stats.clusters import Order, cluster_mean, cluster_spearman, numbered


def clustered(rng: np.random.Generator, n_clusters: int, size: int, share: float) -> tuple[np.ndarray, ...]:
    """Standard normal items, `share` of whose variance is that of their cluster."""
    clusters = np.repeat(np.arange(n_clusters), size)
    own = rng.normal(size=n_clusters * size)
    return math.sqrt(share) * rng.normal(size=n_clusters)[clusters] + math.sqrt(1 - share) * own, clusters


def test_clusters_of_one_item_give_the_usual_t_interval() -> None:
    values = np.array([1.0, 2.0, 4.0, 7.0])
    mean, low, high, se = cluster_mean(values, np.array([5, 3, 9, 1]))

    assert mean == 3.5
    assert se == pytest.approx(values.std(ddof=1) / 2)
    assert (high - low) / 2 == pytest.approx(3.182446 * se)


def test_items_that_repeat_within_a_cluster_add_nothing() -> None:
    values = np.array([0.1, 0.5, 0.9])
    alone = cluster_mean(values, np.arange(3))

    assert cluster_mean(np.repeat(values, 20), np.repeat(np.arange(3), 20)) == pytest.approx(alone)


def test_an_interval_ends_at_the_bounds_of_the_measure() -> None:
    assert cluster_mean(np.array([0.0, 1.0]), np.arange(2), bounds=(0.0, 1.0))[1:3] == (0.0, 1.0)


def test_what_one_cluster_cannot_say() -> None:
    assert cluster_mean(np.array([1.0, 2.0]), np.zeros(2, int))[0] == 1.5
    assert all(math.isnan(v) for v in cluster_mean(np.array([1.0, 2.0]), np.zeros(2, int))[1:])
    assert all(math.isnan(v) for v in cluster_mean(np.empty(0), np.empty(0, int)))
    assert math.isnan(cluster_spearman(np.ones(5), np.arange(5.0), np.arange(5))[0])
    rho, low, _, _ = cluster_spearman(np.arange(5.0), np.arange(5.0) ** 3, np.zeros(5, int))
    assert rho == pytest.approx(1)
    assert math.isnan(low)


def test_monotone_and_reversed_items_correlate_fully() -> None:
    x = np.random.default_rng(0).normal(size=50)

    assert cluster_spearman(x, np.exp(x), np.arange(50)) == (1.0, 1.0, 1.0, 0.0)
    assert cluster_spearman(x, -x, np.arange(50))[:3] == (-1.0, -1.0, -1.0)


def test_rank_correlation_agrees_with_an_independent_twin_ties_included() -> None:
    from scipy.stats import spearmanr

    rng = np.random.default_rng(1)
    x = rng.integers(0, 9, 200).astype(float)
    y = x + rng.integers(0, 9, 200)

    assert cluster_spearman(x, y, np.arange(200))[0] == pytest.approx(float(spearmanr(x, y).statistic))


@pytest.mark.parametrize("share", [0.0, 0.5])
def test_intervals_of_a_mean_cover(share: float) -> None:
    rng = np.random.default_rng(2)
    found = [cluster_mean(*clustered(rng, 12, 8, share)) for _ in range(600)]

    assert np.mean([low <= 0 <= high for _, low, high, _ in found]) >= 0.95 - 3 * math.sqrt(0.0475 / 600)


@pytest.mark.parametrize(("rho", "share"), [(0.0, 0.0), (0.0, 0.5), (0.7, 0.5), (0.9, 0.2)])
def test_intervals_of_a_rank_correlation_cover(rho: float, share: float) -> None:
    rng = np.random.default_rng(3)
    truth = 6 / math.pi * math.asin(rho / 2)  # of a bivariate normal
    hits = []
    for _ in range(400):
        x, clusters = clustered(rng, 40, 6, share)
        other, _ = clustered(rng, 40, 6, share)
        y = rho * x + math.sqrt(1 - rho**2) * other
        _, low, high, _ = cluster_spearman(x, y, clusters)
        hits.append(low <= truth <= high)

    # at 40 clusters the linearised variance is a little small: 93 % is what the docstring's method gives
    assert np.mean(hits) >= 0.93 - 3 * math.sqrt(0.0651 / 400)
    assert np.mean(hits) <= 0.99


@pytest.mark.parametrize("clusters", [[], [4], [0, 0, 2, 5, 5], [5, 0, 2, 0, 5], [-3, -3, 7]])
def test_clusters_are_numbered_in_their_order_sorted_or_not(clusters: list[int]) -> None:
    names, members = np.unique(np.array(clusters, int), return_inverse=True)
    assert numbered(np.array(clusters, int)).tolist() == members.tolist()
    assert len(names) == members.max(initial=-1) + 1


def test_an_order_made_once_gives_what_its_values_give() -> None:
    rng = np.random.default_rng(3)
    clusters = np.repeat(np.arange(10), 7)
    x, y = rng.normal(size=70).round(1), rng.normal(size=70)
    assert cluster_spearman(Order.of(x), Order.of(y), clusters) == cluster_spearman(x, y, clusters)
    assert math.isnan(cluster_spearman(Order.of(np.ones(70)), y, clusters)[0])
