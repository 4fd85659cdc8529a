"""Whether a series changes more within one octave than smooth curves do: a bootstrap that refits in every draw.

Statistic: over all octaves, the largest excess of the change in an octave over that of the best smooth curve there, as a
share of the range. Null: the best smooth curve plus AR(1) noise with parameters as uncertain as they are. Sequential p
values (Besag and Clifford 1991): draws stop once 20 of them reach the statistic.
Calibrated by tests/calibration/transitions.py; docs/statistics.md has its tables.
"""

import zlib
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from queries.stats.change_windows import Windows, without_spikes
from queries.stats.noise_change import LEAST_GAIN, NoiseChange
from queries.stats.serial_noise import Moments, SerialNoise
from queries.stats.smooth_families import SmoothFamilies

Floats = NDArray[np.float64]
Singles = NDArray[np.float32]
Ints = NDArray[np.int64]

FEWEST_POINTS = 16
ENOUGH_EXCEEDANCES = 20
MOST_DRAWS = 9_999
# draws grow where few of them reach the statistic; products of this size stay in a core's cache
FIRST_DRAWS = 100
CHUNK = 256
# of the range: noise below this is taken as this, as no series is of a family to more digits
LEAST_NOISE = 1e-3
# of the noise variance: candidates that fit worse than the best by more than this never win in a draw
PRUNE = 100.0


@dataclass(frozen=True)
class SmoothTest:
    """One entry per series.

    p: of the octave test; p_linear: of windows of 5 % of linear time. excess, excess_linear: the statistics, in shares of
    the range. at: index of the time at which the octave with the largest excess starts. critical: what 5 % of draws
    exceed. sigma: of the noise, in the unit of the values; rho: its lag-1 correlation. family: the best smooth curve.
    rss: sum of squares it leaves. n_draws: made. fitted: (time, series). NaN p for a constant series.
    jump: whether a jump explains the series better than noise that changes its size once: where it does not, a small p
    is no evidence. factor, since: how many times as large that noise is from the time with that index on.
    """

    p: Floats
    p_linear: Floats
    excess: Floats
    excess_linear: Floats
    at: Ints
    critical: Floats
    sigma: Floats
    rho: Floats
    family: tuple[str, ...]
    rss: Floats
    n_draws: Ints
    fitted: Floats
    jump: NDArray[np.bool_]
    factor: Floats
    since: Ints


@dataclass(frozen=True)
class SmoothNull:
    """The test at given times, to be used for any number of series measured there."""

    times: Floats
    families: SmoothFamilies
    noise: SerialNoise
    change: NoiseChange
    octaves: Windows
    linear: Windows

    @classmethod
    def at(cls, times: Floats) -> "SmoothNull":
        """For times > 0, strictly increasing; at least 16 of them, over more than an octave. Raises ValueError."""
        if len(times) < FEWEST_POINTS or not (times[0] > 0 and (np.diff(times) > 0).all()):
            raise ValueError(f"the test needs {FEWEST_POINTS} or more times > 0, strictly increasing")
        if times[-1] <= 2 * times[0]:
            raise ValueError("the test needs times over more than an octave")
        families = SmoothFamilies.at(times)
        return cls(
            times,
            families,
            SerialNoise.at(times),
            NoiseChange.at(times, families),
            Windows.octaves(times),
            Windows.linear(times),
        )

    def test(self, values: Floats, *, most_draws: int = MOST_DRAWS, seed: int = 0) -> SmoothTest:
        """Test every series: values (time, series), finite.

        The same series gives the same p whatever else is tested with it. most_draws 0: no p.
        """
        spread = np.ptp(values, axis=0)
        usable = spread > 0
        scale = np.where(usable, spread, 1.0)
        middle = values.mean(0)
        unit = ((values - middle) / scale).astype(np.float32)
        fitted, best, gains = self.families.fit(unit)
        found = self._statistics(unit, fitted)
        moments = self.noise.moments(unit - fitted)
        sigma, rho = self.noise.parameters(moments)
        n = values.shape[1]
        p, critical = np.full((2, n), np.nan), np.full(n, np.nan)
        n_draws = np.zeros(n, dtype=np.int64)
        for k in np.flatnonzero(usable) if most_draws else ():
            # in a draw two candidates trade places only if they are this near to each other
            spare = PRUNE * max(sigma[k], LEAST_NOISE) ** 2 * (1 + rho[k]) / (1 - rho[k])
            near = self.families.only(gains[:, k] >= gains[:, k].max() - spare)
            rng = np.random.default_rng([seed, zlib.crc32(unit[:, k].tobytes())])
            p[:, k], critical[k], n_draws[k] = self._p(
                near, fitted[:, k], moments, int(k), [s[k] for s in found], rng, most_draws
            )
        gain, factor, since = np.zeros(n), np.ones(n), np.zeros(n, dtype=np.int64)
        if most_draws:
            gain, factor, since = self.change.compare(unit, fitted, LEAST_NOISE)
        excess = (
            np.abs(self.octaves.changes(without_spikes(unit))) - np.abs(self.octaves.changes(fitted))
        ).argmax(0)
        return SmoothTest(
            p=p[0],
            p_linear=p[1],
            excess=np.where(usable, found[0], np.nan),
            excess_linear=np.where(usable, found[1], np.nan),
            at=self.octaves.start[excess],
            critical=critical,
            sigma=sigma * scale,
            rho=rho,
            family=tuple(self.families.labels[b] for b in best),
            rss=((unit - fitted).astype(np.float64) ** 2).sum(0) * scale**2,
            n_draws=n_draws,
            fitted=fitted.astype(np.float64) * scale + middle,
            jump=gain >= LEAST_GAIN,
            factor=factor,
            since=since,
        )

    def excess(self, values: NDArray[np.floating]) -> list[Floats]:
        """The statistics of every series as they are, in the unit of the values: by octaves, by windows of linear time."""
        centred = (values - values.mean(0)).astype(np.float32)
        return self._statistics(centred, self.families.fit(centred)[0])

    def _statistics(self, values: Singles, fitted: Singles) -> list[Floats]:
        """Largest excess per series, by octaves and by windows of linear time."""
        calm = without_spikes(values)
        return [
            (np.abs(w.changes(calm)) - np.abs(w.changes(fitted))).max(0).astype(np.float64)
            for w in (self.octaves, self.linear)
        ]

    def _p(
        self,
        families: SmoothFamilies,
        fitted: Singles,
        moments: Moments,
        series: int,
        found: list[Floats],
        rng: np.random.Generator,
        most: int,
    ) -> tuple[tuple[float, float], float, int]:
        """Sequential p of both statistics, the critical value of the first, and how many draws were made."""
        drawn: list[Floats] = []
        n, batch = 0, min(FIRST_DRAWS, most)
        while True:
            for first in range(0, batch, CHUNK):
                noise = self.noise.draw(rng, moments, series, min(CHUNK, batch - first), LEAST_NOISE)
                noise += fitted[:, None]
                drawn.append(np.array(self._statistics(noise, families.fit(noise)[0])))
            n += batch
            reached = np.concatenate(drawn, axis=1) >= np.array(found)[:, None]
            if n == most or (reached.sum(1) >= ENOUGH_EXCEEDANCES).all():
                break
            batch = min(3 * batch, most - n)
        critical = float(np.quantile(np.concatenate(drawn, axis=1)[0], 0.95))
        return (sequential_p(reached[0]), sequential_p(reached[1])), critical, n


def sequential_p(reached: NDArray[np.bool_]) -> float:
    """P from draws in order: 20 / (draws until the 20th that reaches the statistic), else (1 + reached) / (1 + draws)."""
    hits = np.flatnonzero(reached)
    if len(hits) >= ENOUGH_EXCEEDANCES:
        return float(ENOUGH_EXCEEDANCES / (hits[ENOUGH_EXCEEDANCES - 1] + 1))
    return float((1 + len(hits)) / (1 + len(reached)))
