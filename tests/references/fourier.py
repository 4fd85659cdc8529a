"""Fourier measures by their definitions: sums over the grid and explicit cosines, no basis matrix, no FFT."""

import itertools
import math

import numpy as np


def unit(values):
    """A function on some grid, divided by its norm."""
    values = np.array(values, dtype=float)
    return values / math.sqrt((values**2).sum())


def frequency_norm_by_sums(matrix, k):
    """sqrt of the squared components along cos and sin of 2πk/p · row, column by column."""
    p, n = matrix.shape
    cosine = unit([math.cos(2 * math.pi * k * row / p) for row in range(p)])
    sine = unit([math.sin(2 * math.pi * k * row / p) for row in range(p)])
    squares = [
        sum(wave[row] * matrix[row, column] for row in range(p)) ** 2
        for wave in (cosine, sine)
        for column in range(n)
    ]
    return math.sqrt(math.fsum(squares))


def logit_coefficient_by_sums(logits, k):
    """Component along the unit-norm cos(2πk (a + b − c)/p)."""
    p = len(logits)
    wave = unit(
        [math.cos(2 * math.pi * k * (a + b - c) / p) for a, b, c in itertools.product(range(p), repeat=3)]
    )
    return float(wave @ np.asarray(logits).reshape(-1))


def directions(p, k, variant):
    """Unit functions on the p × p grid that make up a frequency, row-major."""
    w = 2 * math.pi * k / p
    pairs = list(itertools.product(range(p), repeat=2))
    if variant == "sum_directions":
        made = [[wave(w * (a + b)) for a, b in pairs] for wave in (math.cos, math.sin)]
    else:
        waves = [math.cos, math.sin]
        made = [[f(w * a) * g(w * b) for a, b in pairs] for f in waves for g in waves]
        if variant == "block_3x3":
            made += [[f(w * a) for a, _ in pairs] for f in waves]
            made += [[f(w * b) for _, b in pairs] for f in waves]
    return [unit(values) for values in made]


def part_by_directions(values, frequencies, variant):
    """Projection of functions [p, p, n] on the directions of these frequencies."""
    values = np.asarray(values, dtype=float)
    p, _, n = values.shape
    flat = values.reshape(p * p, n)
    part = np.zeros_like(flat)
    for k in frequencies:
        for direction in directions(p, k, variant):
            part += np.outer(direction, direction @ flat)
    return part.reshape(p, p, n)


def pair_losses_by_loops(logits):
    """−ln of the softmax share of (a + b) mod p, pair by pair."""
    p = len(logits)
    losses = np.zeros((p, p))
    for a, b in itertools.product(range(p), repeat=2):
        row = np.asarray(logits)[a, b]
        largest = row.max()
        total = math.fsum(math.exp(x - largest) for x in row)
        losses[a, b] = math.log(total) + largest - row[(a + b) % p]
    return losses


def neuron_fraction_by_fit(values, k):
    """R² of a least-squares fit of 1, linear and quadratic terms of one frequency to one neuron on the grid; 0 for a dead one."""
    values = np.asarray(values, dtype=float)
    p = len(values)
    terms = np.stack([np.ones(p * p) / p, *directions(p, k, "block_3x3")], axis=1)
    flat = values.reshape(-1)
    if flat.min() == flat.max():
        return 0.0
    fit, *_ = np.linalg.lstsq(terms, flat, rcond=None)
    return 1 - ((flat - terms @ fit) ** 2).sum() / ((flat - flat.mean()) ** 2).sum()


def gini_by_pairs(values):
    """Mean absolute difference over all pairs, halved and divided by the mean."""
    sizes = [abs(float(x)) for x in values]
    n = len(sizes)
    differences = math.fsum(abs(x - y) for x in sizes for y in sizes)
    return differences / (2 * n * math.fsum(sizes))
