"""How often a causal measure runs a model on, besides the pass that it shares with others. Imports no torch."""

from collections.abc import Callable, Mapping
from typing import Any

from ingest.planning.rows import Sizes


def _of_heads(size: Sizes) -> float:
    """A pass from the layer on for every head: half a pass on average."""
    return size.n_layers * size.n_heads / 2


# passes for each measure; one that is not here looks at undisturbed runs only
_PASSES: Mapping[str, Callable[[Sizes], float]] = {
    "head.ablation_effect": _of_heads,
    "head.patch_recovery": _of_heads,
    "patch_recovery": lambda size: 3 * size.n_layers / 2,
    "attribution_patching_agreement": lambda size: min(20, size.n_layers * size.n_heads) / 2,
}
# undisturbed runs, those of counterfactuals, means, and a gradient
_BESIDES = 4


def further_tokens(measure: str, reads: str, params: Mapping[str, Any], size: Sizes, n_tokens: int) -> int:
    """Tokens that go through the whole model for this measure alone; 0 for what rides along with a shared pass.

    measure: its name without a variant. n_tokens: of the eval set, of which it looks at `most_tokens` at most.
    """
    if reads != "interventions":
        return 0
    replaced = _PASSES[measure](size) if measure in _PASSES else 0.0
    return round((replaced + _BESIDES) * min(n_tokens, int(params["most_tokens"])))
