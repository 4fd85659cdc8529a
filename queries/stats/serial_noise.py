"""Noise of a series around a curve: its size and how far neighbouring points go together, AR(1) by checkpoint.

Read off residuals of a local linear smoother of what a fitted curve leaves, so that a slow misfit of the curve is no
noise; residuals far beyond those around them are set to zero, so that a jump is none either. Noise of a long series may grow or
shrink by a power of time and change slowly besides. What a smoother does to noise is known exactly for every correlation, and so
is how uncertain the estimate is.
"""

from dataclasses import dataclass, fields

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Singles = NDArray[np.float32]
Ints = NDArray[np.int64]

WINDOW = 9
# a jump reaches as many residuals as the smoother is wide: not half of those that say what is usual around it
AROUND = WINDOW + 1
# that many points can spare windows of that width; in shorter series a jump would fill them
SHORT = 60
# robust standard deviations; the wider one makes good that what is usual is known from few points
CUT, CUT_SHORT = 3.5, 3.0
# points left out on either side of the largest residuals when the growth of noise is told: a jump is none
MASKED = 6
# variance of a line's slope through log |residual|, times its sum of squares; 1.23 if they were independent
LOG_VARIANCE = 1.6
# of the squared slope in units of its variance: less is taken as chance, more shrinks to 0 by as much (James and Stein 1961)
SHRINK = 4.0
# of the range; logarithms of nothing are not wanted
LEAST_RESIDUAL = 1e-5
CHUNK = 512
CORRELATIONS = np.linspace(-0.5, 0.95, 30)
# median of the absolute value of a standard normal
MEDIAN_SIZE = 0.6745


@dataclass(frozen=True)
class Moments:
    """Mean square of the smoother's residuals and their lag-1 correlation, one per series.

    profile: (time, series), how large the noise is along a series: its growth, times the root mean square over the points
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
        residual = local_residual(x, WINDOW)
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

    def moments(self, left: NDArray[np.floating], *, local: bool | None = None) -> Moments:
        """Of what a fitted curve leaves: (time, series).

        local: whether what is a jump is told by the residuals around it, or by the whole series: by default unless the series
        is short, where a jump fills most of what is around it and would pass for noise.
        """
        local = len(left) >= SHORT if local is None else local
        parts = [
            self._moments(np.asarray(left[:, k : k + CHUNK], dtype=np.float32), local)
            for k in range(0, left.shape[1], CHUNK)
        ]
        return Moments(
            *(np.concatenate([getattr(p, f.name) for p in parts], axis=-1) for f in fields(Moments))
        )

    def _moments(self, left: Singles, local: bool) -> Moments:
        r = (self.residual @ left).astype(np.float64)
        n = len(r)
        # in a short series the misfit around a jump reaches everywhere, and would be taken for growth
        trend = _trend(r) if n >= SHORT else np.ones_like(r)
        r /= trend
        size = np.abs(r)
        usual = np.median(_around(size, AROUND), axis=2) if local else np.median(size, axis=0)
        r[size > (CUT_SHORT if n < SHORT else CUT) * usual / MEDIAN_SIZE] = 0.0
        near = _around(r**2, max(n // 10, min(max(n // 8, WINDOW // 2), WINDOW - 1))).mean(2)
        square = (r**2).mean(0)
        # neighbours in units of the noise there: what is left of a jump would be all that counts
        z = r / np.sqrt(np.maximum(near, 1e-12))
        lag = (z[1:] * z[:-1]).sum(0) / n / np.maximum((z**2).mean(0), 1e-12)
        scale = np.where(square > 0, near / np.where(square > 0, square, 1.0), 1.0)
        profile = trend * np.sqrt(np.maximum(scale, 1e-6))
        mean = (profile**2).mean(0)
        return Moments(
            square * mean,
            np.where(square > 0, lag, 0.0),
            (profile / np.sqrt(mean)).astype(np.float32),
        )

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


def local_residual(x: Floats, window: int) -> Floats:
    """The matrix (point, point) that leaves of values at x what a local linear smoother over so many points does not follow."""
    n = len(x)
    found = np.eye(n)
    for i in range(n):
        first = min(max(i - window // 2, 0), n - window)
        near = np.arange(first, first + window)
        found[i, near] -= np.linalg.pinv(np.column_stack([np.ones(window), x[near] - x[i]]))[0]
    return found


def _trend(r: Floats) -> Floats:
    """How large noise is by a line through log |residual| from point to point, 1 in the middle: (time, series).

    Without the points around the largest residuals, which may be a jump, and shrunk by what may be chance.
    """
    n = len(r)
    at = np.clip(_around(r**2, MASKED).sum(2).argmax(0), MASKED, n - 1 - MASKED)
    x = np.arange(n, dtype=np.float64)[:, None]
    kept = np.abs(x - at) > MASKED
    centred = np.where(kept, x - np.where(kept, x, 0.0).sum(0) / kept.sum(0), 0.0)
    spread = (centred**2).sum(0)
    slope = (centred * np.log(np.maximum(np.abs(r), LEAST_RESIDUAL))).sum(0) / spread
    certain = slope**2 * spread / LOG_VARIANCE
    slope *= np.maximum(0.0, 1 - SHRINK / np.maximum(certain, SHRINK))
    found: Floats = np.exp(slope * (x - (n - 1) / 2))
    return found


def _around(values: Floats, half: int) -> Floats:
    """The values around each time, at the ends the nearest as many: (time, series) -> (time, series, window)."""
    n = len(values)
    half = min(half, (n - 1) // 2)
    first = np.clip(np.arange(n) - half, 0, n - 2 * half - 1)
    found: Floats = sliding_window_view(values, 2 * half + 1, axis=0)[first]
    return found


def autoregressive(rng: np.random.Generator, sigma: Floats, rho: Floats, n_times: int) -> Singles:
    """AR(1) noise: (time, series) with marginal standard deviation sigma and lag-1 correlation rho of each series."""
    noise = rng.standard_normal((n_times, len(sigma)), dtype=np.float32)
    rho32 = rho.astype(np.float32)
    noise[1:] *= np.sqrt(1 - rho32**2)
    for k in range(1, n_times):
        noise[k] += rho32 * noise[k - 1]
    noise *= sigma.astype(np.float32)
    return noise
