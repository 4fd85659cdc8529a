"""Where the attention of prompts goes: what measures of places with a role and of places that mean the same are given."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor

from ingest.evalsets.frozen import FrozenEvalSet, Items

# the place where the answer is read, beside the roles that a prompt's facts name
END = "end"


@dataclass(frozen=True, eq=False)
class Places:
    """What is known of the tokens of some prompts of one length.

    items: their numbers. roles: the position of each role that a prompt has, `END` included. meanings: which class of
    equivalent tokens each token is of, -1 for none; None where the eval set has no such classes.
    """

    items: Int[Tensor, " item"]
    tokens: Int[Tensor, "item position"]
    roles: Sequence[Mapping[str, int]]
    meanings: Int[Tensor, "item position"] | None = None


@dataclass(frozen=True, eq=False)
class AttendedPrompts:
    """One layer's attention in some prompts of one length; rows over keys sum to 1, none looks at later keys."""

    places: Places
    attention: Float[Tensor, "item head query key"]


def places_of(
    frozen: FrozenEvalSet, items: Items, chosen: Sequence[int], tokens: Int[Tensor, "item position"]
) -> Places:
    """The places of chosen items, whose tokens these are."""
    return Places(
        items=torch.tensor(chosen, dtype=torch.long),
        tokens=tokens,
        roles=[_roles(items, item) for item in chosen],
        meanings=_meanings(frozen.encoding.facts.get("equivalents"), tokens),
    )


def all_places(frozen: FrozenEvalSet) -> Iterator[Places]:
    """The places of all items, those of one length together; none without items."""
    if frozen.items is None:
        return
    of_sequence: dict[int, list[int]] = {}
    for item, sequence in enumerate(frozen.items.sequence.tolist()):
        of_sequence.setdefault(sequence, []).append(item)
    for group in frozen.batches(len(frozen.sequences)):
        pairs = [
            (row, item)
            for row, sequence in enumerate(group.sequences.tolist())
            for item in of_sequence.get(sequence, ())
        ]
        if pairs:
            rows, chosen = zip(*pairs, strict=True)
            tokens = torch.from_numpy(group.tokens[list(rows)].astype(np.int64))
            yield places_of(frozen, frozen.items, chosen, tokens)


def _roles(items: Items, item: int) -> dict[str, int]:
    end = int(items.position[item])
    found = items.facts[item].get("positions") if items.facts else None
    # a user's own fact of that name may be anything
    known = found if isinstance(found, Mapping) else {}
    roles = {role: at for role, at in known.items() if isinstance(at, int) and 0 <= at <= end}
    return {**roles, END: end}


def _meanings(equivalents: Any, tokens: Int[Tensor, "item position"]) -> Int[Tensor, "item position"] | None:
    """Classes are lists of token ids, each id in one of them."""
    if not equivalents:
        return None
    class_of = {token: number for number, ids in enumerate(equivalents) for token in ids}
    found = [class_of.get(token, -1) for token in tokens.flatten().tolist()]
    return torch.tensor(found, dtype=torch.long).reshape(tokens.shape)
