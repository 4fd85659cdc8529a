"""Kinds of items (tokens) by how much better one size is: found in one half of the documents, measured in the other.

The largest of many differences are large by luck as well, and shrink when measured again. What is told of a kind is therefore its
difference in the half that had no part in finding it. Source: measures of effect size with discovery and confirmation; the
shrunken value is the empirical Bayes one of Efron and Morris 1975, with the variance of true differences taken from
what the two halves have in common.
"""

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.special import stdtr

from queries.stats.multiple import benjamini_hochberg
from queries.stats.replication import FEWEST_CLUSTERS, FEWEST_ITEMS
from queries.stats.size_separation import Losses, OwnItems, lowest_runs, own_items

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]
Bools = NDArray[np.bool_]


@dataclass(frozen=True)
class HeldOutKinds:
    """Kinds with at least 10 items in 4 documents in each half, (kind,) each; differences are large less small.

    names: the kinds. found, held_out: mean difference in the half that is searched and in the other. shrunk: what `found` lets
    expect of the other half. chosen: every small run's mean is below every large one's in the first half; replicated: in both.
    p, q: one-sided, in the other half over its documents, of those chosen (NaN else). slope: of held_out on found over all kinds:
    1 = found differences hold, 0 = they are luck. own: kinds replicated under the true and other namings of the runs.
    chosen_by_chance: how many of the kinds another naming would choose, on the average.
    """

    names: Ints
    n_items: Ints
    n_documents: Ints
    found: Floats
    held_out: Floats
    shrunk: Floats
    chosen: Bools
    replicated: Bools
    p: Floats
    q: Floats
    slope: float
    own: OwnItems
    chosen_by_chance: float


def held_out_kinds(values: Losses, n_small: int, kinds: Ints, documents: Ints, held: Bools) -> HeldOutKinds:
    """values: losses (run, item), small runs first. kinds, documents: (item,) from 0; a document lies in one half (`held`)."""
    n_runs = len(values)
    items = np.flatnonzero(_frequent(kinds, held)[kinds])
    names, members = _numbered(kinds[items])
    cells = members * 2 + held[items]
    n_cells = 2 * len(names)
    n = np.bincount(cells, minlength=n_cells).astype(np.float64)
    delta = values[n_small:].mean(0, dtype=np.float64) - values[:n_small].mean(0, dtype=np.float64)
    mean = np.bincount(cells, delta[items], n_cells) / n
    variance, with_items = _over_documents(delta[items], cells, documents[items], mean, n)
    by_run = np.stack([np.bincount(cells, row[items], n_cells) / n for row in values])
    enough = (with_items.reshape(-1, 2) >= FEWEST_CLUSTERS).all(1)
    first, second = (np.flatnonzero(enough) * 2 + half for half in (0, 1))
    there, again = (lowest_runs(by_run[:, cell], n_small) for cell in (first, second))
    true = (1 << n_small) - 1
    chosen = (there.runs == true) & there.apart(0.0)
    same = (there.runs == again.runs) & there.apart(0.0) & again.apart(0.0)
    found, held_out = mean[first], mean[second]
    p = np.where(chosen, _one_sided(held_out, variance[second], with_items[second]), np.nan)
    shared, spread = _covariance(found, held_out), float(found.var()) if len(found) else math.nan
    return HeldOutKinds(
        names[enough],
        (n[first] + n[second]).astype(np.int64),
        with_items[first] + with_items[second],
        found,
        held_out,
        _shrunk(found, variance[first], with_items[first], shared),
        chosen,
        chosen & same,
        p,
        benjamini_hochberg(p),
        shared / spread if spread > 0 else math.nan,
        own_items(there.runs[same], n_small, n_runs),
        float(there.apart(0.0).sum()) / math.comb(n_runs, n_small),
    )


def _frequent(kinds: Ints, held: Bools) -> Bools:
    """Per number of a kind whether each half has enough items of it."""
    n_kinds = int(kinds.max(initial=-1)) + 1
    every = np.bincount(kinds, minlength=n_kinds)
    later = np.bincount(kinds[held], minlength=n_kinds)
    enough: Bools = (later >= FEWEST_ITEMS) & (every - later >= FEWEST_ITEMS)
    return enough


def _numbered(kinds: Ints) -> tuple[Ints, Ints]:
    """The kinds there are, and each item's place among them."""
    present = np.bincount(kinds) > 0
    return np.flatnonzero(present), (np.cumsum(present) - 1)[kinds]


def _over_documents(
    delta: Floats, cells: Ints, documents: Ints, mean: Floats, n: Floats
) -> tuple[Floats, Ints]:
    """Per cell the variance of its mean over documents (NaN with fewer than 2), and how many documents it has items in."""
    n_documents = int(documents.max(initial=-1)) + 1
    keys = cells * n_documents + documents
    order = np.argsort(keys)
    keys = keys[order]
    starts = np.flatnonzero(np.r_[True, keys[1:] != keys[:-1]]) if len(keys) else np.empty(0, np.int64)
    at = keys[starts] // max(n_documents, 1)
    counts = np.diff(np.r_[starts, len(keys)])
    sums = np.add.reduceat(delta[order], starts) if len(keys) else np.empty(0)
    squares = np.bincount(at, (sums - counts * mean[at]) ** 2, len(n))
    k = np.bincount(at, minlength=len(n))
    with np.errstate(divide="ignore", invalid="ignore"):
        variance: Floats = np.where(k > 1, k / (k - 1) * squares / n**2, np.nan)
    return variance, k


def _one_sided(mean: Floats, variance: Floats, n_documents: Ints) -> Floats:
    """Of the test that a mean is not above 0, its p; where nothing varies the mean decides."""
    with np.errstate(divide="ignore", invalid="ignore"):
        p = stdtr(n_documents - 1, -mean / np.sqrt(variance))
    found: Floats = np.where(variance > 0, p, np.where(mean > 0, 0.0, 1.0))
    return found


def _covariance(a: Floats, b: Floats) -> float:
    return float(((a - a.mean()) * (b - b.mean())).mean()) if len(a) else math.nan


def _shrunk(found: Floats, variance: Floats, n_documents: Ints, shared: float) -> Floats:
    """Drawn towards the mean of all kinds, the more so the fewer documents a kind has.

    With few documents a kind's own variance is hardly known: one per document is taken from all kinds.
    """
    if not len(found):
        return found
    noise = float((variance * n_documents).mean()) / n_documents
    truth = max(shared, 0.0)
    total = truth + noise
    weight = np.divide(truth, total, out=np.zeros_like(total), where=total > 0)
    centre = float(found.mean())
    drawn: Floats = centre + weight * (found - centre)
    return drawn
