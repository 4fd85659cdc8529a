"""Which of very many curves of one run have a transition, and whether their steps make up the mean of all curves."""

from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from queries.stats.change_windows import Windows
from queries.stats.detectable_width import detectable_width, least_excess
from queries.stats.multiple import benjamini_hochberg
from queries.stats.shared_null import DRAWS, corrected, shared_test
from queries.stats.sigmoid_fit import MAJOR_W, Sigmoids, fit_sigmoids
from queries.stats.smooth_null import SmoothNull
from queries.stats.transition_shape import transition_shape
from queries.stats.transition_verdict import LEAST_EXCESS, Evidence, judge

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]

# beyond the 99th percentile of smooth curves
BEYOND = 0.01
# of the draws, smooth curves that are tested themselves and correct p; one of each curve where there are more curves
SMOOTH_SHARE = 1 / 20
TRANSITIONS = ("major_transition", "minor_transition")


@dataclass(frozen=True)
class ManyCurves:
    """One entry per curve, down to `w`.

    share: of the range in the steepest octave; null_share: of one smooth curve with the same noise. p, q: of the excess
    over smooth curves, q corrected over the curves of the call. kind, why: as `judge` has them. t50: steps, NaN without a
    transition. start: of the octave with the largest excess. mean: of all curves at every time; steps: of the
    sigmoid steps of those with a transition, added up and divided by the number of all curves; r2, share_of_change: how
    much of the variation and of the change of `mean` these make; share_of_mean: of its range in its steepest octave. null_beyond:
    the share beyond of smooth curves drawn with their noise and tested alike, before p was corrected by it.
    """

    share: Floats
    null_share: Floats
    excess: Floats
    p: Floats
    q: Floats
    kind: NDArray[np.str_]
    why: NDArray[np.object_]
    rises: NDArray[np.bool_]
    t50: Floats
    start: Floats
    w: Floats
    mean: Floats
    steps: Floats
    r2: float
    share_of_change: float
    share_of_mean: float
    null_beyond: float

    @classmethod
    def untested(cls, values: Floats, why: str) -> "ManyCurves":
        """What is known of curves (time, curve) that cannot be tested."""
        n = values.shape[1]
        unknown = np.full(n, np.nan)
        return cls(
            *(unknown,) * 5,
            kind=np.full(n, "unresolved", dtype="<U16"),
            why=np.full(n, why, dtype=object),
            rises=np.zeros(n, dtype=bool),
            t50=unknown,
            start=unknown,
            w=unknown,
            mean=values.mean(1) if n else np.full(len(values), np.nan),
            steps=np.zeros(len(values)),
            r2=np.nan,
            share_of_change=np.nan,
            share_of_mean=np.nan,
            null_beyond=np.nan,
        )

    @property
    def beyond(self) -> NDArray[np.bool_]:
        """Whose excess is beyond the 99th percentile of that of smooth curves with like noise."""
        return self.p <= BEYOND

    @property
    def found(self) -> NDArray[np.bool_]:
        """Which have a transition, major or minor."""
        return np.isin(self.kind, TRANSITIONS)


def many_transitions(
    times: Floats,
    values: Floats,
    *,
    fdr: float = 0.05,
    draws: int = DRAWS,
    seed: int = 0,
) -> ManyCurves:
    """Test all curves of one run: values (time, curve), finite; a curve that does not change is unresolved.

    times: 16 or more, > 0, over more than an octave. Raises ValueError otherwise.
    """
    null, least = _null(times.tobytes())
    n = values.shape[1]
    spread = np.ptp(values, axis=0)
    varies = np.flatnonzero(spread > 1e-9 * np.abs(values).max(0, initial=0))
    share, null_share, excess, p, t50, start, w = np.full((7, n), np.nan)
    kind = np.full(n, "unresolved", dtype="<U16")
    why = np.full(n, "the values do not change", dtype=object)
    rises = np.zeros(n, dtype=bool)
    steps = np.zeros(len(times))
    null_beyond = np.nan
    q = np.full(n, np.nan)
    if len(varies):
        curves = values[:, varies]
        test = shared_test(null, curves, draws=draws, seed=seed, keep=round(SMOOTH_SHARE * draws))
        p[varies], smooth = corrected(null, test, draws=draws, seed=seed)
        null_beyond = float((smooth <= BEYOND).mean())
        share[varies] = Windows.octaves(times).steepest(curves)
        null_share[varies], excess[varies] = test.null_share, test.excess
        start[varies] = times[test.at]
        q = benjamini_hochberg(p)
        of_range = test.sigma / spread[varies]
        detectable = detectable_width(least, test.fitted_range, test.critical, of_range)
        # all but those that are significant are settled by what would have been found
        seen = detectable >= MAJOR_W
        kind[varies] = np.where(seen, "none", "unresolved")
        why[varies] = np.where(
            seen,
            "no octave changes more than in smooth curves",
            "a transition two octaves wide would not stand out from the noise at these checkpoints",
        )
        called = (q[varies] < fdr) & (test.excess >= LEAST_EXCESS)
        at = varies[called]
        rises[at], gaps = _around(times, values[:, at], test.at[called])
        sigmoids = fit_sigmoids(np.log2(times), values[:, at])
        w[at] = sigmoids.w
        for k, curve in enumerate(at):
            kind[curve], why[curve], t50[curve] = _judged(
                times,
                values[:, curve],
                fdr,
                rises=bool(rises[curve]),
                q=float(q[curve]),
                excess=float(excess[curve]),
                w=(float(sigmoids.w_low[k]), float(sigmoids.w_high[k])),
                spacing=float(gaps[k]),
            )
        is_step = np.isin(kind[at], TRANSITIONS)
        steps = _steps(times, values[:, at], sigmoids)[:, is_step].sum(1) / n
    mean = values.mean(1)
    r2, share_of_change = explained(mean, steps)
    of_mean = float(Windows.octaves(times).steepest(mean[:, None])[0])
    return ManyCurves(
        share,
        null_share,
        excess,
        p,
        q,
        kind,
        why,
        rises,
        t50,
        start,
        w,
        mean,
        steps,
        r2=r2,
        share_of_change=share_of_change,
        share_of_mean=of_mean,
        null_beyond=null_beyond,
    )


def explained(mean: Floats, steps: Floats) -> tuple[float, float]:
    """(R², share of the change from first to last) of a curve that another one makes, both free of their level.

    R² is 1 less what is left of the variation over that of the curve, and below 0 where the other makes it larger. NaN for
    a curve that does not vary.
    """
    total = float(((mean - mean.mean()) ** 2).sum())
    if not total:
        return np.nan, np.nan
    left = mean - steps
    r2 = 1 - float(((left - left.mean()) ** 2).sum()) / total
    change = mean[-1] - mean[0]
    return r2, float((steps[-1] - steps[0]) / change) if change else np.nan


def busiest_octave(starts: Floats) -> tuple[float, float]:
    """(step, share): from which step on one octave holds the largest share of the starts; NaN without any."""
    if not len(starts):
        return np.nan, np.nan
    at = np.sort(starts)
    inside = np.searchsorted(at, 2 * at, side="left") - np.arange(len(at))
    best = int(inside.argmax())
    return float(at[best]), float(inside[best] / len(at))


@lru_cache(maxsize=16)
def _null(times: bytes) -> tuple[SmoothNull, Floats]:
    null = SmoothNull.at(np.frombuffer(times))
    return null, least_excess(null)


def _around(times: Floats, values: Floats, at: Ints) -> tuple[NDArray[np.bool_], Floats]:
    """Of the octave that begins at each curve's time `at`: whether values grow in it, and the widest gap in octaves."""
    x = np.log2(times)
    left = np.searchsorted(x, x[at], side="right") - 1
    right = np.searchsorted(x, x[at] + 1 - 1e-9, side="left")
    curve = np.arange(values.shape[1])
    gaps = np.array([np.diff(x[a : b + 1]).max() for a, b in zip(left, right, strict=True)])
    return values[right, curve] >= values[left, curve], gaps


def _judged(
    times: Floats,
    values: Floats,
    fdr: float,
    *,
    rises: bool,
    q: float,
    excess: float,
    w: tuple[float, float],
    spacing: float,
) -> tuple[str, str, float]:
    """Class, why and t50 of a curve that changes more than smooth ones do."""
    shape = transition_shape(times, values, "up" if rises else "down")
    evidence = Evidence(
        refused="",
        q_bootstrap=q,
        q=q,
        q_linear=np.nan,
        excess=excess,
        excess_linear=np.nan,
        shape=shape,
        first=float(times[0]),
        last=float(times[-1]),
        w_low=w[0],
        w_high=w[1],
        spacing=spacing,
        detectable_w=MAJOR_W,
    )
    kind, why = judge(evidence, fdr)
    within = shape.t50
    there = kind in TRANSITIONS and within.kind == "observed" and within.low > 0
    return kind, why, float(np.sqrt(within.low * within.high)) if there else np.nan


def _steps(times: Floats, values: Floats, sigmoids: Sigmoids) -> Floats:
    """The step of every curve's best sigmoid, as high as the curve is without a line below it: (time, curve), first 0."""
    u = (np.log2(times)[:, None] - sigmoids.centre) / sigmoids.w
    done = 1 / (1 + np.exp(-np.clip(u, -500, 500)))
    centred = done - done.mean(0)
    height = (centred * values).sum(0) / np.maximum((centred**2).sum(0), 1e-12)
    found: Floats = height * (done - done[0])
    return found
