"""Kinds of token found in half of the documents: against a slow twin, planted leads kept, luck shrunk to nothing."""

import numpy as np
import pytest
from scipy.special import stdtr

from queries.stats.clusters import cluster_mean
from queries.stats.held_out_kinds import held_out_kinds
from queries.stats.replication import halves, replicated_kinds
from queries.stats.size_categories import size_means
from queries.stats.slices import slice_means

N_DOCUMENTS, PER_DOCUMENT = 20, 60
N = N_DOCUMENTS * PER_DOCUMENT
DOCUMENTS = np.arange(N_DOCUMENTS).repeat(PER_DOCUMENT)
HELD = halves(DOCUMENTS, DOCUMENTS * 0)


def losses(rng: np.random.Generator, n_runs: int = 6, noise: float = 0.5) -> np.ndarray:
    return rng.gamma(2, 1, N) + noise * rng.normal(size=(n_runs, N))


def test_it_is_what_the_slow_search_of_kinds_finds() -> None:
    rng = np.random.default_rng(0)
    kinds = rng.integers(0, 25, N) * 3
    values = losses(rng)
    values[:3, kinds == 9] -= 0.6
    found = held_out_kinds(values, 3, kinds, DOCUMENTS, HELD)
    slow = replicated_kinds(-values[:3], -values[3:], kinds, DOCUMENTS, HELD)

    assert found.names.tolist() == slow.names.tolist()
    assert found.n_items.tolist() == slow.n_items.tolist()
    np.testing.assert_allclose(found.found, slow.found)
    np.testing.assert_allclose(found.held_out, slow.held_out)
    k = found.names.tolist().index(9)
    assert found.replicated[k]
    assert found.p[k] == pytest.approx(slow.p[k])
    mine = (kinds == 9) & HELD
    mean, _, _, se = cluster_mean(values[3:, mine].mean(0) - values[:3, mine].mean(0), DOCUMENTS[mine])
    n_documents = len(np.unique(DOCUMENTS[mine]))
    assert found.held_out[k] == pytest.approx(mean)
    assert found.p[k] == pytest.approx(stdtr(n_documents - 1, -mean / se))
    # separated in both halves, by the slow search
    both = slow.separated & found.chosen
    assert (found.replicated[both]).all()


def test_found_differences_shrink_to_nothing_where_they_are_luck() -> None:
    rng = np.random.default_rng(1)
    found = [held_out_kinds(losses(rng), 3, rng.integers(0, 30, N), DOCUMENTS, HELD) for _ in range(100)]
    chosen = [(f.found[f.chosen].mean(), f.held_out[f.chosen].mean()) for f in found if f.chosen.any()]

    assert np.mean([f.own.p <= 0.05 for f in found]) <= 0.12
    assert np.mean([a for a, _ in chosen]) > 0.08
    assert np.mean([b for _, b in chosen]) == pytest.approx(0, abs=0.02)
    assert np.mean([f.slope for f in found]) == pytest.approx(0, abs=0.05)
    # one in 20 kinds is chosen, as each other naming would choose
    assert np.mean([f.chosen.sum() for f in found]) == pytest.approx(30 / 20, abs=0.4)
    assert np.mean([f.chosen_by_chance for f in found]) == pytest.approx(
        np.mean([len(f.names) for f in found]) / 20
    )


def test_the_shrunken_value_is_what_the_other_half_has_on_the_average() -> None:
    rng = np.random.default_rng(2)
    gaps, slopes = [], []
    for _ in range(40):
        kinds = rng.integers(0, 30, N)
        values = losses(rng)
        values[3:] += (0.1 * rng.normal(size=30))[kinds]
        f = held_out_kinds(values, 3, kinds, DOCUMENTS, HELD)
        top = np.argsort(-f.found)[:5]
        gaps.append((f.found[top].mean(), f.shrunk[top].mean(), f.held_out[top].mean()))
        slopes.append(f.slope)
    raw, shrunk, held_out = np.mean(gaps, axis=0)

    assert raw > held_out + 0.03
    assert shrunk == pytest.approx(held_out, abs=0.02)
    assert 0.3 < np.mean(slopes) < 0.9


def test_kinds_that_are_rare_in_either_half_are_not_looked_at() -> None:
    kinds = np.where(HELD, 0, 1)
    kinds[np.flatnonzero(DOCUMENTS < 2)] = 2
    found = held_out_kinds(losses(np.random.default_rng(3)), 3, kinds, DOCUMENTS, HELD)

    assert not len(found.names)
    assert (found.own.count, found.own.p) == (0, 1)


def test_sizes_are_compared_over_runs_and_documents_together() -> None:
    rng = np.random.default_rng(4)
    slices = rng.integers(0, 4, N)
    wrong = held = 0
    for _ in range(100):
        values = (
            losses(rng)
            + 0.1 * rng.normal(size=(6, 4))[:, slices]
            + rng.normal(size=(6, N_DOCUMENTS))[:, DOCUMENTS]
        )
        delta = values[3:].mean(0) - values[:3].mean(0)
        over_documents = slice_means(delta, slices, DOCUMENTS, 4)
        runs = np.stack([np.bincount(slices, row) / np.bincount(slices) for row in values])
        found = size_means(runs[:3], runs[3:], over_documents)
        wrong += found.p[0] < 0.05
        held += found.low[0] <= 0 <= found.high[0]
    assert found.over_runs
    assert wrong <= 12
    assert held >= 93
    np.testing.assert_allclose(found.delta, over_documents.mean)
    assert (found.high - found.low > over_documents.high - over_documents.low).all()
    few = size_means(runs[:1], runs[1:2], over_documents)
    assert not few.over_runs
    np.testing.assert_allclose(few.high - few.low, over_documents.high - over_documents.low)
