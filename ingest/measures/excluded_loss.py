"""B23: loss without the part of the logits that the key frequencies make up."""

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from archive.records import Part
from ingest.mathematics.fourier import VARIANTS, Variant
from ingest.mathematics.trig_losses import excluded_losses
from ingest.measure import measure
from ingest.models.loaded import LoadedModel
from ingest.readings.addition_grid import DEFAULT_RULE, AdditionGrid, addition_grid, current_keys, keys_of
from ingest.readings.evaluation import WholeEvaluation

CITATION = "Nanda et al. 2023, Progress measures for grokking via mechanistic interpretability"


def _losses(grid: AdditionGrid, keys: Sequence[int], variant: Variant) -> Float[Tensor, " example"]:
    return excluded_losses(grid.logits, keys, variant, transformed=grid.transformed).flatten()


def _leaving_out(variant: Variant) -> Callable[[WholeEvaluation], Tensor]:
    def excluded_loss(evaluation: WholeEvaluation) -> Float[Tensor, " example"]:
        """Loss when the key frequencies' directions are taken out of the logits; the published one is that of `train`.

        The key frequencies are those of the checkpoint itself, by the `W_L` rule of `key_frequencies`, so
        early values say little; the variant `final` uses those of the run's last checkpoint throughout, as the
        published curves do. Nothing is put back. Softmax over the p answers without `=`: ln p where these
        frequencies were all there was. Other variants as in `restricted_loss`. Modular addition with an MLP
        only.
        """
        grid = addition_grid(evaluation)
        return _losses(grid, current_keys(grid), variant)

    return excluded_loss


def excluded_by_final(evaluation: WholeEvaluation, final: LoadedModel) -> Float[Tensor, " example"]:
    """As `excluded_loss`, with the key frequencies of the final checkpoint."""
    grid = addition_grid(evaluation)
    return _losses(grid, keys_of(final, grid.p), "sum_directions")


def _register(called: str, **params: str) -> Callable[[Any], Any]:
    return measure(
        "excluded_loss",
        scope="split",
        unit="nats",
        bounds=(0.0, None),
        direction="neither",
        citation=CITATION,
        chance=lambda task: math.log(task.n_outputs - 1),
        variant=called,
        params={**params, "rule": DEFAULT_RULE},
    )


# one docstring for a measure and its variants
excluded_by_final.__doc__ = _leaving_out("sum_directions").__doc__
for _variant in VARIANTS:
    _called = "" if _variant == "sum_directions" else _variant
    _register(_called, variant=_variant, frequencies="current")(_leaving_out(_variant))
_register("final", variant="sum_directions", frequencies="final")(excluded_by_final)


@measure(
    "excluded_loss_by_frequency",
    scope="vector",
    unit="nats",
    bounds=(0.0, None),
    direction="neither",
    citation=CITATION,
    schedule="sparse",
    params={"variant": "sum_directions"},
)
def excluded_loss_by_frequency(evaluation: WholeEvaluation) -> Mapping[Part, Float[Tensor, " frequency"]]:
    """Loss of a split when one frequency's directions are taken out of the logits, frequency k at index k − 1.

    For every frequency, so no rule chooses any and nothing of the future is in it; the largest, or those of
    the final checkpoint, can be picked from it. About (p − 1)/2 times the cost of `excluded_loss`, hence on
    about a dozen checkpoints by default. Modular addition only.
    """
    grid = addition_grid(evaluation)
    found: dict[Part, list[float]] = {part: [] for part in evaluation.splits}
    for k in range(1, (grid.p + 1) // 2):
        losses = excluded_losses(grid.logits, [k], "sum_directions", transformed=grid.transformed).flatten()
        for part, inside in evaluation.splits.items():
            found[part].append(float(losses[inside].mean()))
    return {part: torch.tensor(values, dtype=torch.float64) for part, values in found.items()}
