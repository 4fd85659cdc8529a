"""How often a random rotation between two heads gives as large a composition score: z is a scale, not a p value."""

import numpy as np
from numpy.typing import NDArray
from scipy.special import gammaincc

Floats = NDArray[np.float64]

# below this distance from the mean its ratio to z says nothing of the scale
SMALLEST_Z = 1e-3


def composition_p(scores: Floats, baselines: Floats, z: Floats) -> Floats:
    """Probability of at least this score under a random rotation, one-sided; NaN where z is not finite.

    baselines: root of the mean squared score under the null. z: of the squared score, so that mean and standard
    deviation of the null are known exactly. It is taken as a gamma distribution with these two: a sum of
    squares is right-skewed, and a normal one would call far too many pairs of few directions unusual (a pair
    of rank 1 has one degree of freedom). Source: Satterthwaite's approximation of weighted chi-squares.
    """
    squares, mean = scores**2, baselines**2
    near = np.abs(z) < SMALLEST_Z
    with np.errstate(divide="ignore", invalid="ignore"):
        sd = np.where(near, mean, np.abs((squares - mean) / np.where(near, 1.0, z)))
        shape = (mean / sd) ** 2
        found = np.where(near, 0.5, gammaincc(shape, shape * squares / mean))
    return np.where(np.isfinite(z) & (mean > 0), found, np.nan)
