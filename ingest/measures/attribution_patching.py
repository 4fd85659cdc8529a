"""B34: attribution patching: activation patching of all heads at once, to first order, and how far to trust it."""

from collections.abc import Mapping

import torch

from archive.records import WHOLE, Part
from ingest.mathematics.clustered import Estimate
from ingest.mathematics.recovery import rank_correlation, recovery
from ingest.measure import NotApplicable, measure
from ingest.readings.asked import sampled
from ingest.readings.interventions import Interventions

TOP, FEWEST = 20, 3
_CITATION = "Nanda 2023, Attribution patching: activation patching at industrial scale"


@measure(
    "head.attribution_patching",
    scope="head",
    unit="1",
    bounds=(None, None),
    direction="neither",
    citation=_CITATION,
    schedule="sparse",
    of_task=sampled,
    taken_on="prompts",
)
def attribution_patching(interventions: Interventions) -> Estimate:
    """First-order estimate of `head.patch_recovery:denoise`: two passes and a gradient for all heads together.

    What a head says in the prompt minus what it says in the counterfactual, times the gradient of the logit difference in
    the counterfactual run, over the whole difference. It is exact where the model is linear, and known to be poor for
    early layers and saturated attention: `attribution_patching_agreement` checks it. NaN as there.
    """
    moved = interventions.moved_to_first_order
    return recovery(moved, interventions.whole, interventions.clusters(interventions.pairs))


@measure(
    "attribution_patching_agreement",
    scope="part",
    unit="1",
    bounds=(-1.0, 1.0),
    direction="higher is better",
    citation=_CITATION,
    schedule="sparse",
    params={"top": TOP},
    of_task=sampled,
    taken_on="prompts",
)
def attribution_patching_agreement(interventions: Interventions) -> Mapping[Part, Estimate]:
    """Spearman's rank correlation of `head.attribution_patching` with exact patching, over its 20 largest heads.

    Largest in size, of either sign; all heads of a model with fewer. NaN where either does not vary. It says nothing about
    heads that the estimate misses: those are not among its largest.
    """
    estimated = interventions.moved_to_first_order.mean(0)
    n_layers, n_heads = estimated.shape
    n = min(TOP, n_layers * n_heads)
    if n < FEWEST:
        raise NotApplicable(f"the model has {n} heads; a rank correlation takes {FEWEST}")
    order = estimated.flatten().abs().argsort(descending=True, stable=True)[:n]
    heads = [(int(i) // n_heads, int(i) % n_heads) for i in order]
    exact = interventions.moved_by_heads("denoise", heads).mean(0)
    found = torch.tensor(rank_correlation(estimated.flatten()[order], exact), dtype=torch.float64)
    note = "exact or estimated patching does not vary between heads" if bool(found.isnan()) else ""
    return {WHOLE: Estimate(found, torch.full_like(found, torch.nan), n, n, note)}
