"""Excess correlations over partners, shares over runs, rank AUC and equal numbers: closed forms, slow twins, planted, null."""

import math
from itertools import permutations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import t as student

from queries.stats.few_runs import share_interval
from queries.stats.universal import (
    excess_correlation,
    highest_by_chance,
    rank_auc,
    same_number_p,
    universal_shares,
)
from tests.calibration.universal_neurons import held, planted

NAN = math.nan


def test_the_mean_is_over_partners_that_have_a_number() -> None:
    found = excess_correlation([np.array([0.2, NAN, NAN]), np.array([0.6, 0.5, NAN])])
    assert found == pytest.approx([0.4, 0.5, NAN], nan_ok=True)


def by_loops(
    pairs: list[tuple[int, int]], excess: list[np.ndarray], threshold: float
) -> tuple[float, float, float]:
    """Share, low and high, run by run and neuron by neuron."""

    def mean(without: int | None) -> float:
        shares = []
        for run in sorted({a for a, _ in pairs}):
            mine = [e for (a, b), e in zip(pairs, excess, strict=True) if a == run and without not in (a, b)]
            if mine:
                n = len(mine[0])
                high = [k for k in range(n) if sum(e[k] for e in mine) / len(mine) > threshold]
                shares.append(len(high) / n)
        return sum(shares) / len(shares)

    runs = sorted({run for pair in pairs for run in pair})
    parts = [mean(run) for run in runs]
    n, middle = len(runs), sum(parts) / len(parts)
    se = math.sqrt((n - 1) / n * sum((p - middle) ** 2 for p in parts))
    half = student.ppf(0.975, n - 1) * se
    return mean(None), max(0.0, mean(None) - half), min(1.0, mean(None) + half)


@given(st.integers(3, 6), st.integers(0, 10_000))
def test_shares_are_those_of_loops(n_runs: int, seed: int) -> None:
    pairs, excess = planted(np.random.default_rng(seed), n_runs, 0.1, n_neurons=20)
    found = universal_shares(pairs, excess, 0.5)
    if found.mean not in (0.0, 1.0):
        assert (found.mean, found.low, found.high) == pytest.approx(by_loops(pairs, excess, 0.5))


def test_what_every_neuron_is_has_an_exact_interval() -> None:
    pairs = list(permutations(range(4), 2))
    none = universal_shares(pairs, [np.zeros(5)] * 12, 0.5)
    every = universal_shares(pairs, [np.ones(5)] * 12, 0.5)
    assert (none.mean, none.low, none.high) == (0, 0, pytest.approx(1 - 0.025**0.25))
    assert (every.mean, every.low, every.high) == (1, pytest.approx(0.025**0.25), 1)


def test_a_neuron_that_does_not_vary_is_not_universal() -> None:
    found = universal_shares([(0, 1), (1, 0)], [np.array([0.9, NAN]), np.array([0.9, 0.9])], 0.5)
    assert found.by_run == {0: 0.5, 1: 1.0}
    assert found.mean == 0.75
    assert math.isnan(found.low)  # two runs


def test_leaving_out_a_run_must_leave_partners() -> None:
    # without run 0 nobody is left who was matched to another
    found = universal_shares([(0, 1), (0, 2)], [np.ones(3), np.zeros(3)], 0.4)
    assert found.by_run == {0: 1.0}
    assert math.isnan(found.low)


@pytest.mark.parametrize("n_runs", [3, 5])
def test_intervals_hold_the_share_where_partners_are_common_to_runs(n_runs: int) -> None:
    jackknife, over_shares = held(n_runs, 0.15, 150, n_truth=400)
    assert jackknife >= 0.9
    # shares as if they were independent say too much: the reason for leaving runs out as partners too
    assert over_shares < jackknife


@given(
    st.lists(st.integers(0, 5), min_size=1, max_size=12), st.lists(st.integers(0, 5), min_size=1, max_size=12)
)
def test_auc_is_that_of_all_pairs(a: list[int], b: list[int]) -> None:
    pairs = [(x > y) + 0.5 * (x == y) for x in a for y in b]
    found = rank_auc(np.array(a, float), np.array(b, float))
    assert found == pytest.approx(sum(pairs) / len(pairs))
    assert rank_auc(np.array(b, float), np.array(a, float)) == pytest.approx(1 - found)


def test_auc_of_nothing_is_no_number() -> None:
    assert math.isnan(rank_auc(np.array([NAN]), np.array([1.0])))
    assert rank_auc(np.array([2.0, NAN]), np.array([1.0])) == 1.0


def test_equal_numbers_are_poisson_under_permutation() -> None:
    assert same_number_p(0, 1.0) == 1.0
    assert same_number_p(1, 1.0) == pytest.approx(1 - math.exp(-1))
    assert same_number_p(3, 0.0) == 0.0
    rng = np.random.default_rng(0)
    # every neuron has a match of its own, or four neurons share one: at most 5% are found at 5%
    for groups in (np.arange(40), np.arange(40) // 4):
        p = [
            same_number_p(int((rng.permutation(40)[groups] == np.arange(40)).sum()), 1.0) for _ in range(1000)
        ]
        assert np.mean(np.array(p) < 0.05) <= 0.065


def test_the_highest_of_many_by_chance() -> None:
    assert highest_by_chance(1000, 3072) == pytest.approx(0.127, abs=5e-4)
    assert highest_by_chance(10_000, 36_864) == pytest.approx(0.046, abs=5e-4)
    assert math.isnan(highest_by_chance(0, 10))
    rng = np.random.default_rng(1)
    a, b = (rng.normal(size=(1000, 256)) for _ in range(2))
    highest = np.corrcoef(a.T, b.T)[:256, 256:].max(1).mean()
    # an upper estimate, reached for many candidates
    assert 0.85 < highest / highest_by_chance(1000, 256) < 1


def test_shares_of_universal_neurons_leave_out_seeds() -> None:
    rng = np.random.default_rng(0)
    pairs = [(a, b) for a in range(8) for b in range(8) if a % 4 != b % 4]
    excess = [(rng.random(50) < 0.2 + 0.1 * (a % 4)) * 0.9 for a, _ in pairs]
    of = {run: run % 4 for run in range(8)}
    found = universal_shares(pairs, excess, 0.2, shared=[of])

    without = []
    for init in range(4):
        kept = [k for k, pair in enumerate(pairs) if init not in (pair[0] % 4, pair[1] % 4)]
        without.append(universal_shares([pairs[k] for k in kept], [excess[k] for k in kept], 0.2).mean)
    assert found.se == pytest.approx(math.sqrt(3 / 4 * np.sum((np.array(without) - np.mean(without)) ** 2)))
    assert found.high - found.mean == pytest.approx(student.ppf(0.975, 3) * found.se)
    assert found.mean == universal_shares(pairs, excess, 0.2).mean
    none = universal_shares(pairs, [np.zeros(5)] * len(pairs), 0.2, shared=[of])
    assert (none.low, none.high) == pytest.approx(share_interval(0, 4))
