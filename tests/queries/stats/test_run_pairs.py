"""Means over pairs of runs."""

import math
from itertools import combinations

import numpy as np
import pytest

from queries.stats.run_pairs import mean_over_pairs


def test_runs_that_are_all_alike_leave_only_the_documents() -> None:
    pairs = list(combinations(range(4), 2))
    mean, low, high = mean_over_pairs(pairs, np.full(6, 0.3), np.full(6, 0.01))

    assert mean == pytest.approx(0.3)
    assert (high - low) / 2 == pytest.approx(3.182446 * 0.01)


def test_two_runs_have_no_interval_and_no_value_no_mean() -> None:
    assert mean_over_pairs([(0, 1)], np.array([0.5]), np.array([0.1]))[0] == 0.5
    assert math.isnan(mean_over_pairs([(0, 1)], np.array([0.5]), np.array([0.1]))[1])
    assert math.isnan(mean_over_pairs([(0, 1)], np.array([math.nan]), np.array([0.1]))[0])


def test_a_star_of_pairs_has_no_interval_because_without_its_centre_none_is_left() -> None:
    assert math.isnan(mean_over_pairs([(0, 1), (0, 2)], np.array([0.1, 0.3]), np.zeros(2))[1])


def test_the_jackknife_is_that_of_a_mean_where_a_pair_is_the_sum_of_its_runs() -> None:
    effects = np.array([0.1, 0.4, 0.8, 1.5, 1.1])
    pairs = list(combinations(range(5), 2))
    values = np.array([(effects[a] + effects[b]) / 2 for a, b in pairs])
    mean, low, high = mean_over_pairs(pairs, values, np.zeros(10))

    assert mean == pytest.approx(effects.mean())
    assert (high - low) / 2 == pytest.approx(2.776445 * effects.std(ddof=1) / math.sqrt(5))


def test_intervals_cover_where_pairs_share_runs() -> None:
    rng = np.random.default_rng(0)
    pairs = list(combinations(range(5), 2))
    hits = []
    for _ in range(800):
        positions = rng.normal(size=(5, 3))
        values = np.array([((positions[a] - positions[b]) ** 2).mean() for a, b in pairs])
        _, low, high = mean_over_pairs(pairs, values, np.zeros(10))
        hits.append(low <= 2.0 <= high)
    naive = []
    for _ in range(200):
        positions = rng.normal(size=(5, 3))
        values = np.array([((positions[a] - positions[b]) ** 2).mean() for a, b in pairs])
        naive.append(abs(values.mean() - 2) <= 2.262 * values.std(ddof=1) / math.sqrt(10))

    assert np.mean(hits) >= 0.95 - 3 * math.sqrt(0.0475 / 800) - 0.05  # skewed: squared distances of 5 runs
    assert np.mean(naive) < np.mean(hits)


def test_runs_that_share_seeds_are_left_out_together() -> None:
    inits = np.array([0.1, 0.7, 0.4])
    pairs = list(combinations(range(9), 2))
    values = np.array([(inits[a // 3] + inits[b // 3]) / 2 for a, b in pairs])
    shared = [{run: run // 3 for run in range(9)}, {run: run % 3 for run in range(9)}]
    mean, low, high = mean_over_pairs(pairs, values, np.zeros(36), shared=shared)

    # every run of an init is alike, so nine of them are three; orders change nothing
    assert mean == pytest.approx(0.4)
    assert (high - low) / 2 == pytest.approx(4.302653 * inits.std(ddof=1) / math.sqrt(3))
    two = [{run: run // 5 for run in range(9)}]
    assert math.isnan(mean_over_pairs(pairs, values, np.zeros(36), shared=two)[1])
