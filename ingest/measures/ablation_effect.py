"""B14: what happens to a model's answers without a head."""

from collections.abc import Callable
from typing import get_args

from ingest.mathematics.clustered import Estimate, clustered_mean
from ingest.measure import measure
from ingest.readings.asked import sampled
from ingest.readings.interventions import Ablation, Interventions


def _ablated(kind: Ablation, frozen: bool) -> Callable[[Interventions], Estimate]:
    def ablation_effect(interventions: Interventions) -> Estimate:
        """Metric of the model without one head minus its metric with it, averaged over prompts or texts.

        The metric is the logit difference on prompts (negative: the head helps), on sequences with repeated blocks the
        loss on later copies in nats (positive: the head helps), else the mean loss; `params` say which. `mean` puts the
        head's mean at that position over the sample in place of what it mixes, `zero` nothing, which is further from
        anything the model has seen, `resample` what it says in another example. `_frozen` keeps all attention patterns
        as they were. Other heads may make up for one that is missing, so effects understate and do not add up.
        Of up to 8,192 tokens, drawn with a fixed seed.
        """
        effects = interventions.ablated(kind, frozen=frozen)
        return clustered_mean(effects, interventions.clusters(interventions.ablated_rows(kind)))

    return ablation_effect


for _kind in get_args(Ablation):
    for _frozen in (False, True):
        measure(
            "head.ablation_effect",
            scope="head",
            unit="metric",
            bounds=(None, None),
            direction="neither",
            citation="Olsson et al. 2022, In-context learning and induction heads (ablations, pattern-preserving or not)",
            schedule="sparse",
            variant=f"{_kind}_frozen" if _frozen else _kind,
            params={"kind": _kind, "patterns": "frozen" if _frozen else "recomputed"},
            of_task=sampled,
            taken_on="prompts first",
        )(_ablated(_kind, _frozen))
