"""Transitions among many series: every test, descriptive number and class, one result per series asked about."""

import math
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from queries.stats.change_windows import Windows
from queries.stats.detectable_width import detectable_width, least_excess
from queries.stats.multiple import benjamini_hochberg
from queries.stats.sigmoid_fit import N_PARAMETERS as SIGMOID_PARAMETERS
from queries.stats.sigmoid_fit import aicc, fit_sigmoids
from queries.stats.smooth_families import N_PARAMETERS as SMOOTH_PARAMETERS
from queries.stats.smooth_null import FEWEST_POINTS, MOST_DRAWS, SmoothNull
from queries.stats.transition_shape import Shape, transition_shape
from queries.stats.transition_verdict import MORE_POINTS, Class, Evidence, judge

Floats = NDArray[np.float64]

MOST_POINTS = 200
# controls start and end about as far apart as the series itself
SIMILAR_CHANGE = 2.0
NOT_TESTED = "it was described, not tested"


@dataclass(frozen=True)
class Series:
    """One quantity over training: steps, increasing, and values, which may be missing (NaN).

    run: series of one run are each other's controls. discrete: whether it counts right answers. partner: steps and values
    of the other member of the metric pair. asked: False for a series that is only there to compare with.
    """

    times: Floats
    values: Floats
    run: int | str
    discrete: bool = False
    partner: tuple[Floats, Floats] | None = None
    asked: bool = True


@dataclass(frozen=True)
class Tested:
    """The numbers of one series of a metric pair; NaN where there are none. Names as in `SmoothTest`.

    refused: why it could not be tested. share: of the range in the steepest octave, as measured; half_share, two_share:
    of half an octave and of two; linear_share: of 5 % of linear time. steepness: largest over median slope per octave.
    start, end: steps of the octave with the largest excess. rises: whether values grow in it. change: of the smooth
    curve from its first to its last point. gain: AICc of the best smooth curve less that of the sigmoid on a line, and
    linear_gain the same with the sigmoid in linear time. smooth: steps and values of the best smooth curve. jump: whether a
    jump explains the series better than noise that is noise_factor times as large from the step noise_since on; where it does
    not, a p below the bound on q is no evidence and counts as 1. q_bootstrap: what q were if all p counted.
    """

    refused: str
    n_points: int
    share: float = math.nan
    half_share: float = math.nan
    two_share: float = math.nan
    linear_share: float = math.nan
    steepness: float = math.nan
    p: float = math.nan
    p_linear: float = math.nan
    q: float = math.nan
    q_linear: float = math.nan
    excess: float = math.nan
    excess_linear: float = math.nan
    native_excess: float = math.nan
    start: float = math.nan
    end: float = math.nan
    rises: bool = True
    spacing: float = math.nan
    family: str = ""
    sigma: float = math.nan
    rho: float = math.nan
    change: float = math.nan
    w: float = math.nan
    w_low: float = math.nan
    w_high: float = math.nan
    centre: float = math.nan
    gain: float = math.nan
    linear_gain: float = math.nan
    detectable_w: float = 0.0
    n_draws: int = 0
    jump: bool = True
    q_bootstrap: float = math.nan
    noise_factor: float = math.nan
    noise_since: float = math.nan
    smooth: tuple[Floats, Floats] | None = field(default=None, compare=False, repr=False)


@dataclass(frozen=True)
class Found:
    """A series' class and why; what was measured of it and of the discrete member of its pair; its shape and controls.

    shape: also of a series that has too few points for a test; None where nothing changes in it.
    needed: steps of checkpoints that would resolve a change that is there, empty where none is or nothing is open.
    """

    kind: Class
    why: str
    tested: Tested
    discrete: Tested | None
    shape: Shape | None
    controls: int
    beyond: float
    needed: tuple[int, ...]


def find_transitions(
    series: Sequence[Series],
    *,
    fdr: float = 0.05,
    most_draws: int = MOST_DRAWS,
    controls_required: bool = False,
    seed: int = 0,
) -> list[Found]:
    """Class every series asked about, with Benjamini and Hochberg's correction over all of them.

    The continuous member of a metric pair decides; where only the discrete one is there nothing is called a transition.
    most_draws 0: series are described only, and every class is unresolved.
    """
    asked = [s for s in series if s.asked]
    main = [s.partner if s.discrete and s.partner else (s.times, s.values) for s in asked]
    other = [(s.times, s.values) if s.discrete and s.partner else s.partner for s in asked]
    tested = _test(main, fdr, most_draws, seed)
    paired = [k for k, curve in enumerate(other) if curve is not None]
    discrete = dict(
        zip(paired, _test([c for c in other if c is not None], fdr, most_draws, seed), strict=True)
    )
    beside = [s for s in series if not s.asked]
    against = [*tested, *_test([(s.times, s.values) for s in beside], fdr, 0, seed)]
    run = np.unique([str(s.run) for s in (*asked, *beside)], return_inverse=True)[1]
    change, excess = (np.array([getattr(t, of) for t in against]) for of in ("change", "excess"))
    change = np.abs(change)
    found = []
    for k, t in enumerate(tested):
        # NaN, of what could not be tested, is like nothing
        alike = (change <= SIMILAR_CHANGE * change[k]) & (change[k] <= SIMILAR_CHANGE * change)
        alike &= run == run[k]
        alike[k] = False
        n_controls = int(alike.sum())
        beyond = float(np.mean(excess[alike] < t.excess)) if n_controls else math.nan
        times, values = usable(*main[k])
        # without an event the shape is that of the whole change
        # one with too few points to fit anything has its ends
        change_of = values[-1] - values[0] if t.refused and len(values) else t.change
        up = t.rises if t.q < fdr else change_of > 0
        shape = transition_shape(times, values, "up" if up else "down") if len(values) > 2 else None
        d = discrete.get(k)
        evidence = Evidence(
            refused=t.refused or ("" if most_draws else NOT_TESTED),
            q_bootstrap=t.q_bootstrap,
            q=t.q,
            q_linear=t.q_linear,
            excess=t.excess,
            excess_linear=t.excess_linear,
            shape=shape,
            first=float(times[0]) if len(times) else math.nan,
            last=float(times[-1]) if len(times) else math.nan,
            w_low=t.w_low,
            w_high=t.w_high,
            spacing=t.spacing,
            detectable_w=t.detectable_w,
            controls=n_controls,
            beyond=beyond,
            q_discrete=d.q if d else math.nan,
            excess_discrete=d.excess if d else math.nan,
            discrete=asked[k].discrete and asked[k].partner is None,
            jump=t.jump,
            noise_factor=t.noise_factor,
            noise_since=t.noise_since,
        )
        kind, why = judge(evidence, fdr, controls_required=controls_required)
        needed = _needed(t, times) if any(reason in why for reason in MORE_POINTS) else ()
        found.append(Found(kind, why, t, d, shape, n_controls, beyond, needed))
    return found


def usable(times: Floats, values: Floats) -> tuple[Floats, Floats]:
    """What can be tested: finite values after step 0, which has no place on a logarithmic axis.

    Of more than 200 points those nearest to 200 that are evenly spaced on that axis: a log of every step has thousands
    in its last octave, which say nothing more about changes within an octave. They are picked, not averaged, so that
    noise stays equally large all along.
    """
    kept = np.isfinite(values) & (times > 0)
    at, y = times[kept], values[kept]
    if len(at) > MOST_POINTS:
        x = np.log2(at)
        wanted = np.linspace(x[0], x[-1], MOST_POINTS)
        picked = np.unique(np.rint(np.interp(wanted, x, np.arange(len(x)))).astype(np.int64))
        at, y = at[picked], y[picked]
    return at, y


def _needed(t: Tested, times: Floats) -> tuple[int, ...]:
    """Whole steps a quarter of an octave apart around the event, without those that are there."""
    wanted = {round(t.start * 2 ** (k / 4)) for k in range(-2, 7)}
    return tuple(sorted(wanted - {0} - {round(at) for at in times}))


def _test(curves: Sequence[tuple[Floats, Floats]], fdr: float, most_draws: int, seed: int) -> list[Tested]:
    """Test all curves, those with the same steps together; most_draws 0: only what needs no draws."""
    found: list[Tested] = [Tested("", 0)] * len(curves)
    together: dict[bytes, list[int]] = {}
    clean = [usable(*curve) for curve in curves]
    for k, (times, values) in enumerate(clean):
        refused = _refused(times, values)
        if refused:
            found[k] = Tested(refused, len(times))
        else:
            together.setdefault(times.tobytes(), []).append(k)
    for members in together.values():
        times = clean[members[0]][0]
        tested = _at(times, np.column_stack([clean[k][1] for k in members]), most_draws, seed)
        for k, t in zip(members, tested, strict=True):
            found[k] = t
    # a p that is no evidence counts as 1
    q, q_linear = (
        benjamini_hochberg(
            np.array([1.0 if getattr(t, p) < fdr and not t.jump else getattr(t, p) for t in found])
        )
        for p in ("p", "p_linear")
    )
    without = benjamini_hochberg(np.array([t.p for t in found]))
    return [
        replace(t, q=float(a), q_linear=float(b), q_bootstrap=float(c))
        for t, a, b, c in zip(found, q, q_linear, without, strict=True)
    ]


def _refused(times: Floats, values: Floats) -> str:
    if len(times) < FEWEST_POINTS:
        return f"{len(times)} of {FEWEST_POINTS} checkpoints needed"
    if times[-1] <= 2 * times[0]:
        return "checkpoints span no more than an octave"
    if np.ptp(values) <= 1e-9 * np.abs(values).max():
        return "the values do not change"
    return ""


@lru_cache(maxsize=16)
def _null(times: bytes) -> tuple[SmoothNull, Floats]:
    """The test at given times, and what it needs to say what would be found; the same times come again and again."""
    null = SmoothNull.at(np.frombuffer(times))
    return null, least_excess(null)


def _at(times: Floats, values: Floats, most_draws: int, seed: int) -> list[Tested]:
    null, least = _null(times.tobytes())
    test = null.test(values, most_draws=most_draws, seed=seed)
    n, spread = len(times), np.ptp(values, axis=0)
    change = test.fitted[-1] - test.fitted[0]
    x = np.log2(times)
    slopes = np.abs(np.diff(values, axis=0)) / np.diff(x)[:, None]
    with np.errstate(divide="ignore", invalid="ignore"):
        steepness = slopes.max(0) / np.median(slopes, axis=0)
    left = np.searchsorted(x, x[test.at], side="right") - 1
    right = np.searchsorted(x, x[test.at] + 1 - 1e-9, side="left")
    spacing = np.array([np.diff(x[a : b + 1]).max() for a, b in zip(left, right, strict=True)])
    # the change in that octave, by the points that are nearest to its ends
    rises = values[right, np.arange(values.shape[1])] >= values[left, np.arange(values.shape[1])]
    sigmoids = fit_sigmoids(x, values)
    octaves = (x[-1] - x[0]) / (times[-1] - times[0])
    linear = fit_sigmoids(times * octaves, values)
    smooth = aicc(test.rss, n, SMOOTH_PARAMETERS)
    widths = detectable_width(least, np.ptp(test.fitted, axis=0) / spread, test.critical, test.sigma / spread)
    shares = {
        "share": Windows.octaves(times),
        "half_share": Windows.octaves(times, 0.5),
        "two_share": Windows.octaves(times, 2.0),
        "linear_share": Windows.linear(times),
    }
    steepest = {name: windows.steepest(values) for name, windows in shares.items()}
    return [
        Tested(
            refused="",
            n_points=n,
            **{name: float(found[k]) for name, found in steepest.items()},
            steepness=float(steepness[k]),
            p=float(test.p[k]),
            p_linear=float(test.p_linear[k]),
            excess=float(test.excess[k]),
            excess_linear=float(test.excess_linear[k]),
            native_excess=float(test.excess[k] * spread[k]),
            start=float(times[test.at[k]]),
            end=float(2 * times[test.at[k]]),
            rises=bool(rises[k]),
            spacing=float(spacing[k]),
            family=test.family[k],
            sigma=float(test.sigma[k]),
            rho=float(test.rho[k]),
            change=float(change[k]),
            w=float(sigmoids.w[k]),
            w_low=float(sigmoids.w_low[k]),
            w_high=float(sigmoids.w_high[k]),
            centre=float(2 ** sigmoids.centre[k]),
            gain=float(smooth[k] - aicc(sigmoids.rss, n, SIGMOID_PARAMETERS)[k]),
            linear_gain=float(smooth[k] - aicc(linear.rss, n, SIGMOID_PARAMETERS)[k]),
            detectable_w=float(widths[k]),
            n_draws=int(test.n_draws[k]),
            jump=bool(test.jump[k]) or not most_draws,
            noise_factor=float(test.factor[k]),
            noise_since=float(times[test.since[k]]),
            smooth=(times, test.fitted[:, k]),
        )
        for k in range(values.shape[1])
    ]
