"""By how many octaves one event precedes another over runs, when every time is only known to a bracket.

Two answers stand side by side. Bounds that hold wherever in its bracket each time lies; and, for telling whether two events
happen together, a mean as if each time were anywhere in its bracket with equal chance, with the spread that this adds.
Runs that share a seed are no independent repeats: each value of the seed counts once.
"""

import math
from collections.abc import Hashable, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from queries.stats.distributions import fair_coin_tail, t_quantile
from queries.stats.few_runs import detectable_paired_difference, half_width_of_mean
from queries.stats.intervals import Bracket

Floats = NDArray[np.float64]
Whole = NDArray[np.int64]
RunOrder = Literal["leads", "follows", "untold", "neither", "from the start", "no data"]
LeadVerdict = Literal["leads", "follows", "together", "unresolved"]


@dataclass(frozen=True)
class RunLead:
    """What one run tells of the lead, in octaves (log2 of the event's time over the measure's).

    low, high: it lies between, wherever in their brackets both times lie; infinite where one was never seen. middle: of
    the middles of both brackets, NaN where one was never seen. spacing: the wider of both brackets, NaN likewise.
    order: leads and follows are certain; untold = the brackets overlap; neither was reached; from the start = the first
    checkpoint has one of them, so when it was reached lies before the run. brackets: ends of that of the measure and of the
    event, to tell whether runs share them.
    """

    order: RunOrder
    low: float
    high: float
    middle: float = math.nan
    spacing: float = math.nan
    brackets: tuple[float, float] = (math.nan, math.nan)

    @property
    def decided(self) -> bool:
        """Whether which came first is certain."""
        return self.order in ("leads", "follows")


@dataclass(frozen=True)
class Lead:
    """The lead of a measure over the runs of a group.

    n_leading, n_following, n_untold: runs. p: exact two-sided sign test of the runs that are decided, or of seeds they share.
    lead: mean of the middles, NaN where a run was never seen to reach one of the two. least, most: the mean lies between,
    for these runs. low, high: interval of the mean over runs, which holds wherever in their brackets times lie. even_low,
    even_high: interval if each time is anywhere in its bracket with equal chance. spacing: median over runs. detectable:
    smallest mean lead that so many runs would show (paired t test). All in octaves.
    """

    n_leading: int
    n_following: int
    n_untold: int
    p: float
    lead: float
    least: float
    most: float
    low: float
    high: float
    even_low: float
    even_high: float
    spacing: float
    detectable: float

    @property
    def together(self) -> bool:
        """Whether the two happen within half a checkpoint spacing of one another."""
        half = self.spacing / 2
        return bool(self.even_low >= -half and self.even_high <= half)

    def verdict(self, p: float, alpha: float) -> LeadVerdict:
        """The word for it. p: as corrected for how many measures were asked about."""
        if p < alpha:
            return "leads" if self.n_leading > self.n_following else "follows"
        return "together" if self.together else "unresolved"


def run_lead(measure: Bracket, event: Bracket) -> RunLead:
    """What one run tells; times are steps or tokens, 0 has no logarithm and leaves that side open."""
    kinds = {measure.kind, event.kind}
    if "no data" in kinds:
        return RunLead("no data", -math.inf, math.inf)
    if "before" in kinds:
        return RunLead("from the start", -math.inf, math.inf)
    if kinds == {"never"}:
        return RunLead("neither", -math.inf, math.inf)
    low = _log2(event.low) - _log2(measure.high)
    high = _log2(event.high) - _log2(measure.low)
    order: RunOrder = (
        "leads" if measure.high <= event.low else "follows" if event.high <= measure.low else "untold"
    )
    if "never" in kinds:
        return RunLead(order, low, high)
    middle = _middle(event) - _middle(measure)
    return RunLead(order, low, high, middle, max(_width(event), _width(measure)), (measure.high, event.high))


def lead_over_runs(
    runs: Sequence[RunLead], level: float = 0.95, shared: Sequence[Sequence[Hashable]] = ()
) -> Lead:
    """Judge the lead over runs; those that reached neither, or were there from the start, say nothing and are left out.

    shared: for every seed that some of the runs share, its value in each run. Then p is that of its values, each leading where
    more of its runs lead, and intervals are over the means of its values. Of several such seeds the worst p counts, and half
    widths are squared and added, so that intervals hold whichever of them matters.
    """
    kept = [k for k, r in enumerate(runs) if r.order in ("leads", "follows", "untold")]
    told = [runs[k] for k in kept]
    n = len(told)
    repeats = [_numbered([values[k] for k in kept]) for values in shared] or [np.arange(n)]
    n_leading, n_following = (sum(r.order == word for r in told) for word in ("leads", "follows"))
    lows, highs = np.array([r.low for r in told]), np.array([r.high for r in told])
    middles, spacings = np.array([r.middle for r in told]), np.array([r.spacing for r in told])
    whole = n > 0 and bool(np.isfinite(middles).all())
    n_places = min(len({r.brackets[k] for r in told}) for k in (0, 1))
    lead = float(middles.mean()) if whole else math.nan
    means = [_means(middles, of) for of in repeats] if whole else []
    # NaN where one of them has none
    even = math.hypot(*(_even_half_width(m, spacings, n_places, level) for m in means)) if whole else math.nan
    detectable = [
        detectable_paired_difference(len(m)) * float(m.std(ddof=1)) if len(m) > 1 else math.nan for m in means
    ]
    signs = np.array([(r.order == "leads") - (r.order == "follows") for r in told], dtype=np.float64)
    return Lead(
        n_leading,
        n_following,
        n - n_leading - n_following,
        float(np.max([_sign_p_of(signs, of) for of in repeats])),
        lead,
        float(lows.mean()) if n else -math.inf,
        float(highs.mean()) if n else math.inf,
        _one_sided(lows, repeats, level, -1.0),
        _one_sided(highs, repeats, level, 1.0),
        lead - even,
        lead + even,
        float(np.nanmedian(spacings)) if np.isfinite(spacings).any() else math.nan,
        float(np.max(detectable)) if detectable and np.max(detectable) > 0 else math.nan,
    )


def sign_p(n_one: int, n_other: int) -> float:
    """Exact two-sided sign test of n_one against n_other; NaN without any."""
    n, most = n_one + n_other, max(n_one, n_other)
    return min(1.0, 2 * fair_coin_tail(most - 1, n)) if n else math.nan


def _numbered(values: Sequence[Hashable]) -> Whole:
    names = {value: k for k, value in enumerate(dict.fromkeys(values))}
    return np.array([names[value] for value in values], dtype=np.int64)


def _means(values: Floats, of: Whole) -> Floats:
    """Mean of the runs of each repeat; of: the repeat of each run, from 0."""
    found: Floats = np.bincount(of, values) / np.bincount(of)
    return found


def _sign_p_of(signs: Floats, of: Whole) -> float:
    """The sign test of repeats, each on the side of most of its decided runs; signs: 1 leads, -1 follows, 0 undecided."""
    totals = np.bincount(of, signs) if len(signs) else signs
    return sign_p(int((totals > 0).sum()), int((totals < 0).sum()))


def _one_sided(ends: Floats, repeats: Sequence[Whole], level: float, sign: float) -> float:
    """The mean of the runs' bounds, moved outwards by the t half width over repeats; infinite where a run is open there."""
    if not len(ends) or any(of.max() < 1 for of in repeats) or not np.isfinite(ends).all():
        return sign * math.inf
    spreads = [_means(ends, of) for of in repeats]
    half = math.hypot(*(half_width_of_mean(len(s), level) * float(s.std(ddof=1)) for s in spreads))
    return float(ends.mean() + sign * half)


def _even_half_width(middles: Floats, spacings: Floats, n_places: int, level: float) -> float:
    """Half width of the mean lead if times are anywhere in their brackets with equal chance.

    A middle is off by up to half a bracket, with a variance of a twelfth of its squared width, and there are two. Runs whose
    middles are all the same show no spread, which is no precision: at least that much is taken. Runs that share a bracket
    may all lie at the same place in it, so this part shrinks with the number of different brackets, n_places, only.
    """
    n = len(middles)
    if n < 2 or not len(spacings) or not np.isfinite(spacings).all():
        return math.nan
    rounding = float((spacings**2).mean()) / 6
    variance = max(float(middles.var(ddof=1)) / n, rounding / n_places)
    return t_quantile((1 + level) / 2, n - 1) * math.sqrt(variance)


def _middle(bracket: Bracket) -> float:
    """log2 of the time: the middle of its bracket, or its end where it may be as early as 0."""
    if bracket.low <= 0:
        return math.log2(bracket.high)
    return (math.log2(bracket.low) + math.log2(bracket.high)) / 2


def _width(bracket: Bracket) -> float:
    return math.log2(bracket.high / bracket.low) if bracket.low > 0 else math.inf


def _log2(time: float) -> float:
    return -math.inf if time <= 0 else math.log2(time)
