"""What a model says at every position of one sequence, before anything of it is thrown away."""

from dataclasses import dataclass

from jaxtyping import Float
from torch import Tensor


@dataclass(frozen=True, eq=False)
class Distributions:
    """Logits of the next token at every position but the last of one sequence; they are not kept."""

    logits: Float[Tensor, "position token"]
