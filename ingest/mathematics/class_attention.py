"""Attention by what kind of token it falls on, and targets that are tokens of a kind (B9's generic masks)."""

from collections.abc import Callable, Mapping

import numpy as np
import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from ingest.applicable import NotApplicable
from ingest.evalsets.classes import TokenClass
from ingest.mathematics.attention_masks import patterns_with_a_past
from ingest.mathematics.head_signature import attention_to_classes
from ingest.models.loaded import Activations
from ingest.task import Task

NO_CLASSES = "the eval set's tokens are of no kind; it takes an eval set of text"
# which kinds of token each query of a kind looks for: [kind of the query, kind of the key]
Targets = Bool[Tensor, "query_class key_class"]


def keys_that_are(kind: TokenClass) -> Targets:
    """Tokens of one kind, whatever the query is."""
    targets = torch.zeros(len(TokenClass), len(TokenClass), dtype=torch.bool)
    targets[:, kind] = True
    return targets


# whitespace: line breaks and indentation; other spaces are part of the word that follows
MASKS: Mapping[str, Targets] = {
    "word_start": keys_that_are(TokenClass.WORD_START),
    "punctuation": keys_that_are(TokenClass.PUNCTUATION),
    "whitespace": keys_that_are(TokenClass.WHITESPACE),
    "same_class": torch.eye(len(TokenClass), dtype=torch.bool),
}


def classes_of(batch: Activations) -> Int[Tensor, "example position"]:
    """The kind of every token; raises NotApplicable where tokens have none."""
    if batch.classes is None:
        raise NotApplicable(NO_CLASSES)
    return batch.classes


def attention_by_class(batch: Activations) -> Float[Tensor, "example layer head query class"]:
    """Attention of each query summed over the keys of each kind; raises NotApplicable without heads or kinds."""
    patterns = patterns_with_a_past(batch)
    found = attention_to_classes(patterns.flatten(1, 2), classes_of(batch))
    return found.reshape(*patterns.shape[:-1], -1)


def n_targets(classes: Int[Tensor, "example position"], targets: Targets) -> Int[Tensor, "example query"]:
    """How many earlier tokens each query looks for, itself not among them."""
    of_class = torch.nn.functional.one_hot(classes.long(), len(TokenClass))
    earlier = of_class.cumsum(1) - of_class
    return (earlier * targets.to(classes.device)[classes.long()]).sum(-1)


def target_attention(batch: Activations, targets: Targets) -> Float[Tensor, "example layer head"]:
    """Attention on earlier tokens that a query looks for, meaned over the queries that have one; float64.

    Examples without such a query are left out, so there may be none.
    """
    by_class, classes = batch.once(attention_by_class), classes_of(batch).long()
    wanted = targets.to(classes.device)[classes]  # [example, query, class]
    on_self = batch.attention.diagonal(0, -2, -1) * wanted.gather(-1, classes[..., None])[:, None, None, :, 0]
    on_target = (by_class * wanted[:, None, None]).sum(-1).double() - on_self.double()
    asks = n_targets(classes, targets) > 0
    n_queries = asks.sum(1)
    # what the token itself gets is taken off again, which may leave less than nothing by rounding
    scores = (on_target.clamp_min(0) * asks[:, None, None]).sum(-1) / n_queries.clamp_min(1)[:, None, None]
    return scores[n_queries > 0].clamp_max(1)


def chance_of(name: str) -> Callable[[Task], float]:
    """The score of attention spread evenly over the past, from the very tokens of a task's evaluation set.

    The function made raises NotApplicable where tokens have no kind or no query has a target. It remembers its last
    answer, because every checkpoint asks again.
    """
    known: dict[str, float] = {}

    def chance(task: Task) -> float:
        encoding = task.eval_set.encoding.hash
        if encoding not in known:
            classes = task.classes()
            if classes is None:
                raise NotApplicable(NO_CLASSES)
            known.clear()
            known[encoding] = uniform_score(torch.from_numpy(classes.astype(np.int64)), MASKS[name], name)
        return known[encoding]

    return chance


def uniform_score(classes: Int[Tensor, "example position"], targets: Targets, name: str) -> float:
    """Mean of n_targets / (q + 1) over queries with a target, then over examples that have one."""
    found = n_targets(classes, targets).double()
    shares = found / torch.arange(1, classes.shape[1] + 1, dtype=torch.float64)
    n_queries = (found > 0).sum(1)
    if not n_queries.any():
        raise NotApplicable(f"no token of the eval set has an earlier one to look for: {name}")
    some = n_queries > 0
    return float((shares[some].sum(1) / n_queries[some]).mean())
