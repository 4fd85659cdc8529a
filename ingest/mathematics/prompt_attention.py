"""Attention between places of a prompt: those that have a role, and those that follow a token of the same meaning.

Masks are [item, query, key], true where a key is a target of a query; keys are never later than their query.
"""

from collections.abc import Callable
from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from ingest.applicable import NotApplicable
from ingest.evalsets.next_tokens import NextTokens
from ingest.readings.attended import AttendedPrompts, Places, all_places
from ingest.task import Task

Mask = Bool[Tensor, "item query key"]
MakeMask = Callable[[Places], Mask]


@dataclass(frozen=True)
class Roles:
    """From the place of one role to that of another, or to the token `after` places behind it."""

    query: str
    key: str
    after: int = 0

    def __call__(self, places: Places) -> Bool[Tensor, "item query key"]:
        """One target for every prompt that has both, the query no earlier than the key."""
        n, length = places.tokens.shape
        mask = torch.zeros(n, length, length, dtype=torch.bool)
        for item, roles in enumerate(places.roles):
            if self.query in roles and self.key in roles:
                query, key = roles[self.query], roles[self.key] + self.after
                if key <= query:
                    mask[item, query, key] = True
        return mask


def soft_followers(places: Places) -> Bool[Tensor, "item query key"]:
    """The tokens right after earlier tokens that mean what the query means and are not the same token.

    Raises NotApplicable where the eval set does not say which tokens mean the same.
    """
    if places.meanings is None:
        raise NotApplicable('the eval set has no classes of equivalent tokens; kind = "translation" has')
    return soft_mask(places.tokens, places.meanings)


def soft_mask(
    tokens: Int[Tensor, "item position"], meanings: Int[Tensor, "item position"]
) -> Bool[Tensor, "item query key"]:
    """The same from tokens and their classes (-1: none)."""
    alike = (meanings[:, :, None] == meanings[:, None, :]) & (meanings >= 0)[:, :, None]
    earlier = (alike & (tokens[:, :, None] != tokens[:, None, :])).tril(-1)
    mask = torch.zeros_like(earlier)
    mask[:, :, 1:] = earlier[:, :, :-1]
    return mask


def attention_on(
    attention: Float[Tensor, "item head query key"], mask: Bool[Tensor, "item query key"]
) -> Float[Tensor, "item head"]:
    """Attention on the targets of each query, meaned over the queries that have one; float64, in [0, 1].

    NaN for an item without such a query.
    """
    n_queries = mask.any(-1).sum(-1)
    found = torch.einsum("ihqk,iqk->ih", attention.double(), mask.to(attention.device).double())
    shares = found / n_queries.to(found)[:, None]
    return shares.clamp(0, 1)


def uniform(mask: Bool[Tensor, "item query key"]) -> Float[Tensor, " item"]:
    """What attention spread evenly over the query's past and itself would give each item; NaN without a target."""
    seen = torch.arange(1, mask.shape[1] + 1, dtype=torch.float64)
    return (mask.sum(-1) / seen).sum(-1) / mask.any(-1).sum(-1)


def score(prompts: AttendedPrompts, make: MakeMask) -> Float[Tensor, "item head"]:
    """Attention on the targets that `make` finds."""
    return attention_on(prompts.attention, make(prompts.places))


def chance_of(make: MakeMask) -> Callable[[Task], float]:
    """The mean of `uniform` over the prompts of an eval set that have a target.

    The function made raises NotApplicable where none has. It remembers its last answer, because every checkpoint asks
    again.
    """
    known: dict[str, float] = {}

    def chance(task: Task) -> float:
        encoding = task.eval_set.encoding.hash
        if encoding not in known:
            groups = all_places(task.frozen) if isinstance(task, NextTokens) else ()
            shares = torch.cat([torch.zeros(0).double(), *(uniform(make(places)) for places in groups)])
            if shares.isnan().all():
                raise NotApplicable("no prompt of the eval set has the places that it looks at")
            known.clear()
            known[encoding] = float(shares.nanmean())
        return known[encoding]

    return chance
