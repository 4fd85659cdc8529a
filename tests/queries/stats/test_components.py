import math
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from queries.stats.components import (
    N_BLOCKS,
    _leave_outs,
    difference_interval,
    excess_spread_p,
    one_way,
    two_way,
)
from tests.references.variance import indicators, reml


def planted(n_runs: int, n_items: int, item: float, seed: float, rest: float, rng: int = 0) -> np.ndarray:
    """A runs × items table with these standard deviations."""
    g = np.random.default_rng(rng)
    return (
        item * g.normal(size=(1, n_items))
        + seed * g.normal(size=(n_runs, 1))
        + rest * g.normal(size=(n_runs, n_items))
    )


def test_one_way_is_the_analysis_of_variance() -> None:
    groups = [np.array([1.0, 2, 4]), np.array([5.0, 7, 6]), np.array([2.0, 3, 1])]
    between, within = one_way(groups)
    expected_f = stats.f_oneway(*groups).statistic

    assert within.estimate == pytest.approx(np.mean([g.var(ddof=1) for g in groups]))
    assert (between.estimate * 3 + within.estimate) / within.estimate == pytest.approx(expected_f)
    assert (between.df, within.df) == (2, 6)
    assert between.share + within.share == pytest.approx(1)


def test_one_way_agrees_with_restricted_likelihood() -> None:
    rng = np.random.default_rng(5)
    groups = [2 * rng.normal() + rng.normal(size=4) for _ in range(6)]
    labels = np.repeat(np.arange(6), 4)
    between, within = one_way(groups)

    assert between.estimate > 0
    assert [between.estimate, within.estimate] == pytest.approx(
        reml(np.concatenate(groups), [indicators(labels)]), rel=1e-3
    )


def test_two_way_agrees_with_restricted_likelihood() -> None:
    table = planted(4, 12, 1.0, 0.6, 0.5, rng=2)
    runs, items = (axis.reshape(-1) for axis in np.indices(table.shape))
    item, seed, rest = two_way(table).components

    assert min(item.estimate, seed.estimate) > 0
    assert [item.estimate, seed.estimate, rest.estimate] == pytest.approx(
        reml(table.reshape(-1), [indicators(items), indicators(runs)]), rel=1e-3
    )


def test_the_within_interval_is_chi_square() -> None:
    (only,) = one_way([np.array([3.0, 5, 4, 8])])
    s2 = np.var([3, 5, 4, 8], ddof=1)

    assert (only.low, only.high) == pytest.approx(
        (3 * s2 / stats.chi2.ppf(0.975, 3), 3 * s2 / stats.chi2.ppf(0.025, 3))
    )
    assert only.share == 1


def test_groups_without_repeats_say_nothing() -> None:
    assert one_way([np.array([1.0]), np.array([2.0])]) == ()
    assert one_way([]) == ()


def test_a_negative_estimate_stays_negative_and_its_share_is_zero() -> None:
    # group means closer together than the spread within groups allows
    groups = [np.array([0.0, 10]), np.array([1.0, 9]), np.array([2.0, 8])]
    between, within = one_way(groups)

    assert between.estimate < 0
    assert (between.low, between.share, within.share) == (0, 0, 1)
    assert between.high > 0


def test_runs_that_agree_have_nothing_of_their_own() -> None:
    result = two_way(np.tile(np.arange(30.0), (5, 1)))

    assert result.icc_agreement == 1
    assert (result.idiosyncratic, result.idiosyncratic_low) == (0, 0)


def test_runs_that_differ_by_an_offset_agree_in_pattern_only() -> None:
    result = two_way(np.arange(30.0)[None] + 100 * np.arange(4.0)[:, None])

    assert result.icc_consistency == 1
    assert result.icc_agreement < 0.05


def test_components_are_those_that_were_planted() -> None:
    item, seed, rest = two_way(planted(40, 2000, 1.0, 0.5, 0.7)).components

    assert (item.estimate, rest.estimate) == pytest.approx((1, 0.49), rel=0.1)
    assert seed.low < 0.25 < seed.high


def test_two_runs_give_an_estimate_and_the_widest_interval() -> None:
    result = two_way(planted(2, 50, 1, 0.2, 0.5))

    assert 0 < result.idiosyncratic < 1
    assert (result.idiosyncratic_low, result.idiosyncratic_high) == (0, 1)
    assert result.components[2].high == math.inf


@pytest.mark.parametrize("table", [np.zeros((1, 5)), np.zeros((5, 1)), np.zeros(5)])
def test_a_table_that_is_too_small_is_refused(table: np.ndarray) -> None:
    with pytest.raises(ValueError, match="at least 2 × 2"):
        two_way(table)


def test_a_table_with_gaps_is_refused() -> None:
    with pytest.raises(ValueError, match="gaps"):
        two_way(np.array([[1.0, np.nan], [2, 3]]))


@settings(max_examples=20)
@given(st.integers(0, 1000), st.floats(-100, 100), st.floats(0.1, 10))
def test_offsets_and_units_change_what_they_should(seed: int, offset: float, scale: float) -> None:
    table = planted(4, 20, 1, 0.5, 0.8, rng=seed)
    here, there = two_way(table), two_way(offset + scale * table)

    assert there.icc_agreement == pytest.approx(here.icc_agreement, abs=1e-6)
    for a, b in zip(here.components, there.components, strict=True):
        assert b.estimate == pytest.approx(scale**2 * a.estimate, rel=1e-5, abs=1e-7 * scale**2)


@settings(max_examples=20)
@given(st.permutations(range(5)))
def test_the_order_of_runs_does_not_matter(order: list[int]) -> None:
    table = planted(5, 20, 1, 0.5, 0.8)

    assert two_way(table[order]).icc_agreement == pytest.approx(two_way(table).icc_agreement)


def test_with_no_noise_the_interval_of_a_difference_is_chi_square() -> None:
    low, high = difference_interval(8.0, 4, 0.0, 1000, 2.0)

    assert (low, high) == pytest.approx((4 * 4 / stats.chi2.ppf(0.975, 4), 4 * 4 / stats.chi2.ppf(0.025, 4)))


def test_excess_spread_is_cochrans_q() -> None:
    values, errors = np.array([1.0, 2, 4]), np.array([1.0, 1, 1])
    expected = stats.chi2.sf(((values - values.mean()) ** 2).sum(), 2)

    assert excess_spread_p([(values, errors)]) == pytest.approx(expected)
    assert math.isnan(excess_spread_p([(values[:1], errors[:1])]))


@pytest.mark.parametrize("shape", [(2, 40), (3, 2), (4, 3), (5, 301)])
def test_what_is_left_out_is_as_if_it_had_not_been_there(shape: tuple[int, int]) -> None:
    table = 5 + planted(*shape, 3.0, 0.5, 1.0)
    runs, blocks = _leave_outs(table)
    edges = np.linspace(0, shape[1], min(shape[1], N_BLOCKS) + 1).astype(int)
    without_runs = [np.delete(table, r, axis=0) for r in range(shape[0]) if shape[0] > 2]
    without_blocks = [
        np.delete(table, np.arange(a, b), axis=1) for a, b in pairwise(edges) if shape[1] - (b - a) > 1
    ]

    for found, rest in ((runs, without_runs), (blocks, without_blocks)):
        expected = [[c.estimate for c in two_way(t).components] for t in rest]
        np.testing.assert_allclose(np.reshape(found, (-1, 3)), np.reshape(expected, (-1, 3)), atol=1e-12)
