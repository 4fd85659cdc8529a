"""The tables of `finetune_shift`: what losses did on every eval set, how concentrated, and over training."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from queries.reading.checkpoint_pairs import Pair
from queries.reading.finetuned import Began, Place
from queries.reading.token_deltas import TokenDeltas
from queries.reading.units import Units
from queries.stats.concentration import gini, top_share
from queries.stats.over_units import Shared, mean_over_units
from queries.stats.runs_and_clusters import METHOD, ONE_RUN, SEEDS_METHOD, TwoWayMean, signs, two_way_mean

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Shift:
    """One tuned run on one eval set: its losses against those where it began.

    shape, near: how the differences are spread over tokens, and those of the yardstick; near is None without one.
    """

    eval_set: str
    began: Began
    deltas: TokenDeltas
    shape: Mapping[str, float]
    near: Mapping[str, float] | None

    @property
    def run_id(self) -> int:
        """The tuned run."""
        return self.began.tuned.run.run_id


def shift_row(s: Shift, group: str, level: float) -> dict[str, Any]:
    """The row of one tuned run on one eval set, with its interval over documents."""
    d = s.deltas
    delta = d.delta
    mean = _mean_over_runs([s])
    low, high = mean.interval(level)
    near: dict[str, Any] = {}
    if s.near is not None and s.began.near is not None:
        near = {
            "near_step_a": s.began.near.a.step,
            "near_step_b": s.began.near.b.step,
            **{f"near_{name}": value for name, value in s.near.items()},
        }
    return {
        **s.began.pair.columns,
        "base": s.began.tuned.base.run,
        "began": s.began.why,
        "group": group,
        "eval_set": s.eval_set,
        "ci_low": low,
        "ci_high": high,
        "loss_before": float(d.loss_a.mean()),
        "loss_after": float(d.loss_b.mean()),
        "worse": float((delta > 0).mean()),
        "better": float((delta < 0).mean()),
        **s.shape,
        "mean_delta": mean.mean,
        **near,
        "n_tokens": len(delta),
        "n_documents": len(np.unique(d.document)),
    }


def group_rows(
    shifts: Sequence[Shift], units: Mapping[str, Units], margin: float, level: float
) -> list[dict[str, Any]]:
    """A row per eval set and condition of tuned runs: mean over runs, and whether it is forgotten, gained, or neither."""
    groups = {run: group for group, one in units.items() for run in one.runs}
    members: dict[tuple[str, str], list[Shift]] = {}
    for s in shifts:
        members.setdefault((s.eval_set, groups[s.run_id]), []).append(s)
    means = [
        _mean_over_runs(mine, units[group].of(s.run_id for s in mine)) for (_, group), mine in members.items()
    ]
    told = signs(means, margin, level)
    rows = []
    for ((eval_set, group), mine), mean, (up, down) in zip(members.items(), means, told, strict=True):
        low, high = mean.interval(level)
        near = [s.near for s in mine if s.near is not None]
        excess = {s.run_id: s.shape["gini"] - s.near["gini"] for s in mine if s.near is not None}
        beyond, beyond_low, beyond_high = mean_over_units(
            list(excess.values()), units[group].of(excess), level
        )
        over_runs = SEEDS_METHOD if mean.seeds else METHOD
        rows.append(
            {
                "eval_set": eval_set,
                "group": group,
                "mean_delta": mean.mean,
                "ci_low": low,
                "ci_high": high,
                "forgets": up,
                "transfers": down,
                "n_runs": len(mine),
                **units[group].columns(s.run_id for s in mine),
                "n_bases": len({s.began.tuned.base.run_id for s in mine}),
                "n_documents": mean.n_clusters,
                **{name: _average([s.shape[name] for s in mine]) for name in ("gini", "share_top1pct")},
                **{
                    f"near_{name}": _average([shape[name] for shape in near])
                    for name in ("mean_delta", "gini", "share_top1pct")
                },
                "gini_beyond": beyond,
                "gini_beyond_low": beyond_low,
                "gini_beyond_high": beyond_high,
                "se_runs": mean.se_runs,
                "se_documents": mean.se_clusters,
                "detectable": mean.detectable(level),
                "method": (over_runs if len(mine) > 1 else ONE_RUN) if math.isfinite(low) else "",
            }
        )
    return rows


def curve_rows(s: Shift, group: str, level: float) -> list[dict[str, Any]]:
    """Mean change of the loss at every checkpoint of the tuned run, over the tokens that it has in common with the start.

    A checkpoint whose finite losses are of other tokens than those at the start is left out.
    """
    documents, members = np.unique(s.deltas.document, return_inverse=True)
    start = np.bincount(members, weights=s.deltas.loss_a)
    counts = np.bincount(members).astype(np.float64)
    rows = []
    for place in s.began.curve:
        if not (np.array_equal(place.documents, documents) and np.array_equal(place.counts, counts)):
            continue
        mean = two_way_mean((place.totals - start)[None], counts[None])
        low, high = mean.interval(level)
        rows.append(
            {
                "eval_set": s.eval_set,
                "run": s.began.tuned.run.run,
                "group": group,
                "at": place.point.step,
                "mean_delta": mean.mean,
                "ci_low": low,
                "ci_high": high,
            }
        )
    return rows


def lost_places(s: Shift) -> list[Place]:
    """Checkpoints of the curve that `curve_rows` leaves out."""
    n = len(s.deltas)
    return [place for place in s.began.curve if place.counts.sum() != n]


def pairs_to_read(began: Sequence[Began]) -> list[Pair]:
    """Each pair of checkpoints once, yardsticks too."""
    return list(dict.fromkeys(p for b in began for p in (b.pair, b.near) if p is not None))


def _mean_over_runs(shifts: Sequence[Shift], shared: Shared = ()) -> TwoWayMean:
    """Over the documents of any of the runs; shared: as of `two_way_mean`."""
    documents = np.unique(np.concatenate([s.deltas.document for s in shifts]))
    sums = np.zeros((len(shifts), len(documents)))
    counts = np.zeros_like(sums)
    for k, s in enumerate(shifts):
        at = np.searchsorted(documents, s.deltas.document)
        sums[k] = np.bincount(at, weights=s.deltas.delta, minlength=len(documents))
        counts[k] = np.bincount(at, minlength=len(documents))
    return two_way_mean(sums, counts, shared)


def shape_of(deltas: TokenDeltas) -> dict[str, float]:
    """How differences are spread over tokens: mean, median, gini and share of the 1 % largest."""
    delta = deltas.delta
    return {
        "mean_delta": float(delta.mean()),
        "median_delta": float(np.median(delta)),
        "gini": gini(delta),
        "share_top1pct": top_share(delta),
    }


def _average(values: Sequence[float]) -> float:
    known = [v for v in values if math.isfinite(v)]
    return float(np.mean(known)) if known else math.nan
