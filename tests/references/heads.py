"""What heads do, by full matrices and loops."""

import math

import numpy as np


def copying_eig_full(value, output, embedding, unembedding):
    """Sum over modulus of the eigenvalues of the token × token matrix."""
    eigenvalues = np.linalg.eigvals(embedding @ value @ output @ unembedding)
    return eigenvalues.real.sum() / np.abs(eigenvalues).sum()


def copying_logit_by_loops(inputs, value, output, unembedding, own):
    """Twice the mean share of raise on the own token, less 1."""
    shares = []
    for row, token in zip(inputs, own, strict=True):
        logits = row @ value @ output @ unembedding
        mean = math.fsum(logits) / len(logits)
        raised = [max(0.0, float(logit) - mean) for logit in logits]
        shares.append(raised[token] / sum(raised))
    return 2 * sum(shares) / len(shares) - 1


def in_top_by_loops(logits, own, k):
    """Share of rows where fewer than k other tokens come before the own one."""
    hits = 0
    for row, token in zip(logits, own, strict=True):
        before = sum(x > row[token] or (x == row[token] and i < token) for i, x in enumerate(row))
        hits += before < k
    return hits / len(own)


def distances_by_loops(patterns, first):
    """Attention by bins of distance for one head, patterns[sequence][query][key]; first distance of each bin."""
    bins, n_queries = [0.0] * len(first), 0
    for pattern in patterns:
        for query, row in enumerate(pattern):
            n_queries += 1
            for key, attention in enumerate(row[: query + 1]):
                at = max(i for i, start in enumerate(first) if start <= query - key)
                bins[at] += float(attention)
    return [x / n_queries for x in bins]


def classes_by_loops(patterns, classes, n_classes):
    """Attention by the class of the key for one head."""
    found, n_queries = [0.0] * n_classes, 0
    for pattern, kinds in zip(patterns, classes, strict=True):
        for row in pattern:
            n_queries += 1
            for attention, kind in zip(row, kinds, strict=True):
                found[kind] += float(attention)
    return [x / n_queries for x in found]
