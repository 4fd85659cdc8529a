"""Relabellings of frequencies that no model of modular addition can tell: what multiplying all inputs does."""

from math import gcd

import numpy as np
from numpy.typing import NDArray

Ints = NDArray[np.int64]


def relabellings(n_frequencies: int) -> Ints:
    """(relabelling, frequency): where frequency k (index k − 1) goes when all inputs are multiplied by c modulo p.

    p = 2 n_frequencies + 1; k and p − k are one, so c and p − c do the same. One row for each c without a factor in
    common with p, the first one (c = 1) changes nothing; for a prime every frequency goes everywhere once.
    """
    p = 2 * n_frequencies + 1
    k = np.arange(1, n_frequencies + 1)
    moved = np.array([c * k % p for c in k.tolist() if gcd(c, p) == 1], dtype=np.int64)
    return np.minimum(moved, p - moved) - 1
