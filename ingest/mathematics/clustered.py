"""A mean over rows with a standard error that knows which of them belong together."""

from dataclasses import dataclass

import torch
from jaxtyping import Float, Int
from torch import Tensor


@dataclass(frozen=True, eq=False)
class Estimate:
    """A number or a table of numbers, each from the same rows.

    se: NaN where one cluster leaves it unknown. n_items: rows. n_clusters: groups of rows that are not independent.
    note: why numbers are missing.
    """

    value: Float[Tensor, "..."]
    se: Float[Tensor, "..."]
    n_items: int
    n_clusters: int
    note: str = ""


def clustered_mean(values: Float[Tensor, "row ..."], clusters: Int[Tensor, " row"]) -> Estimate:
    """Mean over rows, its standard error from the sums of deviations within clusters (float64).

    With every row a cluster of its own it is the usual one. Source: the cluster-robust (sandwich) variance of a mean.
    """
    values = values.double()
    mean = values.mean(0)
    return Estimate(mean, *_error_of_mean(values - mean, clusters))


def clustered_ratio(
    numerator: Float[Tensor, "row ..."],
    denominator: Float[Tensor, " row"],
    clusters: Int[Tensor, " row"],
) -> Estimate:
    """Mean of one quantity over the mean of another, with the standard error of that ratio by the delta method."""
    by_row = denominator.double().reshape(-1, *(1 for _ in numerator.shape[1:]))
    whole = denominator.double().mean()
    ratio = numerator.double().mean(0) / whole
    return Estimate(ratio, *_error_of_mean((numerator.double() - ratio * by_row) / whole, clusters))


def _error_of_mean(
    deviations: Float[Tensor, "row ..."], clusters: Int[Tensor, " row"]
) -> tuple[Float[Tensor, "..."], int, int]:
    """Standard error, rows, clusters."""
    n = len(deviations)
    names, members = torch.unique(clusters, return_inverse=True)
    n_clusters = len(names)
    if n_clusters < 2:
        return torch.full_like(deviations[0], torch.nan), n, n_clusters
    sums = deviations.new_zeros(n_clusters, *deviations.shape[1:]).index_add_(0, members, deviations)
    return (n_clusters / (n_clusters - 1) * sums.square().sum(0)).sqrt() / n, n, n_clusters
