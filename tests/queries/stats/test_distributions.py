import pytest
from scipy import stats

from queries.stats import distributions as d

PROBABILITIES = (0.001, 0.025, 0.2, 0.5, 0.8, 0.975, 0.999)


@pytest.mark.parametrize("p", PROBABILITIES)
@pytest.mark.parametrize("df", [1, 2, 4, 9, 119, 5000])
def test_quantiles_are_those_of_scipy_stats(p: float, df: int) -> None:
    assert d.t_quantile(p, df) == pytest.approx(stats.t.ppf(p, df), rel=1e-7, abs=1e-9)
    assert d.chi_square_quantile(p, df) == pytest.approx(stats.chi2.ppf(p, df), rel=1e-7)
    assert d.f_quantile(p, df, 7) == pytest.approx(stats.f.ppf(p, df, 7), rel=1e-7)
    assert d.beta_quantile(p, df, 3.5) == pytest.approx(stats.beta.ppf(p, df, 3.5), rel=1e-7)


@pytest.mark.parametrize(
    ("x", "df", "centre"), [(2.8, 4, 3.2), (-2.8, 4, 3.2), (2.0, 18, 0.0), (4.3, 2, 9.0)]
)
def test_the_noncentral_t_is_that_of_scipy_stats(x: float, df: int, centre: float) -> None:
    assert d.noncentral_t_cdf(x, df, centre) == pytest.approx(stats.nct.cdf(x, df, centre), abs=1e-9)


@pytest.mark.parametrize(("k", "n"), [(0, 5), (4, 5), (2, 9), (30, 40)])
def test_tails_are_those_of_scipy_stats(k: int, n: int) -> None:
    assert d.fair_coin_tail(k, n) == pytest.approx(stats.binom.sf(k, n, 0.5), rel=1e-9)
    assert d.chi_square_tail(float(n), k + 1) == pytest.approx(stats.chi2.sf(n, k + 1), rel=1e-9)
