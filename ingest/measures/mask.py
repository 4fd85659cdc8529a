"""B9: attention to tokens of a kind: starts of words, punctuation, line breaks and indentation, the query's own kind."""

from collections.abc import Callable

from jaxtyping import Float
from torch import Tensor

from ingest.mathematics.class_attention import MASKS, Targets, chance_of, target_attention
from ingest.measure import measure
from ingest.models.loaded import Activations


def _on(targets: Targets) -> Callable[[Activations], Tensor]:
    def mask(batch: Activations) -> Float[Tensor, "example layer head"]:
        """Mean attention from each token to all earlier ones of a kind, over tokens that have one before them.

        The variant names the kind: `word_start`, `punctuation`, `whitespace` (tokens of nothing else: line breaks and
        indentation), or `same_class`, the kind of the token that looks. Attention of a token to itself does not count.
        Chance is attention spread evenly over the past of these very sequences; it is high for common kinds.
        """
        return target_attention(batch, targets)

    return mask


for _name, _targets in MASKS.items():
    measure(
        "head.mask",
        scope="head",
        unit="probability",
        bounds=(0.0, 1.0),
        direction="neither",
        citation="pathscope; kinds of token as in Clark et al. 2019, What does BERT look at?",
        chance=chance_of(_name),
        traced=True,
        variant=_name,
        params={"mask": _name},
        taken_on="text",
    )(_on(_targets))
