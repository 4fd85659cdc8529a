import math

import numpy as np
import pytest

from queries.stats.random_walk import simulated_walks, walk_share
from queries.stats.trajectory import (
    align_signs,
    components_of_gram,
    largest_turns,
    leading_components,
    step_lengths,
    time_weights,
)

EQUAL = np.full(60, 1 / 60)


def walk(rng: np.random.Generator, n: int, dimensions: int, lengths: np.ndarray | float = 1.0) -> np.ndarray:
    directions = rng.normal(size=(n - 1, dimensions))
    directions /= np.linalg.norm(directions, axis=1, keepdims=True)
    return np.vstack([np.zeros(dimensions), np.cumsum(directions * np.reshape(lengths, (-1, 1)), axis=0)])


def bent(rng: np.random.Generator, degrees: float, n: int = 60) -> np.ndarray:
    """Straight on, one turn half way, straight on; with a little noise in 200 dimensions."""
    way = np.zeros((n - 1, 200))
    way[: n // 2, 0] = 1
    way[n // 2 :, :2] = math.cos(math.radians(degrees)), math.sin(math.radians(degrees))
    return np.vstack([np.zeros(200), np.cumsum(way + 0.02 * rng.normal(size=way.shape), axis=0)])


def test_components_from_inner_products_are_those_of_the_vectors() -> None:
    x = np.random.default_rng(0).normal(size=(12, 30)) + 7
    weights = np.arange(1.0, 13) / 78
    found = components_of_gram(x @ x.T, weights, 4)
    centred = x - weights @ x
    _, values, axes = np.linalg.svd(np.sqrt(weights)[:, None] * centred, full_matrices=False)

    assert found.shares == pytest.approx((values**2 / (values**2).sum())[:4])
    assert np.abs(found.scores) == pytest.approx(np.abs(centred @ axes[:4].T))


def test_what_does_not_move_has_no_components() -> None:
    found = components_of_gram(np.full((5, 5), 3.0), np.full(5, 0.2), 3)

    assert np.isnan(found.shares).all()
    assert (found.scores == 0).all()


def test_step_lengths_from_inner_products() -> None:
    x = np.random.default_rng(1).normal(size=(6, 9))

    assert step_lengths(x @ x.T) == pytest.approx(np.linalg.norm(np.diff(x, axis=0), axis=1))


def test_a_long_walk_has_the_shares_of_the_closed_form() -> None:
    rng = np.random.default_rng(2)
    shares = np.mean(
        [
            components_of_gram(x @ x.T, np.full(200, 1 / 200), 3).shares
            for x in (walk(rng, 200, 2000) for _ in range(10))
        ],
        axis=0,
    )

    assert [walk_share(k) for k in (1, 2, 3)] == pytest.approx([0.608, 0.152, 0.068], abs=5e-4)
    assert shares == pytest.approx([0.607, 0.153, 0.067], abs=0.01)  # measured independently


def test_simulated_walks_are_the_walks_of_so_many_dimensions() -> None:
    rng = np.random.default_rng(3)
    lengths = 0.5 + rng.random(29)
    weights = np.full(30, 1 / 30)
    for dimensions in (3, 40):
        points = np.stack([walk(rng, 30, dimensions, lengths) for _ in range(600)])
        plain_shares, scores = leading_components(points, weights, 3)
        plain_turns, _ = largest_turns(scores)
        shares, turns = simulated_walks(lengths, weights, k=3, dimensions=dimensions, n_walks=600)

        # two independent sets of 600: their means differ by chance only
        for a, b in ((plain_shares[:, 0], shares[:, 0]), (plain_turns, turns)):
            assert abs(a.mean() - b.mean()) < 4 * math.hypot(a.std(), b.std()) / math.sqrt(600)
            assert b.std() == pytest.approx(a.std(), rel=0.15)


def test_subspace_iteration_finds_what_the_full_decomposition_does() -> None:
    x = walk(np.random.default_rng(4), 60, 500)
    full = components_of_gram(x @ x.T, EQUAL, 3)
    shares, scores = leading_components(x[None], EQUAL, 3)

    assert shares[0] == pytest.approx(full.shares, rel=1e-6)
    assert np.abs(scores[0]) == pytest.approx(np.abs(full.scores), abs=1e-5)


@pytest.mark.parametrize("degrees", [0, 30, 90, 150])
def test_a_planted_turn_is_measured_where_it_is(degrees: float) -> None:
    x = bent(np.random.default_rng(5), degrees)
    turn, at = largest_turns(components_of_gram(x @ x.T, EQUAL, 3).scores[None])

    assert math.degrees(turn[0]) == pytest.approx(degrees, abs=6)
    if degrees >= 30:
        assert at[0] == pytest.approx(30, abs=1)


def p_of_turn(x: np.ndarray, dimensions: int, n_walks: int = 199, seed: int = 0) -> float:
    gram, weights = x @ x.T, np.full(len(x), 1 / len(x))
    turn, _ = largest_turns(components_of_gram(gram, weights, 3).scores[None])
    _, null = simulated_walks(
        step_lengths(gram), weights, k=3, dimensions=dimensions, n_walks=n_walks, seed=seed
    )
    return float(((null >= turn[0]).sum() + 1) / (n_walks + 1))


def test_walks_turn_more_than_walks_as_rarely_as_promised() -> None:
    rng = np.random.default_rng(6)
    lengths = np.geomspace(1, 0.2, 31)
    p = np.array([p_of_turn(walk(rng, 32, 100, lengths), 100, n_walks=99, seed=k) for k in range(200)])

    assert np.mean(p <= 0.05) == pytest.approx(0.05, abs=3 * math.sqrt(0.05 * 0.95 / 200))
    assert np.mean(p <= 0.5) == pytest.approx(0.5, abs=3 * math.sqrt(0.25 / 200))


def test_a_sharp_turn_is_more_than_a_walk_and_a_gentle_one_is_not() -> None:
    assert p_of_turn(bent(np.random.default_rng(7), 90), 1000) < 0.01
    # a walk turns by about 52 degrees in its own components: less than that is no evidence
    assert p_of_turn(bent(np.random.default_rng(7), 40), 1000) > 0.5


def test_log_time_weights_undo_crowded_checkpoints() -> None:
    crowded = np.array([0, 1, 2, 4, 8, 8.5, 9, 9.5, 10, 16.0])
    weights = time_weights(crowded, "log_time")

    assert weights.sum() == pytest.approx(1)
    assert weights[0] == weights[1]  # time 0 has no logarithm
    assert weights[2] == pytest.approx(weights[3])  # an octave apart
    assert weights[6] < weights[2] / 5
    assert time_weights(crowded, "equal") == pytest.approx(np.full(10, 0.1))


def test_directions_need_two_dimensions() -> None:
    with pytest.raises(ValueError, match="at least 2"):
        simulated_walks(np.ones(5), np.full(6, 1 / 6), k=2, dimensions=1)


def test_signs_that_mean_nothing_are_aligned() -> None:
    times = np.array([1.0, 2, 4, 8, 16])
    scores = np.stack([np.array([-2.0, -1, 0, 1, 2]), np.array([1.0, -1, -2, -1, 1])], axis=1)
    flipped = scores * [-1, -1]
    signs = align_signs([(times, -scores), (times * 1.0, scores), (times, flipped)])

    aligned = [s * t for s, t in zip(signs, (-scores, scores, flipped), strict=True)]
    assert all(a == pytest.approx(aligned[0]) for a in aligned)
    assert (aligned[0][-1] > 0).all()
