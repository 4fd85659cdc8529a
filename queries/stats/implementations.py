"""Whether several models implement a task alike, role by role and as a whole: distances with intervals, nulls and a floor."""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from itertools import combinations

import numpy as np
from numpy.typing import NDArray

from queries.stats.over_units import Shared, apart
from queries.stats.role_vectors import (
    N_DRAWN,
    Against,
    Model,
    against,
    depth_profile,
    moved_layers,
    profile_distance,
    role_vectors,
    shares_elsewhere,
    vector_distance,
)
from queries.stats.run_pairs import mean_over_pairs

Floats = NDArray[np.float64]

# draws times pairs of models: what a second has room for
MOST_WORK = 100_000
LEAST_DRAWN = 200


@dataclass(frozen=True)
class Spread:
    """Mean over pairs of models with its interval (one model left out at a time), against heads at any place of each model.

    Where models share seeds, they are left out by these, and the null is of those of which no two share one.
    """

    low: float
    high: float
    null: Against
    by_pair: Floats


@dataclass(frozen=True)
class RoleAlike:
    """One role. depth: distance in relative depth. share: mean share of the effect, against other heads of the same layers."""

    depth: Spread
    share: Against


def compare_models(
    models: Sequence[Model], level: float = 0.95, seed: int = 0, shared: Shared = ()
) -> tuple[list[RoleAlike], Spread]:
    """Every role, and the vectors of all of them; models have the same roles in the same order.

    shared: of every seed that models share its value in each. Those that share one were never free to differ, so that p is of
    models of which no two do.
    """
    pairs = list(combinations(range(len(models)), 2))
    alone = set(apart(shared, len(models)))
    between = partial(_spread, pairs, alone, [dict(enumerate(of.tolist())) for of in shared])
    n = int(np.clip(MOST_WORK // max(len(pairs), 1), LEAST_DRAWN, N_DRAWN))
    rng = np.random.default_rng(seed)
    moved = [moved_layers(m, rng, n) for m in models]
    roles = []
    for k in range(len(models[0].roles)):
        observed = [depth_profile(m, k, m.layer[None]) for m in models]
        drawn = [depth_profile(m, k, layers) for m, layers in zip(models, moved, strict=True)]
        depth = between(observed, drawn, profile_distance, level)
        having = [m for i, m in enumerate(models) if i in alone and m.roles[k].any() and m.size.any()]
        share = float(np.mean([m.shares[k] for m in having])) if having else math.nan
        elsewhere = [shares_elsewhere(m, k, rng, n) for m in having]
        roles.append(RoleAlike(depth, against(share, elsewhere, low=False)))
    vectors = [role_vectors(m, m.layer[None]) for m in models]
    drawn = [role_vectors(m, layers) for m, layers in zip(models, moved, strict=True)]
    return roles, between(vectors, drawn, vector_distance, level)


def floor(again: Sequence[Sequence[Model]]) -> float:
    """Mean distance of vectors of one model from two drawings of its scores, over models; NaN where none has a vector twice."""
    found = []
    for models in again:
        vectors = np.array([role_vectors(m, m.layer[None])[0] for m in models])
        apart = vector_distance(vectors[1:], vectors[:-1]) if len(vectors) > 1 else np.empty(0)
        if np.isfinite(apart).any():
            found.append(float(np.nanmean(apart)))
    return float(np.mean(found)) if found else math.nan


def _spread(
    pairs: Sequence[tuple[int, int]],
    alone: set[int],
    shared: Sequence[Mapping[int, int]],
    observed: Sequence[Floats],
    drawn: Sequence[Floats],
    distance: Callable[[Floats, Floats], Floats],
    level: float,
) -> Spread:
    by_pair = np.array([float(distance(observed[a], observed[b])[0]) for a, b in pairs])
    tested = np.isfinite(by_pair) & np.array([alone.issuperset(pair) for pair in pairs])
    null = [distance(drawn[a], drawn[b]) for k, (a, b) in enumerate(pairs) if tested[k]]
    nothing = np.full(len(by_pair), math.nan)
    mean, low, high = mean_over_pairs(pairs, by_pair, nothing, level, (0.0, 1.0), shared)
    of_tested = float(by_pair[tested].mean()) if tested.any() else math.nan
    return Spread(low, high, replace(against(of_tested, null, low=True), observed=mean), by_pair)
