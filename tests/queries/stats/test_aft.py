import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from queries.stats.aft import SIGMA_PRIOR, Aft, fit_aft, log_mass, survival
from tests.references.onset import censored_fit

N = 14


def sample(seed: int = 0, n: int = N) -> tuple[np.ndarray, np.ndarray]:
    """(columns, exact log2 times)"""
    rng = np.random.default_rng(seed)
    columns = rng.normal(size=(n, 2))
    return columns, 9 + columns @ np.array([1.5, -0.5]) + 0.7 * rng.normal(size=n)


def brackets(times: np.ndarray, last: float = np.inf, spacing: float = 0.5) -> tuple[np.ndarray, np.ndarray]:
    low, high = np.floor(times / spacing) * spacing, np.floor(times / spacing) * spacing + spacing
    never = high > last
    return np.where(never, last, low), np.where(never, np.inf, high)


def one(low: np.ndarray, high: np.ndarray, columns: np.ndarray, ridge: float = 0.0) -> Aft:
    use = np.ones((1, len(low)), bool)
    return fit_aft(low, high, columns[None], use, np.full(columns.shape[1], ridge))


def test_uncensored_it_is_least_squares() -> None:
    columns, times = sample()
    design = np.column_stack([np.ones(N), columns])
    expected, residual, *_ = np.linalg.lstsq(design, times, rcond=None)
    found = one(times, times, columns)

    assert found.intercept[0, 0] == pytest.approx(expected[0], abs=1e-9)
    assert found.effects[0, 0] == pytest.approx(expected[1:], abs=1e-9)
    assert found.sigma[0, 0] ** 2 == pytest.approx((residual[0] + SIGMA_PRIOR**2) / (N + 1), rel=1e-9)


def test_uncensored_with_a_penalty_it_is_ridge_regression() -> None:
    columns, times = sample()
    x, y = columns - columns.mean(axis=0), times - times.mean()
    expected = np.linalg.solve(x.T @ x + 3 * np.eye(2), x.T @ y)
    found = one(times, times, columns, ridge=3)

    assert found.effects[0, 0] == pytest.approx(expected, abs=1e-9)
    assert found.sigma[0, 0] ** 2 == pytest.approx(
        (y @ (y - x @ expected) + SIGMA_PRIOR**2) / (N + 1), rel=1e-9
    )


@pytest.mark.parametrize("last", [np.inf, 9.5, 8.5])
def test_agrees_with_a_general_optimiser(last: float) -> None:
    columns, times = sample(1, 10)
    low, high = brackets(times, last)
    low[0] = -np.inf  # known only to have come by then
    low[1] = high[1] = 8.0
    found = one(low, high, columns, ridge=0.7)
    intercept, effects, sigma = censored_fit(low, high, columns, 0.7, SIGMA_PRIOR)

    assert found.intercept[0, 0] == pytest.approx(intercept, abs=2e-4)
    assert found.effects[0, 0] == pytest.approx(effects, abs=2e-4)
    assert found.sigma[0, 0] == pytest.approx(sigma, abs=2e-4)


@given(shift=st.floats(-5, 5), seed=st.integers(0, 50))
def test_later_times_move_the_intercept_only(shift: float, seed: int) -> None:
    columns, times = sample(seed)
    low, high = brackets(times, 9.5)
    if not np.isfinite(high).any():
        return
    a, b = one(low, high, columns, 1.0), one(low + shift, high + shift, columns, 1.0)

    assert b.intercept[0, 0] == pytest.approx(a.intercept[0, 0] + shift, abs=1e-5)
    assert b.effects[0, 0] == pytest.approx(a.effects[0, 0], abs=1e-5)
    assert b.sigma[0, 0] == pytest.approx(a.sigma[0, 0], abs=1e-5)


def test_many_fits_at_once_are_those_one_by_one() -> None:
    columns, times = sample(2)
    low, high = brackets(times, 9.5)
    other = columns[::-1]
    use = np.random.default_rng(0).random((5, N)) < 0.8
    found = fit_aft(low, high, np.stack([columns, other]), use, np.ones(2))

    for d, rows in enumerate((columns, other)):
        for f, kept in enumerate(use):
            alone = one(low[kept], high[kept], rows[kept], 1.0)
            assert found.effects[d, f] == pytest.approx(alone.effects[0, 0], abs=1e-6)
            assert found.sigma[d, f] == pytest.approx(alone.sigma[0, 0], abs=1e-6)


def test_a_run_that_is_not_used_changes_nothing_however_far_it_is() -> None:
    columns, times = sample(3)
    low, high = brackets(times)
    use = np.ones((1, N), bool)
    use[0, 0] = False
    a = fit_aft(low, high, columns[None], use, np.ones(2))
    low[0], high[0], columns[0] = -400.0, -399.0, 1000.0
    b = fit_aft(low, high, columns[None], use, np.ones(2))

    assert b.effects == pytest.approx(a.effects, abs=1e-9)


def test_a_column_that_decides_everything_gives_a_finite_fit() -> None:
    x = np.linspace(-1, 1, 12)[:, None]
    low, high = brackets(9 + 3 * x[:, 0], spacing=0.01)
    found = one(low, high, x, 1.0)

    assert found.effects[0, 0, 0] == pytest.approx(3, rel=0.25)
    assert 0 < found.sigma[0, 0] < 1.2


def test_where_nobody_arrived_there_is_no_fit() -> None:
    low, high = np.full(4, 8.0), np.array([np.inf, np.inf, np.inf, 9.0])
    use = np.array([[True, True, True, False], [True, True, True, True]])
    found = fit_aft(low, high, np.zeros((1, 4, 1)), use, np.ones(1))

    assert np.isnan(found.intercept[0]).tolist() == [True, False]
    assert found.intercept[0, 1] > 8
    # most are known to be late, so half are expected after the last point
    assert found.sigma[0, 1] > 0


def test_a_bracket_that_ends_before_it_begins_is_refused() -> None:
    with pytest.raises(ValueError, match="low <= high"):
        one(np.array([2.0]), np.array([1.0]), np.zeros((1, 1)))


# worked out with 400 digits
@pytest.mark.parametrize(
    ("low", "high", "exact"),
    [
        (-1, 2, -0.2001662943244626),
        (5, 6, -15.068446096529453),
        (-40, -39, -765.0831565643775),
        (39, 40, -765.0831565643775),
        (-np.inf, -38, -726.5572160188201),
        (30, np.inf, -454.3212439563432),
    ],
)
def test_probabilities_keep_their_precision_in_tails(low: float, high: float, exact: float) -> None:
    assert log_mass(np.array(low), np.array(high)) == pytest.approx(exact, rel=1e-10)


def test_survival_is_one_half_at_the_median() -> None:
    late = survival(np.array([9.0, 9.0]), np.array([2.0, 2.0]), 9.0)
    assert late == pytest.approx([0.5, 0.5])
    assert survival(np.array([9.0]), np.array([1.0]), 10.0)[0] == pytest.approx(0.158655, abs=1e-6)
