"""Statistics of units by loops over whole lists: activations[sequence][position][unit]."""

import math


def top_by_loops(activations, sequences, documents, unit, k):
    """(value, sequence, position) of the k best documents of a unit; ties to the lower sequence, the earlier position."""
    best = {}
    for values, sequence, document in zip(activations, sequences, documents, strict=True):
        for position, row in enumerate(values):
            key = (-float(row[unit]), sequence, position)
            best[document] = min(best.get(document, key), key)
    return [(-value, sequence, position) for value, sequence, position in sorted(best.values())[:k]]


def moments_by_loops(numbers):
    """Mean, variance, skew, kurtosis and share above 0 of a list, in exact sums."""
    n = len(numbers)
    mean = math.fsum(numbers) / n
    central = [math.fsum((x - mean) ** power for x in numbers) / n for power in (2, 3, 4)]
    variance, third, fourth = central
    firing = sum(x > 0 for x in numbers) / n
    return mean, variance, third / variance**1.5, fourth / variance**2, firing


def histogram_by_loops(numbers, lower, upper, bins):
    """Counts of the numbers in equal bins; the outer ones take what lies beyond."""
    counts = [0] * bins
    for x in numbers:
        at = math.floor((x - lower) / (upper - lower) * bins)
        counts[min(max(at, 0), bins - 1)] += 1
    return counts


def effects_by_loops(outputs, unembedding, unit, weight=None, subtracts_mean=True):
    """What a unit adds to each logit, less the mean over tokens."""
    row = [float(x) for x in outputs[unit]]
    if weight is not None:
        mean = sum(row) / len(row) if subtracts_mean else 0.0
        row = [(x - mean) * float(w) for x, w in zip(row, weight, strict=True)]
    n_tokens = len(unembedding[0])
    effects = [sum(x * float(unembedding[i][t]) for i, x in enumerate(row)) for t in range(n_tokens)]
    mean = sum(effects) / n_tokens
    return [effect - mean for effect in effects]
