"""How much of what runs choose comes from each of their seeds: variance shares of a choice of a few of many."""

import math
from collections.abc import Callable, Hashable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from queries.stats.distributions import t_quantile

Floats = NDArray[np.float64]
Bools = NDArray[np.bool_]

METHOD = "jackknife over levels of every seed"


@dataclass(frozen=True)
class ChoiceShare:
    """share: of the variance of a choice what one seed decides, 0 to 1, with its interval (NaN with fewer than 3 levels).

    n_same: pairs of runs with this seed in common and no other; n_other: pairs with none in common.
    """

    share: float
    low: float
    high: float
    n_same: int
    n_other: int


def choice_shares(
    chosen: Sequence[Sequence[int]],
    seeds: Mapping[str, Sequence[Hashable]],
    strata: Sequence[Hashable],
    level: float = 0.95,
) -> dict[str, ChoiceShare]:
    """Share of each seed in the variance of which options runs choose, summed over options.

    chosen: per run the distinct options it ended with. seeds: per kind of seed that of every run. strata: only runs of one
    are compared. Half the mean number of options that one run of a pair chose and the other did not is the variance that
    the pair does not share; one minus its ratio between pairs with one seed in common and with none is that
    seed's share, what it does together with another seed left to the rest. Cells may be missing. The interval adds
    the variances of leaving out one level of each kind of seed, with one degree of freedom fewer than the fewest
    levels, and is cut at 0 and 1. A seed without pairs of both kinds is left out. Source: method of moments.
    """
    varying = {name: list(values) for name, values in seeds.items() if len(set(values)) > 1}
    options = {option: k for k, option in enumerate(sorted({o for c in chosen for o in c}))}
    made = np.zeros((len(chosen), len(options)))
    for k, own in enumerate(chosen):
        made[k, [options[o] for o in own]] = 1
    sizes = made.sum(axis=1)
    apart = (sizes[:, None] + sizes - 2 * made @ made.T) / 2
    together = np.triu(_equal(strata), 1)
    same = {name: _equal(values) for name, values in varying.items()}
    none = np.logical_and.reduce([together, *(~s for s in same.values())])
    found = {}
    for name in varying:
        alone = np.logical_and.reduce([together, same[name], *(~s for x, s in same.items() if x != name)])
        if alone.any() and none.any() and apart[none].sum() > 0:
            found[name] = _share(apart, alone, none, varying, level)
    return found


def _share(
    apart: Floats, alone: Bools, none: Bools, varying: Mapping[str, Sequence[Hashable]], level: float
) -> ChoiceShare:
    def estimate(kept: Bools) -> float:
        inside = kept[:, None] & kept[None]
        near, far = apart[alone & inside], apart[none & inside]
        return 1 - float(near.mean() / far.mean()) if len(near) and len(far) and far.sum() else math.nan

    share = estimate(np.ones(len(apart), dtype=np.bool_))
    variance = sum(_jackknife(estimate, values) for values in varying.values())
    df = min(len(set(values)) for values in varying.values()) - 1
    low = high = math.nan
    if df >= 2 and math.isfinite(variance):
        half = t_quantile((1 + level) / 2, df) * math.sqrt(variance)
        low, high = max(0.0, min(1.0, share - half)), max(0.0, min(1.0, share + half))
    return ChoiceShare(max(0.0, share), low, high, int(alone.sum()), int(none.sum()))


def _jackknife(estimate: Callable[[Bools], float], values: Sequence[Hashable]) -> float:
    """Variance of an estimate from leaving out every level of one seed in turn; NaN where one cannot be missed."""
    levels = list(dict.fromkeys(values))
    left = np.array([estimate(np.array([v != one for v in values])) for one in levels])
    n = len(levels)
    return (n - 1) / n * float(((left - left.mean()) ** 2).sum())


def _equal(values: Sequence[Hashable]) -> Bools:
    codes = {value: k for k, value in enumerate(dict.fromkeys(values))}
    known = np.array([codes[value] for value in values])
    same: Bools = known[:, None] == known[None]
    return same
