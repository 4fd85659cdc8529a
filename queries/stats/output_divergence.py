"""How far two models' next-token distributions are apart, as far as their most likely tokens tell (B26).

A list holds the k most likely tokens of a model and the mass of all others. Tokens fall into four cells: in
both lists, in the first only, in the second only, in neither. What is unknown is how much of the first model's
remaining mass lies on the tokens only the second one lists, and the other way round; over all possibilities
the divergences have the closed forms below.
"""

import math
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.special import rel_entr

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]

LN2 = math.log(2.0)
# stored remainders are right to this much
SMALLEST_REMAINDER = 1e-6
# positions at a time: a few megabytes whatever there is
ROWS = 4096


@dataclass(frozen=True)
class Lists:
    """Most likely tokens of one model at n positions.

    token_ids: (position, k), best first. probabilities: (position, k). remainder: (position,), of all others.
    """

    token_ids: Ints
    probabilities: Floats
    remainder: Floats

    @classmethod
    def stored(cls, token_ids: Ints, log_probs: Floats) -> "Lists":
        """From rows whose last entry stands for all other tokens (id −1): (position, k + 1), nats."""
        mass = np.exp(log_probs.astype(np.float64))
        return cls(token_ids[:, :-1].astype(np.int64), mass[:, :-1], mass[:, -1])

    def rows(self, chosen: Ints | slice) -> "Lists":
        """The same at some of the positions."""
        return Lists(self.token_ids[chosen], self.probabilities[chosen], self.remainder[chosen])


@dataclass(frozen=True)
class Divergence:
    """One number per position, nats.

    js_low, js_high: what the Jensen-Shannon divergence lies between, in [0, ln 2]. kl_ab, kl_ba: what the
    Kullback-Leibler divergence of the first from the second (the second from the first) is at least; nothing
    bounds it from above. same_top: 1 where both hold the same token most likely.
    """

    js_low: Floats
    js_high: Floats
    kl_ab: Floats
    kl_ba: Floats
    same_top: Floats


def divergences(a: Lists, b: Lists) -> Divergence:
    """Bounds for every position of two models that read the same tokens.

    Let S be the tokens in both lists, p and q the masses that each model gives the tokens only it lists, r and s
    the masses it gives all others, and m the mean of p + r and q + s. With g(x, y) the term of a cell,
    Σ_S g + g(p + r, q + s) is what is left when all tokens outside S are taken as one, and no divergence is
    below that; where r s < p q the unlisted masses are too small for it and Σ_S g + g(p, s) + g(r, q) is the least.
    For Jensen-Shannon g(x, y) ≤ (x + y) / 2 · ln 2, so it is at most Σ_S g + m ln 2. Both ends are reached by
    some pair of models with these lists.
    """
    found = [_some(a.rows(part), b.rows(part)) for part in _slices(len(a.token_ids))]
    columns = zip(*found, strict=True) if found else [[np.empty(0)]] * 5
    return Divergence(*(np.concatenate(column) for column in columns))


def _some(a: Lists, b: Lists) -> tuple[Floats, ...]:
    p_shared, q_shared = _shared(a, b)
    only_a = np.maximum(a.probabilities.sum(1) - p_shared.sum(1), 0.0)
    only_b = np.maximum(b.probabilities.sum(1) - q_shared.sum(1), 0.0)
    # differences of sums near 1 are rounding where every listed token is shared
    only_a[only_a < 1e-12], only_b[only_b < 1e-12] = 0.0, 0.0
    rest_a, rest_b = a.remainder, b.remainder
    apart = rest_a * rest_b < only_a * only_b
    js_shared = _js(p_shared, q_shared).sum(1)
    js_rest = np.where(
        apart,
        _js(only_a, rest_b) + _js(rest_a, only_b),
        _js(only_a + rest_a, only_b + rest_b),
    )
    outside = (only_a + rest_a + only_b + rest_b) / 2
    low = np.clip(js_shared + js_rest, 0.0, LN2)
    high = np.clip(js_shared + outside * LN2, low, LN2)
    kl_ab = _kl(p_shared, q_shared, only_a, rest_a, only_b, rest_b, apart)
    kl_ba = _kl(q_shared, p_shared, only_b, rest_b, only_a, rest_a, apart)
    same = (a.token_ids[:, 0] == b.token_ids[:, 0]).astype(np.float64)
    return low, high, kl_ab, kl_ba, same


def _shared(a: Lists, b: Lists) -> tuple[Floats, Floats]:
    """Both models' probabilities of every token of the first list, 0 for those the second does not list."""
    n = len(a.token_ids)
    if not n:
        return a.probabilities, a.probabilities
    # rows become stretches of one sorted array, so that one search serves all of them
    width = int(max(a.token_ids.max(), b.token_ids.max())) + 1
    offset = np.arange(n, dtype=np.int64)[:, None] * width
    order = np.argsort(b.token_ids, axis=1)
    keys = (np.take_along_axis(b.token_ids, order, 1) + offset).ravel()
    mass = np.take_along_axis(b.probabilities, order, 1).ravel()
    wanted = (a.token_ids + offset).ravel()
    place = np.minimum(np.searchsorted(keys, wanted), len(keys) - 1)
    found = (keys[place] == wanted).reshape(a.token_ids.shape)
    q = np.where(found, mass[place].reshape(found.shape), 0.0)
    return np.where(found, a.probabilities, 0.0), q


def _js(x: Floats, y: Floats) -> Floats:
    """Term of one cell: x and y are the two masses."""
    middle = (x + y) / 2
    found: Floats = (rel_entr(x, middle) + rel_entr(y, middle)) / 2
    return found


def _kl(
    x: Floats, y: Floats, only_x: Floats, rest_x: Floats, only_y: Floats, rest_y: Floats, apart: Floats
) -> Floats:
    """Least divergence of x from y; a remainder stored as less than it can be known to stands for that much."""
    shared = rel_entr(x, np.where(x > 0, np.maximum(y, 1e-300), 1.0)).sum(1)
    floor = np.maximum(rest_y, SMALLEST_REMAINDER)
    rest = np.where(
        apart,
        rel_entr(only_x, floor) + rel_entr(rest_x, np.maximum(only_y, SMALLEST_REMAINDER)),
        rel_entr(only_x + rest_x, np.maximum(only_y + rest_y, SMALLEST_REMAINDER)),
    )
    # the masses of unequal cells are known to rounding only: what falls below 0 is none
    least: Floats = np.maximum(shared + rest, 0.0)
    return least


def _slices(n: int) -> Iterator[slice]:
    return (slice(first, first + ROWS) for first in range(0, n, ROWS))
