"""How far a trajectory gets in a given time: |x(t) − x(s)| ~ (t − s)^h, with h 1/2 for a random walk and 1 for a straight line.

That holds for steps of even length. Training slows down and speeds up, which moves h by itself, so h is read between
two references with the run's own step lengths: random walks, and a straight line.
"""

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from queries.stats.random_walk import MOST_NUMBERS, random_directions

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]

PHASES = ("all", "early", "middle", "late")
FEWEST_POINTS = 6
# lags are grouped by half octaves, so that the many pairs of points far apart do not outvote the near ones
BINS_PER_OCTAVE = 2
FEWEST_BINS = 4
# of the reach of a trajectory: less is rounding of the inner products, not movement
STILL = 1e-6


@dataclass(frozen=True)
class Displacement:
    """One stretch of a trajectory. Exponents NaN where points are too few.

    exponent: h as found. straight: of a straight line with the same step lengths. walks: of random walks with
    them (walk,).
    """

    n_points: int
    exponent: float
    straight: float
    walks: Floats

    @property
    def walk(self) -> float:
        """Mean exponent of the walks."""
        return float(self.walks.mean()) if len(self.walks) else math.nan

    @property
    def directedness(self) -> float:
        """Where h lies between the walks (0) and the straight line (1); below 0: the run comes back more than walks do."""
        gap = self.straight - self.walk
        return (self.exponent - self.walk) / gap if gap > 0 else math.nan

    @property
    def p(self) -> float:
        """Share of walks that get as far (the run counts as one of them): small where the run is directed."""
        if not len(self.walks) or math.isnan(self.exponent):
            return math.nan
        return float(((self.walks >= self.exponent).sum() + 1) / (len(self.walks) + 1))


def squared_distances(gram: Floats) -> Floats:
    """Of every two points, from their inner products."""
    squares = np.diag(gram)
    found: Floats = np.maximum(squares[:, None] + squares[None, :] - 2 * gram, 0.0)
    return found


def moving(gram: Floats) -> Ints:
    """Points that have moved since the last such point; the first is one. A copy of a checkpoint says nothing of speed."""
    squared = squared_distances(gram)
    least = STILL**2 * float(squared.max()) if len(gram) else 0.0
    kept = [0] if len(gram) else []
    for k in range(1, len(gram)):
        if squared[k, kept[-1]] > least:
            kept.append(k)
    return np.array(kept if len(kept) > 1 else [], dtype=np.int64)


def phase_borders(times: Floats) -> dict[str, tuple[int, int]]:
    """First and last point of the whole and of its thirds of log time; thirds share the point between them.

    times: increasing, at least one above 0. Time 0 has no logarithm and belongs to the first third. A third that no point
    parts from the next is empty: its first and last are one point.
    """
    positive = np.flatnonzero(times > 0)
    x = np.log2(times[positive])
    last = len(times) - 1
    inner = [int(positive[np.abs(x - (x[0] + share * (x[-1] - x[0]))).argmin()]) for share in (1 / 3, 2 / 3)]
    edges = [0, *inner, last]
    return {"all": (0, last), **{PHASES[k + 1]: (edges[k], edges[k + 1]) for k in range(3)}}


def lag_slope(times: Floats) -> tuple[Ints, Ints, Floats] | None:
    """Pairs of points (i, j) and weights c such that Σ c log2(distance) is the slope of log distance in log lag.

    Least squares through the means of half-octaves of lag, each counted once. None with fewer than FEWEST_POINTS points
    or FEWEST_BINS such classes.
    """
    if len(times) < FEWEST_POINTS:
        return None
    i, j = np.triu_indices(len(times), 1)
    x = np.log2(times[j] - times[i])
    _, bins = np.unique(np.floor(x * BINS_PER_OCTAVE), return_inverse=True)
    count = np.bincount(bins)
    if len(count) < FEWEST_BINS:
        return None
    centred = np.bincount(bins, weights=x) / count
    centred = centred - centred.mean()
    weights: Floats = (centred / (centred**2).sum() / count)[bins]
    return i, j, weights


def displacements(
    times: Floats, gram: Floats, *, n_walks: int = 200, dimensions: int = 1000, seed: int = 0
) -> dict[str, Displacement]:
    """The exponent of every phase, with those of walks and of a straight line of the same step lengths.

    times, gram: of points that move (see `moving`). dimensions: of the space that the walks take their directions from.
    """
    squared = squared_distances(gram)
    lengths = np.sqrt(np.diag(squared, 1))
    along = np.concatenate([[0.0], np.cumsum(lengths)])
    slopes = {}
    for name, (first, last) in phase_borders(times).items():
        found = lag_slope(times[first : last + 1])
        if found is not None:
            i, j, weights = found
            slopes[name] = (i + first, j + first, weights)
    walks: dict[str, list[Floats]] = {name: [] for name in slopes}
    if slopes:
        for distances in _walk_distances(lengths, n_walks, dimensions, seed):
            for name, (i, j, weights) in slopes.items():
                walks[name].append(0.5 * np.log2(distances[:, i, j]) @ weights)
    result = {}
    for name, (first, last) in phase_borders(times).items():
        if name not in slopes:
            result[name] = Displacement(last - first + 1, math.nan, math.nan, np.empty(0))
            continue
        i, j, weights = slopes[name]
        result[name] = Displacement(
            last - first + 1,
            float(0.5 * np.log2(squared[i, j]) @ weights),
            float(np.log2(along[j] - along[i]) @ weights),
            np.concatenate(walks[name]),
        )
    return result


def _walk_distances(lengths: Floats, n_walks: int, dimensions: int, seed: int) -> "list[Floats]":
    """Squared distances (walk, point, point) in chunks."""
    n = len(lengths)
    rng = np.random.default_rng(seed)
    chunk = max(1, MOST_NUMBERS // (n * n))
    found = []
    for first in range(0, n_walks, chunk):
        steps = random_directions(rng, min(chunk, n_walks - first), n, dimensions) * lengths[:, None]
        points = np.zeros((len(steps), n + 1, steps.shape[2]))
        np.cumsum(steps, axis=1, out=points[:, 1:])
        gram = points @ points.transpose(0, 2, 1)
        squares = np.einsum("wii->wi", gram)
        found.append(np.maximum(squares[:, :, None] + squares[:, None, :] - 2 * gram, np.finfo(float).tiny))
    return found
