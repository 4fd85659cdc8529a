"""Displacement exponents between walks and a straight line, and cosines of displacements between runs."""

import math
from itertools import combinations

import numpy as np
import pytest

from queries.stats.displacement import (
    displacements,
    lag_slope,
    moving,
    phase_borders,
    squared_distances,
)
from queries.stats.shared_direction import shared_direction
from tests.references.smooth_trajectories import share_of_flips, slope_of_distances

TIMES = np.array([0, *sorted({round(2 ** (k / 4)) for k in range(4, 45)})], dtype=float)


def walk(rng: np.random.Generator, lengths: np.ndarray, dimensions: int = 400) -> np.ndarray:
    ways = rng.normal(size=(len(lengths), dimensions))
    ways *= (lengths / np.linalg.norm(ways, axis=1))[:, None]
    return np.vstack([np.zeros(dimensions), ways.cumsum(axis=0)])


def test_a_straight_line_at_even_speed_has_exponent_one_and_is_all_direction() -> None:
    x = np.outer(TIMES, np.random.default_rng(0).normal(size=30))
    for found in displacements(TIMES, x @ x.T, n_walks=19).values():
        assert (found.exponent, found.straight) == pytest.approx((1, 1), abs=1e-6)
        assert found.directedness == pytest.approx(1, abs=1e-6)
        assert found.p == pytest.approx(1 / 20)


def test_a_walk_with_steps_as_the_root_of_time_has_exponent_one_half() -> None:
    rng = np.random.default_rng(1)
    x = walk(rng, np.sqrt(np.diff(TIMES)), 5000)
    found = displacements(TIMES, x @ x.T, n_walks=50, dimensions=5000)["all"]

    assert found.exponent == pytest.approx(0.5, abs=0.03)
    assert found.walk == pytest.approx(0.5, abs=0.01)
    assert abs(found.directedness) < 0.1


def test_speed_alone_moves_the_exponent_and_both_references_with_it() -> None:
    lengths = np.ones(len(TIMES) - 1)
    x = np.outer(np.r_[0, lengths.cumsum()], np.ones(3))
    found = displacements(TIMES, x @ x.T, n_walks=19)["all"]

    assert found.exponent == pytest.approx(found.straight)
    assert found.straight < 0.6
    assert found.walk < 0.35


def test_the_slope_is_that_of_the_loop_over_pairs() -> None:
    x = walk(np.random.default_rng(2), np.geomspace(1, 9, len(TIMES) - 1), 7)
    i, j, weights = lag_slope(TIMES)  # type: ignore[misc]

    assert 0.5 * np.log2(squared_distances(x @ x.T)[i, j]) @ weights == pytest.approx(
        slope_of_distances(TIMES, x)
    )
    assert displacements(TIMES, x @ x.T, n_walks=19)["all"].exponent == pytest.approx(
        slope_of_distances(TIMES, x)
    )


def test_walks_are_called_directed_as_rarely_as_promised() -> None:
    rng = np.random.default_rng(3)
    times = TIMES[::2]
    rejected = 0
    for k in range(100):
        x = walk(rng, rng.gamma(2, size=len(times) - 1))
        rejected += displacements(times, x @ x.T, n_walks=99, dimensions=400, seed=k)["all"].p <= 0.05
    assert rejected <= 12


def test_copies_of_a_checkpoint_are_no_steps() -> None:
    x = np.array([[0.0], [0.0], [1.0], [1.0], [3.0]])

    assert moving(x @ x.T).tolist() == [0, 2, 4]
    assert moving(np.ones((4, 1)) @ np.ones((1, 4))).tolist() == []
    assert moving(np.empty((0, 0))).tolist() == []


def test_thirds_are_of_log_time_and_share_their_borders() -> None:
    times = np.array([0, 1, 2, 4, 8, 16, 32, 64], dtype=float)

    assert phase_borders(times) == {"all": (0, 7), "early": (0, 3), "middle": (3, 5), "late": (5, 7)}
    assert lag_slope(times[3:6]) is None  # three points have no exponent
    found = displacements(times, np.outer(times, times), n_walks=19)
    assert math.isnan(found["middle"].exponent)
    assert math.isnan(found["middle"].p)
    assert found["all"].exponent == pytest.approx(1)


def test_runs_that_go_one_way_are_told_from_runs_that_do_not() -> None:
    rng = np.random.default_rng(4)
    pairs = list(combinations(range(6), 2))
    alike = rng.normal(size=50) + 0.5 * rng.normal(size=(6, 50))
    unit = alike / np.linalg.norm(alike, axis=1, keepdims=True)
    found = shared_direction(pairs, np.array([unit[a] @ unit[b] for a, b in pairs]))

    assert 0.6 < found.low < found.cosine < found.high <= 1
    assert (found.p_signs, found.n_runs, found.n_pairs) == (1 / 32, 6, 15)
    assert found.p_random < 1e-9
    # pairs of two runs each: 2 pairs can be turned apart in 2 × 2 ways
    assert shared_direction([(0, 1), (2, 3)], np.array([0.9, 0.8])).p_signs == 1 / 4
    none = shared_direction([(0, 1)], np.array([math.nan]))
    assert (none.n_pairs, math.isnan(none.cosine)) == (0, True)


def test_the_flips_are_those_of_the_loop() -> None:
    vectors = np.random.default_rng(5).normal(size=(5, 3)) + 0.3
    unit = vectors / np.linalg.norm(vectors, axis=1, keepdims=True)
    pairs = list(combinations(range(5), 2))
    found = shared_direction(pairs, np.array([unit[a] @ unit[b] for a, b in pairs]))

    assert found.p_signs == pytest.approx(share_of_flips(vectors))


@pytest.mark.parametrize("dimensions", [3, 300])
def test_independent_directions_are_called_the_same_as_rarely_as_promised(dimensions: int) -> None:
    rng = np.random.default_rng(6)
    pairs = list(combinations(range(5), 2))
    surely = turned = 0
    for _ in range(100):
        v = rng.normal(size=(5, dimensions))
        v /= np.linalg.norm(v, axis=1, keepdims=True)
        found = shared_direction(pairs, np.array([v[a] @ v[b] for a, b in pairs]), dimensions=dimensions)
        surely += found.low > 0 and found.p_random < 0.05
        turned += found.p_signs <= 0.0625
    assert surely <= 7
    assert turned <= 14


def test_ways_of_inits_are_called_one_as_rarely_as_promised() -> None:
    """Three inits times three orders, each init with a direction of its own: counted as runs, all nine would go one way."""
    rng = np.random.default_rng(9)
    pairs, inits, orders = list(combinations(range(9), 2)), np.arange(9) % 3, np.arange(9) // 3
    shared = [dict(enumerate(of.tolist())) for of in (inits, orders)]
    found = plain = 0
    for _ in range(100):
        v = rng.normal(size=(3, 300))[inits] + 0.7 * rng.normal(size=(9, 300))
        v /= np.linalg.norm(v, axis=1, keepdims=True)
        cosines = np.array([v[a] @ v[b] for a, b in pairs])
        s = shared_direction(pairs, cosines, dimensions=300, shared=shared)
        found += s.low > 0 and s.p_random < 0.05
        s = shared_direction(pairs, cosines, dimensions=300)
        plain += s.low > 0 and s.p_random < 0.05
    assert found <= 12
    assert plain > 50


def test_pairs_within_an_init_count_where_there_are_no_others() -> None:
    """Weights: nine runs, three inits, and only runs of one init may be compared."""
    inits = {k: k % 3 for k in range(9)}
    within = [(a, b) for a, b in combinations(range(9), 2) if inits[a] == inits[b]]
    cosines = np.repeat([0.2, 0.3, 0.4], 3)[
        np.argsort(np.argsort([inits[a] for a, _ in within], kind="stable"))
    ]
    found = shared_direction(within, cosines, shared=[inits, {k: k // 3 for k in range(9)}])

    assert (found.n_pairs, found.n_dropped, found.n_units, found.n_runs) == (9, 0, 3, 9)
    assert found.cosine == pytest.approx(0.3)
    # three inits: a t interval over their three means, wider than that over nine runs
    assert found.low < 0.3 - 4.302 * 0.1 / math.sqrt(3) + 1e-3
    # orders are turned round, as within an init nothing else can be
    assert found.p_signs == 1 / 4
    every = shared_direction(within, np.full(9, 0.9999), dimensions=10_000)
    assert every.p_random == 1e-12
