"""B19: what a component of the residual stream adds to the difference of two logits, the final norm held fixed."""

from dataclasses import dataclass

from jaxtyping import Float
from torch import Tensor


@dataclass(frozen=True, eq=False)
class FinalNorm:
    """The norm before the unembedding: its scale and shift, and what is added to the variance.

    centred: the mean is subtracted first (LayerNorm), or not (the root of the mean square).
    """

    weight: Float[Tensor, " d_model"]
    bias: Float[Tensor, " d_model"] | None
    eps: float
    centred: bool = True

    def scale(self, residual: Float[Tensor, "*rows d_model"]) -> Float[Tensor, "*rows"]:
        """What the stream is multiplied by: one over its standard deviation or root mean square."""
        if self.centred:
            residual = residual - residual.mean(-1, keepdim=True)
        return (residual.square().mean(-1) + self.eps).rsqrt()

    def normed(self, residual: Float[Tensor, "*rows d_model"]) -> Float[Tensor, "*rows d_model"]:
        """What the norm gives."""
        centred = residual - residual.mean(-1, keepdim=True) if self.centred else residual
        scaled = centred * self.scale(residual)[..., None] * self.weight
        return scaled if self.bias is None else scaled + self.bias

    def seen_through(self, direction: Float[Tensor, "row d_model"]) -> Float[Tensor, "row d_model"]:
        """The direction in the stream that a direction after the norm reads, up to `scale`.

        Subtracting the mean of what is written is the same as subtracting the mean of what reads it.
        """
        read = direction * self.weight
        return read - read.mean(-1, keepdim=True) if self.centred else read


def attributed(
    written: Float[Tensor, "... row d_model"],
    direction: Float[Tensor, "row d_model"],
    scale: Float[Tensor, " row"],
) -> Float[Tensor, "... row"]:
    """Logits that each component adds, in float64: its product with the direction, times the frozen scale."""
    return (written.double() * direction.double()).sum(-1) * scale.double()
