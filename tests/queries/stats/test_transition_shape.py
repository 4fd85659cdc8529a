"""Shapes of transitions: closed forms of sigmoids and power laws, what sparse points leave open."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from queries.stats.intervals import Bracket
from queries.stats.transition_shape import lag_octaves, octave_share, steps_needed, transition_shape

FINE = 2 ** np.linspace(0, 17, 500)


def logistic(times: np.ndarray, at: float, width: float) -> np.ndarray:
    return 1 / (1 + np.exp(-np.clip((np.log2(np.maximum(times, 1e-9)) - math.log2(at)) / width, -500, 500)))


@pytest.mark.parametrize("width", [0.2, 0.4, 0.6, 1.0])
def test_a_sigmoid_has_its_closed_forms(width: float) -> None:
    shape = transition_shape(FINE, logistic(FINE, 300, width), "up")
    share = math.tanh(1 / (4 * width))

    assert shape.share[0] - 0.01 <= share <= shape.share[1] + 0.01
    assert shape.share[1] - shape.share[0] < 0.1
    assert shape.width[0] - 0.03 <= 2 * math.log(9) * width <= shape.width[1] + 0.03
    assert shape.t50.low < 300 <= shape.t50.high
    assert shape.kind == ("major_transition" if share >= 0.5 else "gradual")


@pytest.mark.parametrize("power", [0.1, 0.5])
def test_smooth_curves_are_gradual_or_have_no_beginning(power: float) -> None:
    shape = transition_shape(FINE, FINE**-power, "down")

    assert shape.share[1] < 0.5
    assert shape.share[0] == pytest.approx((1 - 2**-power) / (1 - FINE[-1] ** -power), abs=0.02)
    assert shape.kind != "major_transition"


def test_a_noisy_flat_curve_is_no_transition() -> None:
    rng = np.random.default_rng(0)
    found = [transition_shape(FINE[::step], rng.normal(size=500)[::step], "up") for step in (1, 5, 25) * 30]

    assert {shape.kind for shape in found} == {"unresolved"}


def test_noise_hides_no_clear_transition() -> None:
    rng = np.random.default_rng(1)
    values = logistic(FINE, 300, 0.3) + 0.03 * rng.normal(size=500)

    assert transition_shape(FINE, values, "up").kind == "major_transition"


def test_points_an_octave_apart_resolve_nothing_and_name_the_steps_that_would() -> None:
    times = 2.0 ** np.arange(18)
    shape = transition_shape(times, logistic(times, 1500, 0.1), "up")
    needed = steps_needed(shape, times)

    assert shape.kind == "unresolved"
    assert "of 3 checkpoints needed" in shape.why
    assert all(shape.t10.low < step < shape.t90.high for step in needed)
    denser = np.unique(np.concatenate([times, needed, 2 ** np.arange(10, 12, 0.05)]))
    assert transition_shape(denser, logistic(denser, 1500, 0.1), "up").kind == "major_transition"


@pytest.mark.parametrize("width", [0.7, 1.0, 2.0])
@pytest.mark.parametrize("rho", [0.0, 0.8])
def test_noise_makes_no_major_transition_of_a_smooth_rise(width: float, rho: float) -> None:
    rng = np.random.default_rng(2)
    times = 2 ** np.linspace(0, 17, 90)
    wrong = 0
    for _ in range(60):
        noise = rng.normal(size=90)
        for k in range(1, 90):
            noise[k] = rho * noise[k - 1] + math.sqrt(1 - rho**2) * noise[k]
        values = logistic(times, 300, width) + 0.05 * noise
        wrong += transition_shape(times, values, "up").kind == "major_transition"

    assert wrong <= 3  # of 60, at 5 %


@pytest.mark.parametrize(
    ("times", "at", "why"),
    [
        (FINE[FINE < 600], 300, "not over"),
        (np.concatenate([[0.0], FINE[FINE > 300]]), 250, "begun"),
        (FINE[:2], 2, "fewer than 3"),
    ],
)
def test_what_is_cut_off_is_unresolved(times: np.ndarray, at: float, why: str) -> None:
    assert why in transition_shape(times, logistic(times, at, 0.3), "up").why


def test_no_change_has_no_shape() -> None:
    shape = transition_shape(FINE, np.ones(500), "up")

    assert (shape.kind, shape.why, shape.change) == ("unresolved", "no change", 0.0)
    assert steps_needed(shape, FINE) == []


@given(st.integers(0, 10_000), st.integers(4, 40))
def test_the_share_of_the_full_curve_lies_between_the_bounds_of_any_of_its_points(seed: int, n: int) -> None:
    rng = np.random.default_rng(seed)
    curve = np.concatenate([[0.0], np.sort(rng.random(498)), [1.0]])
    kept = np.unique(np.concatenate([[0, 499], rng.integers(0, 500, n)]))
    low, high = octave_share(FINE[kept], curve[kept])
    grid = np.linspace(0, 16, 4000)
    whole = np.interp(grid + 1, np.log2(FINE), curve) - np.interp(grid, np.log2(FINE), curve)

    assert low <= whole.max() + 0.02
    assert whole.max() <= high + 1e-9


def test_lags_are_as_wide_as_both_brackets() -> None:
    a, b = Bracket(100, 200, 5), Bracket(400, 800, 5)

    assert lag_octaves(a, b) == (1.0, 3.0)
    assert lag_octaves(b, a) == (-3.0, -1.0)
    assert lag_octaves(Bracket(0, 200, 5), b) == (1.0, math.inf)
    assert math.isnan(lag_octaves(a, Bracket(800, math.inf, 5))[0])
