"""Variance components of balanced, fully crossed tables of any number of random factors.

Moment estimates with generalised intervals (Weerahandi 1993): every mean square is replaced by draws of the
expectation it may have come from, which gives draws of every component and of every share. Coverage is
simulated in tests/queries/stats/test_crossed.py.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import combinations

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]

N_DRAWS = 10_000


@dataclass(frozen=True)
class CrossedComponent:
    """One component: unbiased estimate (may be negative) and share of the total, each with its interval.

    name: a factor, factors joined by ":", or "rest" for repeats of one cell. df: of its own mean square.
    """

    name: str
    estimate: float
    low: float
    high: float
    share: float
    share_low: float
    share_high: float
    df: int


def crossed_components(
    table: Floats, names: Sequence[str], level: float = 0.95, *, seed: int = 0
) -> tuple[CrossedComponent, ...]:
    """Components of y = mean + every main effect + every interaction, all random.

    table: one axis a factor (at least 2 levels each), then one of repeats of a cell, all finite. With one
    repeat the interaction of all factors contains whatever else makes two such runs differ. Shares count
    negative components as 0; their intervals, and those of the components, are cut at 0. Shares of three and more
    factors' finest effects have the interval of half of the error.
    Raises ValueError for a table that does not fit.
    """
    n_factors = len(names)
    if table.ndim != n_factors + 1 or min(table.shape[:-1], default=0) < 2 or not np.isfinite(table).all():
        raise ValueError(f"a table of shape {table.shape} for factors {', '.join(names)} and repeats")
    sizes, n_repeats = table.shape[:-1], table.shape[-1]
    effects = [e for r in range(1, n_factors + 1) for e in combinations(range(n_factors), r)]
    squares, df = _mean_squares(table, effects)
    if n_repeats > 1:
        effects = [*effects, (*range(n_factors), n_factors)]
        within = table - table.mean(axis=-1, keepdims=True)
        df.append(math.prod(sizes) * (n_repeats - 1))
        squares.append(float((within**2).sum()) / df[-1])
    weights = _solving(effects, (*sizes, n_repeats))
    found = weights @ np.array(squares)
    degrees = np.array(df, dtype=np.float64)
    chi = np.random.default_rng(seed).chisquare(degrees, size=(N_DRAWS, len(df)))
    draws = (degrees * np.array(squares) / chi) @ weights.T
    shares, drawn = _shares(found), _drawn_shares(draws)
    tail = (1 - level) / 2
    limits = np.quantile(np.maximum(draws, 0.0), [tail, 1 - tail], axis=0)
    # what other effects of three factors get by chance is taken from the finest: at the tails of half of the error
    # their shares are held as often as promised
    tails = [tail / 2 if 2 < n_factors <= len(effect) else tail for effect in effects]
    share_limits = np.transpose([np.quantile(of, [t, 1 - t]) for of, t in zip(drawn.T, tails, strict=True)])
    return tuple(
        CrossedComponent(
            name=_name(effect, names),
            estimate=float(found[k]),
            low=float(limits[0, k]),
            high=float(limits[1, k]),
            share=float(shares[k]),
            share_low=float(share_limits[0, k]),
            share_high=float(share_limits[1, k]),
            df=df[k],
        )
        for k, effect in enumerate(effects)
    )


def _mean_squares(table: Floats, effects: Sequence[tuple[int, ...]]) -> tuple[list[float], list[int]]:
    """Mean square and degrees of freedom of every effect, each deviation freed of all lower effects."""
    axes = range(table.ndim - 1)
    cells = table.mean(axis=-1)
    n_repeats = table.shape[-1]
    deviations: dict[tuple[int, ...], Floats] = {(): cells.mean(keepdims=True).astype(np.float64)}
    squares, df = [], []
    for effect in effects:
        others = tuple(a for a in axes if a not in effect)
        deviation = np.asarray(cells.mean(axis=others, keepdims=True) if others else cells, dtype=np.float64)
        for lower, taken in deviations.items():
            if set(lower) < set(effect):
                deviation = deviation - taken
        deviations[effect] = deviation
        df.append(math.prod(table.shape[a] - 1 for a in effect))
        behind = n_repeats * math.prod(table.shape[a] for a in others)
        squares.append(behind * float((deviation**2).sum()) / df[-1])
    return squares, df


def _solving(effects: Sequence[tuple[int, ...]], sizes: tuple[int, ...]) -> Floats:
    """Matrix from mean squares to components: the expected mean square of an effect holds every effect above it."""
    holds = np.zeros((len(effects), len(effects)))
    for i, effect in enumerate(effects):
        for j, above in enumerate(effects):
            if set(effect) <= set(above):
                holds[i, j] = math.prod(n for axis, n in enumerate(sizes) if axis not in above)
    return np.linalg.inv(holds).astype(np.float64)


def _shares(components: Floats) -> Floats:
    """Of the sum of those above 0: they add up to 1."""
    positive = np.maximum(components, 0.0)
    whole = positive.sum()
    shares: Floats = positive / whole if whole > 0 else np.full_like(positive, np.nan)
    return shares


def _drawn_shares(draws: Floats) -> Floats:
    """Of the total variance, which components below 0 make smaller: without them it would be too large on average."""
    positive = np.maximum(draws, 0.0)
    whole = np.maximum(draws.sum(axis=1, keepdims=True), positive.max(axis=1, keepdims=True))
    shares: Floats = positive / np.where(whole > 0, whole, np.nan)
    return shares


def _name(effect: tuple[int, ...], names: Sequence[str]) -> str:
    return ":".join(names[a] for a in effect) if len(effect) <= len(names) else "rest"
