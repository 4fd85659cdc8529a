"""Whether a jump explains a series better than noise that changes its size: the louder part of a series has changes of its own.

Two accounts of a series are held against each other by their likelihood. A jump: the best smooth curve with one logistic
narrower than smooth curves have. Louder noise: the best smooth curve alone, and noise whose size changes once, anywhere, by any
factor, up or down. Beside a jump noise may do so too where a series is long enough to show it; in a short one a jump that does
not explain the series by itself is not told from a few loud points. Neither account need be true: a transition is called only
where the bootstrap of `smooth_null` refutes smooth curves and the jump is likelier besides.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from queries.stats.serial_noise import SHORT, WINDOW, local_residual
from queries.stats.smooth_families import SmoothFamilies

Floats = NDArray[np.float64]
Singles = NDArray[np.float32]
Ints = NDArray[np.int64]

# octaves; half of the change of the widest lies within one
WIDTHS = (0.05, 0.1, 0.15, 0.2, 0.3, 0.4, 0.5)
CENTRES_PER_OCTAVE = 8
# by so much the log likelihood of the jump must be the larger one: smooth curves with noise that changes its size reach it and
# are rejected by the bootstrap too in 5 % at most, and jumps that the bootstrap finds hardly ever miss it (docs/statistics.md)
LEAST_GAIN = 8.0
# the fewest points that can have noise of their own
FEWEST = 3
# of the points of a short series, and no fewer than noise is read off: the smooth curve bends after loud points there, and its
# misfit would hide how quiet the others are
WINDOW_SHARE = 3
# share of a column that a jump must have of its own beside a smooth curve
LEAST_OWN = 0.01


@dataclass(frozen=True)
class NoiseChange:
    """The accounts at given times.

    jumps: (jump, time), of length 1 and free of means. curves: (candidate, time), the smooth curves as `SmoothFamilies` has them,
    without what their derivatives add. common: (candidate, jump), their products; own: 1 / the share of a jump that a
    curve lacks. residual: (time, time), what a local smoother leaves; None where residuals are taken as they are.
    """

    jumps: Singles
    curves: Singles
    common: Singles
    own: Singles
    residual: Singles | None

    @classmethod
    def at(cls, times: Floats, families: SmoothFamilies) -> "NoiseChange":
        """For the times of `families`."""
        x = np.log2(times)
        centres = np.arange(x[0], x[-1], 1 / CENTRES_PER_OCTAVE)
        u = (x - centres[:, None]) / np.array(WIDTHS)[:, None, None]
        jumps = (1 / (1 + np.exp(-np.clip(u, -500, 500)))).reshape(-1, len(x))
        jumps -= jumps.mean(1, keepdims=True)
        size = np.linalg.norm(jumps, axis=1, keepdims=True)
        # one at the last time is none
        jumps = (jumps / np.maximum(size, 1e-12))[size[:, 0] > LEAST_OWN].astype(np.float32)
        curves = families.bases[0]
        common = curves @ jumps.T
        own = 1 - common**2
        return cls(
            jumps,
            curves,
            common,
            np.where(own > LEAST_OWN, 1 / np.maximum(own, LEAST_OWN), 0).astype(np.float32),
            local_residual(x, max(WINDOW, len(x) // WINDOW_SHARE | 1)).astype(np.float32)
            if len(x) < SHORT
            else None,
        )

    def compare(self, values: Singles, fitted: Singles, floor: float) -> tuple[Floats, Floats, Ints]:
        """(gain, factor, first): by how much the log likelihood of the jump is the larger one, the louder noise's account.

        values: (time, series), with their best smooth curves. floor: least standard deviation of noise. factor: how many times as
        large the noise is from the time `first` on.
        """
        left = [
            (part if self.residual is None else self.residual @ part).astype(np.float64) ** 2 + floor**2
            for part in (self._without_jump(values), values - fitted)
        ]
        of_jump, of_noise = left
        n = len(values)
        noise, factor, first = _two_sizes(of_noise)
        jump = -n / 2 * np.log(of_jump.mean(0)) if n < SHORT else _two_sizes(of_jump)[0]
        return jump - noise, factor, first

    def _without_jump(self, values: Singles) -> Singles:
        """What the best smooth curve with a jump leaves: (time, series)."""
        y = values - values.mean(0)
        of_curve, of_jump = self.curves @ y, self.jumps @ y
        left: Singles = np.empty_like(values)
        for s in range(y.shape[1]):
            # a jump's product with what the curve leaves
            rest = of_jump[:, s] - of_curve[:, s, None] * self.common
            gain = rest**2 * self.own + of_curve[:, s, None] ** 2
            curve, jump = np.unravel_index(gain.argmax(), gain.shape)
            height = rest[curve, jump] * self.own[curve, jump]
            below = of_curve[curve, s] - height * self.common[curve, jump]
            left[:, s] = y[:, s] - height * self.jumps[jump] - below * self.curves[curve]
        return left


def _two_sizes(square: Floats) -> tuple[Floats, Floats, Ints]:
    """Of squared noise (time, series): log likelihood with the best two sizes, the second over the first, where it begins."""
    n = len(square)
    k = np.arange(FEWEST, n - FEWEST + 1)[:, None]
    before = np.cumsum(square, axis=0)[k[:, 0] - 1]
    early, late = before / k, (square.sum(0) - before) / (n - k)
    likelihood = -(k * np.log(early) + (n - k) * np.log(late)) / 2
    best = likelihood.argmax(0)
    factor = np.sqrt(late / early)[best, np.arange(square.shape[1])]
    return likelihood.max(0), factor, k[best, 0]
