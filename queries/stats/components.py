"""Variance components of balanced tables by the method of moments, with intervals that stay honest.

The moment estimate of a component is a difference of mean squares, so it can be negative: it is returned as
it is (unbiased), shares use it cut at 0, and the interval says how far above 0 it may still be.
Intervals of differences of mean squares: modified large sample (Ting et al. 1990; Burdick and Graybill
1992), exact in its limits; coverage is simulated in tests/queries/stats/test_calibration.py.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.special import expit, logit

from queries.stats.distributions import chi_square_quantile, chi_square_tail, f_quantile, t_quantile

Floats = NDArray[np.float64]
Moments = tuple[float, float, float]  # item, seed, seed:item

N_BLOCKS = 50  # of neighbouring items: enough degrees of freedom, long enough to hold a document


@dataclass(frozen=True)
class Component:
    """One variance component, in squared units of the measure.

    estimate: the unbiased moment estimate, negative when the mean squares say "less than chance".
    low, high: interval, cut at 0. df: degrees of freedom of its own mean square. share: of the total, with
    negative components counted as 0.
    """

    name: str
    estimate: float
    low: float
    high: float
    df: float
    share: float
    method: str


@dataclass(frozen=True)
class TwoWay:
    """Components of a runs × items table, and how well one run stands for another.

    icc_agreement = item / (item + seed + seed:item), ICC(A,1); icc_consistency leaves out the seed offset.
    idiosyncratic = 1 − icc_agreement, with an interval on the logit scale; it is that of half of the error, since where
    runs differ mostly by an overall offset a nominal 95 % interval holds in 91 to 93 %.
    """

    components: tuple[Component, ...]
    icc_agreement: float
    icc_consistency: float
    idiosyncratic: float
    idiosyncratic_low: float
    idiosyncratic_high: float


def one_way(groups: list[Floats], level: float = 0.95) -> tuple[Component, ...]:
    """Between-group and within-group variance of one value per run: ("condition", "seed").

    groups: one array of values per condition. With one group, or no repeats at all, only what can be said is
    returned. The interval of the between-group component uses the average group size: exact when balanced.
    """
    sizes = np.array([len(g) for g in groups], dtype=np.float64)
    k, total = len(groups), float(sizes.sum())
    within_df = total - k
    if within_df < 1:
        return ()
    within_square = sum(float(((g - g.mean()) ** 2).sum()) for g in groups) / within_df
    tail = (1 - level) / 2
    low = within_df * within_square / chi_square_quantile(1 - tail, within_df)
    high = within_df * within_square / chi_square_quantile(tail, within_df)
    seed = (within_square, float(low), float(high), within_df, "chi-square")
    if k < 2:
        return (Component("seed", *seed[:4], share=1.0, method=seed[4]),)
    grand = sum(float(g.sum()) for g in groups) / total
    between_square = sum(len(g) * float((g.mean() - grand) ** 2) for g in groups) / (k - 1)
    size = (total - float((sizes**2).sum()) / total) / (k - 1)
    between = (between_square - within_square) / size
    low, high = difference_interval(between_square, k - 1, within_square, within_df, size, level)
    whole = max(between, 0.0) + within_square
    return (
        Component("condition", between, low, high, k - 1, _share(between, whole), "modified large sample"),
        Component("seed", *seed[:4], share=_share(within_square, whole), method=seed[4]),
    )


def two_way(table: Floats, level: float = 0.95) -> TwoWay:
    """Components of a complete runs × items table with one deterministic evaluation per entry.

    table: (n_runs, n_items), both at least 2, finite; neighbouring items may depend on one another (tokens
    of one document). There is no measurement noise in such a table: the seed:item part *is* path dependence
    at this resolution. Intervals of what involves items add two jackknives, one over runs and one over
    blocks of neighbouring items: a seed's quirks are shared by many items, so items must not be counted as
    if they repeated the seeds. With 2 runs they are as wide as can be. ValueError for a table that does not fit.
    """
    if table.ndim != 2 or min(table.shape) < 2:
        raise ValueError(f"a table of shape {table.shape}; runs × items needs at least 2 × 2")
    if not np.isfinite(table).all():
        raise ValueError("the table has gaps: every run needs every item")
    n_runs, n_items = table.shape
    squares = _mean_squares(table)
    found = _moments(squares, n_runs, n_items)
    item, seed, rest = found
    seed_df, rest_df = n_runs - 1, (n_runs - 1) * (n_items - 1)
    seed_low, seed_high = difference_interval(squares[1], seed_df, squares[2], rest_df, n_items, level)
    runs, blocks = _leave_outs(table)
    item_low, item_high = _two_jackknives(found, runs, blocks, lambda c: math.log(c[0]), _exp, level)
    rest_low, rest_high = _two_jackknives(found, runs, blocks, lambda c: math.log(c[2]), _exp, level)
    odd_low, odd_high = _two_jackknives(
        found,
        runs,
        blocks,
        lambda c: float(logit(1 - _agreement(*c))),
        lambda x: float(expit(x)),
        1 - (1 - level) / 2,  # for the sake of runs that differ mostly by an overall offset
    )
    whole = sum(max(c, 0.0) for c in found)
    jackknife, mls = "jackknife over runs and item blocks", "modified large sample"
    return TwoWay(
        components=(
            Component("item", item, item_low, item_high, n_items - 1, _share(item, whole), jackknife),
            Component("seed", seed, seed_low, seed_high, seed_df, _share(seed, whole), mls),
            Component("seed:item", rest, rest_low, rest_high, seed_df, _share(rest, whole), jackknife),
        ),
        icc_agreement=_agreement(item, seed, rest),
        icc_consistency=_agreement(item, 0.0, rest),
        idiosyncratic=1 - _agreement(item, seed, rest),
        idiosyncratic_low=odd_low,
        idiosyncratic_high=odd_high,
    )


def difference_interval(
    square: float, df: float, noise: float, noise_df: float, size: float, level: float = 0.95
) -> tuple[float, float]:
    """Interval of (square − noise) / size, the variance behind two independent mean squares; cut at 0.

    Modified large sample: the limits are exact when either mean square is negligible. The upper limit of a
    negative estimate is that of an estimate of 0: it must not look more certain for being less plausible.
    """
    tail = (1 - level) / 2
    g1, g2 = (1 - d / chi_square_quantile(1 - tail, d) for d in (df, noise_df))
    h1, h2 = (d / chi_square_quantile(tail, d) - 1 for d in (df, noise_df))
    top, bottom = f_quantile(1 - tail, df, noise_df), f_quantile(tail, df, noise_df)
    g12 = ((top - 1) ** 2 - g1**2 * top**2 - h2**2) / top
    h12 = ((1 - bottom) ** 2 - h1**2 * bottom**2 - g2**2) / bottom
    below = g1**2 * square**2 + h2**2 * noise**2 + g12 * square * noise
    low = max(0.0, (square - noise - math.sqrt(max(below, 0.0))) / size)
    square = max(square, noise)
    above = h1**2 * square**2 + g2**2 * noise**2 + h12 * square * noise
    high = (square - noise + math.sqrt(max(above, 0.0))) / size
    return float(low), float(high)


def excess_spread_p(groups: list[tuple[Floats, Floats]]) -> float:
    """Probability of "runs of a group differ by no more than their standard errors" (Cochran's Q, chi-square).

    groups: (values, standard errors > 0) per group. Errors of runs scored on the same items are positively
    correlated, which makes it conservative. NaN where no group has two runs.
    """
    q, df = 0.0, 0
    for values, errors in groups:
        weights = 1 / errors**2
        mean = float((weights * values).sum() / weights.sum()) if len(values) else 0.0
        q += float((weights * (values - mean) ** 2).sum())
        df += max(len(values) - 1, 0)
    return chi_square_tail(q, df) if df else math.nan


def _mean_squares(table: Floats) -> tuple[float, float, float]:
    """Mean squares of items, runs and the rest of a (runs, items) table."""
    n_runs, n_items = table.shape
    grand = table.mean()
    by_item, by_run = table.mean(axis=0), table.mean(axis=1)
    item = n_runs * float(((by_item - grand) ** 2).sum()) / (n_items - 1)
    seed = n_items * float(((by_run - grand) ** 2).sum()) / max(n_runs - 1, 1)
    rest = table - by_item[None, :] - by_run[:, None] + grand
    return item, seed, float((rest**2).sum()) / ((n_items - 1) * max(n_runs - 1, 1))


def _moments(squares: tuple[float, float, float], n_runs: int, n_items: int) -> Moments:
    item, seed, rest = squares
    return (item - rest) / n_runs, (seed - rest) / n_items, rest


def _agreement(item: float, seed: float, rest: float) -> float:
    whole = max(item, 0.0) + max(seed, 0.0) + max(rest, 0.0)
    return max(item, 0.0) / whole if whole > 0 else math.nan


def _share(component: float, whole: float) -> float:
    return max(component, 0.0) / whole if whole > 0 else math.nan


def _leave_outs(table: Floats) -> tuple[list[Moments], list[Moments]]:
    """Components without each run, and without each block of neighbouring items.

    From sums over runs and blocks of one table of effects: what is left out changes the sums of squares in closed form.
    """
    n_runs, n_items = table.shape
    grand = table.mean()
    item, run = table.mean(axis=0) - grand, table.mean(axis=1) - grand
    rest = table - item[None, :] - run[:, None] - grand  # sums to 0 over runs and over items
    items, runs, every = float(item @ item), float(run @ run), float((rest**2).sum())
    without_run = []
    if n_runs > 2:
        own, left = (rest**2).sum(axis=1), n_runs - 1
        squares = np.stack(
            [
                left * items - 2 * (rest @ item) + own / left,
                n_items * (runs - run**2 * n_runs / left),
                every - own * n_runs / left,
            ]
        )
        without_run = [_from_sums(found, left, n_items) for found in squares.T.tolist()]
    edges = np.linspace(0, n_items, min(n_items, N_BLOCKS) + 1).astype(int)
    inside = np.add.reduceat(rest, edges[:-1], axis=1)
    several = n_items - np.diff(edges)
    squares = np.stack(
        [
            n_runs * (items - _sums(item**2, edges) - _sums(item, edges) ** 2 / several),
            several * runs - 2 * (run @ inside) + (inside**2).sum(axis=0) / several,
            every - _sums((rest**2).sum(axis=0), edges) - (inside**2).sum(axis=0) / several,
        ]
    )
    without_block = [
        _from_sums(found, n_runs, n)
        for found, n in zip(squares.T.tolist(), several.tolist(), strict=True)
        if n > 1
    ]
    return without_run, without_block


def _sums(values: Floats, edges: NDArray[np.int64]) -> Floats:
    """Sums of the stretches between edges."""
    sums: Floats = np.add.reduceat(values, edges[:-1])
    return sums


def _from_sums(sums: list[float], n_runs: int, n_items: int) -> Moments:
    """Components from the sums of squares of items, runs and the rest."""
    item, seed, rest = sums
    over_items, over_runs = n_items - 1, max(n_runs - 1, 1)
    return _moments((item / over_items, seed / over_runs, rest / (over_items * over_runs)), n_runs, n_items)


def _two_jackknives(
    found: Moments,
    runs: list[Moments],
    blocks: list[Moments],
    scale: Callable[[Moments], float],
    back: Callable[[float], float],
    level: float,
) -> tuple[float, float]:
    """Interval of a transformed statistic whose variance is that over runs plus that over item blocks.

    Degrees of freedom by Satterthwaite. As wide as can be where a value sits on the edge of its range.
    """
    if len(runs) < 3 or len(blocks) < 3:
        return back(-math.inf), back(math.inf)
    try:
        centre = scale(found)
        parts = [np.array([scale(c) for c in without]) for without in (runs, blocks)]
    except ValueError:  # the logarithm of a component that is not positive
        return back(-math.inf), back(math.inf)
    if not (math.isfinite(centre) and all(np.isfinite(p).all() for p in parts)):
        return back(-math.inf), back(math.inf)
    over_runs, over_items = ((len(p) - 1) ** 2 / len(p) * float(p.var(ddof=1)) for p in parts)
    variance = over_runs + over_items
    if variance == 0:
        return back(centre), back(centre)
    df = variance**2 / (over_runs**2 / (len(runs) - 1) + over_items**2 / (len(blocks) - 1))
    half = t_quantile((1 + level) / 2, df) * math.sqrt(variance)
    return back(centre - half), back(centre + half)


def _exp(x: float) -> float:
    return math.inf if x > 700 else math.exp(x)
