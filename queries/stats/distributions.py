"""Quantiles and tails by name. From scipy.special: scipy.stats takes half a second to import, every time."""

from scipy import special


def t_quantile(p: float, df: float) -> float:
    """Value that Student's t with `df` degrees of freedom stays below with probability p."""
    return float(special.stdtrit(df, p))


def noncentral_t_cdf(x: float, df: float, centre: float) -> float:
    """Probability that a noncentral t stays below x."""
    return float(special.nctdtr(df, centre, x))


def chi_square_quantile(p: float, df: float) -> float:
    """Value that a chi-square stays below with probability p."""
    return float(special.chdtri(df, 1 - p))


def chi_square_tail(x: float, df: float) -> float:
    """Probability that a chi-square exceeds x."""
    return float(special.chdtrc(df, x))


def f_quantile(p: float, df_a: float, df_b: float) -> float:
    """Value that an F ratio stays below with probability p."""
    return float(special.fdtri(df_a, df_b, p))


def beta_quantile(p: float, a: float, b: float) -> float:
    """Value that a beta variable stays below with probability p."""
    return float(special.betaincinv(a, b, p))


def fair_coin_tail(k: int, n: int) -> float:
    """Probability of more than k heads in n throws of a fair coin."""
    return float(special.bdtrc(k, n, 0.5))


def binomial_tail(k: int, n: int, p: float) -> float:
    """Probability of at least k successes in n independent trials of probability p."""
    return 1.0 if k <= 0 else float(special.bdtrc(k - 1, n, p))


def normal_tail(x: float) -> float:
    """Probability that a standard normal exceeds x."""
    return float(special.ndtr(-x))
