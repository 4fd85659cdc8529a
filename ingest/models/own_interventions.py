"""Interventions in the small transformer, through the places that its forward pass shows."""

from collections.abc import Sequence

import torch
from jaxtyping import Float, Int
from torch import Tensor

from ingest.mathematics.logit_attribution import FinalNorm
from ingest.models.interventions import Change, CleanRun, Intervening, Residual
from ingest.models.own import OwnModel
from ingest.models.small import LAYER_NORM_EPS, Touch, Trace, trunk


class OwnIntervening(Intervening):
    """The small transformer of pathscope's own runs."""

    model: OwnModel

    def __init__(self, model: OwnModel) -> None:
        """Shares the weights."""
        super().__init__(model)
        self._stacked = {name: tensor[None] for name, tensor in model.loaded.weights.items()}

    def _clean(
        self,
        tokens: Int[Tensor, "example position"],
        patterns: Sequence[Float[Tensor, "example head query key"]],
    ) -> CleanRun:
        seen: dict[str, list[Tensor]] = {place: [] for place in ("residual", "heads", "attention", "mlp")}

        def keep(place: str, layer: int, tensor: Tensor) -> Tensor:
            if place in seen:
                seen[place].append(tensor[0])
            return tensor

        final = self._forward(tokens, _held(patterns, keep), None)
        return CleanRun(tokens=tokens, final=final, patterns=patterns, **seen)

    def _resume(
        self, run: CleanRun, first: int, x: Residual, changes: Sequence[Change]
    ) -> Float[Tensor, "example position d_model"]:
        by_place: dict[tuple[str, int], Change] = {(one.place, one.layer): one for one in changes}

        def change(place: str, layer: int, tensor: Tensor) -> Tensor:
            found = by_place.get((place, layer))
            return tensor if found is None else found.make(tensor[0])[None]

        return self._forward(run.tokens, _held(run.patterns, change), (first, x[None]))

    def _forward(
        self, tokens: Int[Tensor, "example position"], touch: Touch, resume: tuple[int, Tensor] | None
    ) -> Float[Tensor, "example position d_model"]:
        trace = Trace([], [], touch=touch)
        everywhere = range(tokens.shape[1])
        layout = self.model.loaded.layout
        return trunk(layout, self._stacked, tokens[None], everywhere, trace, resume=resume)[0]

    @property
    def final_norm(self) -> FinalNorm | None:
        """None without LayerNorm."""
        layout = self.model.loaded.layout
        if not layout.layer_norm:
            return None
        return FinalNorm(
            self.model.weight("ln_final.w"),
            self.weight("ln_final.b"),
            LAYER_NORM_EPS,
            centred=not layout.final_rms,
        )


def _held(patterns: Sequence[Float[Tensor, "example head query key"]], touch: Touch) -> Touch:
    """The same, with every layer's mixtures made by these patterns where there are any."""
    values: dict[int, Tensor] = {}

    def held(place: str, layer: int, tensor: Tensor) -> Tensor:
        if patterns and place == "values":
            values[layer] = tensor[0]
        if patterns and place == "heads":
            tensor = torch.einsum("ehqk,ekhd->eqhd", patterns[layer], values.pop(layer))[None]
        return touch(place, layer, tensor)

    return held
