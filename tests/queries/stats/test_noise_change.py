"""A jump against noise that changes its size: planted ones told apart, and the fits those of a slow twin."""

from dataclasses import replace
from itertools import product

import numpy as np
import pytest

from queries.stats.noise_change import LEAST_GAIN, NoiseChange, _two_sizes
from queries.stats.serial_noise import autoregressive
from queries.stats.smooth_families import SmoothFamilies
from queries.stats.smooth_null import LEAST_NOISE, SmoothNull

TIMES = np.geomspace(1, 143_000, 40)
X = np.log2(TIMES)
JUMP = 1 / (1 + np.exp(-(X - 8.5) / 0.2))


@pytest.fixture(scope="module")
def null() -> SmoothNull:
    return SmoothNull.at(TIMES)


def compared(null: SmoothNull, values: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    unit = ((values - values.mean(0)) / np.ptp(values, axis=0)).astype(np.float32)
    return null.change.compare(unit, null.families.fit(unit)[0], LEAST_NOISE)


def noise(n: int, rho: float = 0.3) -> np.ndarray:
    return autoregressive(np.random.default_rng(0), np.ones(n), np.full(n, rho), len(TIMES)).astype(float)


def test_two_sizes_of_noise_have_a_closed_form() -> None:
    sizes = np.repeat([2.0, 10.0], [12, 8])
    likelihood, factor, first = _two_sizes(np.column_stack([sizes**2, sizes[::-1] ** 2]))

    np.testing.assert_allclose(likelihood, -12 * np.log(2) - 8 * np.log(10))
    np.testing.assert_allclose(factor, [5, 1 / 5])
    assert first.tolist() == [12, 8]


@pytest.mark.parametrize("n_times", [20, 60])
def test_what_a_jump_leaves_is_that_of_least_squares_over_all_pairs(n_times: int) -> None:
    times = np.geomspace(1, 5000, n_times)
    whole = NoiseChange.at(times, SmoothFamilies.at(times))
    few = replace(
        whole,
        jumps=whole.jumps[::40],
        curves=whole.curves[::30],
        common=whole.common[::30, ::40],
        own=whole.own[::30, ::40],
    )
    x = np.log2(times)
    y = np.column_stack([x > 6, x / 12, np.sin(x)]) + 0.05 * np.random.default_rng(1).normal(
        size=(n_times, 3)
    )
    left = []
    for curve, jump in product(few.curves, few.jumps):
        design = np.column_stack([np.ones(n_times), curve, jump])
        left.append(y - design @ np.linalg.lstsq(design, y)[0])
    least = np.min([(r**2).sum(0) for r in left], axis=0)

    np.testing.assert_allclose((few._without_jump(y.astype(np.float32)) ** 2).sum(0), least, rtol=1e-3)


def test_a_jump_is_told_from_louder_noise_and_the_noise_is_named(null: SmoothNull) -> None:
    later, earlier = np.where(X > 8.5, 5, 1)[:, None], np.where(X > 8.5, 1, 5)[:, None]
    jump = compared(null, JUMP[:, None] + 0.03 * noise(30))[0]
    grows, grown, since = compared(null, X[:, None] / 17 + 0.02 * later * noise(30))
    shrinks, shrunk, _ = compared(null, X[:, None] / 17 + 0.02 * earlier * noise(30))

    assert (jump >= LEAST_GAIN).all()
    assert (grows < LEAST_GAIN).all()
    assert (shrinks < LEAST_GAIN).all()
    assert np.median(grown) == pytest.approx(5, rel=0.3)
    assert np.median(shrunk) == pytest.approx(1 / 5, rel=0.3)
    assert np.median(since) == pytest.approx(20, abs=2)


@pytest.mark.parametrize("quieter", [1, -1])
def test_a_jump_stays_one_where_noise_changes_with_it(null: SmoothNull, quieter: int) -> None:
    sizes = np.where(quieter * (X - 8.5) > 0, 0.01, 0.05)[:, None]

    assert (compared(null, JUMP[:, None] + sizes * noise(30))[0] >= LEAST_GAIN).mean() >= 0.9


def test_a_jump_of_an_accuracy_is_found_though_its_noise_goes_at_the_ceiling(null: SmoothNull) -> None:
    accuracy = np.random.default_rng(0).binomial(200, 0.01 + 0.99 * JUMP[:, None], (40, 30)) / 200
    found = null.test(accuracy, most_draws=199)

    assert (found.jump & (found.p <= 0.05)).sum() >= 27
