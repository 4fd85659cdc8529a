"""B15: how far back a head looks."""

from jaxtyping import Float
from torch import Tensor

from ingest.mathematics.attention_masks import patterns_with_a_past
from ingest.mathematics.head_signature import DISTANCES, distance_profiles
from ingest.measure import measure
from ingest.models.loaded import Activations


@measure(
    "head.distance_profile",
    scope="head vector",
    unit="probability",
    bounds=(0.0, 1.0),
    direction="neither",
    citation="pathscope; distances as in Vig and Belinkov 2019, Analyzing the structure of attention in a transformer",
    traced=True,
    params={"distances": list(DISTANCES)},
    taken_on="text",
)
def distance_profile(batch: Activations) -> Float[Tensor, "example layer head bin"]:
    """Attention by how many tokens back it goes, in 16 bins, meaned over queries; the bins of a head add up to 1.

    `params` say at which distance each bin begins: 0 is the token itself, the last bin is open. Long sequences have more far
    keys: only profiles of one length compare.
    """
    return batch.once(_profiles)


def _profiles(batch: Activations) -> Float[Tensor, "example layer head bin"]:
    patterns = patterns_with_a_past(batch)
    return distance_profiles(patterns.flatten(1, 2)).reshape(*patterns.shape[:3], -1)
