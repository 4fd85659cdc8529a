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


def final_examples_by_loops(now, final, tokens, documents, first_half, draws, k):
    """Of every unit: mean of `now` on the final top places, on places with the same tokens elsewhere, and those places.

    now, final: [sequence][position][unit]. first_half: whether a sequence is of the half whose tokens are looked up in
    the other; draws: [unit][rank] in [0, 1).
    """
    n_units = len(now[0][0])
    everywhere = [(s, p) for s in range(len(tokens)) for p in range(len(tokens[s]))]
    tops, held_out, places = [], [], []
    for unit in range(n_units):
        best = top_by_loops(final, range(len(final)), documents, unit, k)
        tops.append(sum(float(now[s][p][unit]) for _, s, p in best) / len(best))
        places.append([(s, p) for _, s, p in best])
        mine = [s for s in range(len(final)) if first_half[s]]
        known = top_by_loops([final[s] for s in mine], mine, [documents[s] for s in mine], unit, k)
        found = []
        for rank, (_, sequence, position) in enumerate(known):
            token = tokens[sequence][position]
            others = [(s, p) for s, p in everywhere if tokens[s][p] == token and not first_half[s]]
            if others:
                s, p = others[int(draws[unit][rank] * len(others))]
                found.append(float(now[s][p][unit]))
        held_out.append(sum(found) / len(found) if found else math.nan)
    return tops, held_out, places
