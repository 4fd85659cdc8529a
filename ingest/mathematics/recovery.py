"""B34: how much of the difference between two prompts a patch makes up for, exactly and to first order."""

from dataclasses import replace

import torch
from jaxtyping import Float, Int
from torch import Tensor

from ingest.mathematics.clustered import Estimate, clustered_mean, clustered_ratio

# a difference of fewer standard errors is none to speak of, and shares of it mean nothing
LEAST_ERRORS = 3.0


def recovery(
    moved: Float[Tensor, "row ..."],
    whole: Float[Tensor, " row"],
    clusters: Int[Tensor, " row"],
) -> Estimate:
    """Share of a difference that a patch makes up for: mean of `moved` over the mean of `whole`.

    moved: what each component's patch changes in the metric of each prompt, in the direction of the run that it is
    taken from. whole: the metric of that run minus that of the run that is patched. 1: all of it; below 0 and above 1
    are possible. NaN, with a note, where the mean difference is below 3 of its standard errors, or has none.
    """
    difference = clustered_mean(whole, clusters)
    found = clustered_ratio(moved, whole, clusters)
    if bool(difference.value.abs() >= LEAST_ERRORS * difference.se) and bool(difference.value != 0):
        return found
    nothing = torch.full_like(found.value, torch.nan)
    note = (
        f"unresolved: prompts and counterfactuals differ by {float(difference.value):.3g} ± {float(difference.se):.3g} "
        f"logits, less than {LEAST_ERRORS:g} standard errors"
    )
    return replace(found, value=nothing, se=nothing, note=note)


def first_order(
    there: Float[Tensor, "row position head d_head"],
    here: Float[Tensor, "row position head d_head"],
    gradient: Float[Tensor, "row position head d_head"],
) -> Float[Tensor, "row head"]:
    """Change of a metric when each head says `there` in place of `here`, by the metric's gradient (float64)."""
    return ((there.double() - here.double()) * gradient.double()).sum((1, 3))


def rank_correlation(first: Float[Tensor, " item"], second: Float[Tensor, " item"]) -> float:
    """Spearman's rank correlation; equal values share their mean rank. NaN where one of them does not vary."""
    ranks = torch.stack([_ranks(first), _ranks(second)])
    deviations = ranks - ranks.mean(1, keepdim=True)
    spread = float(deviations.square().sum(1).prod().sqrt())
    return float(deviations.prod(0).sum()) / spread if spread else float("nan")


def _ranks(values: Float[Tensor, " item"]) -> Float[Tensor, " item"]:
    below = (values[:, None] > values).sum(1)
    equal = (values[:, None] == values).sum(1)
    return below.double() + (equal - 1) / 2
