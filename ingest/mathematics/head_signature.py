"""B15: what a head does, in a row of numbers that does not depend on the basis of its d_head dimensions."""

from collections.abc import Mapping

import torch
from jaxtyping import Float, Int
from torch import Tensor
from torch.nn import functional

from ingest.evalsets.classes import TokenClass

# first distance of each bin, query minus key: single up to 3, then two bins an octave, the last open
DISTANCES = (0, 1, 2, 3, 4, 6, 8, 12, 16, 24, 32, 48, 64, 96, 128, 192)
N_CLASSES = len(TokenClass)
N_PROMPTS = 64
_SCORES = (
    "prefix_matching",
    "previous_token",
    "duplicate_token",
    "first_token",
    "attention_entropy",
)
# the parts of a signature in order, and how many numbers each has
PARTS: dict[str, int] = {
    **{f"{score}:text": 1 for score in _SCORES},
    **{f"{score}:random": 1 for score in _SCORES},
    "copying_eig": 1,
    "distance": len(DISTANCES),
    "class": N_CLASSES,
    "logit_attribution": N_PROMPTS,
    "output_share": 1,
}


def head_signature(parts: Mapping[str, Float[Tensor, "head ..."]]) -> Float[Tensor, "head number"]:
    """The parts of `PARTS` side by side, float64: 99 numbers a head, in their own units.

    NaN where a part is missing for a model. Numbers of different units are to be standardised before distances
    are taken, with constants pooled over all runs compared. Raises ValueError for a part that is missing,
    unknown, or of another length: pass NaN for what a model cannot have.
    """
    if set(parts) != set(PARTS):
        odd = sorted(set(parts) ^ set(PARTS))
        raise ValueError(f"parts of a head signature missing or unknown: {odd}; expected {list(PARTS)}")
    columns = []
    for name, length in PARTS.items():
        column = parts[name].double().reshape(len(parts[name]), -1)
        if column.shape[1] != length:
            raise ValueError(f"part {name!r} has {column.shape[1]} numbers a head; expected {length}")
        columns.append(column)
    return torch.cat(columns, 1)


def signature_labels() -> tuple[str, ...]:
    """What each number of a signature is: the part, and where it has several which one ("distance 4")."""
    names = {
        "distance": [f"distance {first}" for first in DISTANCES],
        "class": [f"class {kind.name.lower()}" for kind in TokenClass],
        "logit_attribution": [f"logit_attribution {prompt}" for prompt in range(N_PROMPTS)],
    }
    return tuple(label for part in PARTS for label in names.get(part, [part]))


def distance_profiles(
    pattern: Float[Tensor, "sequence head query key"],
) -> Float[Tensor, "sequence head bin"]:
    """Attention by how far back it goes, summed within the bins of `DISTANCES`, meaned over queries; rows sum to 1.

    Patterns are causal. Float64. Long sequences have more far keys: compare profiles of one length only.
    """
    n = pattern.shape[-1]
    pattern = pattern.contiguous()
    by_distance = pattern.new_zeros(*pattern.shape[:2], n, dtype=torch.float64)
    if n > 1:
        # Each diagonal as a column, without a copy: one step down and one to the right is n + 1 places on. What lies
        # left of the first key is the end of the row above, which is 0, as no query looks at later keys.
        step = (*pattern.stride()[:2], n + 1, 1)
        diagonals = pattern.as_strided((*pattern.shape[:2], n - 1, n), step, pattern.storage_offset() + 2)
        by_distance += diagonals.sum(2).double().flip(-1)
    by_distance[..., 0] += pattern[..., 0, 0]  # the first query, which has no row above
    return _binned(by_distance) / n


def attention_to_classes(
    pattern: Float[Tensor, "sequence head query key"],
    classes: Int[Tensor, "sequence key"],
) -> Float[Tensor, "sequence head query class"]:
    """Attention of each query summed over the keys of each class; rows sum to 1.

    classes: numbers of `TokenClass`; raises ValueError for any other.
    """
    if ((classes < 0) | (classes >= N_CLASSES)).any():
        raise ValueError(
            f"token classes from {int(classes.min())} to {int(classes.max())}; expected 0 to {N_CLASSES - 1}"
        )
    of_class = functional.one_hot(classes.long(), N_CLASSES).to(pattern.dtype)
    # this way round the product of a large and a narrow matrix takes three quarters of the time
    found = of_class.mT @ pattern.flatten(1, 2).mT
    return found.mT.reshape(*pattern.shape[:3], N_CLASSES)


def output_norms(
    mixed: Float[Tensor, "... position head d_head"], outputs: Float[Tensor, "head d_head d_model"]
) -> Float[Tensor, " head"]:
    """Mean norm over positions of what each head writes, float64, without making the outputs.

    mixed: values weighted by attention, what W_O reads. ‖z W_O‖² = z (W_O W_O^T) z^T takes d_head² numbers a head
    and position instead of d_head · d_model.
    """
    z = mixed.double().flatten(0, -3)
    gram = outputs.double() @ outputs.double().mT
    squares = torch.einsum("phi,hij,phj->ph", z, gram, z)
    return squares.clamp_min(0).sqrt().mean(0)


def output_share(norms: Float[Tensor, "layer head"]) -> Float[Tensor, "layer head"]:
    """Each head's mean output norm as a share of the sum over all heads of the model; NaN where all write nothing."""
    return norms.double() / norms.double().sum()


def _binned(by_distance: Float[Tensor, "... distance"]) -> Float[Tensor, "... bin"]:
    edges = torch.tensor(DISTANCES, device=by_distance.device)
    distances = torch.arange(by_distance.shape[-1], device=by_distance.device)
    bins = torch.bucketize(distances, edges, right=True) - 1
    return by_distance.new_zeros(*by_distance.shape[:-1], len(DISTANCES)).index_add_(-1, bins, by_distance)
