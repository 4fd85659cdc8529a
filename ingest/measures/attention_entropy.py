"""B9: how widely a head spreads its attention."""

import math

import torch
from jaxtyping import Float
from torch import Tensor

from ingest.mathematics.attention_masks import patterns_with_a_past
from ingest.measure import measure
from ingest.models.loaded import Activations

# queries taken together
_ROWS = 64
CITATION = "pathscope; entropy of attention patterns as in Clark et al. 2019, What does BERT look at?"


@measure(
    "head.attention_entropy",
    scope="head",
    unit="nats",
    bounds=(0.0, None),
    direction="neither",
    citation=CITATION,
    chance=lambda task: math.lgamma(task.n_positions + 1) / task.n_positions,
    traced=True,
)
def attention_entropy(batch: Activations) -> Float[Tensor, "example layer head"]:
    """Mean over all queries of the entropy of their attention, in nats; 0: each looks at one token only.

    The first token can only look at itself and counts with 0. Chance is attention spread evenly over the past:
    ln(T!)/T for sequences of T tokens.
    """
    return batch.once(_entropies).mean(-1)


# another unit and range, so a measure of its own and no variant of the other
@measure(
    "head.attention_entropy:normalised",
    scope="head",
    unit="share",
    bounds=(0.0, 1.0),
    direction="neither",
    citation=CITATION,
    chance=lambda task: 1.0,
    traced=True,
)
def normalised_entropy(batch: Activations) -> Float[Tensor, "example layer head"]:
    """Mean over queries after the first of the entropy of their attention, divided by the largest it can be.

    The largest is ln(q + 1) for the query at position q: attention spread evenly over the past, which is
    the chance level, has 1. Unlike the entropy in nats it does not grow with the length of the sequences.
    """
    found = batch.once(_entropies)[..., 1:]
    largest = torch.arange(2, found.shape[-1] + 2, dtype=torch.float64, device=found.device).log()
    return (found / largest).mean(-1).clamp_max(1.0)


def _entropies(batch: Activations) -> Float[Tensor, "example layer head query"]:
    return entropies(patterns_with_a_past(batch))


def entropies(pattern: Float[Tensor, "example *head query key"]) -> Float[Tensor, "example *head query"]:
    """−Σ_k A ln A of each query, with 0 ln 0 = 0; float64, good to the precision of the pattern. Patterns are causal."""
    least = torch.finfo(pattern.dtype).tiny  # times its logarithm is nothing, and there is none of 0
    n = pattern.shape[-1]
    found = pattern.new_zeros(pattern.shape[:-1])
    # a sequence and some queries at a time, on keys that any of them sees: what is made of them stays in the cache, and half
    # of the logarithms need not be taken
    for one, its in zip(pattern.flatten(1, -3), found.flatten(1, -2), strict=True):
        for start in range(0, n, _ROWS):
            rows, seen = slice(start, start + _ROWS), slice(min(start + _ROWS, n))
            part = one[:, rows, seen]
            its[:, rows] = part.clamp_min(least).log_().mul_(part).sum(-1)
    # a row that is 1 by rounding has a logarithm above 0 by rounding
    return found.double().neg_().clamp_min_(0)
