"""p values of composition scores: rotations drawn at random, closed forms, and what cannot be said."""

import math

import numpy as np
import pytest
from scipy.stats import ortho_group

from queries.stats.composition_null import composition_p


def rotated(rank: int, dimension: int, n: int, *, decay: float) -> tuple[np.ndarray, float, float]:
    """Squared scores of two matrices of this rank with a random rotation between them; exact mean and sd."""
    spectrum = decay ** np.arange(rank)
    a = np.zeros(dimension)
    a[:rank] = spectrum / np.sqrt((spectrum**2).sum())
    rotations = ortho_group.rvs(dimension, size=n, random_state=0)
    squares = ((a[:, None] * rotations * a[None, :]) ** 2).sum((1, 2))
    traceless = (a**2 - 1 / dimension) ** 2
    variance = 2 * traceless.sum() ** 2 / ((dimension - 1) * (dimension + 2))
    return squares, 1 / dimension, math.sqrt(variance)


@pytest.mark.parametrize(("rank", "decay"), [(1, 1.0), (4, 1.0), (6, 0.5)])
def test_random_rotations_are_as_rare_as_said(rank: int, decay: float) -> None:
    squares, mean, sd = rotated(rank, 24, 4000, decay=decay)
    p = composition_p(np.sqrt(squares), np.full(4000, math.sqrt(mean)), (squares - mean) / sd)

    assert squares.mean() == pytest.approx(mean, rel=0.1)
    for level in (0.05, 0.01):
        # the gamma distribution has no upper end while scores do: a little too cautious is right
        assert np.mean(p <= level) <= level + 3 * math.sqrt(level / 4000)
        assert np.mean(p <= level) >= 0.4 * level


def test_a_normal_threshold_would_call_skewed_nulls_unusual() -> None:
    squares, mean, sd = rotated(1, 24, 4000, decay=1.0)

    assert np.mean((squares - mean) / sd > 3.09) > 5 * 0.001


def test_a_large_score_is_rare_and_a_mean_one_is_not() -> None:
    baseline, sd = 0.1, 0.001  # of squares with mean 0.01
    scores = np.sqrt(0.01 + sd * np.array([-3.0, 0.0, 3.0, 12.0]))
    p = composition_p(scores, np.full(4, baseline), np.array([-3.0, 0.0, 3.0, 12.0]))

    assert (np.diff(p) < 0).all()
    assert p[1] == 0.5
    assert p[2] == pytest.approx(0.0025, rel=0.5)
    assert p[3] < 1e-9


def test_undefined_z_has_no_p() -> None:
    assert np.isnan(composition_p(np.array([0.1]), np.array([0.1]), np.array([np.nan])))[0]
