"""Change within a window: closed forms on the log axis, and that a linear axis makes everything look sharp."""

import math

import numpy as np
import pytest

from queries.stats.change_windows import Windows, without_spikes
from queries.stats.sigmoid_fit import MAJOR_W, WIDTH_10_90
from tests.references.smooth_curves import largest_excess

TIMES = np.geomspace(1, 143_000, 400)
X = np.log2(TIMES)


def logistic(w: float) -> np.ndarray:
    return 1 / (1 + np.exp(-np.clip((X - np.log2(2000)) / w, -500, 500)))


def share(curve: np.ndarray, windows: Windows) -> float:
    return float(windows.steepest(curve[:, None])[0])


# measures worked out independently: share of the steepest octave, and of the best 5 % of linear time
KNOWN = [
    (TIMES**-0.5, 0.29, 0.99),
    (TIMES**-0.1, 0.10, 0.85),
    (X, 0.06, 0.75),
    (np.exp(-TIMES / 2000), 0.25, 0.97),
    (logistic(2), 0.13, 0.74),
    (logistic(1), 0.25, 0.86),
    (logistic(0.5), 0.46, 0.97),
    (logistic(0.25), 0.76, 1.00),
]


@pytest.mark.parametrize(("curve", "octave", "linear"), KNOWN)
def test_known_curves_have_known_shares_on_both_axes(curve: np.ndarray, octave: float, linear: float) -> None:
    assert share(curve, Windows.octaves(TIMES)) == pytest.approx(octave, abs=0.006)
    assert share(curve, Windows.linear(TIMES)) == pytest.approx(linear, abs=0.03)


@pytest.mark.parametrize("w", [0.25, 0.5, 1.0])
def test_a_sigmoid_has_its_closed_form(w: float) -> None:
    assert share(logistic(w), Windows.octaves(TIMES)) == pytest.approx(math.tanh(1 / (4 * w)), abs=0.003)


@pytest.mark.parametrize("c", [0.3, 1.0, 2.0])
def test_a_power_falls_most_in_its_first_octave(c: float) -> None:
    found = share(TIMES**-c, Windows.octaves(TIMES))

    assert found == pytest.approx((1 - 2**-c) / (1 - TIMES[-1] ** -c), abs=1e-3)


def test_half_of_the_change_in_an_octave_is_a_width_of_two_octaves() -> None:
    assert math.tanh(1 / (4 * MAJOR_W)) == pytest.approx(0.5)
    assert pytest.approx(0.455, abs=5e-4) == MAJOR_W
    assert pytest.approx(4.394, abs=5e-4) == WIDTH_10_90
    assert pytest.approx(2.0, abs=0.001) == WIDTH_10_90 * MAJOR_W


def test_points_exactly_an_octave_apart_are_an_octave() -> None:
    times = 2.0 ** np.arange(5)
    windows = Windows.octaves(times)

    assert windows.changes(np.arange(5.0)[:, None] ** 2)[:, 0].tolist() == [1, 3, 5, 7]
    assert not len(Windows.octaves(np.array([4.0, 5.0, 6.0])).start)
    assert np.isnan(Windows.octaves(np.array([4.0, 5.0, 6.0])).steepest(np.ones((3, 1)))).all()


def test_a_spike_goes_and_a_jump_stays() -> None:
    jump = np.r_[np.zeros(5), np.ones(5)]
    spike = np.eye(10)[4]
    found = without_spikes(np.column_stack([jump, spike, jump + spike]))

    assert (found[:, 0] == jump).all()
    assert not found[:, 1].any()
    assert [sorted(found[k : k + 3, 2])[1] for k in range(8)] == sorted(found[1:9, 2].tolist())


def test_changes_are_those_of_a_slow_twin() -> None:
    rng = np.random.default_rng(0)
    times = np.cumsum(rng.integers(1, 30, 40)).astype(float)
    y, smooth = rng.normal(size=40), rng.normal(size=40)
    windows = Windows.octaves(times)
    found = (np.abs(windows.changes(y[:, None])) - np.abs(windows.changes(smooth[:, None]))).max()

    assert found == pytest.approx(largest_excess(times, y, smooth), abs=1e-6)


def test_accuracy_is_sharp_where_items_are_alike_though_the_margin_is_not() -> None:
    margin = 0.5 * (X - 8.5)
    normal = np.random.default_rng(0).normal(size=20_000)
    shares = [
        share(np.mean(margin[:, None] + spread * normal > 0, axis=1), Windows.octaves(TIMES))
        for spread in (2, 1, 0.5, 0.25)
    ]

    assert shares == pytest.approx([0.11, 0.20, 0.38, 0.68], abs=0.02)
