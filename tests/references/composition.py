"""Composition of two heads from full d_model × d_model products, and its null from random rotations."""

import numpy as np


def full_matrices(earlier, later, mode):
    """M that the earlier head writes with and N that the later one reads with, row vectors times matrices."""
    written = earlier["W_V"] @ earlier["W_O"]
    read = later["W_Q"] @ later["W_K"].T
    return written, {"q": read, "k": read.T, "v": later["W_V"] @ later["W_O"]}[mode]


def full_score(written, read):
    """Frobenius norm of the product over that of the factors."""
    norms = np.linalg.norm(written) * np.linalg.norm(read)
    return np.linalg.norm(written @ read) / norms


def random_rotation(generator, d):
    """Orthogonal d × d matrix from the Haar measure: QR with the signs of the triangle's diagonal taken out."""
    q, r = np.linalg.qr(generator.standard_normal((d, d)))
    return q * np.sign(np.diag(r))


def rotated_scores(written, read, n, seed):
    """Scores with n random rotations between the two matrices."""
    generator = np.random.default_rng(seed)
    return np.array([full_score(written @ random_rotation(generator, len(read)), read) for _ in range(n)])
