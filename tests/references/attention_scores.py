"""Attention scores by loops over one pattern [query, key]."""


def previous_token_by_loops(pattern):
    """Mean of pattern[q][q - 1] over q >= 1."""
    n = len(pattern)
    return sum(float(pattern[q][q - 1]) for q in range(1, n)) / (n - 1)


def first_token_by_loops(pattern):
    """Mean of pattern[q][0] over q >= 1."""
    n = len(pattern)
    return sum(float(pattern[q][0]) for q in range(1, n)) / (n - 1)


def uniform(n):
    """Attention spread evenly over the own and all earlier positions."""
    return [[1 / (q + 1) if k <= q else 0.0 for k in range(n)] for q in range(n)]
