"""The path-dependence index: closed forms, all pairs by loops, shuffled places, planted shares, coverage."""

from itertools import combinations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from queries.stats.path_index import NEAR_ZERO, distance, path_index, strata_of
from tests.calibration.path_index import N, held, planted


def by_loops(values: np.ndarray, strata: np.ndarray) -> tuple[float, float]:
    """Observed and expected distance from every pair of runs and every pair of objects of a stratum."""
    centred = values - values.mean(1, keepdims=True)
    pairs = list(combinations(range(len(values)), 2))
    observed = np.mean([np.mean((centred[a] - centred[b]) ** 2) for a, b in pairs])
    expected = 0.0
    for a, b in pairs:
        for stratum in np.unique(strata):
            inside = np.flatnonzero(strata == stratum)
            exchanged = np.mean([(centred[a, i] - centred[b, j]) ** 2 for i in inside for j in inside])
            expected += exchanged * len(inside) / len(strata) / len(pairs)
    return float(observed), float(expected)


@settings(max_examples=30)
@given(seed=st.integers(0, 500), n_runs=st.integers(2, 5), n_strata=st.integers(1, 4))
def test_it_is_what_all_pairs_come_to(seed: int, n_runs: int, n_strata: int) -> None:
    rng = np.random.default_rng(seed)
    values = rng.normal(size=(n_runs, 25)) + rng.normal(size=25) + 5 * rng.normal(size=(n_runs, 1))
    strata, documents = rng.integers(0, n_strata, 25), rng.integers(0, 6, 25)
    found = path_index(values, strata, documents)
    observed, expected = by_loops(values, strata)
    assert found.observed == pytest.approx(observed)
    assert found.expected == pytest.approx(expected)
    assert found.pattern == pytest.approx(observed / expected)
    assert path_index(values * 3 + 7, strata, documents).pattern == pytest.approx(found.pattern)
    order = rng.permutation(25)
    moved = path_index(values[::-1][:, order], strata[order], documents[order])
    assert (moved.pattern, moved.low, moved.high) == pytest.approx(
        (found.pattern, found.low, found.high), nan_ok=True
    )


def test_equal_runs_have_0_and_offsets_are_told_apart() -> None:
    common = np.random.default_rng(0).normal(size=N)
    values = common + np.array([[0.0], [1.0], [2.0]])
    found = path_index(values, np.zeros(N, np.int64), np.arange(N))
    assert found.pattern == pytest.approx(0, abs=1e-12)
    # pairs of run means differ by 1, 1 and 2; exchanged objects by twice the variance
    assert found.offset == pytest.approx(2 / (2 * common.var()))
    assert distance(values[0], values[2]) == pytest.approx(0, abs=1e-12)


def test_exchanged_objects_have_1_with_the_standard_deviation_told() -> None:
    rng = np.random.default_rng(1)
    values = rng.normal(size=(4, N)) + rng.gamma(2, size=N)
    strata = rng.integers(0, 6, N)
    told = path_index(values, strata, np.arange(N))
    found = []
    for _ in range(200):
        exchanged = values.copy()
        for stratum in range(6):
            inside = np.flatnonzero(strata == stratum)
            for row in exchanged:
                row[inside] = rng.permutation(row[inside])
        found.append(path_index(exchanged, strata, np.arange(N)).pattern)
    assert np.mean(found) == pytest.approx(1, abs=4 * told.null_sd / 200**0.5)
    assert np.std(found) == pytest.approx(told.null_sd, rel=0.2)


@pytest.mark.parametrize(
    ("n_runs", "share"),
    [
        (3, 0.5),
        pytest.param(5, 0.1, marks=pytest.mark.thorough),
        (5, 0.9),
        pytest.param(10, 0.4, marks=pytest.mark.thorough),
    ],
)
def test_a_planted_share_is_recovered_and_its_interval_covers(n_runs: int, share: float) -> None:
    mean, covered = held(n_runs, share, 80)
    assert mean == pytest.approx(share, rel=0.06)
    assert covered >= 0.93


def test_without_strata_what_is_easy_for_everybody_passes_for_agreement() -> None:
    values, difficulty, documents = planted(np.random.default_rng(3), 5, 0.9)
    coarse = path_index(values, strata_of(difficulty, 1), documents).pattern
    assert coarse < 0.6 < path_index(values, strata_of(difficulty, 40), documents).pattern


def test_near_0_only_a_bound_from_above_is_told() -> None:
    values, difficulty, documents = planted(np.random.default_rng(4), 5, 0.005)
    found = path_index(values, strata_of(difficulty, 40), documents)
    assert found.pattern < NEAR_ZERO
    assert np.isnan(found.low)
    assert found.pattern < found.high < 2 * NEAR_ZERO


def test_too_little_has_no_interval_and_what_never_varies_no_index() -> None:
    rng = np.random.default_rng(5)
    two = path_index(rng.normal(size=(2, 50)), np.zeros(50, np.int64), np.arange(50))
    assert np.isfinite(two.pattern)
    assert np.isnan([two.low, two.high]).all()
    one_document = path_index(rng.normal(size=(4, 50)), np.zeros(50, np.int64), np.zeros(50, np.int64))
    assert np.isnan([one_document.low, one_document.high]).all()
    constant = path_index(np.ones((3, 50)), np.zeros(50, np.int64), np.arange(50))
    assert np.isnan([constant.pattern, constant.low, constant.high, constant.null_sd]).all()


@given(st.lists(st.integers(0, 9), min_size=1, max_size=40), st.integers(1, 12))
def test_strata_follow_difficulty_and_never_part_equals(difficulty: list[int], n: int) -> None:
    values = np.array(difficulty, dtype=float)
    found = strata_of(values, n)
    assert set(found.tolist()) == set(range(int(found.max()) + 1))
    assert found.max() < n
    order = np.argsort(values, kind="stable")
    assert (np.diff(found[order]) >= 0).all()
    assert all(len(set(found[values == v].tolist())) == 1 for v in set(difficulty))


def test_a_difficulty_that_is_none_is_refused() -> None:
    with pytest.raises(ValueError, match="no difficulty"):
        strata_of(np.array([1.0, np.nan]), 3)


def test_runs_that_share_a_seed_are_left_out_together() -> None:
    values, difficulty, documents = planted(np.random.default_rng(6), 9, 0.4)
    strata, of = strata_of(difficulty, 10), np.arange(9) // 3
    found = path_index(values, strata, documents, shared=[of])
    by_run = path_index(values, strata, documents)

    left_out = [np.log(path_index(values[of != k], strata, documents).pattern) for k in range(3)]
    over_seeds = 2 / 3 * ((left_out - np.mean(left_out)) ** 2).sum()
    by_runs = [np.log(path_index(np.delete(values, k, 0), strata, documents).pattern) for k in range(9)]
    over_runs = 8 / 9 * ((by_runs - np.mean(by_runs)) ** 2).sum()
    half, half_by_run = (np.log(one.high / one.pattern) for one in (found, by_run))
    assert (half / 4.302653) ** 2 - over_seeds == pytest.approx((half_by_run / 2.306004) ** 2 - over_runs)
    assert found.pattern == by_run.pattern
    assert np.isnan(path_index(values, strata, documents, shared=[np.arange(9) // 5]).high)
