"""Bounds of divergences from lists of likely tokens: closed forms, a search over what is unknown, properties."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.special import rel_entr

from queries.stats.output_divergence import LN2, Lists, divergences


def listed(full: np.ndarray, k: int) -> Lists:
    """The k most likely tokens of every row, as they are stored."""
    order = np.argsort(-full, axis=1, kind="stable")[:, :k]
    top = np.take_along_axis(full, order, 1)
    rest = np.maximum(1 - top.sum(1, keepdims=True), 0.0)
    with np.errstate(divide="ignore"):
        stored = np.log(np.concatenate([top, rest], 1))
    return Lists.stored(np.concatenate([order, np.full((len(full), 1), -1)], 1), stored)


def js(p: np.ndarray, q: np.ndarray) -> np.ndarray:
    middle = (p + q) / 2
    return (rel_entr(p, middle) + rel_entr(q, middle)).sum(-1) / 2


def random_models(
    rng: np.random.Generator, n: int, vocabulary: int, apart: float
) -> tuple[np.ndarray, np.ndarray]:
    base = rng.normal(size=(n, vocabulary)) * 2
    logits = [base + apart * rng.normal(size=(n, vocabulary)) for _ in range(2)]
    p, q = (np.exp(x) / np.exp(x).sum(1, keepdims=True) for x in logits)
    return p, q


def test_equal_models_agree_on_everything() -> None:
    p, _ = random_models(np.random.default_rng(0), 20, 30, 1.0)
    found = divergences(listed(p, 8), listed(p, 8))

    assert found.js_low == pytest.approx(np.zeros(20), abs=1e-12)
    assert found.kl_ab == pytest.approx(np.zeros(20), abs=1e-9)
    assert found.same_top.tolist() == [1.0] * 20
    # what is not listed could still differ
    assert found.js_high == pytest.approx(listed(p, 8).remainder * LN2)


def test_disjoint_supports_are_ln_2_apart() -> None:
    p = np.array([[0.7, 0.3, 0.0, 0.0]])
    found = divergences(listed(p, 2), listed(p[:, ::-1], 2))

    assert found.js_low == pytest.approx([LN2])
    assert found.js_high == pytest.approx([LN2])
    assert found.same_top.tolist() == [0.0]
    assert found.kl_ab[0] > 10


def test_lists_of_everything_leave_no_doubt() -> None:
    p, q = random_models(np.random.default_rng(1), 200, 12, 1.5)
    found = divergences(listed(p, 12), listed(q, 12))

    assert found.js_low == pytest.approx(js(p, q), abs=1e-9)
    assert found.js_high == pytest.approx(js(p, q), abs=1e-9)
    assert found.kl_ab == pytest.approx(rel_entr(p, q).sum(1), rel=1e-4, abs=1e-4)
    assert found.kl_ba == pytest.approx(rel_entr(q, p).sum(1), rel=1e-4, abs=1e-4)


@given(st.integers(0, 10_000), st.integers(1, 12), st.floats(0.0, 3.0))
def test_the_truth_lies_between_the_bounds(seed: int, k: int, apart: float) -> None:
    p, q = random_models(np.random.default_rng(seed), 20, 25, apart)
    a, b = listed(p, k), listed(q, k)
    found, swapped = divergences(a, b), divergences(b, a)

    assert (found.js_low <= js(p, q) + 1e-9).all()
    assert (js(p, q) <= found.js_high + 1e-9).all()
    assert (found.kl_ab <= rel_entr(p, q).sum(1) + 1e-6).all()
    assert (found.js_low >= 0).all()
    assert (found.js_high <= LN2).all()
    assert swapped.js_low == pytest.approx(found.js_low, abs=1e-12)
    assert swapped.kl_ab == pytest.approx(found.kl_ba, abs=1e-12)


@pytest.mark.parametrize("seed", range(6))
def test_the_lower_bounds_are_the_least_over_all_that_is_unknown(seed: int) -> None:
    """A search over the split of both remaining masses finds nothing below the closed form, and comes near it."""
    rng = np.random.default_rng(seed)
    p, q = random_models(rng, 1, 8, [0.3, 3.0][seed % 2])
    a, b = listed(p, 3), listed(q, 3)
    shared = np.intersect1d(a.token_ids, b.token_ids)
    mine = {int(t): float(v) for t, v in zip(a.token_ids[0], a.probabilities[0], strict=True)}
    theirs = {int(t): float(v) for t, v in zip(b.token_ids[0], b.probabilities[0], strict=True)}
    only_a = sum(v for t, v in mine.items() if t not in shared)
    only_b = sum(v for t, v in theirs.items() if t not in shared)
    x, y = np.meshgrid(
        np.linspace(0, a.remainder[0], 301), np.linspace(0, b.remainder[0], 301), indexing="ij"
    )
    cells_p = [np.full_like(x, mine[int(t)]) for t in shared]
    cells_q = [np.full_like(x, theirs[int(t)]) for t in shared]
    cells_p += [np.full_like(x, only_a), x, a.remainder[0] - x]
    cells_q += [y, np.full_like(x, only_b), b.remainder[0] - y]
    found = divergences(a, b)
    searched = js(np.stack(cells_p, -1), np.stack(cells_q, -1))
    kl = rel_entr(np.stack(cells_p, -1), np.stack(cells_q, -1)).sum(-1)

    assert found.js_low[0] <= searched.min() + 1e-9
    assert searched.min() == pytest.approx(found.js_low[0], abs=1e-4)
    assert found.kl_ab[0] <= kl.min() + 1e-6
    assert kl.min() == pytest.approx(found.kl_ab[0], abs=1e-3)


def test_positions_are_taken_in_parts_without_a_trace() -> None:
    rng = np.random.default_rng(2)
    p, q = random_models(rng, 4100, 6, 1.0)
    found = divergences(listed(p, 3), listed(q, 3))
    last = divergences(listed(p[4090:], 3), listed(q[4090:], 3))

    assert found.js_low[4090:] == pytest.approx(last.js_low)
    assert len(found.same_top) == 4100
    assert math.isfinite(found.kl_ab.max())


def test_no_positions_give_nothing() -> None:
    empty = Lists(np.empty((0, 3), np.int64), np.empty((0, 3)), np.empty(0))

    assert len(divergences(empty, empty).js_low) == 0
