"""Does a measurement foretell when something happens, beyond what the settings of a run do? Judged on runs left out.

Times are known to brackets and runs may never get there. The same log-normal model is fitted with and without the measurement;
Harrell's C-index (pairs whose order is certain) says how well each orders runs that it has not seen.
"""

import math
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray
from scipy.special import expit

from queries.stats.aft import Aft, fit_aft, survival
from queries.stats.distributions import t_quantile
from queries.stats.few_runs import share_interval
from queries.stats.left_out import Design

Floats = NDArray[np.float64]
Whole = NDArray[np.int64]

MOST_DRAWS = 499
# of the draws: where so many have reached the observed gain, p cannot become 0.05 and no more are drawn
ENOUGH_REACHED = 0.06
# fits × runs × squared columns that are held at once
_CHUNK = 4_000_000
# predictions that differ by less are equal: rounding, in octaves
_EQUAL = 1e-9


@dataclass(frozen=True)
class Estimate:
    """A number with its interval; NaN where there is none.

    se: jackknife over what was sampled, with df degrees of freedom. n: values of the seed with fewest, or pairs if fewer.
    """

    value: float
    low: float = math.nan
    high: float = math.nan
    se: float = math.nan
    df: float = math.nan
    n: int = 0


@dataclass(frozen=True)
class Predicted:
    """One model's predictions of runs left out, log2 steps; location (run,), sigma (run,)."""

    location: Floats
    sigma: Floats
    c_index: Estimate
    mae: float


@dataclass(frozen=True)
class Onset:
    """What the predictor adds at one cutoff.

    full, baseline: with and without the predictor. gain: difference of their C-indices. within: C-index of the full model over
    pairs of one condition, where settings know nothing. rank_corr: concordant minus discordant pairs of runs that both got
    there, over their number (Somers' D). brier, brier_baseline: mean squared error of the probability to be there by 2^brier_at,
    over n_brier runs of which it is known. n_pairs: pairs in a certain order. p: gains as large with exchanged predictors.
    """

    full: Predicted
    baseline: Predicted
    gain: Estimate
    within: Estimate
    rank_corr: Estimate
    brier: float
    brier_baseline: float
    n_brier: int
    n_pairs: int
    p: float = math.nan
    null_mean: float = math.nan
    null_sd: float = math.nan
    n_draws: int = 0


def foretell(
    low: Floats,
    high: Floats,
    settings: Floats,
    predictor: Floats,
    design: Design,
    *,
    cutoff: float,
    brier_at: float,
    ridge: float = 1.0,
    level: float = 0.95,
    most_draws: int = MOST_DRAWS,
    seed: int = 0,
) -> Onset:
    """Compare predictions with and without `predictor`.

    low, high: (run,) log2 times, all beyond `cutoff` (log2). settings: (run, column), scaled by the caller. predictor:
    (run, column); standardised here. Pairs of runs are compared by a fit that has seen neither of them nor others of their
    blocks: with one run left out at a time, the mean of the others is a prediction that is wrong by construction (Airola et al.
    2011). Intervals: jackknife over every sampled seed, variances added, Student's t. p: one-sided, predictors exchanged as
    `Design.exchanged` says, everything fitted again; stops early where it cannot become small (Besag & Clifford 1991).
    """
    trial = _Trial(low, high, settings, design, ridge)
    x = _standardised(predictor)
    rows = trial.rows(x[None])
    orders = trial.orders(rows)[0]
    base_orders = trial.orders(settings[None])[0]
    full, baseline = (
        _predicted(trial, trial.left_out(columns), order, cutoff, level)
        for columns, order in ((rows, orders), (settings[None], base_orders))
    )
    pairs, both = trial.pairs, np.isfinite(high)
    seen = both[pairs[0]] & both[pairs[1]]
    alike = design.group[pairs[0]] == design.group[pairs[1]]
    ranked = _within_bounds(trial.jackknife(orders, seen, level), level)
    known = (high <= brier_at) | (low >= brier_at)
    gain = trial.jackknife(orders - base_orders, np.ones(len(orders), bool), level)
    if not (gain.value == 0 and _follows(x, design.group)):
        gain = _gain(gain, full, baseline, level)
    found = Onset(
        full,
        baseline,
        gain,
        within=_within_bounds(trial.jackknife(orders, alike, level), level),
        rank_corr=Estimate(
            2 * ranked.value - 1, 2 * ranked.low - 1, 2 * ranked.high - 1, 2 * ranked.se, ranked.df
        ),
        brier=_brier(full, high, known, cutoff, brier_at),
        brier_baseline=_brier(baseline, high, known, cutoff, brier_at),
        n_brier=int(known.sum()),
        n_pairs=len(orders),
    )
    if not math.isfinite(gain.value):
        return found
    draws = _null(trial, x, float(base_orders.mean()), gain.value, most_draws, seed)
    reached = int((draws >= gain.value - _EQUAL).sum())
    stopped = len(draws) < most_draws
    return replace(
        found,
        p=reached / len(draws) if stopped else (reached + 1) / (len(draws) + 1),
        null_mean=float(draws.mean()),
        null_sd=float(draws.std(ddof=1)) if len(draws) > 1 else math.nan,
        n_draws=len(draws),
    )


class _Trial:
    """Times, settings and what is left out, shared by all predictors that are tried."""

    def __init__(self, low: Floats, high: Floats, settings: Floats, design: Design, ridge: float) -> None:
        self.low, self.high, self.settings, self.design, self.ridge = low, high, settings, design, ridge
        # the first of a pair certainly got there before the second did, if it ever did
        earlier, later = np.nonzero(high[:, None] <= low[None, :])
        self.pairs: tuple[Whole, Whole] = earlier, later
        block = design.block
        both = np.sort(np.stack([block[earlier], block[later]], axis=1), axis=1).reshape(-1, 2)
        self.blocks, self.fit_of = np.unique(both, axis=0, return_inverse=True)
        self.fit_of = self.fit_of.reshape(-1)

    def rows(self, x: Floats) -> Floats:
        """Settings with predictors, (design, run, column). x: (design, run, column)."""
        return np.concatenate([np.broadcast_to(self.settings, (len(x), *self.settings.shape)), x], axis=2)

    def fit(self, columns: Floats, use: NDArray[np.bool_]) -> Aft:
        """Fit the same penalty on all columns."""
        return fit_aft(self.low, self.high, columns, use, np.full(columns.shape[2], self.ridge))

    def orders(self, columns: Floats) -> Floats:
        """Of every pair whether it is predicted in order: 1, 0, or 1/2 where equal. (design, pair)."""
        fitted = self.fit(columns, self.design.training(self.blocks))
        at = fitted.location(columns)
        a, b = (at[:, self.fit_of, runs] for runs in self.pairs)
        found: Floats = np.where(np.abs(b - a) <= _EQUAL, 0.5, np.where(b > a, 1.0, 0.0))
        found[~np.isfinite(a)] = np.nan
        return found

    def left_out(self, columns: Floats) -> tuple[Floats, Floats]:
        """Location and sigma of every run by the fit without it and those with its seeds."""
        unit = self.design.unit
        names = np.unique(unit)
        fitted = self.fit(columns, unit[None, :] != names[:, None])
        mine = np.searchsorted(names, unit)
        at = fitted.location(columns)[0]
        return at[mine, np.arange(len(unit))], fitted.sigma[0][mine]

    def jackknife(self, scores: Floats, use: NDArray[np.bool_], level: float) -> Estimate:
        """Mean score over pairs; each seed is left out in turn, with all pairs it is in."""
        first, second, mine = self.pairs[0][use], self.pairs[1][use], scores[use]
        if not len(mine) or not np.isfinite(mine).all():
            return Estimate(math.nan)
        value, parts, spread, fewest = float(mine.mean()), 0.0, 0.0, len(mine)
        for factor in self.design.sampled.values():
            n = int(factor.max()) + 1
            a, b = factor[first], factor[second]
            other = a != b
            fewest = min(fewest, len(np.union1d(a, b)))
            sums = np.bincount(a, mine, n) + np.bincount(b[other], mine[other], n)
            counts = np.bincount(a, minlength=n) + np.bincount(b[other], minlength=n)
            rest = len(mine) - counts
            if (rest == 0).any():
                return Estimate(value, n=fewest)
            without = (mine.sum() - sums) / rest
            variance = (n - 1) / n * float(((without - without.mean()) ** 2).sum())
            parts, spread = parts + variance, spread + variance**2 / (n - 1)
        # Satterthwaite's degrees of freedom of a sum of variances
        df = parts**2 / spread if spread > 0 else math.inf
        se = math.sqrt(parts)
        half = t_quantile((1 + level) / 2, df) * se if se > 0 else 0.0
        return Estimate(value, value - half, value + half, se, df, fewest)


def _predicted(
    trial: _Trial, left_out: tuple[Floats, Floats], orders: Floats, cutoff: float, level: float
) -> Predicted:
    location, sigma = left_out
    c = _within_bounds(trial.jackknife(orders, np.ones(len(orders), bool), level), level)
    seen = np.isfinite(trial.high)
    # what has not happened by the cutoff happens later, so no time before it is ever predicted
    errors = np.abs(np.maximum(location, cutoff) - middle(trial.low, trial.high))[seen]
    return Predicted(location, sigma, c, float(errors.mean()) if len(errors) else math.nan)


def _within_bounds(c: Estimate, level: float) -> Estimate:
    """The interval on the log-odds scale; where every pair is right (or wrong), that of n of n (or none)."""
    if c.n and c.value in (0.0, 1.0):
        low, high = share_interval(c.n if c.value else 0, c.n, level)
        return replace(c, low=low, high=high)
    if not c.se > 0:
        return c
    odds, reach = math.log(c.value / (1 - c.value)), (c.high - c.value) / (c.value * (1 - c.value))
    return replace(c, low=float(expit(odds - reach)), high=float(expit(odds + reach)))


def _follows(x: Floats, group: Whole) -> bool:
    """Whether predictors only name the condition, of which every one has repeats: then there is nothing to gain, for certain."""
    sizes = np.bincount(group)
    means = np.stack([np.bincount(group, column) / sizes for column in x.T], axis=1)
    return bool((sizes > 1).all() and np.allclose(x, means[group]))


def _gain(gain: Estimate, full: Predicted, baseline: Predicted, level: float) -> Estimate:
    """The gain; where leaving out seeds changes nothing, as certain as so many seeds allow."""
    if gain.se > 0 or not gain.n:
        return gain
    if gain.value == 0:
        most = share_interval(0, gain.n, level)[1]
        return replace(gain, low=-most, high=most)
    return replace(
        gain,
        low=full.c_index.low - baseline.c_index.high,
        high=full.c_index.high - baseline.c_index.low,
    )


def middle(low: Floats, high: Floats) -> Floats:
    """Middle of each bracket, in octaves; its end where it is open on one side."""
    with np.errstate(invalid="ignore"):
        found: Floats = np.where(
            np.isfinite(low) & np.isfinite(high), (low + high) / 2, np.where(np.isfinite(high), high, low)
        )
    return found


def _brier(model: Predicted, high: Floats, known: NDArray[np.bool_], cutoff: float, at: float) -> float:
    """Mean squared error of the probability of being there by `at`, given not by the cutoff."""
    if not known.any() or not np.isfinite(model.location).all():
        return math.nan
    late = survival(model.location, model.sigma, at)
    open_ = survival(model.location, model.sigma, cutoff)
    there = 1 - late / np.maximum(open_, 1e-300)
    return float(((there - (high <= at)) ** 2)[known].mean())


def _null(trial: _Trial, x: Floats, base: float, observed: float, most: int, seed: int) -> Floats:
    """Gains with exchanged predictors, drawn until it is clear that too many reach the observed one."""
    rng = np.random.default_rng(seed)
    enough = max(3, math.ceil(ENOUGH_REACHED * most))
    n_columns = trial.settings.shape[1] + x.shape[1] + 1
    at_once = max(1, min(5, _CHUNK // (max(len(trial.blocks), n_columns**2) * len(x))))
    found = np.empty(0)
    while len(found) < most:
        n = min(at_once, most - len(found))
        drawn = trial.design.exchanged(rng, n)
        gains = trial.orders(trial.rows(x[drawn])).mean(axis=1) - base
        found = np.concatenate([found, gains])
        reached = np.flatnonzero(found >= observed - _EQUAL)
        if len(reached) >= enough:
            return found[: reached[enough - 1] + 1]
    return found


def _standardised(x: Floats) -> Floats:
    """Columns of mean 0 and variance 1; one that does not vary becomes 0."""
    centred = x - x.mean(axis=0)
    spread = centred.std(axis=0)
    varies = spread > 1e-12 * np.abs(x).max(axis=0, initial=0.0)
    scaled: Floats = np.where(varies, centred / np.where(varies, spread, 1.0), 0.0)
    return scaled
