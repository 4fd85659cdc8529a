"""Means of many slices of items at once, each against nothing and against the other items, by cluster."""

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.special import stdtr

from queries.stats.clusters import numbered
from queries.stats.distributions import t_quantile

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]


@dataclass(frozen=True)
class SliceMeans:
    """Per slice: mean with its interval and p value against 0; beyond = mean − mean of all other items, with its p value.

    se, df: standard error of the mean and its degrees of freedom. n_items, n_clusters: what it rests on. NaN where there are
    fewer than 2 clusters or, for `beyond`, no other item.
    """

    mean: Floats
    low: Floats
    high: Floats
    se: Floats
    df: Floats
    p: Floats
    beyond: Floats
    beyond_p: Floats
    n_items: Ints
    n_clusters: Ints


def slice_means(
    values: Floats, slices: Ints, clusters: Ints, n_slices: int, level: float = 0.95
) -> SliceMeans:
    """Means of slices whose items come in clusters that the slices may cut through.

    values: (item,), finite. slices: which slice each item is in, 0 to n_slices − 1. clusters: any integers.
    Standard errors are those of leaving one cluster out at a time; Student's t has the effective number of clusters
    less one, 1 / Σ share² − 1 with each cluster's share of the slice's items: a rare kind of token may lie in few
    documents, and with the plain sandwich too many intervals miss (tests/queries/stats/test_slices.py). In `beyond`
    slice and rest share clusters, which its error counts. Source: Cameron and Miller 2015 (CR3); Carter, Schnepel
    and Steigerwald 2017 (effective clusters).
    """
    members = numbered(clusters)
    n_clusters = int(members.max(initial=-1)) + 1
    cells = members * n_slices + slices
    n_cells = n_clusters * n_slices
    counts = np.bincount(cells, minlength=n_cells).astype(np.float64).reshape(n_clusters, n_slices)
    sums = (
        np.bincount(cells, weights=values, minlength=n_cells).astype(np.float64).reshape(n_clusters, n_slices)
    )
    return means_of_cells(sums, counts, level)


def means_of_cells(sums: Floats, counts: Floats, level: float = 0.95) -> SliceMeans:
    """The same from sums and numbers of items by (cluster, slice)."""
    n, total = counts.sum(0), sums.sum(0)
    others = n.sum() - n
    with np.errstate(divide="ignore", invalid="ignore"):
        mean, rest = total / n, (total.sum() - total) / others
        share = counts / n
        without = _without(sums, counts, mean, n)
        rest_counts = counts.sum(1, keepdims=True) - counts
        rest_without = _without(sums.sum(1, keepdims=True) - sums, rest_counts, rest, others)
        degrees = 1 / (share**2).sum(0) - 1
    with_slice = (counts > 0).sum(0)
    degrees = np.where(with_slice > 1, degrees, np.nan)
    se = _jackknife(without, with_slice)
    apart = _jackknife(without - rest_without, with_slice)
    half = np.array([t_quantile((1 + level) / 2, df) if df > 0 else math.nan for df in degrees]) * se
    return SliceMeans(
        mean,
        mean - half,
        mean + half,
        se,
        degrees,
        _p(mean, se, degrees),
        mean - rest,
        _p(mean - rest, np.where(others > 0, apart, np.nan), degrees),
        n.astype(np.int64),
        with_slice.astype(np.int64),
    )


def _without(sums: Floats, counts: Floats, mean: Floats, n: Floats) -> Floats:
    """(cluster, slice): how far the mean moves when the cluster is left out; 0 where it has nothing of the slice."""
    return np.where(counts > 0, (mean * counts - sums) / (n - counts), 0.0)


def _jackknife(moves: Floats, with_slice: Ints) -> Floats:
    enough = with_slice > 1
    found: Floats = np.sqrt(
        np.where(enough, (with_slice - 1) / np.maximum(with_slice, 1), np.nan) * (moves**2).sum(0)
    )
    return found


def _p(estimate: Floats, se: Floats, degrees: Floats) -> Floats:
    """Two-sided; NaN where nothing varies, since then there is nothing to judge by."""
    with np.errstate(divide="ignore", invalid="ignore"):
        t = np.where(se > 0, np.abs(estimate) / se, np.nan)
    found: Floats = 2 * stdtr(degrees, -t)
    return found
