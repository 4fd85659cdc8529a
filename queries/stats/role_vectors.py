"""How alike models implement a task: what the heads of each role do, and at which depth, compared between models.

A model is described by what share of the effect of all its heads with a role each role has at each depth. Models of other
sizes have no heads in common, but roles and relative depths they have. Two nulls: heads, with what they do, at any place of the
model, which asks whether models agree on depth; and other heads of the same layers, which keeps depth and asks whether it
matters which head it is. Sources: earth mover's distance in one dimension, the area between two distribution functions;
permutation tests.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]
Bools = NDArray[np.bool_]

# depths 0, 1/4, ..., 1: what lies between two of them counts for both in proportion
N_DEPTHS = 5
N_DRAWN = 2_000
# an effect within so many standard errors of 0 counts as none, or the noise of many heads would pass for an effect
NOISE = 2.0


@dataclass(frozen=True)
class Model:
    """One model. layer: (head,) from 0. size: (head,) of each head's effect, 0 or more. roles: (role, head) who has which."""

    layer: Ints
    size: Floats
    roles: Bools

    @property
    def depth(self) -> Floats:
        """Relative depth of each head: 0 in the first layer, 1 in the last; NaN in a model of one layer."""
        last = int(self.layer.max())
        return self.layer / last if last else np.full(len(self.layer), np.nan)

    @property
    def shares(self) -> Floats:
        """Share of the effect of all heads that each role's heads have, (role,); NaN where no head has any."""
        total = float(self.size.sum())
        found: Floats = self.roles @ self.size / total if total else np.full(len(self.roles), np.nan)
        return found


@dataclass(frozen=True)
class Against:
    """A mean over pairs of models (or models) beside the same with roles at other heads; p: of so low (or high) a value."""

    observed: float
    null_mean: float
    null_sd: float
    p: float


def effect_sizes(effects: Floats, errors: Floats) -> Floats:
    """Absolute effects, those within two standard errors of 0 as none; NaN (not measured) stays."""
    size = np.abs(effects)
    within: Floats = np.where(size <= NOISE * np.nan_to_num(errors), 0.0, size)
    return np.where(np.isnan(effects), np.nan, within)


def moved_layers(model: Model, rng: np.random.Generator, n: int = N_DRAWN) -> Ints:
    """(draw, head): layers with heads at random places of the model, each with its roles and effect."""
    found: Ints = rng.permuted(np.tile(model.layer, (n, 1)), axis=1)
    return found


def role_vectors(model: Model, layers: Ints) -> Floats:
    """(draw, role · depth), each row of sum 1: shares of the effect of heads with a role; NaN where they have none.

    layers: (draw, head), in place of the model's own.
    """
    grid = _grid(int(model.layer.max()) + 1)
    vectors = np.zeros((len(layers), len(model.roles), N_DEPTHS))
    for k, role in enumerate(model.roles):
        for head in np.flatnonzero(role & (model.size > 0)):
            vectors[:, k] += model.size[head] * grid[layers[:, head]]
    flat = vectors.reshape(len(layers), -1)
    total = flat.sum(1, keepdims=True)
    with np.errstate(invalid="ignore"):
        found: Floats = np.where(total > 0, flat / total, np.nan)
    return found


def vector_distance(a: Floats, b: Floats) -> Floats:
    """Half the sum of absolute differences, (draw,): 0 = the same, 1 = nothing in common."""
    found: Floats = np.abs(a - b).sum(-1) / 2
    return found


def depth_profile(model: Model, role: int, layers: Ints) -> Floats:
    """Share of a role's effect in each layer, (draw, layer); layers: (draw, head). NaN where no head has the role.

    Where none of its heads has an effect they count alike.
    """
    mine = model.roles[role]
    weights = np.where(mine, model.size, 0.0) if (model.size[mine] > 0).any() else mine.astype(np.float64)
    found = np.zeros((len(layers), int(model.layer.max()) + 1))
    draws = np.arange(len(layers))
    for head in np.flatnonzero(weights):
        found[draws, layers[:, head]] += weights[head]
    return found / weights.sum() if mine.any() else np.full_like(found, np.nan)


def profile_distance(a: Floats, b: Floats) -> Floats:
    """How far two profiles (draw, layer) are apart in relative depth, 0 to 1, (draw,): the earth mover's distance.

    Layers stand at 0 (first) to 1 (last), however many there are. NaN where a profile is, or a model has one layer.
    """
    n_a, n_b = a.shape[1], b.shape[1]
    if min(n_a, n_b) < 2:
        return np.full(len(a), np.nan)
    depths = [np.round(np.linspace(0, 1, n), 12) for n in (n_a, n_b)]
    edges = np.unique(np.concatenate(depths))
    up_to = [
        np.cumsum(profile, axis=1)[:, np.searchsorted(depth, edges, "right") - 1]
        for profile, depth in zip((a, b), depths, strict=True)
    ]
    found: Floats = (np.abs(up_to[0] - up_to[1])[:, :-1] * np.diff(edges)).sum(1)
    return found


def shares_elsewhere(model: Model, role: int, rng: np.random.Generator, n: int = N_DRAWN) -> Floats:
    """Share of the effect that as many other heads of the same layers have, (draw,); NaN where no head has any effect."""
    total = float(model.size.sum())
    if not total:
        return np.full(n, np.nan)
    # sorted by layer, and at random within: the heads that come first of a layer are drawn
    order = np.argsort(rng.random((n, len(model.layer))) + model.layer, axis=1)
    first = np.argsort(model.layer, kind="stable")
    taken = np.zeros(len(model.layer), bool)
    for layer, count in enumerate(np.bincount(model.layer[model.roles[role]])):
        taken[np.flatnonzero(model.layer[first] == layer)[:count]] = True
    found: Floats = model.size[order][:, taken].sum(1) / total
    return found


def against(observed: float, draws: Sequence[Floats], *, low: bool) -> Against:
    """draws: per pair (or model) its value in each draw; those NaN in a draw are left out of its mean."""
    if not len(draws) or not np.isfinite(observed):
        return Against(observed, np.nan, np.nan, np.nan)
    table = np.array(draws)
    known = np.isfinite(table)
    with np.errstate(invalid="ignore"):
        means = np.where(known, table, 0).sum(0) / known.sum(0)
    means = means[np.isfinite(means)]
    if not len(means):
        return Against(observed, np.nan, np.nan, np.nan)
    # a rearrangement of the same sums may differ by rounding
    beyond = means <= observed + 1e-12 if low else means >= observed - 1e-12
    p = (int(beyond.sum()) + 1) / (len(means) + 1)
    return Against(observed, float(means.mean()), float(means.std()), p)


def _grid(n_layers: int) -> Floats:
    """(layer, depth): how much of each layer counts for each of the depths; half-way where there is one layer."""
    at = np.linspace(0, 1, n_layers) * (N_DEPTHS - 1) if n_layers > 1 else np.array([(N_DEPTHS - 1) / 2])
    below = np.minimum(at.astype(int), N_DEPTHS - 2)
    grid = np.zeros((n_layers, N_DEPTHS))
    layers = np.arange(n_layers)
    grid[layers, below] = 1 - (at - below)
    grid[layers, below + 1] = at - below
    return grid
