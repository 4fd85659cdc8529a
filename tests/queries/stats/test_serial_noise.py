"""Noise around a curve: size and correlation recovered, jumps and slow misfits are no noise."""

import numpy as np
import pytest

from queries.stats.serial_noise import CORRELATIONS, Moments, SerialNoise, autoregressive

TIMES = np.geomspace(1, 143_000, 80)
X = np.log2(TIMES)


@pytest.fixture(scope="module")
def noise() -> SerialNoise:
    return SerialNoise.at(TIMES)


def drawn(sigma: float, rho: float, n: int = 400) -> np.ndarray:
    return autoregressive(np.random.default_rng(0), np.full(n, sigma), np.full(n, rho), len(TIMES))


@pytest.mark.parametrize(("sigma", "rho", "least"), [(0.05, 0.0, 0.95), (0.05, 0.3, 0.95), (2.0, 0.7, 0.86)])
def test_size_and_correlation_are_recovered(
    noise: SerialNoise, sigma: float, rho: float, least: float
) -> None:
    found, correlation = noise.parameters(noise.moments(drawn(sigma, rho)))

    # slow waves of correlated noise pass for changes of its size: both come out too small where ρ is large
    assert least * sigma < np.median(found) < 1.03 * sigma
    assert rho - 0.11 < np.median(correlation) < rho + 0.04


def test_draws_have_the_variance_and_correlation_asked_for() -> None:
    y = drawn(0.5, 0.6, 4000)

    assert y.std() == pytest.approx(0.5, rel=0.02)
    assert np.corrcoef(y[1:].ravel(), y[:-1].ravel())[0, 1] == pytest.approx(0.6, abs=0.01)


def test_expected_moments_and_their_errors_are_those_of_many_draws(noise: SerialNoise) -> None:
    k = int(np.argmin(np.abs(CORRELATIONS - 0.3)))
    r = noise.residual @ drawn(1.0, float(CORRELATIONS[k]), 4000)
    square, lag = (r**2).mean(0), (r[1:] * r[:-1]).sum(0) / len(r) / (r**2).mean(0)

    assert square.mean() == pytest.approx(noise.square[k], rel=0.02)
    assert np.median(lag) == pytest.approx(noise.lag[k], abs=0.02)
    assert np.log(square).std() == pytest.approx(noise.square_error[k], rel=0.1)
    assert lag.std() == pytest.approx(noise.lag_error[k], rel=0.1)


def test_a_jump_and_a_slow_misfit_are_no_noise(noise: SerialNoise) -> None:
    clean, _ = noise.parameters(noise.moments(drawn(0.01, 0.0)))
    jump = noise.parameters(noise.moments(drawn(0.01, 0.0) + 0.5 * (X > 8)[:, None]))[0]
    slow = noise.parameters(noise.moments(drawn(0.01, 0.0) + 0.02 * X[:, None]))[0]

    assert np.median(jump) < 2.5 * np.median(clean)
    assert np.median(slow) == pytest.approx(np.median(clean), rel=1e-3)


def test_draws_from_an_estimate_vary_as_much_as_it_may_err(noise: SerialNoise) -> None:
    moments = noise.moments(drawn(0.05, 0.3, 1))
    n = 2000
    draws = noise.draw(np.random.default_rng(1), moments, 0, n, 0.0)
    floored = noise.draw(
        np.random.default_rng(1), Moments(np.zeros(1), np.zeros(1), np.ones((80, 1), np.float32)), 0, n, 0.2
    )

    # each draw has its own σ, so their sizes vary more than those of one σ do
    assert draws.std(0).std() > 1.1 * drawn(0.05, 0.3, n).std(0).std()
    assert floored.std() == pytest.approx(0.2, rel=0.02)


def test_noise_that_grows_is_drawn_growing(noise: SerialNoise) -> None:
    growing = drawn(0.05, 0.0, 1) * np.linspace(0.4, 2, 80)[:, None]
    draws = noise.draw(np.random.default_rng(1), noise.moments(growing), 0, 2000, 0.0)

    assert draws[60:].std() > 2 * draws[:20].std()


@pytest.mark.parametrize("octaves", [-8, -4, 4, 8])
def test_noise_that_grows_by_a_power_of_time_is_told_along_the_series(
    noise: SerialNoise, octaves: int
) -> None:
    size = 0.02 * 2.0 ** (octaves * np.linspace(-0.5, 0.5, 80))
    moments = noise.moments(drawn(1.0, 0.3) * size[:, None])
    sigma, _ = noise.parameters(moments)
    told = np.median(moments.profile * sigma, axis=1)

    np.testing.assert_allclose(np.log2(told / size), 0, atol=0.35)


def test_too_few_times_are_refused() -> None:
    with pytest.raises(ValueError, match="8 times; noise is read off windows of 9"):
        SerialNoise.at(TIMES[:8])
