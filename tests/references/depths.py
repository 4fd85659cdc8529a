"""Moving earth between places on a line, by hand: the slow twin of distances in depth."""

import numpy as np


def earth_mover(places_a: np.ndarray, a: np.ndarray, places_b: np.ndarray, b: np.ndarray) -> float:
    """Least work: the leftmost earth goes to the leftmost hole, until all has moved."""
    left, holes = list(a), list(b)
    i = j = 0
    work = 0.0
    while i < len(left) and j < len(holes):
        amount = min(left[i], holes[j])
        work += amount * abs(float(places_a[i]) - float(places_b[j]))
        left[i] -= amount
        holes[j] -= amount
        if left[i] <= holes[j]:
            i += 1
        else:
            j += 1
    return work
