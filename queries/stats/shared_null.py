"""The test of `smooth_null` for very many series: draws of series with like noise are put together.

Every series is drawn a few times from its own smooth curve with its own noise, refitted in every draw as there; it is held
against the draws of all series whose noise is about as large and as correlated, of which there are thousands. Averaged over
such series the rate of false ones is that of the test of single series, which `corrected` makes what it says.
Calibrated by tests/calibration/shared_null.py; docs/statistics.md has its table.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from queries.stats.change_windows import without_spikes
from queries.stats.smooth_null import LEAST_NOISE, SmoothNull

Floats = NDArray[np.float64]
Singles = NDArray[np.float32]
Ints = NDArray[np.int64]

# of all series together, and of those that are held against the same ones: p values go down to one over that
DRAWS = 200_000
DRAWS_PER_BIN = 5_000
# of the noise's correlation within a range of its size
CORRELATION_BINS = 3
CHUNK = 512


@dataclass(frozen=True)
class SharedTest:
    """One entry per series, as `SmoothTest` has them.

    null_share: of the range in the steepest octave of one draw of each series: what shares look like without a transition.
    n_draws: that a series was held against. null_curves: (time, curve), some draws of each, in shares of the range.
    """

    p: Floats
    excess: Floats
    at: Ints
    critical: Floats
    sigma: Floats
    rho: Floats
    rss: Floats
    change: Floats
    fitted_range: Floats
    null_share: Floats
    n_draws: Ints
    null_curves: Singles


def shared_test(
    null: SmoothNull, values: Floats, *, draws: int = DRAWS, seed: int = 0, keep: int = 0
) -> SharedTest:
    """Test every series: values (time, series), finite, none of them constant.

    draws: of all series together, at least one of each; the first ones are kept, as many of each as make `keep` curves.
    The same series give the same p.
    """
    spread = np.ptp(values, axis=0)
    unit = ((values - values.mean(0)) / spread).astype(np.float32)
    fitted = np.empty_like(unit)
    for part in _chunks(unit.shape[1]):
        fitted[:, part] = null.families.fit(unit[:, part])[0]
    over = _excesses(null, unit, fitted)
    excess = over.max(0).astype(np.float64)
    # what is a jump is told by the noise around it in short curves too; `corrected` makes good what that leaves
    moments = null.noise.moments(unit - fitted, local=True)
    sigma, rho = null.noise.parameters(moments)
    rng = np.random.default_rng([seed, unit.shape[1]])
    rounds = -(-draws // unit.shape[1])
    drawn = np.empty((rounds, unit.shape[1]), dtype=np.float32)
    null_share = np.empty(unit.shape[1])
    kept: list[Singles] = []
    for n in range(rounds):
        for part in _chunks(unit.shape[1]):
            series = np.arange(part.start, min(part.stop, unit.shape[1]))
            curves = null.noise.draw_each(rng, moments, series, LEAST_NOISE)
            curves += fitted[:, part]
            drawn[n, part] = _excesses(null, curves, null.families.fit(curves)[0]).max(0)
            if n == 0:
                null_share[part] = null.octaves.steepest(curves)
            if n * unit.shape[1] < keep:
                kept.append(curves)
    p, critical, n_draws = _against_like(excess, drawn, np.maximum(sigma, LEAST_NOISE), rho)
    return SharedTest(
        p=p,
        excess=excess,
        at=null.octaves.start[over.argmax(0)],
        critical=critical,
        sigma=sigma * spread,
        rho=rho,
        rss=((unit - fitted).astype(np.float64) ** 2).sum(0) * spread**2,
        change=(fitted[-1] - fitted[0]) * spread,
        fitted_range=np.ptp(fitted, axis=0).astype(np.float64),
        null_share=null_share,
        n_draws=n_draws,
        null_curves=np.concatenate(kept, axis=1) if kept else unit[:, :0],
    )


def corrected(
    null: SmoothNull, test: SharedTest, *, draws: int = DRAWS, seed: int = 0
) -> tuple[Floats, Floats]:
    """(p, p of smooth curves): p that hold on average over all series, by how often the kept smooth curves have smaller ones.

    Noise that changes along a series makes the test err more often than it says, and the uncertainty of its size less often;
    the test of curves drawn with such noise, tested alike, knows by how much (prepivoting, Beran 1988).
    """
    smooth = np.sort(shared_test(null, test.null_curves.astype(np.float64), draws=draws, seed=seed + 1).p)
    reached = np.searchsorted(smooth, test.p, side="right")
    return (1 + reached) / (1 + len(smooth)), smooth


def _chunks(n: int) -> list[slice]:
    return [slice(first, first + CHUNK) for first in range(0, n, CHUNK)]


def _excesses(null: SmoothNull, values: Singles, fitted: Singles) -> NDArray[np.floating]:
    """Of the change in every octave over that of the smooth curve: (window, series)."""
    found: NDArray[np.floating] = np.abs(null.octaves.changes(without_spikes(values))) - np.abs(
        null.octaves.changes(fitted)
    )
    return found


def _against_like(excess: Floats, drawn: Singles, sigma: Floats, rho: Floats) -> tuple[Floats, Floats, Ints]:
    """P, critical value at 5 % and number of draws of every series, among those of series with like noise."""
    rounds, n = drawn.shape
    p, critical, n_draws = np.empty(n), np.empty(n), np.empty(n, dtype=np.int64)
    for members in like_noise(sigma, rho, -(-DRAWS_PER_BIN // rounds)):
        pool = np.sort(drawn[:, members], axis=None)
        reached = len(pool) - np.searchsorted(pool, excess[members].astype(np.float32), side="left")
        p[members] = (1 + reached) / (1 + len(pool))
        critical[members] = np.quantile(pool, 0.95)
        n_draws[members] = len(pool)
    return p, critical, n_draws


def like_noise(sigma: Floats, rho: Floats, size: int) -> list[Ints]:
    """Series of like noise together, about `size` of them or more: by its size, and then by its correlation."""
    order = np.argsort(sigma, kind="stable")
    n_wide = max(1, len(order) // (size * CORRELATION_BINS))
    found = []
    for wide in np.array_split(order, n_wide):
        by_rho = wide[np.argsort(rho[wide], kind="stable")]
        found += np.array_split(by_rho, max(1, min(CORRELATION_BINS, len(wide) // size)))
    return found
