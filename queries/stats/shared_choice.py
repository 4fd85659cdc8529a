"""Whether runs that share a seed choose more alike than runs that do not, by permutation of who shares it."""

from collections.abc import Hashable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

N_PERMUTED = 10_000
# entries of the pair matrices that are held at once
MOST_NUMBERS = 4_000_000

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Sharing:
    """share: of what pairs with the same label could have in common, what they have. null_*: the same with labels permuted."""

    n_pairs: int
    share: float
    null_mean: float
    null_low: float
    null_high: float
    p: float


def sharing(
    chosen: Sequence[Sequence[int]],
    labels: Sequence[int],
    strata: Sequence[Hashable],
    *,
    n_permuted: int = N_PERMUTED,
    level: float = 0.95,
    seed: int = 0,
) -> Sharing | None:
    """How alike runs with the same label choose, against labels permuted among runs that share all else.

    chosen: per run the distinct options it ended with. labels: one seed of each run. strata: all its other seeds.
    Statistic: over pairs of runs with the same label, Σ |A ∩ B| / Σ min(|A|, |B|). Null: labels permuted among
    runs of one stratum, which keeps whatever the other seeds do. One-sided p; the observed labels count as one
    permutation. None where no two runs share a label or nothing can be permuted.
    """
    same = np.asarray(labels)
    groups = [
        np.array([k for k, s in enumerate(strata) if s == stratum]) for stratum in dict.fromkeys(strata)
    ]
    groups = [g for g in groups if len(set(same[g].tolist())) > 1]
    sets = [frozenset(c) for c in chosen]
    common = np.array([[len(a & b) for b in sets] for a in sets], float)
    possible = np.array([[min(len(a), len(b)) for b in sets] for a in sets], float)
    n_pairs = int(np.triu(same[:, None] == same[None], 1).sum())
    observed = _shares(same[None], common, possible)[0]
    if not groups or not n_pairs or not np.isfinite(observed):
        return None
    rng = np.random.default_rng(seed)
    permuted = np.tile(same, (n_permuted, 1))
    for group in groups:
        permuted[:, group] = rng.permuted(permuted[:, group], axis=1)
    chunk = max(1, MOST_NUMBERS // len(same) ** 2)
    null = np.concatenate(
        [_shares(permuted[k : k + chunk], common, possible) for k in range(0, n_permuted, chunk)]
    )
    # a rearrangement of the same sums may differ by rounding
    p = float(((null >= observed - 1e-12).sum() + 1) / (n_permuted + 1))
    low, high = np.quantile(null, [(1 - level) / 2, (1 + level) / 2])
    return Sharing(n_pairs, float(observed), float(null.mean()), float(low), float(high), p)


def _shares(labels: NDArray[np.int64], common: Floats, possible: Floats) -> Floats:
    """The statistic for every row of labels; NaN where no two runs share one."""
    pairs = np.triu(labels[:, :, None] == labels[:, None, :], 1)
    reach = (pairs * possible).sum(axis=(1, 2))
    shares: Floats = (pairs * common).sum(axis=(1, 2)) / np.where(reach > 0, reach, np.nan)
    return shares
