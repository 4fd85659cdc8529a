"""B5: attention to what followed the current token last time: what an induction head does."""

from collections.abc import Callable
from typing import TypedDict

from jaxtyping import Float
from torch import Tensor

from ingest.mathematics.attention_masks import (
    MakeMask,
    chance_of,
    followers,
    last_followers,
    mask_score,
    patterns_of_copies,
)
from ingest.measure import measure
from ingest.models.loaded import Activations


class Way(TypedDict, total=False):
    """How attention on the targets becomes a score; as `mask_score` has it."""

    per_target: bool
    without_first: bool


def _taking(make: MakeMask, way: Way) -> Callable[[Activations], Tensor]:
    def prefix_matching(batch: Activations) -> Float[Tensor, "example layer head"]:
        """Mean attention from each token of a repeated copy to the tokens that followed its earlier occurrences.

        An ideal induction head scores 1. Queries are the tokens of second and later copies; targets follow
        every earlier occurrence of the same token, accidental ones included. By default the attention on all
        targets is summed; `last_target` takes only what followed the latest occurrence, and `mean_entry`
        divides by the number of targets, so that it stays below 1 where there are several. `without_first` leaves
        attention to the first token out and lets the rest of each query's add up to 1: many heads rest on the first
        token while they have nothing to do, and this says where they look otherwise. Chance is attention
        spread evenly over the past of these very sequences. Olsson et al. write in an appendix that the target
        precedes; their text and results say follows, as here (`head.preceding_token` is the other one).
        TransformerLens' detector differs: it divides by the attention of all rows.
        """
        patterns, mask = patterns_of_copies(batch, make)
        return mask_score(patterns, mask, **way)

    return prefix_matching


VARIANTS: dict[str, tuple[MakeMask, Way]] = {
    "sum_targets": (followers, {}),
    "last_target": (last_followers, {}),
    "mean_entry": (followers, {"per_target": True}),
    "without_first": (followers, {"without_first": True}),
}
for _variant, (_make, _way) in VARIANTS.items():
    measure(
        "head.prefix_matching",
        scope="head",
        unit="probability",
        bounds=(0.0, 1.0),
        direction="neither",
        citation="Olsson et al. 2022, In-context learning and induction heads (prefix matching)",
        chance=chance_of(_make, **_way),
        traced=True,
        variant="" if _variant == "sum_targets" else _variant,
        params={"variant": _variant},
        taken_on="repeats",
    )(_taking(_make, _way))
