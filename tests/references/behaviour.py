"""Loss, accuracy and weight norms in plain Python with exact summation."""

import math


def loss_by_loops(logits, targets):
    """Mean over rows of ln(sum of exp) minus the target's logit."""
    losses = []
    for row, target in zip(logits, targets, strict=True):
        largest = max(row)
        losses.append(largest + math.log(math.fsum(math.exp(x - largest) for x in row)) - row[target])
    return math.fsum(losses) / len(losses)


def accuracy_by_loops(logits, targets):
    """Share of rows whose first largest entry is at the target."""
    right = [list(row).index(max(row)) == target for row, target in zip(logits, targets, strict=True)]
    return sum(right) / len(right)


def squares_by_loops(numbers):
    """Exact sum of squares of a flat list."""
    return math.fsum(float(x) ** 2 for x in numbers)
