import math

import numpy as np
import pytest

from queries.stats.phases import circuit_formation_end, cleanup_end, memorization_end, phase_at

STEPS = np.array([0, *(2.0**k for k in range(0, 15))])


def falling(at: float, low: float, high: float = 5.0) -> np.ndarray:
    """From high to low on a log scale, a straight line in log time over the two octaves before `at`."""
    with np.errstate(divide="ignore"):
        done = np.clip((np.log2(STEPS) - (math.log2(at) - 2)) / 2, 0, 1)
    return high * (low / high) ** done


def test_memorization_is_more_than_99_percent() -> None:
    assert memorization_end(np.array([1.0, 2, 3]), np.array([0.5, 0.99, 0.995])).high == 3


def test_circuits_are_formed_at_90_percent_of_the_fall_in_logs() -> None:
    # a fall of 10 factors of e from step 64 to 256: 90 % is reached in its last octave
    y = falling(256, 5 * math.exp(-10))
    bracket = circuit_formation_end(STEPS, y)

    assert (bracket.low, bracket.high) == (128, 256)
    assert circuit_formation_end(STEPS, falling(256, 4.0)).kind == "never"


def test_the_fall_counts_from_the_highest_loss_not_from_the_first() -> None:
    y = np.array([1e-3, 5.0, 1.0, 1e-2, 1e-4])

    assert circuit_formation_end(np.arange(5.0), y).high == 4
    # as low as before, but before the rise: no circuit
    assert circuit_formation_end(np.arange(3.0), np.array([1e-3, 5.0, 4.0])).kind == "never"


def test_a_loss_of_zero_has_fallen() -> None:
    assert circuit_formation_end(np.arange(3.0), np.array([5.0, 1e-3, 0.0])).high == 2


def cleaned(fall_ends: int, accurate_from: int) -> tuple[np.ndarray, np.ndarray]:
    """Weights shrink over octaves up to step index fall_ends; accuracy jumps at accurate_from."""
    slope = np.where(np.arange(1, len(STEPS)) <= fall_ends, -100.0, -5.0)
    slope[:6] = -10.0
    return np.where(np.arange(len(STEPS)) >= accurate_from, 1.0, 0.2), np.r_[2000, 2000 + slope.cumsum()]


def test_cleanup_ends_when_weights_are_calm_and_answers_right() -> None:
    late = cleanup_end(STEPS, *cleaned(10, 9))
    accurate_later = cleanup_end(STEPS, *cleaned(10, 13))

    assert (late.low, late.high) == (STEPS[10], STEPS[11])
    assert accurate_later.high == STEPS[13]


def test_calm_before_the_fall_is_no_end() -> None:
    accuracy, squares = cleaned(10, 1)

    assert cleanup_end(STEPS, accuracy, squares).high == STEPS[11]


def test_cleanup_that_goes_on_or_never_begins_has_no_end() -> None:
    assert cleanup_end(STEPS, *cleaned(15, 1)).kind == "never"
    assert cleanup_end(STEPS, np.ones(16), np.linspace(1, 2, 16)).kind == "never"
    assert cleanup_end(STEPS[:3], np.ones(3), np.ones(3)).kind == "no data"


def test_without_values_nothing_is_known() -> None:
    assert circuit_formation_end(STEPS, np.full(16, np.nan)).kind == "no data"


def test_phases_follow_from_their_ends() -> None:
    ends = [memorization_end(STEPS, np.where(at <= STEPS, 1.0, 0)) for at in (4, 64, 1024)]
    phases = phase_at(np.array([0, 4, 32, 64, 2000.0]), [*ends])

    assert phases == ["memorization", "circuit_formation", "circuit_formation", "cleanup", "done"]
    assert phase_at(np.array([0, 4.0]), [ends[0], None, ends[2]]) == ["memorization", None]


@pytest.mark.parametrize("noise", [0.0, 1.0])
def test_a_little_noise_in_the_weights_moves_no_border_much(noise: float) -> None:
    accuracy, squares = cleaned(10, 9)
    bracket = cleanup_end(STEPS, accuracy, squares + noise * np.random.default_rng(0).normal(size=16))

    assert bracket.high <= STEPS[12]
