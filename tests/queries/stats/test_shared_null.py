"""The test of very many series at once: as the test of one, honest on smooth curves, and it finds planted steps."""

import numpy as np
import pytest

from queries.stats.serial_noise import autoregressive
from queries.stats.shared_null import corrected, like_noise, shared_test
from queries.stats.smooth_null import SmoothNull
from queries.stats.token_transitions import busiest_octave, explained, many_transitions

TIMES = np.unique(np.geomspace(1, 20_000, 48).round())
X = np.log2(TIMES)
NULL = SmoothNull.at(TIMES)


def smooth(rng: np.random.Generator, n: int) -> np.ndarray:
    """(time, curve) of range 1: powers, exponentials, logarithms and wide sigmoids, each a quarter."""
    quarter = n // 4
    tau = TIMES[rng.integers(5, len(TIMES) - 5, quarter)]
    centre, w = rng.uniform(X[2], X[-2], quarter), rng.uniform(1, 3, quarter)
    y = np.concatenate(
        [
            TIMES[:, None] ** -rng.uniform(0.05, 2, quarter),
            np.exp(-TIMES[:, None] / tau),
            -X[:, None] * np.ones(quarter),
            -1 / (1 + np.exp(-(X[:, None] - centre) / w)),
        ],
        axis=1,
    )
    return (y - y.min(0)) / np.ptp(y, axis=0)


def noisy(rng: np.random.Generator, curves: np.ndarray, sigma: float) -> np.ndarray:
    n = curves.shape[1]
    return curves + autoregressive(rng, np.full(n, sigma), np.full(n, 0.3), len(curves))


def steps(rng: np.random.Generator, n: int) -> tuple[np.ndarray, np.ndarray]:
    """Falls by 1 with w 0.1 to 0.3, and the log2 of when."""
    centre, w = rng.uniform(X[0] + 4, X[-1] - 3, n), rng.uniform(0.1, 0.3, n)
    return 1 - 1 / (1 + np.exp(-(X[:, None] - centre) / w)), centre


def test_smooth_curves_are_beyond_at_most_as_often_as_they_may() -> None:
    rng = np.random.default_rng(0)
    for sigma in (0.01, 0.1):
        found = many_transitions(TIMES, noisy(rng, smooth(rng, 800), sigma), draws=20_000)
        # 1 % of 800 is 8; 18 or more have a chance of 1 in 500
        assert found.beyond.sum() <= 17
        assert (found.p <= 0.05).mean() < 0.065
        assert found.found.sum() <= 4


def test_noise_that_grows_along_training_does_not_make_transitions() -> None:
    # with the square root of time, as losses of tokens do: the test of one series with as few points calls most of these sharp
    rng = np.random.default_rng(11)
    sigma = 0.3 * np.sqrt(TIMES / TIMES[-1])[:, None]
    curves = smooth(rng, 800)
    found = many_transitions(TIMES, curves + sigma * rng.normal(size=curves.shape), draws=20_000)
    assert found.beyond.sum() <= 17
    assert found.found.sum() <= 2


def test_p_are_corrected_by_how_often_smooth_curves_have_smaller_ones() -> None:
    rng = np.random.default_rng(12)
    test = shared_test(NULL, noisy(rng, smooth(rng, 20), 0.05), draws=10_000, keep=50)
    assert test.null_curves.shape == (len(TIMES), 60)  # three of each
    p, null = corrected(NULL, test, draws=10_000)
    assert p.tolist() == [(1 + sum(x <= mine for x in null.tolist())) / 61 for mine in test.p.tolist()]


def test_planted_steps_are_found_with_their_place_and_share() -> None:
    rng = np.random.default_rng(1)
    values = smooth(rng, 600)
    sharp, centre = steps(rng, 120)
    values[:, :120] = sharp
    found = many_transitions(TIMES, noisy(rng, values, 0.006), draws=30_000)
    assert found.found[:120].mean() > 0.9
    assert found.found[120:].mean() < 0.03
    assert found.beyond.mean() == pytest.approx(0.2, abs=0.03)
    assert not found.rises[found.found].any()
    t50 = np.log2(found.t50[:120])
    assert np.nanmedian(np.abs(t50 - centre)) < 0.15
    # a fifth of all curves, which all fall by 1
    assert found.share_of_change == pytest.approx(0.2, abs=0.04)
    assert 0 < found.r2 < 1
    assert np.nanmedian(found.share[:120]) > 0.5 > np.nanmedian(found.null_share)


def test_all_steps_together_are_the_whole_mean() -> None:
    # many small sharp steps at many times: a smooth mean, of which nothing is left
    rng = np.random.default_rng(2)
    sharp, _ = steps(rng, 300)
    found = many_transitions(TIMES, noisy(rng, sharp, 0.003), draws=30_000)
    assert found.found.mean() > 0.9
    assert found.share_of_mean < 0.3
    assert found.r2 > 0.97
    assert found.share_of_change == pytest.approx(1, abs=0.08)


def test_the_shared_draws_say_what_draws_of_each_series_say() -> None:
    rng = np.random.default_rng(3)
    values = noisy(rng, smooth(rng, 40), 0.05)
    together, alone = shared_test(NULL, values, draws=30_000), NULL.test(values, most_draws=999)
    np.testing.assert_allclose(together.excess, alone.excess, atol=1e-5)
    # one cuts jumps by the noise around them in short series too
    assert np.median(np.abs(np.log(together.sigma / alone.sigma))) < 0.1
    np.testing.assert_array_equal(together.at, alone.at)
    assert np.corrcoef(np.log(together.p), np.log(alone.p))[0, 1] > 0.6
    assert np.median(np.abs(np.log(together.critical / alone.critical))) < 0.3


def test_p_is_the_share_of_the_draws_of_series_with_like_noise() -> None:
    rng = np.random.default_rng(4)
    found = shared_test(NULL, noisy(rng, smooth(rng, 4), 0.05), draws=10_000)
    assert (found.n_draws == 5000).all()  # of two series each
    counts = found.p * 5001
    np.testing.assert_allclose(counts, counts.round(), atol=1e-6)
    assert counts.min() >= 1


def test_the_same_series_give_the_same_numbers() -> None:
    values = noisy(np.random.default_rng(5), smooth(np.random.default_rng(5), 40), 0.05)
    a, b = (shared_test(NULL, values, draws=10_000) for _ in range(2))
    np.testing.assert_array_equal(a.p, b.p)
    assert not np.array_equal(a.p, shared_test(NULL, values, draws=10_000, seed=1).p)
    # the unit of the values does not matter
    np.testing.assert_allclose(shared_test(NULL, 1000 * values + 5, draws=10_000).p, a.p, atol=0.02)


def test_one_draw_of_each_is_the_draw_of_one() -> None:
    values = noisy(np.random.default_rng(6), smooth(np.random.default_rng(6), 8), 0.05)
    moments = NULL.noise.moments(values - NULL.families.fit(values)[0])
    draws = NULL.noise.draw(np.random.default_rng(0), moments, 3, 5, 1e-3)
    each = NULL.noise.draw_each(np.random.default_rng(0), moments, np.full(5, 3), 1e-3)
    np.testing.assert_array_equal(draws, each)


def test_series_are_put_together_by_size_and_correlation_of_their_noise() -> None:
    rng = np.random.default_rng(7)
    sigma, rho = rng.random(1000), rng.random(1000)
    found = like_noise(sigma, rho, 50)
    assert sorted(np.concatenate(found).tolist()) == list(range(1000))
    assert min(map(len, found)) >= 50
    spreads = [np.ptp(sigma[members]) for members in found]
    assert max(spreads) < 0.3
    assert len(like_noise(sigma[:3], rho[:3], 50)) == 1
    assert [len(one) for one in like_noise(sigma[:3], rho[:3], 1)] == [1, 1, 1]


def test_a_curve_that_does_not_change_is_unresolved() -> None:
    rng = np.random.default_rng(8)
    values = noisy(rng, smooth(rng, 8), 0.02)
    values[:, 2] = 0.7
    found = many_transitions(TIMES, values, draws=10_000)
    assert (found.kind[2], found.why[2]) == ("unresolved", "the values do not change")
    assert np.isnan([found.p[2], found.share[2], found.t50[2]]).all()
    assert np.isfinite(np.delete(found.p, 2)).all()
    nothing = many_transitions(TIMES, np.ones((len(TIMES), 3)), draws=10_000)
    assert (nothing.kind == "unresolved").all()
    assert np.isnan(nothing.r2)


def test_where_noise_hides_a_step_there_is_no_none() -> None:
    rng = np.random.default_rng(9)
    found = many_transitions(TIMES, noisy(rng, smooth(rng, 40), 0.4), draws=10_000)
    assert (found.kind == "unresolved").all()
    assert "would not stand out from the noise" in found.why[0]


def test_what_a_curve_explains_of_another() -> None:
    mean = np.array([4.0, 3.0, 1.0, 0.0])
    assert explained(mean, mean - 2) == (1.0, 1.0)
    r2, share = explained(mean, mean / 2)
    assert (r2, share) == (0.75, 0.5)  # half is left, a quarter of the squares
    assert explained(mean, -mean)[0] == -3.0
    assert explained(mean, np.zeros(4)) == (0.0, 0.0)


def test_the_busiest_octave() -> None:
    assert busiest_octave(np.array([1.0, 4.0, 7.0, 8.0, 100.0])) == (4.0, 0.4)
    assert busiest_octave(np.array([3.0])) == (3.0, 1.0)
    assert np.isnan(busiest_octave(np.empty(0))).all()
