"""Causal measures by whole passes of the slow twin, one sequence and one head at a time, from the embedding every time."""

from dataclasses import dataclass, field

import torch
from torch import Tensor

from ingest.models.hooked import HookedModel
from tests.references.language_models import Rules, mixed_by, run


@dataclass
class Seen:
    """What a pass leaves: logits, what each (layer, head) mixes, its patterns, and what passes each (place, layer)."""

    logits: Tensor
    heads: dict[tuple[int, int], Tensor] = field(default_factory=dict)
    patterns: dict[tuple[int, int], Tensor] = field(default_factory=dict)
    places: dict[tuple[str, int], Tensor] = field(default_factory=dict)


@dataclass(frozen=True)
class Twin:
    """A model by the equations of its architecture, float64."""

    model: HookedModel
    rules: Rules

    def passed(
        self,
        tokens: Tensor,
        *,
        heads: dict[tuple[int, int], Tensor] | None = None,
        places: dict[tuple[str, int], Tensor] | None = None,
        patterns: dict[tuple[int, int], Tensor] | None = None,
    ) -> Seen:
        """A pass in which these heads and places say this, and patterns are these."""
        seen = Seen(torch.zeros(0))

        def mix(layer: int, head: int, pattern: Tensor, values: Tensor) -> Tensor:
            pattern = pattern if patterns is None else patterns[layer, head]
            said = mixed_by(layer, head, pattern, values)
            said = (heads or {}).get((layer, head), said)
            seen.heads[layer, head], seen.patterns[layer, head] = said, pattern
            return said

        def touch(place: str, layer: int, tensor: Tensor) -> Tensor:
            tensor = (places or {}).get((place, layer), tensor)
            seen.places[place, layer] = tensor
            return tensor

        names = self.model.weight_names()
        seen.logits, _, _ = run(tokens, self.model.weight, names, self.rules, mix=mix, touch=touch)
        return seen

    def difference(self, seen: Seen, correct: int, distractor: int) -> float:
        """Logit difference at the last position."""
        return float(seen.logits[-1, correct] - seen.logits[-1, distractor])

    def loss(self, seen: Seen, tokens: Tensor) -> float:
        """Mean loss of every token but the first."""
        losses = [-seen.logits[i].log_softmax(0)[tokens[i + 1]].item() for i in range(len(tokens) - 1)]
        return sum(losses) / len(losses)
