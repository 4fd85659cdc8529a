"""B34: activation patching between a prompt and its counterfactual."""

from collections.abc import Callable, Mapping
from typing import Any, get_args

from archive.records import Part
from ingest.mathematics.clustered import Estimate
from ingest.mathematics.recovery import recovery
from ingest.measure import measure
from ingest.readings.asked import sampled
from ingest.readings.interventions import Direction, Interventions

_CITATION = "Wang et al. 2023, Interpretability in the wild; Zhang and Nanda 2024, Towards best practices of activation patching"


def _heads(direction: Direction) -> Callable[[Interventions], Estimate]:
    def head_patch_recovery(interventions: Interventions) -> Estimate:
        """Share of the logit difference between prompts and counterfactuals that patching one head makes up for.

        `denoise`: the counterfactual is run and the head says, at every position, what it says in the prompt: 1 when that
        alone brings back the prompt's logit difference. `noise`: the prompt is run and the head says what it says in the
        counterfactual: 1 when that alone takes all of it away. Below 0 and above 1 are possible. Means over pairs, one
        divided by the other; NaN where pairs differ by less than 3 standard errors. Of up to 8,192 tokens.
        """
        shape = interventions.shape
        heads = [(layer, head) for layer in range(shape.n_layers) for head in range(shape.n_heads)]
        moved = interventions.moved_by_heads(direction, heads)
        by_layer = moved.view(-1, shape.n_layers, shape.n_heads)
        return recovery(by_layer, interventions.whole, interventions.clusters(interventions.pairs))

    return head_patch_recovery


def _parts(direction: Direction) -> Callable[[Interventions], Mapping[Part, Estimate]]:
    def patch_recovery(interventions: Interventions) -> Mapping[Part, Estimate]:
        """Share of the logit difference between prompts and counterfactuals that patching a part of a layer makes up for.

        Variants and meaning as in `head.patch_recovery`. `L0 attention` and `L0 mlp` are what these write at every
        position; `L0 residual` is the residual stream after the layer, only at the position where the answer is read: it
        tells by which layer what decides the answer has come there, and is 1 after the last.
        """
        moved = interventions.moved_by_parts(direction)
        clusters = interventions.clusters(interventions.pairs)
        return {
            Part(kind="component", name=f"L{layer} {kind}"): recovery(values, interventions.whole, clusters)
            for (layer, kind), values in moved.items()
        }

    return patch_recovery


for _direction in get_args(Direction):
    _how: dict[str, Any] = {
        "unit": "1",
        "bounds": (None, None),
        "direction": "neither",
        "citation": _CITATION,
        "schedule": "sparse",
        "variant": _direction,
        "params": {"patch": _direction},
        "of_task": sampled,
        "taken_on": "prompts",
    }
    measure("head.patch_recovery", scope="head", **_how)(_heads(_direction))
    measure("patch_recovery", scope="part", **_how)(_parts(_direction))
