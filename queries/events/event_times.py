"""What can be said of the time of one event over runs: how many got there, the median, the spread."""

import math
from collections.abc import Mapping, Sequence

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from queries.reading.units import Units
from queries.stats.few_runs import detectable_difference, share_interval
from queries.stats.intervals import Bracket
from queries.stats.lognormal import fit_lognormal
from queries.stats.over_units import Shared, share_over_units
from queries.stats.turnbull import arrival, median_interval

LOGNORMAL = "log-normal times known to brackets"
SIGN_TEST = "sign test on brackets"

TIME_FIELDS = [
    pa.field(name, kind)
    for name, kind in (
        ("n_runs", pa.int64()),
        ("n_units", pa.int64()),
        ("unit", pa.string()),
        ("n_reached", pa.int64()),
        ("n_never", pa.int64()),
        ("n_before", pa.int64()),
        ("share_low", pa.float64()),
        ("share_high", pa.float64()),
        ("median", pa.float64()),
        ("median_low", pa.float64()),
        ("median_high", pa.float64()),
        ("median_method", pa.string()),
        ("sd_octaves", pa.float64()),
        ("sd_low", pa.float64()),
        ("sd_high", pa.float64()),
        ("mde_octaves", pa.float64()),
        ("verdict", pa.string()),
    )
]


def times_over(known: Mapping[int, Bracket], units: Units, level: float) -> dict[str, object]:
    """The columns of TIME_FIELDS for the runs of one group, by run_id; each value of a seed that runs share counts once."""
    return describe_times(list(known.values()), level, units.of(known)) | units.columns(known)


def describe_times(known: Sequence[Bracket], level: float, shared: Shared = ()) -> dict[str, object]:
    """The columns of TIME_FIELDS but n_units and unit for the runs of one group, without those that have no data.

    median: by a log-normal fit to the brackets where every run got there, else free of assumptions. shared: of runs that
    share seeds, as queries.stats.over_units takes it. Then the interval of the median is that over values of a seed, each
    with the medians of both ends of its runs' brackets; how far those of several seeds reach, in octaves, is squared and added,
    so that it holds whichever of them matters. Of the spread there is none.
    """
    found = _described(known, level)
    if not shared or not known:
        return found
    over = [_described(_of_units(known, of), level) for of in shared]
    low, high = (
        _reach(_number(found["median"]), [_number(one[f"median_{end}"]) for one in over], way)
        for end, way in (("low", -1.0), ("high", 1.0))
    )
    share = share_over_units([b.kind != "never" for b in known], shared, level)
    bounded = found["median"] is not None and math.isfinite(low) and math.isfinite(high)
    return found | {
        "share_low": share[1],
        "share_high": share[2],
        "median_low": low,
        "median_high": high,
        "median_method": f"{over[0]['median_method']}, over independent seeds",
        **dict.fromkeys(("sd_low", "sd_high", "mde_octaves")),
        "verdict": None if bounded else "unresolved",
    }


def _reach(median: float, ends: Sequence[float], way: float) -> float:
    """One end of the interval of a median from those over each of several seeds; way: -1 for the lower ends."""
    if not np.isfinite(ends).all():
        return way * math.inf
    if len(ends) == 1:
        return ends[0]
    outer = max(ends, key=lambda end: way * end)
    if math.isnan(median) or not min(ends) > 0:
        return outer
    octaves = math.hypot(*(max(0.0, way * math.log2(end / median)) for end in ends))
    together = float(median * 2.0 ** (way * octaves))
    return max(together, outer, key=lambda end: way * end)


def _of_units(known: Sequence[Bracket], of: NDArray[np.int64]) -> list[Bracket]:
    """A bracket for each unit: at least half of its runs got there by the end, and at least half not before the beginning."""
    found = []
    for unit in np.unique(of):
        mine = [b for b, one in zip(known, of, strict=True) if one == unit]
        low, high = (float(np.median([getattr(b, end) for b in mine])) for end in ("low", "high"))
        found.append(Bracket(low, high, sum(b.n_points for b in mine)))
    return found


def _number(value: object) -> float:
    return value if isinstance(value, float) else math.nan


def _described(known: Sequence[Bracket], level: float) -> dict[str, object]:
    n, never = len(known), sum(b.kind == "never" for b in known)
    low, high = np.array([b.low for b in known]), np.array([b.high for b in known])
    share = share_interval(n - never, n, level)
    # a time at or before a first point of 0 has no logarithm: no fit can use it
    fit = fit_lognormal(low, high, level) if n and (high > 0).all() else None
    if fit and not never:
        method, median = LOGNORMAL, fit.median
    else:
        # runs that were never seen to arrive may be late or may never do so: no model decides that here
        method, sign = SIGN_TEST, median_interval(low, high, level)
        reached = arrival(low, high).quantile(0.5)[1] if n else math.inf
        median = (reached if math.isfinite(reached) else math.nan, *sign)
    bounded = math.isfinite(median[0]) and math.isfinite(median[2])
    return {
        "n_runs": n,
        "n_reached": n - never,
        "n_never": never,
        "n_before": sum(b.kind == "before" for b in known),
        "share_low": share[0],
        "share_high": share[1],
        "median": finite_or_none(median[0]),
        "median_low": median[1],
        "median_high": median[2],
        "median_method": method,
        "sd_octaves": fit.sigma if fit else None,
        "sd_low": fit.sigma_low if fit else None,
        "sd_high": fit.sigma_high if fit else None,
        "mde_octaves": detectable_difference(n, n) * fit.sigma if fit and fit.sigma > 0 else None,
        "verdict": None if bounded else "unresolved",
    }


def finite_or_none(value: float) -> float | None:
    """The value, or None where a table should show nothing."""
    return value if math.isfinite(value) else None
