"""Complete separation of two groups of runs, naming by naming and item by item: the slow twin."""

from itertools import combinations

import numpy as np


def counts_by_naming(values: np.ndarray, n: int, margin: float) -> dict[tuple[int, ...], int]:
    """For every naming of n runs, at how many items their highest value is below the others' lowest by the margin."""
    found = {}
    for named in combinations(range(len(values)), n):
        others = [run for run in range(len(values)) if run not in named]
        found[named] = sum(
            min(column[o] for o in others) - max(column[r] for r in named) > margin for column in values.T
        )
    return found


def held_out(small: np.ndarray, large: np.ndarray, margin: float) -> tuple[float, float]:
    """(items chosen on the average, mean difference in the pair left out), over all pairs of one run of each size."""
    n, total = 0, 0.0
    for s in range(len(small)):
        for b in range(len(large)):
            kept, rest = np.delete(small, s, 0), np.delete(large, b, 0)
            for i in range(small.shape[1]):
                if rest[:, i].min() - kept[:, i].max() > margin:
                    n += 1
                    total += large[b, i] - small[s, i]
    return n / (len(small) * len(large)), total / n
