"""Prediction of runs left out, against regressors of other runs; fits within a run against walks."""

import math

import numpy as np
import pytest

from queries.stats.held_out import held_out, standardised
from queries.stats.smooth_regression import fit_curve
from tests.references.smooth_trajectories import held_out_by_lstsq, swapped_means

N = 40
EVEN = np.full(N, 1 / N)
AT = np.linspace(-3, 3, N)


def walks(rng: np.random.Generator, n: int) -> np.ndarray:
    return rng.normal(size=(n, N)).cumsum(axis=1)


def monotone(rng: np.random.Generator, n: int) -> np.ndarray:
    """Sigmoids, each run's at a time and with a width of its own."""
    return 1 / (1 + np.exp(-(AT - rng.normal(size=(n, 1))) * rng.uniform(1, 3, size=(n, 1))))


def trends(rng: np.random.Generator, n: int) -> np.ndarray:
    """One curve in all runs, with drifts of their own."""
    return np.tanh(AT) + 0.05 * walks(rng, n)


def test_it_is_the_regression_on_the_other_runs() -> None:
    rng = np.random.default_rng(0)
    weights = rng.dirichlet(np.ones(N))
    y, x = standardised(walks(rng, 4), weights), rng.normal(size=(4, N, 2)).cumsum(axis=1)
    found, slow = held_out(y, x, weights), swapped_means(y, x, weights)

    assert found.r2 == pytest.approx(held_out_by_lstsq(y, x, weights))
    assert found.swapped == pytest.approx(np.mean(slow[1:]))
    assert found.p == np.mean(np.array(slow) >= slow[0] - 1e-9)
    assert found.exact


def test_regressors_that_are_the_curve_predict_all_of_it_in_every_run() -> None:
    rng = np.random.default_rng(1)
    x = monotone(rng, 5)
    shifted = 3 * x[:, :, None] + 1
    found = held_out(standardised(walks(rng, 5), EVEN), shifted, EVEN)
    exact = held_out(x - x.mean(), shifted, EVEN)

    assert exact.r2 == pytest.approx(np.ones(5))
    assert exact.p == 1 / 120
    assert found.mean < 0.9


def test_a_curve_that_its_own_regressor_drives_is_found() -> None:
    rng = np.random.default_rng(2)
    found = 0
    for _ in range(40):
        x = monotone(rng, 6)
        y = standardised(x + 0.03 * walks(rng, 6), EVEN)
        found += held_out(y, x[:, :, None], EVEN).p <= 0.05
    assert found >= 38


@pytest.mark.parametrize("curves", [walks, monotone, trends], ids=["walks", "monotone", "one trend"])
@pytest.mark.parametrize("n", [4, 8])
def test_curves_without_connection_are_called_explained_as_rarely_as_promised(curves, n) -> None:
    rng = np.random.default_rng(3)
    rejected, shares = 0, []
    for k in range(100):
        y, x = standardised(curves(rng, n), EVEN), np.stack([curves(rng, n), curves(rng, n)], axis=2)
        found = held_out(y, x, EVEN, seed=k)
        rejected += found.p <= 0.05
        shares.append(found.mean)
    assert rejected <= 12
    # which is why prediction alone is no evidence: two trends predict one another in other runs
    assert (np.mean(shares) > 0.5) == (curves is not walks)


def test_a_flat_curve_has_nothing_to_explain_and_one_run_no_other() -> None:
    flat = standardised(np.vstack([np.full(N, 5.0), AT]), EVEN)

    assert np.isnan(flat[0]).all()
    assert flat[1] @ EVEN == pytest.approx(0, abs=1e-12)
    assert (flat[1] ** 2) @ EVEN == pytest.approx(1)
    alone = held_out(flat[1:], AT[None, :, None], EVEN)
    assert (len(alone.r2), math.isnan(alone.p), math.isnan(alone.mean)) == (0, True, True)


def test_regressors_that_say_the_same_count_once() -> None:
    rng = np.random.default_rng(4)
    y, x = standardised(walks(rng, 4), EVEN), walks(rng, 4)[:, :, None]

    assert held_out(y, np.concatenate([x, 2 * x], axis=2), EVEN).r2 == pytest.approx(held_out(y, x, EVEN).r2)


def test_a_fit_within_a_run_is_least_squares_with_an_interval_around_it() -> None:
    rng = np.random.default_rng(5)
    weights = rng.dirichlet(np.ones(N))
    x = rng.normal(size=(N, 2)).cumsum(axis=0)
    y = 2 * x[:, 0] - x[:, 1] + 0.3 * rng.normal(size=N)
    found = fit_curve(y, x, weights, n_boot=300, n_walks=199)
    design, root = np.column_stack([np.ones(N), x]), np.sqrt(weights)
    expected = np.linalg.lstsq(design * root[:, None], y * root, rcond=None)[0]

    assert found.coefficients == pytest.approx(expected[1:])
    assert (found.low < found.coefficients).all()
    assert (found.coefficients < found.high).all()
    assert found.coefficients == pytest.approx([2, -1], abs=0.1)
    assert 0.9 < found.r2_low <= found.r2 <= found.r2_high <= 1
    assert found.p == 1 / 200


def test_walks_explain_walks_and_are_the_yardstick() -> None:
    rng = np.random.default_rng(6)
    y, x = walks(rng, 100), rng.normal(size=(100, N, 2)).cumsum(axis=1)
    found = [
        fit_curve(a, b, EVEN, n_boot=19, n_walks=99, seed=k)
        for k, (a, b) in enumerate(zip(y, x, strict=True))
    ]

    assert sum(f.p <= 0.05 for f in found) <= 12
    assert 0.3 < np.mean([f.walk_r2 for f in found]) < 0.5
    assert np.mean([f.r2 for f in found]) == pytest.approx(np.mean([f.walk_r2 for f in found]), abs=0.1)


def test_intervals_of_coefficients_hold_for_curves_that_drift() -> None:
    rng = np.random.default_rng(7)
    x = walks(rng, 100)
    y = x + walks(rng, 100)
    fits = [fit_curve(a, b[:, None], EVEN, n_boot=99, n_walks=1) for a, b in zip(y, x, strict=True)]

    assert sum(f.low[0] <= 1 <= f.high[0] for f in fits) >= 88
    assert all(0 <= f.r2_low <= f.r2 <= f.r2_high <= 1 for f in fits)
    assert math.isnan(fit_curve(np.ones(N), x[0][:, None], EVEN, n_boot=19, n_walks=1).r2_low)


def test_curves_of_inits_without_connection_are_explained_as_rarely_as_promised() -> None:
    """Three inits times three orders: both curves are the init's and have nothing to do with one another."""
    rng = np.random.default_rng(7)
    inits, orders = np.arange(9) % 3, np.arange(9) // 3
    found = plain = 0
    for k in range(100):
        y = standardised(walks(rng, 3)[inits] + 0.3 * walks(rng, 9), EVEN)
        x = (walks(rng, 3)[inits] + 0.3 * walks(rng, 9))[:, :, None]
        found += held_out(y, x, EVEN, shared=[inits, orders], seed=k).p <= 0.05
        if k < 30:
            plain += held_out(y, x, EVEN, seed=k).p <= 0.05
    assert found <= 12
    assert plain > 3  # a tenth and more, counted as independent runs


def test_runs_that_share_a_seed_are_left_out_together() -> None:
    rng = np.random.default_rng(8)
    inits, orders = np.arange(9) % 3, np.arange(9) // 3
    y, x = standardised(walks(rng, 9), EVEN), walks(rng, 9)[:, :, None]
    found = held_out(y, x, EVEN, shared=[inits, orders])
    kept = (inits != 0) & (orders != 0)
    design = [np.column_stack([np.ones(len(EVEN)), one]) for one in x]
    a, b = np.concatenate([d for d, k in zip(design, kept, strict=True) if k]), np.concatenate(y[kept])
    coefficients = np.linalg.lstsq(a, b, rcond=None)[0]

    assert found.r2[0] == pytest.approx(1 - ((y[0] - design[0] @ coefficients) ** 2 @ EVEN))
    assert found.least_p == pytest.approx(1 / 36)
    assert not found.exact
    # who shares something with everybody has none to learn from
    alone = held_out(y[:4], x[:4], EVEN, shared=[np.array([0, 0, 1, 2]), np.array([0, 1, 0, 0])])
    assert math.isnan(alone.r2[0])
    assert np.isfinite(alone.r2[1:]).all()
