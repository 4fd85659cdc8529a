"""Whether induction heads form in one sharp transition, together with in-context learning, in every run."""

import math
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Annotated, Literal, Unpack

import numpy as np
import plotly.graph_objects as go
import pyarrow as pa
from pydantic import Field

from archive.store import Archive
from queries.events.event_times import describe_times, finite_or_none
from queries.parameters import IntervalLevel
from queries.reading.curves import Axis
from queries.reading.induction import SMALLEST_FALL, Fall, Formation, choose_induction, read_formations
from queries.reading.quantities import Which
from queries.reading.select import ALL_RUNS, Runs, Selected, select_runs
from queries.reading.units import Units, among, units_by_group, units_limits
from queries.registry import query
from queries.render import interval, number
from queries.results import Answer, Provenance, Verdict
from queries.stats.over_units import mean_over_units, share_over_units

_TEXT, _WHOLE, _REAL, _STEPS = pa.string(), pa.int64(), pa.float64(), pa.list_(pa.int64())
_TABLE = pa.schema(
    [
        # on a narrow terminal the first ones are shown
        *((name, _TEXT) for name in ("run", "class", "head")),
        *((name, _REAL) for name in ("t50_after", "t50", "score_before", "score_after", "chance")),
        *((name, _REAL) for name in ("t10_after", "t10", "t90_after", "t90")),
        *((name, _REAL) for name in ("width_low", "width_high", "share_low", "share_high")),
        *((name, _WHOLE) for name in ("n_inside", "n_checkpoints")),
        *((name, _TEXT) for name in ("group", "seeds")),
        *(
            (f"{what}_{name}", _REAL)
            for what in ("icl", "copies")
            for name in ("before", "after", "lag_low", "lag_high")
        ),
        *((name, _TEXT) for name in ("icl_together", "copies_together", "why")),
        *((name, _STEPS) for name in ("needed", "measurable")),
    ]
)
_OF_TIMES = ("median", "median_low", "median_high", "median_method", "sd_octaves", "sd_low", "sd_high")
_SUMMARY = pa.schema(
    [
        ("group", pa.string()),
        *(
            (name, pa.int64())
            for name in ("n_runs", "n_resolved", "n_units", "n_major", "n_gradual", "n_none", "n_unresolved")
        ),
        ("unit", pa.string()),
        *(
            (name, pa.float64())
            for name in ("share_low", "share_high", "median", "median_low", "median_high")
        ),
        ("median_method", pa.string()),
        *((name, pa.float64()) for name in ("sd_octaves", "sd_low", "sd_high")),
        *((f"{what}_lag{end}", pa.float64()) for what in ("icl", "copies") for end in ("", "_low", "_high")),
        *((f"n_{what}_together", pa.int64()) for what in ("icl", "copies")),
        ("verdict", pa.string()),
    ]
)


@dataclass(frozen=True, kw_only=True, repr=False, eq=False)
class ReplicateInductionTransition(Answer):
    """The formation of induction heads, run by run.

    table: run, group, seeds, head (the best one at the end), class (major_transition: at least half of the rise within
    one octave of steps; gradual; none: no head gets there; unresolved, with why), t10, t50, t90 of the rise of the
    best prefix-matching score, each with the last point before it (_after); width_low, width_high: octaves between
    10 and 90 %; share_low, share_high: of the rise that one octave holds; score_before, score_after, chance;
    n_inside: checkpoints with between 10 and 90 % done; icl_ and copies_: in-context score and loss on later copies
    before and after the rise, octaves by which their middle comes later, and whether they fall together with it;
    needed: steps of checkpoints that would resolve it; measurable: checkpoints that are there but not measured.
    summary: per condition how many runs of each class, the interval of the share with a major transition among the
    resolved, over the n_units of these that share no seed (exact where every run is one), median time, spread, mean lags
    with intervals, verdict.
    curves: run, step, score of the best head.
    """

    label: str
    axis: Axis
    level: float
    curves: pa.Table

    def overview(self) -> pa.Table | None:
        """The summary in words."""
        rows = self.summary.to_pylist() if self.summary is not None else []
        return pa.Table.from_pylist(
            [
                {
                    "group": r["group"],
                    "major": f"{r['n_major']} of {r['n_resolved']} resolved{among(r)}",
                    "share of runs": interval(r["share_low"], r["share_high"], 2),
                    "gradual": r["n_gradual"],
                    "none": r["n_none"],
                    "unresolved": r["n_unresolved"],
                    f"median {self.unit}": number(r["median"], 3),
                    "its interval": interval(_real(r["median_low"]), _real(r["median_high"]), 3),
                    "in-context later by": number(r["icl_lag"], 2),
                    "verdict": r["verdict"],
                }
                for r in rows
            ]
        )

    def plot(self, *, x_scale: Literal["log", "linear"] = "log") -> go.Figure:
        """The best head's score of every run, with the middle of each rise."""
        from queries.figures.language import formation_curves

        return formation_curves(self, x_scale=x_scale)


@query(title="Do induction heads form in one sharp transition in every run?")
def replicate_induction_transition(
    archive: Archive,
    *,
    runs: Runs = ALL_RUNS,
    level: Annotated[
        float,
        Field(
            gt=0, le=1, description="prefix-matching score of the best head that counts as an induction head"
        ),
    ] = 0.3,
    axis: Annotated[Axis, Field(description="time axis")] = "step",
    icl_eval_set: Annotated[
        str, Field(description="text on which in-context learning is read; auto = the only one there is")
    ] = "auto",
    confidence: IntervalLevel = 0.95,
    **which: Unpack[Which],
) -> ReplicateInductionTransition:
    """Rise of the best head's prefix-matching score in every run: when, how sharp, and what falls with it.

    One path for runs trained here and published ones. A transition is `unresolved` where fewer than 3 checkpoints
    lie inside it, where it is cut off, or where gaps of more than 2/3 octave leave it open; the answer then names
    the steps that would be needed. The best head is that of each checkpoint, so no head number is compared over runs.
    """
    selected = select_runs(archive, runs)
    choices = choose_induction(archive, selected, icl_eval_set, which)
    formations, left_out, sql = read_formations(archive, choices, level, axis, which)
    rows = [_row(choices.score.selected, f) for f in formations]
    units = units_by_group(choices.score.selected, [f.run_id for f in formations])
    summary = _summary(choices.score.selected, formations, units, confidence)
    groups = summary.to_pylist()
    only = groups[0] if len(groups) == 1 else None
    unit = "steps" if axis == "step" else "tokens"
    # shared seeds are taken into account here
    provenance = replace(Provenance.of(archive, choices.all, left_out), shared_seeds=())
    known = only is not None and only["median"] is not None
    return ReplicateInductionTransition(
        sentence=_sentence(formations, only, confidence, unit),
        table=pa.Table.from_pylist(rows, schema=_TABLE),
        summary=summary,
        label=f"best {choices.score.quantity.measure}",
        axis=axis,
        level=level,
        curves=_curves(choices.score.selected, formations),
        n_runs=len(formations),
        unit=unit,
        estimate=only["median"] if only and known else math.nan,
        ci_low=only["median_low"] if only and known else math.nan,
        ci_high=only["median_high"] if only and known else math.nan,
        ci_level=confidence,
        ci_method=f"median middle of the rise, {only['median_method']}" if only and known else "",
        verdict=_overall([g["verdict"] for g in groups]),
        limits=(
            *provenance.limits,
            *dict.fromkeys(note for c in choices.all for note in c.notes),
            *choices.notes,
            *left_out.limits,
            *units_limits(units, "n_major and the other counts"),
            *_limits(choices.score.selected, formations, level),
        ),
        provenance=provenance,
        sql=sql,
    )


def _row(selected: Selected, f: Formation) -> dict[str, object]:
    run, shape = selected.by_id[f.run_id], f.shape
    row: dict[str, object] = {
        "run": run.run,
        "group": selected.groups[f.run_id],
        "seeds": run.seeds,
        "head": f.best,
        "class": f.kind,
        "width_low": finite_or_none(shape.width[0]),
        "width_high": finite_or_none(shape.width[1]),
        "share_low": finite_or_none(shape.share[0]),
        "share_high": finite_or_none(shape.share[1]),
        "score_before": shape.first,
        "score_after": shape.last,
        "chance": finite_or_none(f.chance),
        "n_inside": shape.n_inside,
        "n_checkpoints": len(f.steps),
        "why": f.why,
        "needed": f.needed,
        "measurable": f.measurable,
    }
    if f.kind != "none" and not f.early:
        for name, bracket in (("t10", shape.t10), ("t50", shape.t50), ("t90", shape.t90)):
            row |= {f"{name}_after": finite_or_none(bracket.low), name: finite_or_none(bracket.high)}
    for name, fall in (("icl", f.icl), ("copies", f.copies)):
        row |= {
            f"{name}_before": finite_or_none(fall.before),
            f"{name}_after": finite_or_none(fall.after),
            f"{name}_lag_low": finite_or_none(fall.lag[0]),
            f"{name}_lag_high": finite_or_none(fall.lag[1]),
            f"{name}_together": fall.together,
        }
    return row


def _summary(
    selected: Selected, formations: Sequence[Formation], units: Mapping[str, Units], level: float
) -> pa.Table:
    rows = []
    for group in dict.fromkeys(selected.groups[f.run_id] for f in formations):
        mine = [f for f in formations if selected.groups[f.run_id] == group]
        count = Counter(f.kind for f in mine)
        of = units[group].of
        resolved = {f.run_id: f.kind == "major_transition" for f in mine if f.kind != "unresolved"}
        timed = {f.run_id: f.middle for f in mine if f.middle.n_points}
        times = describe_times(list(timed.values()), level, of(timed))
        major, shared = list(resolved.values()), of(resolved)
        share = share_over_units(major, shared, level)
        row: dict[str, object] = {
            "group": group,
            "n_runs": len(mine),
            "n_resolved": len(resolved),
            **units[group].columns(resolved),
            "n_major": count["major_transition"],
            "n_gradual": count["gradual"],
            "n_none": count["none"],
            "n_unresolved": count["unresolved"],
            "share_low": share[1],
            "share_high": share[2],
            **{name: times[name] for name in _OF_TIMES},
            "verdict": _verdict(share_over_units(major, shared, 0.9)),
        }
        for name, falls in (("icl", [f.icl for f in mine]), ("copies", [f.copies for f in mine])):
            mean, low, high = mean_over_units([_middle_lag(fall) for fall in falls], of(), level)
            row |= {f"{name}_lag": finite_or_none(mean), f"{name}_lag_low": low, f"{name}_lag_high": high}
            row[f"n_{name}_together"] = sum(fall.together == "yes" for fall in falls)
        rows.append(row)
    return pa.Table.from_pylist(rows, schema=_SUMMARY)


def _middle_lag(fall: Fall) -> float:
    return (fall.lag[0] + fall.lag[1]) / 2 if all(map(math.isfinite, fall.lag)) else math.nan


def _verdict(share: tuple[float, float, float]) -> Verdict:
    """Whether more than half of such runs have one: one-sided bounds at 95 %: 5 of 5 independent ones at least."""
    _, low, high = share
    if low > 0.5:
        return "yes"
    return "no" if high < 0.5 else "unresolved"


def _overall(verdicts: Sequence[Verdict]) -> Verdict | None:
    return verdicts[0] if len(set(verdicts)) == 1 else None


def _curves(selected: Selected, formations: Sequence[Formation]) -> pa.Table:
    return pa.table(
        {
            "run": [selected.by_id[f.run_id].run for f in formations for _ in f.steps],
            "group": [selected.groups[f.run_id] for f in formations for _ in f.steps],
            "step": pa.array([int(s) for f in formations for s in f.steps], pa.int64()),
            "score": np.concatenate([f.scores for f in formations]),
        }
    )


def _sentence(
    formations: Sequence[Formation], only: Mapping[str, object] | None, level: float, unit: str
) -> str:
    count = Counter(f.kind for f in formations)
    resolved = len(formations) - count["unresolved"]
    start = (
        f"{count['major_transition']} of {resolved} resolved runs{among(only) if only else ''} make at least half of the rise "
        "within one octave"
        if resolved
        else f"None of {len(formations)} run(s) is resolved"
    )
    others = [f"{count[kind]} {kind}" for kind in ("gradual", "none", "unresolved") if count[kind]]
    told = f"{start} ({', '.join(others)})" if others and resolved else start
    if only is not None and only["median"] is not None and len(formations) > 1:
        band = interval(_real(only["median_low"]), _real(only["median_high"]), 3)
        told += f"; half of the rise is done at a median of {number(only['median'], 3)} {unit}, {level:.0%} interval {band}"
    return told + "."


def _real(value: object) -> float:
    return value if isinstance(value, float) else math.nan


def _limits(selected: Selected, formations: Sequence[Formation], level: float) -> list[str]:
    lines = []
    open_runs = [f for f in formations if f.kind == "unresolved"]
    if open_runs:
        f = open_runs[0]
        line = f"{len(open_runs)} run(s) are unresolved (first: {selected.by_id[f.run_id].run}: {f.why})"
        if f.measurable:
            line += f"; checkpoints at {_listed(f.measurable)} are there and not measured (`--fill head.prefix_matching`)"
        elif f.needed:
            line += f"; checkpoints at about {_listed(f.needed)} would be needed"
        lines.append(line + ".")
    none = [f for f in formations if f.kind == "none"]
    if none:
        lines.append(
            f"{len(none)} run(s) have no head at {level:g} by their last checkpoint (first: "
            f"{selected.by_id[none[0].run_id].run}, step {int(none[0].steps[-1]):,}): one may form later."
        )
    absent = [
        f for f in formations if f.icl.together is None and f.copies.together is None and f.kind != "none"
    ]
    if absent:
        lines.append(
            f"{len(absent)} run(s) have neither in-context scores nor losses on copies: nothing is said of what fell."
        )
    lines += [
        f"A loss counts as falling where it falls by {SMALLEST_FALL:g} nats; that two things happen within an octave does "
        "not make one the cause of the other, and in-context learning is more than induction.",
        "The best of many heads is above chance by selection alone; shares and widths are of the rise, so that cancels.",
        "That half of a rise falls into one octave is a description: smooth curves have at most 0.29 (t^-0.5), but no test "
        "against other series of the same run is made here.",
    ]
    if len(formations) < 5:
        lines.append(
            "Fewer than 5 runs cannot show that more than half of such runs have a transition (5 of 5 can)."
        )
    return lines


def _listed(steps: Sequence[int]) -> str:
    return "steps " + ", ".join(f"{s:,}" for s in steps[:6]) + (" ..." if len(steps) > 6 else "")
