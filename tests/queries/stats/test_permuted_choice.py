import math

import numpy as np
import pytest

from queries.stats.permuted_choice import overlap_p, uniform_choice_p


def choices(rng: np.random.Generator, n_runs: int, weights: np.ndarray) -> list[list[int]]:
    return [
        rng.choice(
            len(weights), size=int(rng.integers(3, 7)), replace=False, p=weights / weights.sum()
        ).tolist()
        for _ in range(n_runs)
    ]


def test_a_favoured_option_is_found() -> None:
    weights = np.ones(56)
    weights[:3] = 40

    assert uniform_choice_p(choices(np.random.default_rng(0), 10, weights), 56) < 0.001


def test_uniform_choices_are_called_favoured_as_rarely_as_promised() -> None:
    rng = np.random.default_rng(1)
    p = np.array(
        [uniform_choice_p(choices(rng, 10, np.ones(56)), 56, n_simulated=500, seed=k) for k in range(200)]
    )

    # the statistic is a count of coincidences: it has steps, so the rate may stay below
    assert np.mean(p <= 0.05) <= 0.05 + 3 * math.sqrt(0.05 * 0.95 / 200)
    assert np.mean(p <= 0.5) > 0.3


def test_one_run_repeats_nothing() -> None:
    assert math.isnan(uniform_choice_p([[1, 2, 3], []], 56))


def test_overlap_with_what_was_strongest_before() -> None:
    assert overlap_p([5, 5, 5], [5, 5, 5], 56) == pytest.approx(1e-4, rel=0.01)
    assert overlap_p([0, 0], [5, 4], 56) == 1
    assert math.isnan(overlap_p([], [], 56))


def test_chance_overlaps_are_called_more_as_rarely_as_promised() -> None:
    rng = np.random.default_rng(2)
    p = np.array([overlap_p(rng.hypergeometric(5, 51, 5, 10).tolist(), [5] * 10, 56) for _ in range(400)])

    assert np.mean(p <= 0.05) <= 0.05 + 3 * math.sqrt(0.05 * 0.95 / 200)
