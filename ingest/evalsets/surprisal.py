"""How surprising a token is to someone who only counts: unigrams and bigrams, estimated on the eval set itself.

Leave-one-out: a token is never predicted by itself. The occurrence in question is taken out of the unigram
and the bigram counts; everything else, other occurrences of the same bigram included, stays.
"""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float32, Int

METHOD = "leave-one-out; unigram add-one; bigram Witten-Bell towards the unigram"


@dataclass(frozen=True, eq=False)
class Surprisal:
    """Surprisal in nats, in [0, ∞); NaN for tokens that are not predicted.

    Those are start tokens, and for bigrams the first token of a sequence.
    """

    unigram: Float32[np.ndarray, " token"]
    bigram: Float32[np.ndarray, " token"]


def surprisal(
    ids: Int[np.ndarray, " token"],
    first: Bool[np.ndarray, " token"],
    predicted: Bool[np.ndarray, " token"],
    n_vocab: int,
) -> Surprisal:
    """Surprisal of every predicted token.

    ids: all sequences, one after the other. first: the first token of each. predicted: False for start tokens,
    which are context only. With c = counts over the set, N = predicted tokens, V = n_vocab:

    unigram  p(b) = (c(b) − 1 + 1) / (N − 1 + V): add-one smoothing.
    bigram   p(b | a) = (c(a, b) − 1 + T(a) · p(b)) / (c(a) − 1 + T(a)): Witten and Bell (1991), T(a) = number of
             different tokens that follow a, without the one in question if it is the only one of its kind;
             p(b) where nothing else follows a.
    """
    counts = np.bincount(ids[predicted], minlength=n_vocab)
    n = int(predicted.sum())
    p = np.where(predicted, counts[ids] / max(n - 1 + n_vocab, 1), np.nan)

    followed = predicted & ~first
    at = np.flatnonzero(followed)
    context = ids[at - 1].astype(np.int64)
    pairs, which, pair_counts = np.unique(
        context * n_vocab + ids[at], return_inverse=True, return_counts=True
    )
    n_followers = np.bincount(context, minlength=n_vocab)
    n_different = np.bincount(pairs // n_vocab, minlength=n_vocab)
    others = pair_counts[which] - 1
    different = n_different[context] - (others == 0)
    total = n_followers[context] - 1 + different
    # total is 0 exactly where nothing else follows: then 0 + 1 · p over 1
    alone = total == 0
    q = np.full(len(ids), np.nan)
    q[at] = (others + np.where(alone, 1, different) * p[at]) / np.where(alone, 1, total)
    return Surprisal(-np.log(p).astype(np.float32), -np.log(q).astype(np.float32))
