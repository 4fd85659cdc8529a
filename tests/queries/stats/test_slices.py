"""Means of slices: the one-slice case, a slow twin, coverage and false discoveries with a fixed seed."""

import math

import numpy as np
import pytest
from scipy.special import stdtr

from queries.stats.clusters import cluster_mean
from queries.stats.multiple import benjamini_hochberg
from queries.stats.slices import slice_means

N_CLUSTERS, SIZE, N_SLICES = 24, 40, 10


def items(rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Values with a part of their document; slices cut through documents, and some are rare."""
    clusters = np.repeat(np.arange(N_CLUSTERS), SIZE)
    shares = 1 / np.arange(1, N_SLICES + 1)
    slices = rng.choice(N_SLICES, size=len(clusters), p=shares / shares.sum())
    values = 0.4 * rng.normal(size=N_CLUSTERS)[clusters] + rng.standard_t(4, size=len(clusters))
    return values, slices, clusters


def test_slices_of_equal_parts_are_means_over_clusters() -> None:
    values, _, clusters = items(np.random.default_rng(0))
    slices = np.tile(np.arange(SIZE) % N_SLICES, N_CLUSTERS)
    found = slice_means(values, slices, clusters, N_SLICES)
    for k in range(N_SLICES):
        inside = slices == k
        mean, low, high, _ = cluster_mean(values[inside], clusters[inside])
        assert (found.mean[k], found.low[k], found.high[k]) == pytest.approx((mean, low, high))
        assert found.beyond[k] == pytest.approx(mean - values[~inside].mean())
        assert (found.p[k] < 0.05) == (low > 0 or high < 0)
    assert (found.n_items.sum(), set(found.n_clusters)) == (len(values), {N_CLUSTERS})


def test_errors_are_those_of_leaving_clusters_out() -> None:
    """A slow twin leaves out one document after the other, of slices that cut through documents of any size."""
    values, slices, clusters = items(np.random.default_rng(1))
    kept = np.random.default_rng(4).random(len(values)) < (clusters + 1) / N_CLUSTERS
    values, slices, clusters = values[kept], slices[kept], clusters[kept]
    found = slice_means(values, slices, clusters, N_SLICES)
    for k in (0, 6):
        having = np.unique(clusters[slices == k])
        moves = np.zeros((2, N_CLUSTERS))
        for c in range(N_CLUSTERS):
            stay = clusters != c
            inside, rest = (values[(slices == k) & stay], values[(slices != k) & stay])
            moves[:, c] = inside.mean() - found.mean[k], inside.mean() - rest.mean() - found.beyond[k]
        m = len(having)
        se, apart = np.sqrt((m - 1) / m * (moves**2).sum(1))
        shares = np.unique(clusters[slices == k], return_counts=True)[1] / (slices == k).sum()
        df = 1 / (shares**2).sum() - 1
        assert found.n_clusters[k] == m
        assert found.p[k] == pytest.approx(2 * stdtr(df, -abs(found.mean[k]) / se))
        assert found.beyond_p[k] == pytest.approx(2 * stdtr(df, -abs(found.beyond[k]) / apart))


def test_what_one_cluster_and_nothing_else_cannot_say() -> None:
    found = slice_means(np.array([1.0, 3.0, 2.0]), np.array([0, 0, 1]), np.array([0, 1, 1]), 3)
    assert found.mean.tolist()[:2] == [2.0, 2.0]
    assert math.isnan(found.mean[2])
    assert np.isnan([found.low[1], found.p[1], found.beyond_p[1], found.p[2]]).all()
    alone = slice_means(np.array([1.0, 3.0]), np.zeros(2, int), np.arange(2), 1)
    assert math.isnan(alone.beyond_p[0])
    constant = slice_means(np.ones(4), np.zeros(4, int), np.arange(4), 1)
    assert math.isnan(constant.p[0])


def test_intervals_hold_the_truth_and_false_discoveries_are_as_rare_as_promised() -> None:
    """Data sets in which no slice differs from anything, though documents do; the rarest slices are in half of them."""
    rng = np.random.default_rng(2)
    n, held, against_zero, against_rest = 400, 0, 0, 0
    for _ in range(n):
        values, slices, clusters = items(rng)
        found = slice_means(values, slices, clusters, N_SLICES)
        held += int(((found.low <= 0) & (found.high >= 0)).sum())
        against_zero += bool(np.nanmin(benjamini_hochberg(found.p)) < 0.05)
        against_rest += bool(np.nanmin(benjamini_hochberg(found.beyond_p)) < 0.05)
    assert held / (n * N_SLICES) == pytest.approx(0.95, abs=0.015)
    # with nothing to find every discovery is false, so the share of families with one is what q promises
    assert against_zero / n <= 0.05 + 2 * math.sqrt(0.05 * 0.95 / n)
    assert against_rest / n <= 0.05 + 2 * math.sqrt(0.05 * 0.95 / n)
    assert against_rest > 0


def test_a_planted_slice_is_found_though_everything_shifted() -> None:
    n, hits, false = 30, 0, 0
    for seed in range(n):
        values, slices, clusters = items(np.random.default_rng(seed))
        found = slice_means(values + 1.0 + 1.2 * (slices == 3), slices, clusters, N_SLICES)
        assert (benjamini_hochberg(found.p) < 0.05).sum() >= N_SLICES - 3
        different = set(np.flatnonzero(benjamini_hochberg(found.beyond_p) < 0.05).tolist())
        hits += 3 in different
        false += len(different - {3})
        assert found.beyond[3] == pytest.approx(1.2, abs=0.6)
    assert hits >= n - 1
    assert false / n < 0.3  # of nine slices; the one that differs pulls the rest of every other a little
