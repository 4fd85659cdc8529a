"""Items at which all runs of a size are better: counted as by hand, chance as in closed form, held-out runs without luck."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from queries.stats.size_separation import held_out_runs, lowest_runs, own_items
from tests.references.separation import counts_by_naming, held_out


@given(st.integers(1, 3), st.integers(1, 4), st.integers(0, 10_000), st.sampled_from([0.0, 0.3]))
def test_every_naming_is_counted_as_by_hand(n_small: int, n_large: int, seed: int, margin: float) -> None:
    # few values, so that many are equal
    values = np.random.default_rng(seed).integers(0, 6, (n_small + n_large, 40)) / 4
    lowest = lowest_runs(values, n_small)
    apart = lowest.apart(margin)
    counts = counts_by_naming(values, n_small, margin)
    mine = counts[tuple(range(n_small))]
    found = own_items(lowest.runs[apart], n_small, n_small + n_large)

    assert found.count == mine
    assert found.n_namings == len(counts) == math.comb(n_small + n_large, n_small)
    assert found.chance == pytest.approx(np.mean(list(counts.values())))
    assert found.p == pytest.approx(np.mean([n >= mine for n in counts.values()]))
    for named, count in counts.items():
        assert (lowest.runs[apart] == sum(1 << run for run in named)).sum() == count


def test_the_gap_is_between_the_worst_of_the_best_and_the_best_of_the_rest() -> None:
    lowest = lowest_runs(np.array([[1.0, 5.0], [2.0, 1.0], [2.5, 4.0], [9.0, 7.0]], np.float32), 2)

    assert lowest.runs.tolist() == [0b0011, 0b0110]
    assert lowest.gap.tolist() == [0.5, 1.0]


def test_chance_is_one_over_the_number_of_namings() -> None:
    values = np.random.default_rng(0).normal(size=(10, 150_000)).astype(np.float32)
    lowest = lowest_runs(values, 5)
    found = own_items(lowest.runs, 5, 10)

    assert found.chance == pytest.approx(150_000 / 252)
    assert found.count == pytest.approx(150_000 / 252, abs=5 * math.sqrt(150_000 / 252))


def test_more_runs_than_a_number_holds_are_refused() -> None:
    for n, runs in ((0, 3), (3, 3), (2, 63)):
        with pytest.raises(ValueError, match="expected 1 to 61"):
            lowest_runs(np.zeros((runs, 2)), n)


def test_held_out_runs_are_those_left_out_by_hand() -> None:
    rng = np.random.default_rng(1)
    for n_small, n_large in ((2, 2), (3, 4)):
        small, large = rng.normal(size=(n_small, 200)), rng.normal(size=(n_large, 200))
        found = held_out_runs(small, large, np.arange(200) // 10, 0.1)
        n, mean = held_out(small, large, 0.1)
        assert (found.n_items, found.held_out) == (pytest.approx(n), pytest.approx(mean))
        assert math.isfinite(found.p) == (n_small > 2)
    alone = held_out_runs(small[:1], large, np.zeros(200, int), 0.0)
    assert math.isnan(alone.held_out)


def test_luck_is_gone_in_runs_that_chose_nothing_and_truth_is_not() -> None:
    rng = np.random.default_rng(2)
    clusters = np.arange(900) // 30
    wrong, held = 0, []
    for _ in range(100):
        small, large = rng.normal(size=(2, 3, 900))
        found = held_out_runs(small, large, clusters, 0.0)
        wrong += found.p < 0.05
        held.append(found.held_out)
        assert found.found > 0.8
    assert wrong <= 12
    assert np.mean(held) == pytest.approx(0, abs=0.05)
    large[:, ::5] += 1.5
    true = held_out_runs(small, large, clusters, 0.0)
    assert true.p < 0.05
    assert 0 < true.low < true.held_out < true.found
