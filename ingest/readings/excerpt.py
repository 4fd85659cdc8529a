"""Which sequences of which eval set a piece of a pass holds, and what was found out about them."""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, TypeVar

import torch

if TYPE_CHECKING:
    from ingest.evalsets.next_tokens import NextTokens

T = TypeVar("T")


@dataclass(frozen=True, eq=False)
class Excerpt:
    """The same object for all layers of a piece, so that what follows from the tokens alone is computed once."""

    task: "NextTokens"
    rows: slice
    device: torch.device
    _made: dict[Callable[..., Any], Any] = field(default_factory=dict, init=False, repr=False)

    def once(self, make: "Callable[[Excerpt], T]") -> T:
        """`make(self)`, made on the first call."""
        if make not in self._made:
            self._made[make] = make(self)
        made: T = self._made[make]
        return made
