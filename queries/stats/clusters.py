"""Means and rank correlations over items that come in clusters: tokens of one document are not independent."""

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from queries.stats.distributions import t_quantile

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]

METHOD = "Student t over documents"


def cluster_mean(
    values: Floats,
    clusters: Ints,
    level: float = 0.95,
    bounds: tuple[float | None, float | None] = (None, None),
) -> tuple[float, float, float, float]:
    """Mean over items with a standard error over clusters: (mean, low, high, se).

    values: (item,), finite. clusters: which cluster each item is in, any integers. The interval is Student's t
    with one degree of freedom fewer than clusters and ends at the bounds. Everything but the mean is NaN with
    fewer than 2 clusters, everything without items. Source: the cluster-robust (sandwich) variance of a mean.
    """
    if not len(values):
        return math.nan, math.nan, math.nan, math.nan
    mean = float(values.mean())
    se, n_clusters = _se_of_mean(values - mean, clusters)
    if math.isnan(se):
        return mean, math.nan, math.nan, math.nan
    half = t_quantile((1 + level) / 2, n_clusters - 1) * se
    low, high = np.clip([mean - half, mean + half], *bounds)
    return mean, float(low), float(high), se


def cluster_spearman(
    x: "Floats | Order", y: "Floats | Order", clusters: Ints, level: float = 0.95
) -> tuple[float, float, float, float]:
    """Spearman's rank correlation over items with a standard error over clusters: (rho, low, high, se).

    x, y: (item,), finite, or their order where it serves several pairs; equal values share their mean rank. The
    standard error sums the influence of every item within its cluster, the part that an item has by moving the
    ranks of others included; the interval is symmetric in Fisher's z. NaN where x or y does not vary; the interval
    is NaN with fewer than 2 clusters.
    """
    n = len(x)
    if n < 2:
        return math.nan, math.nan, math.nan, math.nan
    first, second = (values if isinstance(values, Order) else Order.of(values) for values in (x, y))
    if not (first.varies and second.varies):
        return math.nan, math.nan, math.nan, math.nan
    u, v = ((order.first + order.past) / (2 * n) - 0.5 for order in (first, second))
    spread = math.sqrt(float((u * u).mean() * (v * v).mean()))
    rho = min(1.0, max(-1.0, float((u * v).mean()) / spread))
    # Hájek projection of the mean of u·v: the item's own product, and what its place adds to the ranks of others
    influence = (u * v + first.above(v) + second.above(u)) / spread
    se, n_clusters = _se_of_mean(influence - influence.mean(), clusters)
    if math.isnan(se):
        return rho, math.nan, math.nan, math.nan
    if abs(rho) > 1 - 1e-12:
        return rho, rho, rho, 0.0
    half = t_quantile((1 + level) / 2, n_clusters - 1) * se / (1 - rho**2)
    return rho, math.tanh(math.atanh(rho) - half), math.tanh(math.atanh(rho) + half), se


@dataclass(frozen=True)
class Order:
    """Places of items in the order of their values, equal ones together.

    places: which item comes at each place. first, past: per item the first place of those equal to it, and the
    place after the last.
    """

    places: Ints
    first: Ints
    past: Ints

    @classmethod
    def of(cls, values: Floats) -> "Order":
        """One sort; looking every value up in the sorted ones would take ten times as long."""
        places = np.argsort(values, kind="stable")
        ordered = values[places]
        new = np.concatenate([[True], ordered[1:] != ordered[:-1]])
        starts = np.flatnonzero(new)
        group = np.cumsum(new) - 1
        first, past = np.empty_like(places), np.empty_like(places)
        first[places] = starts[group]
        past[places] = np.append(starts[1:], len(values))[group]
        return cls(places, first, past)

    def __len__(self) -> int:
        return len(self.places)

    @property
    def varies(self) -> bool:
        """Whether any two values differ."""
        return bool(self.past[0] - self.first[0] < len(self))

    def above(self, weights: Floats) -> Floats:
        """Mean over all items of `weights` where they come after this item; equal ones count half."""
        sums = np.concatenate([[0.0], np.cumsum(weights[self.places])])
        found: Floats = (sums[-1] - (sums[self.first] + sums[self.past]) / 2) / len(self.places)
        return found


def numbered(clusters: Ints) -> Ints:
    """The number of each item's cluster, counted from 0 in the order of their names."""
    members: Ints
    if (clusters[1:] >= clusters[:-1]).all():  # as documents are read: nothing to sort
        members = np.cumsum(np.diff(clusters, prepend=clusters[:1]) > 0)
    else:
        _, members = np.unique(clusters, return_inverse=True)
    return members


def _se_of_mean(deviations: Floats, clusters: Ints) -> tuple[float, int]:
    """Standard error of the mean of items that deviate from it so, and the number of clusters."""
    members = numbered(clusters)
    sums = np.bincount(members, weights=deviations)
    n_clusters = len(sums)
    if n_clusters < 2:
        return math.nan, n_clusters
    return math.sqrt(n_clusters / (n_clusters - 1) * float((sums**2).sum())) / len(deviations), n_clusters
