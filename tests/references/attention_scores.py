"""Attention scores by loops over one pattern [query, key]."""

import math


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


def targets_by_loops(tokens, copies, query, offset):
    """Places `offset` after each earlier occurrence of the query's token, none later than the query; none in a first copy."""
    if copies[query] < 2:
        return []
    places = [k + offset for k in range(query) if tokens[k] == tokens[query]]
    return [place for place in places if 0 <= place <= query]


def copy_score_by_loops(pattern, tokens, copies, offset, way="sum_targets"):
    """Mean over queries with a target of the attention on their targets.

    On all, on the latest, the mean of them, or on all as a share of what does not go to the first key.
    """
    scores = []
    for query in range(len(tokens)):
        targets = targets_by_loops(tokens, copies, query, offset)
        if targets:
            on_targets = [float(pattern[query][k]) for k in targets]
            elsewhere = sum(map(float, pattern[query][1 : query + 1]))
            wanted = {
                "sum_targets": sum(on_targets),
                "last_target": on_targets[-1],
                "mean_entry": sum(on_targets) / len(targets),
                "without_first": sum(on_targets) / elsewhere if elsewhere else 0.0,
            }
            scores.append(wanted[way])
    return sum(scores) / len(scores)


def entropy_by_loops(row):
    """−Σ x ln x of one row."""
    return -math.fsum(x * math.log(x) for x in map(float, row) if x > 0)
