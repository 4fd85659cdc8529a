"""B15: what a head does, in a row of numbers that does not depend on the basis of its d_head dimensions."""

import torch
from jaxtyping import Float, Int
from torch import Tensor
from torch.nn import functional

from ingest.evalsets.classes import TokenClass

# first distance of each bin, query minus key: single up to 3, then two bins an octave, the last open
DISTANCES = (0, 1, 2, 3, 4, 6, 8, 12, 16, 24, 32, 48, 64, 96, 128, 192)
N_CLASSES = len(TokenClass)
# queries taken together, on keys that any of them sees
_ROWS = 64


def signature_labels(*, repeats: bool, classes: bool) -> tuple[str, ...]:
    """What each number of a signature is, in order.

    repeats, classes: whether the eval set's sequences repeat a block, and whether their tokens are of a kind.
    """
    return (
        "previous_token",
        "first_token",
        "attention_entropy",
        *(f"distance {first}" for first in DISTANCES),
        *(("prefix_matching", "duplicate_token") if repeats else ()),
        *(f"class {kind.name.lower()}" for kind in TokenClass if classes),
    )


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
    """Attention of each query summed over the keys of each class; rows sum to 1. Patterns are causal.

    classes: numbers of `TokenClass`; raises ValueError for any other.
    """
    if ((classes < 0) | (classes >= N_CLASSES)).any():
        raise ValueError(
            f"token classes from {int(classes.min())} to {int(classes.max())}; expected 0 to {N_CLASSES - 1}"
        )
    n_heads, n = pattern.shape[1:3]
    of_class = functional.one_hot(classes.long(), N_CLASSES).to(pattern.dtype).mT  # [sequence, class, key]
    of_class = of_class.repeat_interleave(n_heads, 0)
    by_head = pattern.flatten(0, 1)
    found = pattern.new_empty(*pattern.shape[:3], N_CLASSES)
    for start in range(0, n, _ROWS):
        rows, seen = slice(start, start + _ROWS), slice(min(start + _ROWS, n))
        # this way round the product of a large and a narrow matrix takes three quarters of the time
        sums = torch.bmm(of_class[:, :, seen], by_head[:, rows, seen].mT)
        found[:, :, rows] = sums.mT.reshape(*pattern.shape[:2], -1, N_CLASSES)
    return found


def output_norms(
    mixed: Float[Tensor, "... head d_head"], outputs: Float[Tensor, "head d_head d_model"]
) -> Float[Tensor, "... head"]:
    """The norm of what each head writes, float64, without making the outputs.

    mixed: values weighted by attention, what W_O reads. ‖z W_O‖² = z (W_O W_O^T) z^T takes d_head² numbers a head
    and position instead of d_head · d_model.
    """
    gram = (outputs.double() @ outputs.double().mT).to(mixed.dtype)
    z = mixed.movedim(-2, 0)  # [head, ..., d_head]
    squares = ((z.flatten(1, -2) @ gram) * z.flatten(1, -2)).sum(-1, dtype=torch.float64)
    return squares.clamp_min(0).sqrt().view(z.shape[:-1]).movedim(0, -1)


def _binned(by_distance: Float[Tensor, "... distance"]) -> Float[Tensor, "... bin"]:
    edges = torch.tensor(DISTANCES, device=by_distance.device)
    distances = torch.arange(by_distance.shape[-1], device=by_distance.device)
    bins = torch.bucketize(distances, edges, right=True) - 1
    return by_distance.new_zeros(*by_distance.shape[:-1], len(DISTANCES)).index_add_(-1, bins, by_distance)
