"""How much a statistic varies with which runs there are: they are left out one at a time, or by the seeds that they share."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from queries.stats.over_units import Shared, fewest_units

Floats = NDArray[np.float64]
Flags = NDArray[np.bool_]

# with fewer runs, or values of a seed, what is left does not tell how much one of them matters
FEWEST_LEFT_OUT = 3


def kept_runs(n_runs: int, shared: Shared = ()) -> list[list[Flags]]:
    """Per counted seed the runs that stay, (run,), where each of its values is left out; by run where none is shared."""
    return [[of != value for value in np.unique(of)] for of in shared or [np.arange(n_runs)]]


def degrees(n_runs: int, shared: Shared = ()) -> int:
    """Degrees of freedom of the spread over runs: one less than there are values of the seed with fewest."""
    return fewest_units(shared, n_runs) - 1


def variance(left_out: Sequence[Floats]) -> float:
    """Jackknife variance from the statistic without each value, one array per seed: those of crossed seeds are added.

    It holds whichever seed matters, and is too large by no more than what runs differ in beside their seeds.
    """
    return sum((len(x) - 1) / len(x) * float(((x - x.mean()) ** 2).sum()) for x in left_out)
