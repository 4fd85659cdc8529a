import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from scipy.stats import false_discovery_control

from queries.stats.multiple import adjusted, benjamini_hochberg, holm

P_VALUES = arrays(float, st.integers(1, 12), elements=st.floats(0, 1))


def test_holm_by_hand() -> None:
    # 4·0.01, 3·0.02, then never less than before: 2·0.025 < 0.06
    assert holm(np.array([0.025, 0.01, 0.5, 0.02])) == pytest.approx([0.06, 0.04, 0.5, 0.06])


@given(P_VALUES)
def test_q_values_are_scipys(p: np.ndarray) -> None:
    assert benjamini_hochberg(p) == pytest.approx(false_discovery_control(p))


@given(P_VALUES)
def test_a_family_of_one_is_unchanged_and_holm_is_never_below_bh(p: np.ndarray) -> None:
    assert (holm(p) >= benjamini_hochberg(p) - 1e-12).all()
    assert holm(p[:1]) == pytest.approx(p[:1])


def test_a_test_that_could_not_be_made_does_not_count() -> None:
    assert adjusted(np.array([0.01, np.nan, 0.03]), "holm") == pytest.approx(
        [0.02, np.nan, 0.03], nan_ok=True
    )
    assert np.isnan(adjusted(np.array([np.nan]), "bh")).all()


def test_nulls_are_refused_anywhere_as_rarely_as_promised() -> None:
    p = np.random.default_rng(0).random((2000, 10))
    anywhere = np.mean([(holm(row) < 0.05).any() for row in p])

    assert anywhere == pytest.approx(0.05, abs=3.5 * np.sqrt(0.05 * 0.95 / 2000))
