"""Noise of a series around a curve: its size and how far neighbouring points go together, AR(1) by checkpoint.

Read off residuals of a local linear smoother of what a fitted curve leaves, so that a slow misfit of the curve is no
noise; residuals beyond three robust standard deviations are set to zero, so that a jump is none either. What a smoother
does to noise is known exactly for every correlation, and so is how uncertain the estimate is.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Singles = NDArray[np.float32]
Ints = NDArray[np.int64]

WINDOW = 9
CUT = 3.0
CORRELATIONS = np.linspace(-0.5, 0.95, 30)
# median of the absolute value of a standard normal
MEDIAN_SIZE = 0.6745


@dataclass(frozen=True)
class Moments:
    """Mean square of the smoother's residuals and their lag-1 correlation, one per series.

    profile: (time, series), how large the noise is along a series: the root mean square over a quarter of its points
    around each, divided by that over all.
    """

    square: Floats
    lag: Floats
    profile: Singles


@dataclass(frozen=True)
class SerialNoise:
    """What a local linear smoother over WINDOW points does to AR(1) noise at given times.

    residual: (time, time), values -> residuals. square, lag: expected moments for noise of variance 1 with each of
    CORRELATIONS. square_error: standard error of log(square), lag_error: of lag.
    """

    residual: Singles
    square: Floats
    lag: Floats
    square_error: Floats
    lag_error: Floats

    @classmethod
    def at(cls, times: Floats) -> "SerialNoise":
        """For times > 0, increasing, WINDOW of them or more."""
        x, n = np.log2(times), len(times)
        if n < WINDOW:
            raise ValueError(f"{n} times; noise is read off windows of {WINDOW}")
        smooth = np.zeros((n, n))
        for i in range(n):
            first = min(max(i - WINDOW // 2, 0), n - WINDOW)
            near = np.arange(first, first + WINDOW)
            smooth[i, near] = np.linalg.pinv(np.column_stack([np.ones(WINDOW), x[near] - x[i]]))[0]
        residual = np.eye(n) - smooth
        apart = np.abs(np.subtract.outer(np.arange(n), np.arange(n)))
        neighbours = (apart == 1) / 2 / n
        rows = []
        for rho in CORRELATIONS:
            covariance = residual @ (rho**apart) @ residual.T
            square, product = np.trace(covariance) / n, np.trace(covariance, 1) / n
            # variances of quadratic forms of Gaussian residuals, then the delta method for their ratio
            turned = neighbours @ covariance
            v_square = 2 * (covariance**2).sum() / n**2
            v_product = 2 * (turned * turned.T).sum()
            shared = 2 * (turned * covariance.T).sum() / n
            lag = product / square
            v_lag = (v_product - 2 * lag * shared + lag**2 * v_square) / square**2
            rows.append((square, lag, np.sqrt(v_square) / square, np.sqrt(max(v_lag, 0.0))))
        return cls(residual.astype(np.float32), *(np.array(column) for column in zip(*rows, strict=True)))

    def moments(self, left: NDArray[np.floating]) -> Moments:
        """Of what a fitted curve leaves: (time, series)."""
        r = (self.residual @ np.asarray(left, dtype=np.float32)).astype(np.float64)
        bound = CUT * np.median(np.abs(r), axis=0) / MEDIAN_SIZE
        r = np.where(np.abs(r) <= bound, r, 0.0)
        square = (r**2).mean(0)
        with np.errstate(invalid="ignore", divide="ignore"):
            lag = (r[1:] * r[:-1]).sum(0) / len(r) / square
        return Moments(square, np.where(square > 0, lag, 0.0), _profile(r**2))

    def parameters(self, moments: Moments) -> tuple[Floats, Floats]:
        """(σ, ρ): standard deviation and lag-1 correlation of the noise."""
        return self._parameters(moments.square, moments.lag)

    def _parameters(self, square: Floats, lag: Floats) -> tuple[Floats, Floats]:
        rho = np.interp(lag, self.lag, CORRELATIONS)
        return np.sqrt(square / np.interp(rho, CORRELATIONS, self.square)), rho

    def draw(self, rng: np.random.Generator, moments: Moments, series: int, n: int, floor: float) -> Singles:
        """N draws of the noise of one series: (time, n), with its parameters as uncertain as their estimate is.

        floor: least standard deviation anywhere. A test that used the estimate as if it were the truth would reject too
        often.
        """
        return self.draw_each(rng, moments, np.full(n, series), floor)

    def draw_each(self, rng: np.random.Generator, moments: Moments, series: Ints, floor: float) -> Singles:
        """The same, one draw for every series listed: (time, listed)."""
        square, lag = moments.square[series], moments.lag[series]
        rho = np.interp(lag, self.lag, CORRELATIONS)
        errors = (np.interp(rho, CORRELATIONS, e) for e in (self.square_error, self.lag_error))
        of_square, of_lag = (error * rng.standard_normal(len(series)) for error in errors)
        sigma, correlation = self._parameters(square * np.exp(of_square), lag + of_lag)
        noise = autoregressive(rng, np.ones(len(series)), correlation, len(self.residual))
        noise *= np.maximum(moments.profile[:, series] * sigma.astype(np.float32), np.float32(floor))
        return noise


def _profile(squares: Floats) -> Singles:
    """Of squared residuals (time, series); 1 everywhere in a series without any."""
    n = len(squares)
    half = max(n // 8, WINDOW // 2)
    sums = np.vstack([np.zeros((1, squares.shape[1])), squares.cumsum(0)])
    first, last = np.maximum(np.arange(n) - half, 0), np.minimum(np.arange(n) + half + 1, n)
    near = (sums[last] - sums[first]) / (last - first)[:, None]
    mean = near.mean(0)
    scale = np.where(mean > 0, near / np.where(mean > 0, mean, 1.0), 1.0)
    return np.sqrt(np.maximum(scale, 1e-6)).astype(np.float32)


def autoregressive(rng: np.random.Generator, sigma: Floats, rho: Floats, n_times: int) -> Singles:
    """AR(1) noise: (time, series) with marginal standard deviation sigma and lag-1 correlation rho of each series."""
    noise = rng.standard_normal((n_times, len(sigma)), dtype=np.float32)
    rho32 = rho.astype(np.float32)
    noise[1:] *= np.sqrt(1 - rho32**2)
    for k in range(1, n_times):
        noise[k] += rho32 * noise[k - 1]
    noise *= sigma.astype(np.float32)
    return noise
