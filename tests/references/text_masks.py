"""Masks on text and their null by loops, and by dealing out targets anew."""

import numpy as np

INSIDE = {"(": ")", "[": "]", "{": "}"}


def brackets_by_removal(text):
    """Pairs (closing, opening) of a text, found by taking out innermost pairs until none is left."""
    left = [(character, place) for place, character in enumerate(text) if character in "()[]{}"]
    pairs = set()
    while True:
        for i in range(len(left) - 1):
            if INSIDE.get(left[i][0]) == left[i + 1][0]:
                pairs.add((left[i + 1][1], left[i][1]))
                del left[i : i + 2]
                break
        else:
            return pairs


def score_by_loops(pattern, targets):
    """Mean over queries with a target of the attention on their targets; None without such a query."""
    rows = [sum(float(pattern[q][k]) for k in found) for q, found in enumerate(targets) if found]
    return sum(rows) / len(rows) if rows else None


def rates_by_loops(all_targets):
    """Targets at each distance by queries that have a target and can look that far."""
    length = len(all_targets[0])
    hits, can = [0] * length, [0] * length
    for targets in all_targets:
        for q, found in enumerate(targets):
            if found:
                for k in found:
                    hits[q - k] += 1
                for distance in range(q + 1):
                    can[distance] += 1
    return [h / c if c else 0.0 for h, c in zip(hits, can, strict=True)]


def null_by_loops(pattern, targets, rates):
    """What a sequence's queries would get from as many targets at the same distances."""
    rows = [
        len(found) * sum(rates[q - k] * float(pattern[q][k]) for k in range(q)) / sum(rates[1 : q + 1])
        for q, found in enumerate(targets)
        if found
    ]
    return sum(rows) / len(rows)


def moved_at_random(pattern, targets, rates, draw):
    """The score of one sequence after each target has moved to a random earlier place, likely as targets are at its distance."""
    rows = []
    for q, found in enumerate(targets):
        if found:
            likely = np.array([rates[q - k] for k in range(q)])
            places = draw.choice(q, size=len(found), p=likely / likely.sum())
            rows.append(sum(float(pattern[q][k]) for k in places))
    return sum(rows) / len(rows)
