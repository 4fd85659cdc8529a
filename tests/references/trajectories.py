"""Inner products and gradients the slow way."""

import math


def gram_by_loops(vectors):
    """Inner products of all pairs of flat lists, exactly summed."""
    return [[math.fsum(x * y for x, y in zip(a, b, strict=True)) for b in vectors] for a in vectors]


def sketch_by_loops(pieces, draw, dimension):
    """A sketch of named flat lists; draw(name, block, n) gives n numbers below 2 · dimension for a block of 65,536."""
    made = [0.0] * dimension
    for name, values in pieces:
        for block in range(0, len(values), 65_536):
            part = values[block : block + 65_536]
            for value, number in zip(part, draw(name, block // 65_536, len(part)), strict=True):
                made[number // 2] += -value if number % 2 else value
    return made


def slope(function, weights, name, index, step=1e-6):
    """Central difference of function(weights) in one number of one tensor."""
    ends = []
    for sign in (1, -1):
        moved = weights[name].clone()
        moved[index] += sign * step
        ends.append(function({**weights, name: moved}))
    return (ends[0] - ends[1]) / (2 * step)
