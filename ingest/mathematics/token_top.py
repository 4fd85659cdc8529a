"""B26: the most likely next tokens of every position and the probability of all others."""

import math
from dataclasses import dataclass

import torch
from jaxtyping import Float, Int
from torch import Tensor

from ingest.mathematics.ranking import largest

# rows of logits at a time: their exponentials stay in the cache
_ROWS = 4
_LOG2_E = math.log2(math.e)


@dataclass(frozen=True)
class TokenTop:
    """The k most likely tokens, most likely first, their log-probabilities in nats, and the mass of the rest."""

    token_ids: Int[Tensor, "position k"]
    log_probs: Float[Tensor, "position k"]
    remainder: Float[Tensor, " position"]


def token_top(
    logits: Float[Tensor, "position token"],
    k: int = 64,
    *,
    log_normaliser: Float[Tensor, " position"] | None = None,
) -> TokenTop:
    """The k most likely tokens of every position of one sequence; equally likely ones by lower id.

    log_normaliser: log Σ exp(logits) where it is known from the loss; otherwise computed. The remainder is 1
    minus the mass of the k tokens, in [0, 1], right to 1e-6 for float32 logits. Raises ValueError for a position
    whose logits have no distribution (NaN or +inf).

    What the k tokens say of the Jensen-Shannon divergence of two models P and Q (natural logarithm): let S be
    the tokens in both lists and m the mean of P's and Q's mass outside S. The divergence J(S) with all other
    tokens taken as one is computed exactly from the lists, and J(S) ≤ JS(P, Q) ≤ J(S) + m ln 2. (By the chain
    rule of mutual information the difference is m times a divergence, which ln 2 bounds.)
    """
    known = log_normalisers(logits) if log_normaliser is None else log_normaliser
    if not known.isfinite().all():
        position = int((~known.isfinite()).nonzero()[0])
        raise ValueError(f"the logits at position {position} have no distribution: NaN or infinite")
    top, token_ids = largest(logits, k)
    log_probs = top.double() - known.double()[:, None]
    remainder = (1 - log_probs.exp().sum(1)).clamp(0, 1)
    return TokenTop(token_ids, log_probs.to(logits.dtype), remainder)


def log_normalisers(logits: Float[Tensor, "position token"]) -> Float[Tensor, " position"]:
    """Log Σ exp(logits) of every position, without another tensor of that size."""
    found = []
    for rows in torch.split(logits, _ROWS):
        highest = rows.amax(1)
        found.append(highest + exponentials(rows, highest).sum(1).log())
    return torch.cat(found) if found else logits.new_zeros(0)


def exponentials(
    logits: Float[Tensor, "position token"], highest: Float[Tensor, " position"]
) -> Float[Tensor, "position token"]:
    """exp(logits − highest): 1 for the highest logit of a position, so sums are at least 1 and never overflow.

    To base 2, which on a CPU takes half the time of exp and moves the logarithm of the sum by less than 1e-7.
    """
    return (logits - highest[:, None]).mul_(_LOG2_E).exp2_()
