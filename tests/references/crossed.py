"""Expected mean squares of crossed tables, in plain loops over cells."""

from itertools import combinations, product

import numpy as np


def anova(table: np.ndarray) -> dict[tuple[int, ...], tuple[float, int]]:
    """Sum of squares and degrees of freedom of every effect of a table with one value a cell, by inclusion and exclusion."""
    axes = range(table.ndim)
    found = {}
    for size in range(1, table.ndim + 1):
        for effect in combinations(axes, size):
            total = 0.0
            for cell in product(*(range(n) for n in table.shape)):
                deviation = 0.0
                for r in range(len(effect) + 1):
                    for kept in combinations(effect, r):
                        place = tuple(cell[a] if a in kept else slice(None) for a in axes)
                        deviation += (-1) ** (len(effect) - r) * float(np.mean(table[place]))
                total += deviation**2
            found[effect] = (total, int(np.prod([table.shape[a] - 1 for a in effect])))
    return found
