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


def position_losses_by_loops(logits, targets):
    """Loss of every example at every position read, as a list of rows."""
    return [
        [loss_by_loops([row], [target]) for row, target in zip(rows, answers, strict=True)]
        for rows, answers in zip(logits, targets, strict=True)
    ]


def induction_losses_by_loops(losses, copies):
    """(first, later): mean loss of tokens that follow one of the same copy, in the first and in later copies."""
    first, later = [], []
    for position, loss in enumerate(losses):
        before, token = copies[position], copies[position + 1]
        if token and before == token:
            (first if token == 1 else later).append(loss)
    return math.fsum(first) / len(first), math.fsum(later) / len(later)
