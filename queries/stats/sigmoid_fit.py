"""A sigmoid on a sloping line, y = A + B / (1 + exp(−(x − x₀) / w)) + C x, fitted to many series at once.

For a given centre x₀ and width w the rest has a closed form, so the fit is a grid of both and one matrix product.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.special import stdtrit

Floats = NDArray[np.float64]

# octaves between 10 and 90 % of a logistic, in its w
WIDTH_10_90 = 2 * float(np.log(9))
# half of the change within one octave: tanh(1 / (4 w)) = 0.5
MAJOR_W = 1 / (4 * float(np.arctanh(0.5)))
WIDTHS = np.geomspace(0.03, 8, 41)
CENTRES_PER_OCTAVE = 8
N_PARAMETERS = 5
CHUNK = 512


@dataclass(frozen=True)
class Sigmoids:
    """One entry per series: x₀ and w with the interval of w (by profile), B, and the sum of squares that is left.

    An end of the interval is 0 or inf where the series does not bound it.
    """

    centre: Floats
    w: Floats
    w_low: Floats
    w_high: Floats
    height: Floats
    rss: Floats


def fit_sigmoids(x: Floats, values: Floats, level: float = 0.95) -> Sigmoids:
    """Fit every series; x in octaves, increasing; values (time, series), finite.

    The interval of w holds every width whose best sum of squares is not worse than the least by more than Student's t
    allows, with as many points as count where neighbours go together: n (1 − ρ) / (1 + ρ), ρ that of what is left.
    """
    line = np.linalg.qr(np.column_stack([np.ones_like(x), x]))[0]
    centres = np.arange(x[0], x[-1], 1 / CENTRES_PER_OCTAVE)
    u = np.clip((x - centres[:, None]) / WIDTHS[:, None, None], -500, 500)
    curves = (1 / (1 + np.exp(-u))).reshape(-1, len(x))
    curves -= (curves @ line) @ line.T
    size = np.linalg.norm(curves, axis=1)
    # a curve that is a line at these times, such as a step between the last two, is no candidate
    unit = curves / np.where(size > 1e-6, size, np.inf)[:, None]
    y = values - line @ (line.T @ values)
    total = (y**2).sum(0)
    n = y.shape[1]
    best, rss = np.zeros((len(WIDTHS), n), dtype=np.int64), np.zeros((len(WIDTHS), n))
    height = np.zeros((len(WIDTHS), n))
    for first in range(0, n, CHUNK):
        part = slice(first, first + CHUNK)
        found = (unit @ y[:, part]).reshape(len(WIDTHS), len(centres), -1)
        k = (found**2).argmax(1)
        top = np.take_along_axis(found, k[:, None], 1)[:, 0]
        best[:, part], rss[:, part] = k, np.maximum(total[part] - top**2, 0)
        sizes = size.reshape(len(WIDTHS), -1)[np.arange(len(WIDTHS))[:, None], k]
        height[:, part] = top / np.maximum(sizes, 1e-6)
    chosen, series = rss.argmin(0), np.arange(n)
    least = rss[chosen, series]
    curve = unit[chosen * len(centres) + best[chosen, series]].T
    left = y - curve * (curve * y).sum(0)
    rho = np.clip((left[1:] * left[:-1]).sum(0) / np.maximum((left**2).sum(0), 1e-300), 0, 0.95)
    freedom = np.maximum(len(x) * (1 - rho) / (1 + rho) - N_PARAMETERS, 3.0)
    allowed = least * (1 + stdtrit(freedom, (1 + level) / 2) ** 2 / freedom) + 1e-12 * total
    inside = rss <= allowed
    lowest, highest = inside.argmax(0), len(WIDTHS) - 1 - inside[::-1].argmax(0)
    return Sigmoids(
        centre=centres[best[chosen, series]],
        w=WIDTHS[chosen],
        # between two widths of the grid the farther one is taken
        w_low=np.where(lowest > 0, WIDTHS[np.maximum(lowest - 1, 0)], 0.0),
        w_high=np.where(highest < len(WIDTHS) - 1, WIDTHS[np.minimum(highest + 1, len(WIDTHS) - 1)], np.inf),
        height=height[chosen, series],
        rss=least,
    )


def aicc(rss: Floats, n_points: int, n_parameters: int) -> Floats:
    """Akaike's criterion with the correction for few points, from sums of squares; lower is better."""
    k = n_parameters + 1  # the variance of the noise
    tiny = np.maximum(rss, np.finfo(float).tiny)
    found: Floats = n_points * np.log(tiny / n_points) + 2 * k + 2 * k * (k + 1) / max(n_points - k - 1, 1)
    return found
