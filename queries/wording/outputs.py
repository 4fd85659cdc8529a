"""What answers about the outputs of runs say and cannot say."""

import math
from collections.abc import Iterable, Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from queries.reading.exact_outputs import BEYOND
from queries.render import interval, number

Floats = NDArray[np.float64]
Rows = Sequence[Mapping[str, object]]


def agreement_sentence(
    statistic: str,
    rows: Rows,
    head: Mapping[str, float],
    place: str,
    n_runs: int,
    level: float,
) -> str:
    """The answer in one sentence."""
    exact = all(r.get("outputs") == "all" for r in rows)
    divergence = f"Jensen-Shannon divergence{' of all outputs' if exact else ''}"
    what = divergence if statistic == "js" else "rank correlation of losses"
    unit = " nats" if statistic == "js" else ""
    band = interval(head["low"], head["high"], 3)
    told = f"{between(head, 3)}{unit}{f', {level:.0%} interval {band}' if band else ''}"
    top = column(rows, range(len(rows)), "top1")
    same = ""
    if np.isfinite(top).any():
        same = f"; the most likely token is the same at {np.nanmean(top):.0%} of tokens"
    if len(rows) == 1:
        return f"{rows[0]['run_a']} and {rows[0]['run_b']} at {place}: {what} {told}{same}."
    if math.isfinite(head["least"]):
        return f"{len(rows)} pairs of {n_runs} runs at {place}: mean {what} {told}{same}."
    every = range(len(rows))
    ends = [column(rows, every, f"js_{end}" if statistic == "js" else statistic) for end in ("low", "high")]
    low, high = number(float(np.nanmin(ends[0])), 3), number(float(np.nanmax(ends[1])), 3)
    return (
        f"{len(rows)} pairs of {n_runs} runs of several conditions at {place}: {what} from {low} to "
        f"{high}{unit}{same}."
    )


def agreement_limits(
    rows: Rows, absent: Sequence[str], n_runs: int, steps: Sequence[int], lists: bool, exact: bool
) -> list[str]:
    """What such numbers cannot tell.

    absent: runs without a value there. lists, exact: whether lists of likely tokens, and comparisons of all, were read.
    """
    lines = []
    if absent:
        lines.append(f"{len(absent)} run(s) have no value at that step (first: {absent[0]}).")
    if len(rows) > 1:
        lines.append(
            f"{len(rows)} pairs of {n_runs} runs are not {len(rows)} independent observations: intervals of their "
            "means leave out runs, not pairs, and need 3 runs."
        )
    else:
        lines.append("One pair: the interval is over documents and says nothing of other seeds.")
    if len(steps) > 1:
        lines.append("Runs end at different steps: part of what differs is the length of training.")
    lines.extend(_about_lists(rows, exact) if lists else [])
    if exact:
        lines.extend(_about_exact(rows, lists))
    if lists or exact:
        lines.append(
            "Agreement on the most likely token is carried by easy tokens: compare it "
            f"{'with top1_chance and ' if lists else ''}at equal difficulty before calling runs alike."
        )
    if any(int(str(r.get("n_documents", 0))) < 10 for r in rows):
        lines.append("Fewer than 10 documents: intervals over so few are themselves hardly known.")
    lines.append("Outputs that agree need not come from the same mechanism.")
    return lines


def _about_lists(rows: Rows, exact: bool) -> list[str]:
    mine = [r for r in rows if r.get("outputs") == "most likely"]
    if not mine:
        return []
    gap = column(mine, range(len(mine)), "js_high") - column(mine, range(len(mine)), "js_low")
    more = (
        "" if exact else " A study with [compare] and output_divergence knows it exactly (docs/studies.md)."
    )
    return [
        f"Of {len(mine)} of {len(rows)} pairs only the most likely tokens are known: the divergence to "
        f"{number(float(np.nanmax(gap)), 2)} nats at worst, and a Kullback-Leibler divergence only from below.{more}"
    ]


def _about_exact(rows: Rows, lists: bool) -> list[str]:
    mine = [r for r in rows if r.get("outputs") == "all"]
    lines = [
        f"Of {len(mine)} of {len(rows)} pairs divergences are exact, from all outputs (output_divergence)"
        + ("; the bounds from stored lists stand in js_list_low and js_list_high." if lists else ".")
    ]
    if not lists:
        lines.append(
            "Without lists of likely tokens there is nothing to shuffle: what unrelated models give is not known."
        )
    js, low, high = (column(mine, range(len(mine)), name) for name in ("js", "js_list_low", "js_list_high"))
    apart = (js < low - BEYOND) | (js > high + BEYOND)
    if apart.any():
        first = mine[int(np.argmax(apart))]
        lines.append(
            f"{int(apart.sum())} exact divergence(s) lie outside the bounds from lists (first: {first['run_a']} and "
            f"{first['run_b']}): the two were taken at other positions or in another dtype, so compare neither."
        )
    return lines


def column(rows: Rows, chosen: Iterable[int], name: str) -> Floats:
    """A column of some rows, NaN where there is no number."""
    return np.array([real(rows[k].get(name)) for k in chosen])


def real(value: object) -> float:
    """The number, or NaN."""
    return value if isinstance(value, float) else math.nan


def between(known: Mapping[str, object], digits: int) -> str:
    """The mean with the bounds it lies between, or only those where they are wide."""
    mean, low, high = (number(known[key], digits) for key in ("mean", "least", "most"))
    if math.isnan(real(known["mean"])) and math.isfinite(real(known["least"])):
        return f"between {low} and {high}"
    return mean if low == high else f"{mean} (between {low} and {high})"
