"""Which runs are left out together, which share seeds, and how they may be exchanged: the design behind a prediction of runs."""

from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Whole = NDArray[np.int64]
Flags = NDArray[np.bool_]

# with fewer kinds of seeds, leaving out two of them leaves too little to learn from
LEAST_UNITS = 5
# pairs of runs are left out in at most so many parts
MOST_BLOCKS = 12
# levels of a seed that say how much it matters
LEAST_LEVELS = 3


@dataclass(frozen=True)
class Design:
    """Runs by what they share.

    group: condition of each run. factors: name -> level of each run, seeds that are one and the same (init 3 always with
    split 3) merged, the one with fewest levels first; at least one. unit: runs with the same seeds. by_unit: whether runs of
    one unit are left out together; otherwise every run alone. block: what pairs are left out by.
    """

    group: Whole
    factors: Mapping[str, Whole]
    unit: Whole
    by_unit: bool
    block: Whole

    @property
    def sampled(self) -> Mapping[str, Whole]:
        """Factors with enough levels to say how much a prediction depends on which of them there are."""
        enough = {name: f for name, f in self.factors.items() if f.max() + 1 >= LEAST_LEVELS}
        return enough or {"run": np.arange(len(self.group))}

    @property
    def n_arrangements(self) -> float:
        """At most so many different exchanges of runs within conditions, relabelling seeds alike in all of them."""
        of_seeds = sum(_log_factorial(int(f.max()) + 1) for f in self.factors.values())
        within = sum(_log_factorial(int(n)) for n in np.bincount(self.group))
        return float(np.exp(min(of_seeds, within, 300.0)))

    def training(self, blocks: Whole) -> Flags:
        """Runs to learn from, (fit, run), where all runs of the given blocks are left out. blocks: (fit, any number)."""
        found: Flags = ~(self.block[None, None, :] == blocks[:, :, None]).any(axis=1)
        return found

    def exchanged(self, rng: np.random.Generator, n: int) -> Whole:
        """Orders of runs (draw, run): within each condition, seeds relabelled in the same way in all conditions.

        Where a condition lacks some of the seeds, those it has keep the order of the relabelled ones. Runs with equal seeds are
        exchanged freely. So what runs with the same init or split share stays together, as it would by chance.
        """
        keys = [*self.factors.values(), np.arange(len(self.group))]
        base = np.lexsort([*keys[::-1], self.group])
        drawn = np.empty((len(keys), n, len(self.group)), np.int64)
        for k in range(n):
            for j, key in enumerate(keys):
                drawn[j, k] = rng.permutation(int(key.max()) + 1)[key]
        found = np.empty((n, len(self.group)), np.int64)
        found[:, base] = np.lexsort([*drawn[::-1], np.broadcast_to(self.group, drawn.shape[1:])])
        return found


def design_of(groups: Sequence[Hashable], seeds: Mapping[str, Sequence[int | None]]) -> Design:
    """Arrange runs by condition and by the seeds that are known of all of them.

    seeds: name -> the seed of each run; one that is unknown for any run, or the same for all, is no factor.
    """
    factors: dict[str, Whole] = {}
    for name, values in seeds.items():
        if None in values or len(set(values)) < 2:
            continue
        levels = numbered(values)
        same = next((other for other, known in factors.items() if np.array_equal(known, levels)), None)
        if same is not None:
            levels = factors.pop(same)
            name = f"{same} and {name}"
        factors[name] = levels
    if not factors:
        factors = {"run": np.arange(len(groups))}
    factors = dict(sorted(factors.items(), key=lambda item: int(item[1].max())))
    unit = numbered(list(zip(*(f.tolist() for f in factors.values()), strict=True)))
    by_unit = int(unit.max()) + 1 >= LEAST_UNITS
    left_out = unit if by_unit else np.arange(len(groups))
    return Design(numbered(groups), factors, left_out, by_unit, left_out % MOST_BLOCKS)


def numbered(values: Sequence[Hashable]) -> Whole:
    """Levels as 0, 1, ... in the order in which they first occur."""
    known = {value: k for k, value in enumerate(dict.fromkeys(values))}
    return np.array([known[value] for value in values], np.int64)


def _log_factorial(n: int) -> float:
    return float(np.log(np.arange(1, n + 1)).sum())
