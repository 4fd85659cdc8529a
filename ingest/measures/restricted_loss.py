"""B23: loss of the part of the logits that the key frequencies make up."""

import math
from collections.abc import Callable, Sequence
from typing import Any

from jaxtyping import Float
from torch import Tensor

from ingest.mathematics.fourier import VARIANTS, Variant
from ingest.mathematics.trig_losses import restricted_losses
from ingest.measure import measure
from ingest.models.loaded import LoadedModel
from ingest.readings.addition_grid import DEFAULT_RULE, AdditionGrid, addition_grid, current_keys, keys_of
from ingest.readings.evaluation import WholeEvaluation


def _losses(grid: AdditionGrid, keys: Sequence[int], variant: Variant) -> Float[Tensor, " example"]:
    return restricted_losses(grid.logits, keys, variant, transformed=grid.transformed).flatten()


def _taking(variant: Variant) -> Callable[[WholeEvaluation], Tensor]:
    def restricted_loss(evaluation: WholeEvaluation) -> Float[Tensor, " example"]:
        """Loss when only the key frequencies' directions of the logits are kept, with each answer's mean put back.

        The key frequencies are those of the checkpoint itself, by the `W_L` rule of `key_frequencies`, so
        early values say little; the variant `final` uses those of the run's last checkpoint throughout, as the
        published curves do, which makes it no predictor: it knows the future. Softmax over the p answers without
        `=`: chance is ln p. Needs the whole grid, test pairs included. Variants keep cos and sin of
        w_k (a + b) (`sum_directions`), all products of cos and sin (`block_2x2`), or linear terms too
        (`block_3x3`). Modular addition with an MLP only.
        """
        grid = addition_grid(evaluation)
        return _losses(grid, current_keys(grid), variant)

    return restricted_loss


def restricted_by_final(evaluation: WholeEvaluation, final: LoadedModel) -> Float[Tensor, " example"]:
    """As `restricted_loss`, with the key frequencies of the final checkpoint."""
    grid = addition_grid(evaluation)
    return _losses(grid, keys_of(final, grid.p), "sum_directions")


def _register(called: str, **params: str) -> Callable[[Any], Any]:
    return measure(
        "restricted_loss",
        scope="split",
        unit="nats",
        bounds=(0.0, None),
        direction="lower is better",
        citation="Nanda et al. 2023, Progress measures for grokking via mechanistic interpretability",
        chance=lambda task: math.log(task.n_outputs - 1),
        variant=called,
        params={**params, "rule": DEFAULT_RULE},
    )


# one docstring for a measure and its variants
restricted_by_final.__doc__ = _taking("sum_directions").__doc__
for _variant in VARIANTS:
    _called = "" if _variant == "sum_directions" else _variant
    _register(_called, variant=_variant, frequencies="current")(_taking(_variant))
_register("final", variant="sum_directions", frequencies="final")(restricted_by_final)
