"""How many of some chosen places have a property by chance, where each was chosen in a document of its own."""

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]

_TOGETHER = 20_000  # rows worked on at once, so that memory stays small


def chance_of_matches(shares: Floats, matches: Ints) -> Floats:
    """P of at least so many matches if every place were a random one of its document.

    shares: (unit, place) share of the document's tokens that match, 0 to 1, NaN where a unit has no more places.
    matches: per unit, at least 0. Exact: the tail of a Poisson-binomial distribution. It is a hypergeometric one only for
    places drawn together from one pool, which top examples with at most one a document are not.
    """
    known = np.nan_to_num(shares, nan=0.0)
    found = np.empty(len(known))
    for start in range(0, len(known), _TOGETHER):
        some = slice(start, start + _TOGETHER)
        found[some] = _tail(known[some], matches[some])
    return found


def _tail(shares: Floats, matches: Ints) -> Floats:
    n, k = shares.shape
    mass = np.zeros((n, k + 1))
    mass[:, 0] = 1.0
    for j in range(k):
        share = shares[:, j, None]
        mass[:, 1:] = mass[:, 1:] * (1 - share) + mass[:, :-1] * share
        mass[:, :1] *= 1 - share
    # summed from the far end, where the small terms are
    tails = np.cumsum(mass[:, ::-1], axis=1)[:, ::-1]
    tails = np.concatenate([tails, np.zeros((n, 1))], axis=1)
    chances: Floats = np.clip(tails[np.arange(n), np.clip(matches, 0, k + 1)], 0.0, 1.0)
    return chances
