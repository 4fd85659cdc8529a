"""Whether a series is in order: planted faults are found, honest series are left alone."""

import itertools

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from archive.upkeep.chain_order import FEWEST, Order, _gains, judge_order, squared_distances
from tests.archive.upkeep.simulated_chains import HONEST, accusations, drift, walk

LOG_STEPS = np.r_[0, 2 ** np.arange(10), 1000 * np.arange(1, 31)].astype(float)


def judged(way: np.ndarray) -> Order:
    return judge_order(squared_distances(way))


def exchanged(way: np.ndarray, i: int, j: int) -> np.ndarray:
    other = way.copy()
    other[[i, j]] = way[[j, i]]
    return other


def random_walk(n: int = 40, k: int = 300, seed: int = 0) -> np.ndarray:
    return np.cumsum(np.random.default_rng(seed).normal(size=(n, k)), 0)


def bend(times: np.ndarray, k: int = 50) -> np.ndarray:
    """A smooth way without noise."""
    a, b = np.random.default_rng(1).normal(size=(2, k))
    return np.outer(times, a) + np.outer(times**2 / (2 * times.max()), b)


def test_distances_are_those_of_the_vectors_and_exactly_zero_between_equal_ones() -> None:
    way = np.array([[3.0, 4.0], [0.0, 0.0], [3.0, 4.0]]) + 1e8
    assert squared_distances(way).tolist() == [[0, 25, 0], [25, 0, 25], [0, 25, 0]]


def test_distances_agree_with_the_loop_however_small_they_are() -> None:
    rng = np.random.default_rng(8)
    way = rng.normal(size=(6, 50)) * 10.0 ** np.array([[0], [0], [-8], [-8], [0], [3]])
    way[4] = way[0] * (1 + 1e-9)
    for i, row in enumerate(squared_distances(way)):
        for j, value in enumerate(row):
            assert value == pytest.approx(
                sum((a - b) ** 2 for a, b in zip(way[i], way[j], strict=True)), rel=1e-8
            )


def test_the_gain_of_an_exchange_is_what_the_way_shortens_by() -> None:
    logs = 0.5 * np.log(squared_distances(random_walk(12, 5)) + np.eye(12))

    def length(order: list[int]) -> float:
        return sum(logs[a, b] for a, b in itertools.pairwise(order))

    gains = _gains(logs)
    compared = 0
    for i in range(12):
        for j in range(i + 1, 12):
            order = list(range(12))
            order[i], order[j] = j, i
            if np.isfinite(gains[i, j]):
                assert gains[i, j] == pytest.approx(length(list(range(12))) - length(order))
                compared += 1
    assert compared >= 45  # all but some with an end
    assert np.isneginf(gains[0, 1])
    assert np.isneginf(gains[10, 11])


@pytest.mark.parametrize("kind", HONEST)
def test_honest_series_are_not_accused(kind: str) -> None:
    assert accusations(kind, 60, seed=3) == 0


@pytest.mark.parametrize("pair", [(1, 2), (5, 6), (3, 7), (10, 30), (0, 20), (12, 39), (37, 38)])
@pytest.mark.parametrize("way", [random_walk(), bend(np.arange(40.0)), bend(np.log(LOG_STEPS + 1)[:40])])
def test_an_exchange_is_found(way: np.ndarray, pair: tuple[int, int]) -> None:
    assert judged(way) == Order()
    assert judged(exchanged(way, *pair)).exchanged == (pair,)


def test_two_exchanges_and_a_rotation_of_three_are_found() -> None:
    way = exchanged(exchanged(random_walk(), 4, 30), 12, 20)
    assert judged(way).exchanged == ((4, 30), (12, 20))
    rotated = random_walk()
    rotated[[8, 16, 24]] = rotated[[16, 24, 8]]
    assert {k for pair in judged(rotated).exchanged for k in pair} == {8, 16, 24}


def test_most_exchanges_in_noisy_walks_are_found_and_nobody_else_is_accused() -> None:
    rng = np.random.default_rng(5)
    found = wrong = 0
    for _ in range(60):
        way = walk(rng, 40, 300) if rng.integers(2) else drift(rng, 40, 300)
        pair = tuple(int(k) for k in sorted(rng.choice(np.arange(1, 39), 2, replace=False)))
        order = judged(exchanged(way, *pair))
        found += pair in order.exchanged
        wrong += any(one != pair for one in order.exchanged) or bool(order.misplaced)
    # what is missed are drifts drowned in noise, where no order is better than another
    assert found >= 45
    assert wrong == 0


def test_weights_of_a_step_in_between_are_found_at_the_wrong_place() -> None:
    way = random_walk(81)
    kept = way[::2].copy()  # every second checkpoint
    kept[30] = way[21]  # belongs between 10 and 11
    assert judged(kept) == Order(misplaced=((30, (10, 11)),))


def test_a_phase_transition_is_in_order_and_an_exchange_across_it_is_found() -> None:
    way = random_walk(40, 300) * 0.01
    way[20:] += 10 * np.random.default_rng(2).normal(size=300)
    assert judged(way) == Order()
    assert judged(exchanged(way, 15, 24)).exchanged == ((15, 24),)


def test_a_single_checkpoint_inside_a_phase_transition_is_in_order() -> None:
    way = random_walk(40, 300) * 0.01
    jump = 10 * np.random.default_rng(2).normal(size=300)
    way[20] += jump / 2
    way[21:] += jump
    assert judged(way) == Order()


def test_a_spike_is_remarked_not_accused() -> None:
    way = random_walk()
    way[17] += 30 * np.random.default_rng(3).normal(size=300)
    assert judged(way) == Order(apart=(17,))


def test_a_run_that_goes_back_and_forth_is_not_accused() -> None:
    way = bend(np.arange(40.0)) * 0.01
    way[1::2] += np.random.default_rng(4).normal(size=50)
    order = judged(way)
    assert order.exchanged == order.misplaced == ()


def test_without_any_order_nobody_is_accused_and_that_is_said() -> None:
    order = judged(np.random.default_rng(6).normal(size=(40, 5)))
    assert order.exchanged == order.misplaced == ()
    assert order.unclear


def test_too_few_are_not_judged() -> None:
    assert not judged(random_walk(FEWEST - 1)).judged
    assert judged(random_walk(FEWEST)).judged


@given(seed=st.integers(0, 50), scale=st.sampled_from([1e-6, 1.0, 1e6]))
def test_scale_and_direction_of_time_do_not_matter(seed: int, scale: float) -> None:
    rng = np.random.default_rng(seed)
    pair = tuple(int(k) for k in sorted(rng.choice(24, 2, replace=False)))
    way = exchanged(random_walk(24, 100, seed), *pair)
    there, back = judged(way * scale), judged(way[::-1])
    assert there == judged(way)
    assert back.exchanged == tuple(sorted((23 - j, 23 - i) for i, j in there.exchanged))
