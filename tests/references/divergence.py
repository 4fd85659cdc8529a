"""Jensen-Shannon divergence, whole and from lists of the most likely tokens."""

import math


def jensen_shannon(p, q):
    """In nats, from two lists of probabilities."""
    total = 0.0
    for a, b in zip(p, q, strict=True):
        m = (a + b) / 2
        total += (a * math.log(a / m) if a > 0 else 0.0) / 2 + (b * math.log(b / m) if b > 0 else 0.0) / 2
    return total


def bounds_from_tops(p_top, q_top):
    """Lower and upper bound from {token: probability} of each model's most likely tokens."""
    shared = sorted(set(p_top) & set(q_top))
    p_rest = max(0.0, 1 - sum(p_top[t] for t in shared))
    q_rest = max(0.0, 1 - sum(q_top[t] for t in shared))
    lower = jensen_shannon([p_top[t] for t in shared] + [p_rest], [q_top[t] for t in shared] + [q_rest])
    return lower, lower + (p_rest + q_rest) / 2 * math.log(2)
