"""How often searches for a token find neurons or heads that have nothing to do with it, and how many of those that have.

    python -m tests.calibration.token_search [--replicates 1000] [--write]

Prints two tables (under a minute on one core); --write puts them into docs/statistics.md.
"""

import numpy as np
from numpy.typing import NDArray

from queries.stats.chance_matches import chance_of_matches
from queries.stats.multiple import benjamini_hochberg
from queries.stats.token_attention import above_even
from tests.calibration.tables import Lines, head, make_tables

Floats = NDArray[np.float64]

N_DOCUMENTS, K, N_NEURONS, PLANTED = 64, 20, 500, 5
SHARES = (0.003, 0.02, 0.1, 0.3)
MATCHES = (3, 5, 10)
HEADS, LENGTH = 48, 32


def neurons(share: float, planted: int, rng: np.random.Generator) -> tuple[bool, float]:
    """(any neuron without a reason is found, share of the planted that are): one replicate.

    The token's share differs between documents (Beta, as uneven as words are). Planted neurons have so many matches put there.
    """
    document = rng.beta(1.0, (1 - share) / share, N_DOCUMENTS)
    chosen = np.argsort(rng.random((N_NEURONS, N_DOCUMENTS)), axis=1)[:, :K]
    shares = document[chosen]
    hits = rng.random(shares.shape) < shares
    hits[:PLANTED, :planted] = True
    q = benjamini_hochberg(chance_of_matches(shares, hits.sum(1)))
    return bool((q[PLANTED:] < 0.05).any()), float((q[:PLANTED] < 0.05).mean())


def heads(n_items: int, looks: float, rng: np.random.Generator) -> tuple[bool, bool]:
    """(any head that looks anywhere is found, the one that looks at the token is): one replicate.

    Attention of each query is uneven at random (exponential weights); the token stands at three places of each item.
    """
    hits = np.zeros((n_items, LENGTH))
    for item in hits:
        item[rng.choice(np.arange(1, LENGTH), 3, replace=False)] = 1
    weights = np.tril(rng.exponential(size=(HEADS, n_items, LENGTH, LENGTH)))
    patterns = weights / weights.sum(-1, keepdims=True)
    visible = np.arange(1, LENGTH + 1)
    even = (np.cumsum(hits, 1) / visible).mean(1)
    able = (np.cumsum(hits, 1) > 0).mean(1)
    attention = np.einsum("hiqk,ik->hi", patterns, hits) / LENGTH
    attention[0] = (1 - looks) * attention[0] + looks * able
    p = np.array([above_even(of_head, even, able)[2] for of_head in attention])
    q = benjamini_hochberg(p)
    return bool((q[1:] < 0.05).any()), bool(q[0] < 0.05)


def neuron_table(n: int) -> Lines:
    """Markdown: false finds with nothing planted, and finds of planted neurons, in %."""
    yield from head("token's share", "any found, nothing planted", *(f"{m} of {K} planted" for m in MATCHES))
    for share in SHARES:
        rng = np.random.default_rng(0)
        false = np.mean([neurons(share, 0, rng)[0] for _ in range(n)])
        found = [np.mean([neurons(share, m, rng)[1] for _ in range(n // 5)]) for m in MATCHES]
        yield f"| {share:.1%} | {100 * false:.1f} | {' | '.join(f'{100 * f:.0f}' for f in found)} |"


def head_table(n: int) -> Lines:
    """Markdown: false finds, and finds of one head that puts some of its attention on the token, in %."""
    yield from head("items", "any found, nothing planted", "10 % of attention", "30 %", "80 %")
    for n_items in (2, 4, 8):
        rng = np.random.default_rng(1)
        false = np.mean([heads(n_items, 0.0, rng)[0] for _ in range(n)])
        found = [np.mean([heads(n_items, x, rng)[1] for _ in range(n // 5)]) for x in (0.1, 0.3, 0.8)]
        yield f"| {n_items} | {100 * false:.1f} | {' | '.join(f'{100 * f:.0f}' for f in found)} |"


def tables(n: int) -> Lines:
    """Both."""
    yield from neuron_table(n)
    yield ""
    yield from head_table(n)


if __name__ == "__main__":
    make_tables("Calibrates searches for a token.", {"token-search": tables})
