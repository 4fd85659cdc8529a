"""Which keys a query should look at, for scores that are a share of attention (measures B5 to B9).

Masks are [example, query, key], true for a target. Keys are never later than their query. A query without a
target takes no part in a score.
"""

from collections.abc import Callable

import numpy as np
import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from ingest.measure import NotApplicable
from ingest.models.loaded import Activations
from ingest.task import Task

# queries taken together
_ROWS = 64
Mask = Bool[Tensor, "example query key"]
NOTHING_REPEATS = "nothing in the task's sequences repeats; it takes a task such as repeated_tokens"
MakeMask = Callable[[Int[Tensor, "example position"], Int[Tensor, "example position"]], Mask]


def mask_score(
    pattern: Float[Tensor, "example ... query key"],
    mask: Bool[Tensor, "example query key"],
    *,
    per_target: bool = False,
    without_first: bool = False,
) -> Float[Tensor, "example ..."]:
    """Attention that falls on the targets, Σ_k A[q, k] M[q, k], meaned over the queries that have one; float64, in [0, 1].

    per_target: divide each query's attention by its number of targets. without_first: take the first key away,
    from the targets too, and let the others of each query add up to 1; where nothing is left, nothing falls on
    targets. Raises ValueError naming an example without any target.
    """
    if without_first:
        pattern, mask = pattern[..., 1:], mask[..., 1:]
    n_targets = mask.sum(-1)
    n_queries = (n_targets > 0).sum(-1)
    if (n_queries == 0).any():
        raise ValueError(f"example {int((n_queries == 0).nonzero()[0])} has no query with a target")
    found = pattern.new_empty(pattern.shape[:-1])
    n = pattern.shape[-1]
    # some queries of a sequence at a time, on keys that any of them sees: what is made stays in the cache
    for one, targets, its in zip(pattern, mask.to(pattern.dtype), found, strict=True):
        for start in range(0, n, _ROWS):
            rows, seen = slice(start, start + _ROWS), slice(min(start + _ROWS, n))
            its[..., rows] = (one[..., rows, seen] * targets[rows, seen]).sum(-1)
    on_target = found.double()
    heads = (1,) * (pattern.dim() - mask.dim())
    if per_target:
        on_target = on_target / n_targets.clamp_min(1).view(len(mask), *heads, -1)
    if without_first:
        left = pattern.sum(-1).double()
        on_target = on_target / torch.where(left > 0, left, 1)
    return on_target.sum(-1) / n_queries.view(-1, *heads)


def duplicates(
    tokens: Int[Tensor, "example position"], copies: Int[Tensor, "example position"]
) -> Bool[Tensor, "example query key"]:
    """Earlier occurrences of the query's token, for queries in a second or later copy."""
    same = tokens[:, :, None] == tokens[:, None, :]
    return same.tril(-1) & (copies > 1)[:, :, None]


def followers(
    tokens: Int[Tensor, "example position"], copies: Int[Tensor, "example position"]
) -> Bool[Tensor, "example query key"]:
    """The tokens right after them: what a head looks at that predicts what came next last time."""
    mask = torch.zeros_like(duplicates(tokens, copies))
    mask[:, :, 1:] = duplicates(tokens, copies)[:, :, :-1]
    return mask


def predecessors(
    tokens: Int[Tensor, "example position"], copies: Int[Tensor, "example position"]
) -> Bool[Tensor, "example query key"]:
    """The tokens right before them."""
    mask = torch.zeros_like(duplicates(tokens, copies))
    mask[:, :, :-1] = duplicates(tokens, copies)[:, :, 1:]
    return mask


def last_followers(
    tokens: Int[Tensor, "example position"], copies: Int[Tensor, "example position"]
) -> Bool[Tensor, "example query key"]:
    """Of `followers` only the one after the latest earlier occurrence."""
    mask = followers(tokens, copies)
    later = mask.flip(-1).cumsum(-1).flip(-1)  # targets from this key on
    return mask & (later == 1)


def uniform_score(
    mask: Bool[Tensor, "example query key"], *, per_target: bool = False, without_first: bool = False
) -> float:
    """What attention spread evenly over all earlier tokens and the own would score: the chance level.

    The mean of n_targets / (q + 1), or with `per_target` of 1 / (q + 1), over queries with a target, then over
    examples. without_first: all but the first, so q in place of q + 1.
    """
    keys = torch.arange(1, mask.shape[1] + 1, dtype=torch.float64)
    if without_first:
        keys, mask = (keys - 1).clamp_min(1), mask[..., 1:]  # the first query has no target
    n_targets = mask.sum(-1)
    shares = (n_targets.clamp_max(1) if per_target else n_targets).double() / keys
    return float((shares.sum(-1) / mask.any(-1).sum(-1)).mean())


def chance_of(
    make: MakeMask, *, per_target: bool = False, without_first: bool = False
) -> Callable[[Task], float]:
    """The chance level of a score with this mask, from the very sequences of a task's evaluation set.

    The function made raises NotApplicable where nothing repeats. It remembers its last answer, because every
    checkpoint of a run asks again.
    """
    known: dict[str, float] = {}

    def chance(task: Task) -> float:
        copies = task.copies()
        if copies is None:
            raise NotApplicable(NOTHING_REPEATS)
        encoding = task.eval_set.encoding.hash
        if encoding not in known:
            tokens = torch.from_numpy(task.evaluation().tokens.astype(np.int64))
            mask = make(tokens, torch.from_numpy(copies.astype(np.int64)))
            known.clear()
            known[encoding] = uniform_score(mask, per_target=per_target, without_first=without_first)
        return known[encoding]

    return chance


def patterns_of_copies(
    batch: Activations, make: MakeMask
) -> tuple[Float[Tensor, "example layer head query key"], Bool[Tensor, "example query key"]]:
    """Attention patterns and mask; raises NotApplicable without heads or where nothing repeats."""
    patterns = patterns_with_a_past(batch)
    if batch.copies is None:
        raise NotApplicable(NOTHING_REPEATS)
    return patterns, make(batch.tokens, batch.copies)


def patterns_with_a_past(batch: Activations) -> Float[Tensor, "example layer head query key"]:
    """The attention patterns; raises NotApplicable where no query has an earlier position to attend to."""
    if batch.attention.shape[1] == 0:
        raise NotApplicable("the model has no attention heads")
    if batch.attention.shape[-1] < 2:
        raise NotApplicable("sequences of one token have no earlier position")
    return batch.attention
