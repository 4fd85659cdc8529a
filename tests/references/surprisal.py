"""Leave-one-out surprisal by taking the occurrence out and counting everything again."""

import math
from collections import Counter
from collections.abc import Sequence


def distributions_by_loops(
    rows: Sequence[Sequence[int]], n_start: int, n_vocab: int, row: int, position: int
) -> tuple[list[float], list[float] | None]:
    """What is expected at one place: unigram probabilities of all ids, and bigram ones (None without a token before).

    Each row begins with n_start tokens that are context only.
    """
    unigrams: Counter[int] = Counter()
    bigrams: Counter[tuple[int, int]] = Counter()
    for r, tokens in enumerate(rows):
        for p, token in enumerate(tokens):
            if p < n_start or (r, p) == (row, position):
                continue
            unigrams[token] += 1
            if p > 0:
                bigrams[tokens[p - 1], token] += 1
    total = sum(unigrams.values())
    unigram = [(unigrams[b] + 1) / (total + n_vocab) for b in range(n_vocab)]
    if position == 0:
        return unigram, None
    a = rows[row][position - 1]
    followers = {b: bigrams[a, b] for b in range(n_vocab) if bigrams[a, b]}
    if not followers:
        return unigram, unigram
    weight, seen = len(followers), sum(followers.values())
    return unigram, [(followers.get(b, 0) + weight * unigram[b]) / (seen + weight) for b in range(n_vocab)]


def surprisal_by_loops(
    rows: Sequence[Sequence[int]], n_start: int, n_vocab: int
) -> tuple[list[float], list[float]]:
    """Surprisal of every token in nats, row after row; NaN where none is defined."""
    unigram, bigram = [], []
    for r, tokens in enumerate(rows):
        for p, token in enumerate(tokens):
            if p < n_start:
                unigram.append(math.nan)
                bigram.append(math.nan)
                continue
            one, two = distributions_by_loops(rows, n_start, n_vocab, r, p)
            unigram.append(-math.log(one[token]))
            bigram.append(math.nan if two is None else -math.log(two[token]))
    return unigram, bigram
