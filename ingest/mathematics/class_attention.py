"""Attention by what kind of token it falls on (B15 and the kinds of B9's generic masks)."""

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from ingest.applicable import NotApplicable
from ingest.evalsets.classes import TokenClass
from ingest.mathematics.attention_masks import patterns_with_a_past
from ingest.mathematics.head_signature import attention_to_classes
from ingest.models.loaded import Activations

NO_CLASSES = "the eval set's tokens are of no kind; it takes an eval set of text"
# which kinds of token each query of a kind looks for: [kind of the query, kind of the key]
Targets = Bool[Tensor, "query_class key_class"]


def keys_that_are(kind: TokenClass) -> Targets:
    """Tokens of one kind, whatever the query is."""
    targets = torch.zeros(len(TokenClass), len(TokenClass), dtype=torch.bool)
    targets[:, kind] = True
    return targets


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


def attention_on_classes(batch: Activations, targets: Targets) -> Float[Tensor, "example layer head query"]:
    """Attention on earlier tokens that a query looks for, itself not among them; float64.

    What the token itself gets is taken off again, which may leave less than nothing by rounding.
    """
    by_class, classes = batch.once(attention_by_class), classes_of(batch).long()
    wanted = targets.to(classes.device)[classes]  # [example, query, class]
    on_self = batch.attention.diagonal(0, -2, -1) * wanted.gather(-1, classes[..., None])[:, None, None, :, 0]
    return (by_class * wanted[:, None, None]).sum(-1).double() - on_self.double()
