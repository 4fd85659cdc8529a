"""Transitions among series: planted ones classed, nothing else is, and what cannot be judged says why."""

import math
from collections import Counter

import numpy as np
import pytest

from queries.stats.detectable_width import WIDTHS, detectable_width, least_excess
from queries.stats.serial_noise import autoregressive
from queries.stats.smooth_null import SmoothNull
from queries.stats.transition_verdict import LEAST_EXCESS
from queries.stats.transitions import Series, find_transitions, usable

TIMES = np.geomspace(1, 143_000, 80)
X = np.log2(TIMES)
PYTHIA = np.array([*(2.0**k for k in range(10)), *np.arange(1000.0, 143_001, 1000)])


def sigmoid(w: float, at: float = 8.5, times: np.ndarray = TIMES) -> np.ndarray:
    return 1 / (1 + np.exp(-np.clip((np.log2(times) - at) / w, -500, 500)))


def noisy(
    clean: np.ndarray, n: int, sigma: float = 0.01, *, times: np.ndarray = TIMES, seed: int = 0
) -> list[Series]:
    noise = autoregressive(np.random.default_rng(seed), np.full(n, sigma), np.full(n, 0.3), len(times))
    clean = clean / np.ptp(clean)
    return [Series(times, clean + noise[:, k], run=f"{seed}.{k}") for k in range(n)]


def kinds(series: list[Series], **options: object) -> Counter[str]:
    return Counter(f.kind for f in find_transitions(series, most_draws=999, **options))


@pytest.mark.parametrize("w", [0.1, 0.25])
def test_sharp_sigmoids_are_major_with_their_place_and_width(w: float) -> None:
    found = find_transitions(noisy(sigmoid(w), 10, 0.03), most_draws=999)

    assert [f.kind for f in found] == ["major_transition"] * 10
    for f in found:
        assert f.tested.start < 2**8.5 < f.tested.end
        assert f.shape is not None
        assert f.shape.t50.low <= 2**8.6
        assert f.shape.t50.high >= 2**8.4
        assert f.tested.w_low <= w <= f.tested.w_high


def test_a_bump_on_a_power_is_minor_with_its_size_in_native_units() -> None:
    power = TIMES**-0.2
    found = find_transitions(noisy(power - 0.15 * np.ptp(power) * sigmoid(0.15), 10, 0.005), most_draws=999)

    assert [f.kind for f in found] == ["minor_transition"] * 10
    assert np.median([f.tested.native_excess for f in found]) == pytest.approx(0.12, abs=0.04)
    assert not any(f.tested.rises for f in found)


@pytest.mark.parametrize("clean", [TIMES**-0.5, X, sigmoid(2.0)], ids=["power", "log", "wide"])
def test_smooth_curves_are_none_where_noise_is_small_and_unresolved_where_it_is_not(
    clean: np.ndarray,
) -> None:
    quiet, loud = kinds(noisy(clean, 20)), kinds(noisy(clean, 20, 0.1))

    assert quiet["none"] >= 18
    assert loud["unresolved"] >= 18
    assert not (quiet + loud)["major_transition"]


def test_a_loud_end_of_a_short_series_is_unresolved_and_named() -> None:
    times = np.geomspace(1, 143_000, 40)
    series = noisy(times**-0.5, 20, 1.0, times=times)
    loud = [
        Series(times, times**-0.5 + (s.values - times**-0.5) * 0.1 * np.sqrt(times / times[-1]), s.run)
        for s in series
    ]
    found = find_transitions(loud, most_draws=999)
    told = [f for f in found if f.tested.q_bootstrap < 0.05 and f.tested.excess >= LEAST_EXCESS]

    assert len(told) >= 8
    assert {f.kind for f in told} == {"unresolved"}
    assert all("times as large from step" in f.why and f.tested.q == 1 for f in told)


def test_a_change_that_is_narrow_in_linear_time_only_is_axis_only() -> None:
    power = TIMES**-0.2
    found = kinds(noisy(power / np.ptp(power) - 0.4 * sigmoid(1.3, 11), 10))

    assert found["axis_only"] >= 9


def test_a_sharp_discrete_metric_over_a_smooth_one_is_metric_only() -> None:
    smooth = noisy(-X, 5, 0.005)
    accuracy = noisy(sigmoid(0.15), 5, 0.02, seed=1)
    pairs = [
        Series(s.times, s.values, s.run, partner=(a.times, a.values))
        for s, a in zip(smooth, accuracy, strict=True)
    ]
    # asked about from the other end it is the same pair
    turned = [
        Series(a.times, a.values, a.run, discrete=True, partner=(s.times, s.values))
        for s, a in zip(smooth, accuracy, strict=True)
    ]
    alone = [Series(a.times, a.values, a.run, discrete=True) for a in accuracy]

    assert kinds(pairs) == kinds(turned) == {"metric_only": 5}
    assert kinds(alone) == {"unresolved": 5}


@pytest.mark.parametrize(
    ("at", "spacing"), [(1500.0, 1.0), (2400.0, math.log2(3 / 2)), (15_500.0, math.log2(16 / 15))]
)
def test_spacing_where_it_happens_bounds_what_can_be_said(at: float, spacing: float) -> None:
    (found,) = find_transitions(
        noisy(sigmoid(0.05, math.log2(at), PYTHIA), 1, 0.01, times=PYTHIA), most_draws=999
    )

    if spacing > 2 / 3:
        assert found.kind == "unresolved"
        assert "octave(s) apart" in found.why
        assert found.tested.spacing == pytest.approx(spacing, abs=0.03)
        # what would resolve it lies where there is no checkpoint yet
        assert any(1000 < step < 2000 for step in found.needed)
        assert not set(found.needed) & set(PYTHIA.astype(int))
    else:
        assert found.kind == "major_transition"
        assert found.tested.spacing == pytest.approx(spacing, abs=0.6)


def test_the_spacing_is_the_widest_gap_within_the_octave() -> None:
    (found,) = find_transitions(
        noisy(sigmoid(0.05, math.log2(15_500), PYTHIA), 1, times=PYTHIA), most_draws=99
    )
    inside = PYTHIA[(found.tested.start <= PYTHIA) & (found.tested.end >= PYTHIA)]

    assert found.tested.spacing == pytest.approx(np.diff(np.log2(inside)).max(), abs=0.02)


@pytest.mark.parametrize(
    ("series", "why"),
    [
        (Series(TIMES[::6], sigmoid(0.2)[::6], 0), "14 of 16 checkpoints needed"),
        (Series(TIMES, np.full(80, 2.5), 0), "the values do not change"),
        (Series(TIMES, np.full(80, np.nan), 0), "0 of 16"),
        (Series(TIMES, np.where(X > 3, np.nan, X), 0), "14 of 16"),
        (Series(np.linspace(100, 199, 80), X, 0), "span no more than an octave"),
        (Series(np.r_[0.0, TIMES[:15]], np.arange(16.0), 0), "15 of 16"),
    ],
)
def test_what_cannot_be_tested_is_unresolved_with_the_reason(series: Series, why: str) -> None:
    (found,) = find_transitions([series])

    assert found.kind == "unresolved"
    assert why in found.why
    assert math.isnan(found.tested.p)


def test_a_run_that_has_not_got_over_its_change_is_unresolved() -> None:
    short = TIMES[X <= 9]
    (found,) = find_transitions(noisy(sigmoid(0.3, 8.5, short), 1, times=short), most_draws=999)

    assert found.kind == "unresolved"


def test_missing_values_and_step_0_are_left_out() -> None:
    (whole,) = noisy(sigmoid(0.2), 1)
    holes = whole.values.copy()
    holes[::7] = np.nan
    times, values = np.r_[0.0, TIMES], np.r_[9.0, holes]
    (found,) = find_transitions([Series(times, values, 0)], most_draws=999)

    assert found.kind == "major_transition"
    assert found.tested.n_points == np.isfinite(holes).sum()


def test_a_log_of_every_step_is_read_at_points_spread_over_its_octaves() -> None:
    steps = np.arange(1.0, 4001.0)
    at, picked = usable(steps, steps**2)
    (found,) = find_transitions(noisy(sigmoid(0.2, 7, steps), 1, times=steps), most_draws=99)

    assert (picked == at**2).all()
    assert 120 < len(at) <= 200
    assert (at[0], at[-1]) == (1, 4000)
    assert np.diff(np.log2(at[at > 64])).max() < 0.1
    assert (found.kind, found.tested.n_points) == ("major_transition", len(at))


def test_series_of_a_run_that_all_do_the_same_are_no_transition_of_one() -> None:
    together = [Series(s.times, s.values, run="a") for s in noisy(sigmoid(0.2), 25)]
    found = find_transitions(together, most_draws=99)
    others = [Series(s.times, s.values, run="a", asked=False) for s in noisy(X, 25, seed=3)]
    apart = find_transitions([*together[:1], *others], most_draws=99)

    assert sum(f.kind == "major_transition" for f in found) <= 2
    assert all(f.controls == 24 for f in found)
    assert len(apart) == 1
    assert (apart[0].kind, apart[0].controls, apart[0].beyond) == ("major_transition", 25, 1.0)


def test_many_tests_are_corrected_together() -> None:
    series = noisy(TIMES**-0.5, 30, 0.02)
    found = find_transitions(series, most_draws=399)
    p, q = np.array([f.tested.p for f in found]), np.array([f.tested.q for f in found])

    assert (q >= p).all()
    assert q.min() == pytest.approx(min(1.0, (np.sort(p) * 30 / np.arange(1, 31)).min()))


def test_wider_sigmoids_are_harder_to_find_and_noise_makes_it_harder() -> None:
    excess = least_excess(SmoothNull.at(TIMES))
    found = detectable_width(excess, np.ones(3), np.array([0.05, 0.2, 2.0]), np.array([0.01, 0.05, 0.5]))

    assert (np.diff(excess) < 0).all()
    assert found[0] > found[1] > found[2] == 0
    assert set(found) <= {0.0, *WIDTHS}


def test_what_is_called_detectable_is_found_nine_times_in_ten() -> None:
    null = SmoothNull.at(TIMES)
    flat = null.test(np.column_stack([s.values for s in noisy(X, 10, 0.02)]), most_draws=399)
    widest = float(np.min(detectable_width(least_excess(null), np.ones(10), flat.critical, flat.sigma)))
    sharp = np.column_stack([s.values for s in noisy(sigmoid(widest, 6), 30, 0.02, seed=5)])

    assert widest >= 0.25
    assert np.mean(null.test(sharp, most_draws=399).p <= 0.05) >= 0.9
