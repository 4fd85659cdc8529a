"""B23: loss of the part of the logits that the key frequencies make up."""

import math
from collections.abc import Callable

from jaxtyping import Float
from torch import Tensor

from ingest.addition_grid import DEFAULT_RULE, addition_grid, current_keys
from ingest.evaluation import WholeEvaluation
from ingest.fourier import VARIANTS, Variant
from ingest.measure import measure
from ingest.trig_losses import restricted_losses


def _taking(variant: Variant) -> Callable[[WholeEvaluation], Tensor]:
    def restricted_loss(evaluation: WholeEvaluation) -> Float[Tensor, " example"]:
        """Loss when only the key frequencies' directions of the logits are kept, with each answer's mean put back.

        The key frequencies are those of the checkpoint itself, by the `W_L` rule of `key_frequencies`, so
        early values say little. Softmax over the p answers without `=`: chance is ln p. Needs the whole
        grid, test pairs included. Variants keep cos and sin of w_k (a + b) (`sum_directions`), all products
        of cos and sin (`block_2x2`), or linear terms too (`block_3x3`). Modular addition with an MLP only.
        """
        grid = addition_grid(evaluation)
        keys = current_keys(grid)
        return restricted_losses(grid.logits, keys, variant, transformed=grid.transformed).flatten()

    return restricted_loss


for _variant in VARIANTS:
    measure(
        "restricted_loss",
        scope="split",
        unit="nats",
        bounds=(0.0, None),
        direction="lower is better",
        citation="Nanda et al. 2023, Progress measures for grokking via mechanistic interpretability",
        chance=lambda task: math.log(task.n_outputs - 1),
        variant="" if _variant == "sum_directions" else _variant,
        params={"variant": _variant, "frequencies": "current", "rule": DEFAULT_RULE},
    )(_taking(_variant))
