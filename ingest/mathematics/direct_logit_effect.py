"""Which tokens a neuron speaks for or against directly: its output weights times the unembedding."""

from dataclasses import dataclass

import torch
from jaxtyping import Float, Int
from torch import Tensor

from ingest.mathematics.ranking import largest

# units at a time: their effects on 50,000 tokens take 26 MB in float32
_UNITS = 128


@dataclass(frozen=True)
class LogitEffect:
    """Of every unit the tokens whose logits it raises most and lowers most, the furthest first, and by how much."""

    top_tokens: Int[Tensor, "unit k"]
    top_values: Float[Tensor, "unit k"]
    bottom_tokens: Int[Tensor, "unit k"]
    bottom_values: Float[Tensor, "unit k"]


def direct_logit_effect(
    outputs: Float[Tensor, "unit d_model"],
    unembedding: Float[Tensor, "d_model token"],
    k: int = 10,
    *,
    final_weight: Float[Tensor, " d_model"] | None = None,
    subtracts_mean: bool = True,
) -> LogitEffect:
    """What one unit of activation adds to the logits without passing through later layers, k tokens each way.

    outputs: W_out. Effects are given less their mean over all tokens, which no probability depends on.

    final_weight None: W_out W_U as it stands, right for a model without a final LayerNorm or with one that is
    folded in and centred. Otherwise the final LayerNorm is folded in: W_out less its mean over d_model (unless
    subtracts_mean is False, as for RMSNorm), times final_weight, times W_U. What is left out is the division by
    the residual stream's standard deviation at the token: effects are in logits times that, comparable between the
    units of a model but not between models. Equal effects come in the order of tokens.
    """
    written = outputs
    if final_weight is not None:
        if subtracts_mean:
            written = written - written.mean(1, keepdim=True)
        written = written * final_weight
    parts: list[tuple[Tensor, Tensor, Tensor, Tensor]] = []
    for some in torch.split(written, _UNITS):
        effects = some @ unembedding
        effects -= effects.mean(1, keepdim=True)
        top_values, top_tokens = largest(effects, k)
        bottom_values, bottom_tokens = largest(effects.neg_(), k)
        parts.append((top_tokens, top_values, bottom_tokens, -bottom_values))
    return LogitEffect(*(torch.cat(column) for column in zip(*parts, strict=True)))
