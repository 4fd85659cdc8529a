"""What two runs' outputs have in common: the numbers of one pair, in the columns of `output_agreement`."""

import math

import numpy as np
from numpy.typing import NDArray

from queries.reading.token_outputs import Outputs, shared_items
from queries.stats.clusters import cluster_mean, cluster_spearman, numbered
from queries.stats.output_divergence import LN2, Lists, divergences

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]


# bounds that are farther apart than this share of the largest divergence give no number between them
WIDEST = 0.1


def known_as(low: float, high: float) -> float | None:
    """What a divergence between these bounds may be called: their middle, None where they are too far apart."""
    return (low + high) / 2 if high - low <= WIDEST * LN2 else None


def agreement_of_losses(a: Outputs[Floats], b: Outputs[Floats], level: float) -> dict[str, object]:
    """Rank correlation of losses with its interval over documents, and the difference of their means."""
    here, there = shared_items(a, b)
    x, y, documents = a.values[here], b.values[there], a.documents[here]
    all_of_both = len(here) == len(a.keys) == len(b.keys)
    first, second = (a.order, b.order) if all_of_both and len(here) else (x, y)
    rho, low, high, se = cluster_spearman(first, second, documents, level)
    return {
        "spearman": rho,
        "spearman_low": low,
        "spearman_high": high,
        "spearman_se": se,
        "loss_difference": float((x - y).mean()) if len(x) else math.nan,
        "n_tokens": len(x),
        "n_documents": int(numbered(documents).max(initial=-1)) + 1,
    }


def agreement_of_lists(a: Outputs[Lists], b: Outputs[Lists], level: float) -> dict[str, object]:
    """Bounds of divergences and agreement on the most likely token, with intervals over documents and nulls."""
    here, there = shared_items(a, b)
    first, second, documents = a.values.rows(here), b.values.rows(there), a.documents[here]
    found = divergences(first, second)
    low, low_end, _, _ = cluster_mean(found.js_low, documents, level, (0.0, LN2))
    high, _, high_end, se = cluster_mean(found.js_high, documents, level, (0.0, LN2))
    top, top_low, top_high, top_se = cluster_mean(found.same_top, documents, level, (0.0, 1.0))
    shuffled = np.random.default_rng(0).permutation(len(here))
    null = divergences(first, second.rows(shuffled))
    return {
        "js": known_as(low, high),
        "js_low": low,
        "js_high": high,
        "js_ci_low": low_end,
        "js_ci_high": high_end,
        "js_se": se,
        "js_null": known_as(_mean(null.js_low), _mean(null.js_high)),
        "kl_ab": _mean(found.kl_ab),
        "kl_ba": _mean(found.kl_ba),
        "kl_ab_trimmed": _trimmed(found.kl_ab),
        "kl_ba_trimmed": _trimmed(found.kl_ba),
        "top1": top,
        "top1_low": top_low,
        "top1_high": top_high,
        "top1_se": top_se,
        "top1_chance": _by_habit(first.token_ids[:, 0], second.token_ids[:, 0]),
        "n_tokens": len(here),
        "n_documents": len(np.unique(documents)),
    }


def _by_habit(a: Ints, b: Ints) -> float:
    """Chance that two models name the same token at unrelated places: Σ over tokens of both shares."""
    if not len(a):
        return math.nan
    tokens = np.unique(np.concatenate([a, b]))
    shares = [np.bincount(np.searchsorted(tokens, x), minlength=len(tokens)) / len(x) for x in (a, b)]
    return float(shares[0] @ shares[1])


def _mean(values: Floats) -> float:
    return float(values.mean()) if len(values) else math.nan


def _trimmed(values: Floats) -> float:
    """Mean without the highest 1 %: a few blow-ups carry a Kullback-Leibler divergence."""
    return _mean(np.sort(values)[: math.ceil(0.99 * len(values))])
