"""When each run reaches a level, and how far apart the seeds are."""

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Annotated, Literal, Unpack

import numpy as np
import plotly.graph_objects as go
import pyarrow as pa
from pydantic import Field

from archive.errors import UsageError
from archive.store import Archive
from queries.events.event_times import LOGNORMAL, TIME_FIELDS, finite_or_none, times_over
from queries.parameters import CrossingRule, CurveOrigin, IntervalLevel, SplitPart, Towards
from queries.reading.curves import Axis, Curves, read_curves
from queries.reading.quantities import Quantity, Which
from queries.reading.select import ALL_RUNS, Runs, select_runs
from queries.reading.units import Units, among, units_by_group, units_limits
from queries.registry import query
from queries.render import interval, number
from queries.results import Answer, Provenance, Verdict
from queries.stats.intervals import Bracket, Direction, Rule, crossing, n_crossings

_GROUP_SCHEMA = pa.schema([("group", pa.string()), *TIME_FIELDS])


@dataclass(frozen=True, kw_only=True, repr=False, eq=False)
class TransitionTimes(Answer):
    """When a scalar reaches a level.

    table: run, group, seeds, kind (observed, never = right-censored, before = left-censored), after (last
    point before it), reached (first point at which it is there), value at that point, last point, number of
    crossings, bracket_octaves = log2(reached / after).
    summary: per group the share of runs that reached it (exact interval); the median time, by a log-normal
    fit to the brackets where every run got there, else free of assumptions (Turnbull's estimate, sign-test
    interval); the sd between runs in octaves by the fit; and the smallest difference in octaves that another
    group of as many runs would have to show to be found. Intervals are over the n_units of the runs that share no seed;
    where some do, the sd has none.
    """

    label: str
    level: float
    axis: Axis

    def overview(self) -> pa.Table:
        """The summary with each interval beside its estimate."""
        rows = self.summary.to_pylist() if self.summary is not None else []
        return pa.Table.from_pylist(
            [
                {
                    "group": r["group"],
                    "reached": f"{r['n_reached']} of {r['n_runs']}{among(r)}",
                    "share of runs": interval(r["share_low"], r["share_high"], 2),
                    f"median {self.unit}": number(r["median"], 3),
                    f"{self.ci_level:.0%} interval": interval(r["median_low"], r["median_high"], 3),
                    "sd, octaves": "–" if r["sd_octaves"] is None else number(r["sd_octaves"], 2),
                    "sd interval": "" if r["sd_low"] is None else interval(r["sd_low"], r["sd_high"], 2),
                    "detectable": number(r["mde_octaves"], 2),
                }
                for r in rows
            ]
        )

    def plot(self, *, x_scale: Literal["log", "linear"] = "log") -> go.Figure:
        """A bracket per run, by group, with the group's median; runs that never got there end in an arrow."""
        from queries.figures.plots import brackets

        return brackets(self, x_scale=x_scale)


@query(title="When does each run get there, and how much do seeds differ?")
def transition_times(
    archive: Archive,
    *,
    runs: Runs = ALL_RUNS,
    measure: Annotated[str, Field(description="any scalar: accuracy, loss, log.accuracy, ...")] = "accuracy",
    part: SplitPart = "auto",
    level: Annotated[float, Field(description="the value that counts as there")] = 0.95,
    rule: CrossingRule = "first",
    direction: Towards = "auto",
    axis: Annotated[Axis, Field(description="time axis")] = "step",
    origin: CurveOrigin = "auto",
    confidence: IntervalLevel = 0.95,
    **which: Unpack[Which],
) -> TransitionTimes:
    """First point at which a scalar reaches a level, per run, and the spread between runs of one condition.

    A time is known only to lie between two measurements: (after, reached]. Runs that never get there are
    right-censored at their last measurement, never dropped. Levels are absolute: a share of the final value
    would use the future.
    """
    curves = read_curves(archive, select_runs(archive, runs), measure, part, which, origin=origin, axis=axis)
    way = better_direction(curves.choice.quantity, direction)
    found = {
        run: (
            crossing(times, values, level, direction=way, rule=rule),
            n_crossings(values, level, way),
            times[-1],
        )
        for run, times, values in curves.runs(axis)
    }
    table = _table(curves, found, axis)
    # times that are there, by group
    timed = {run: b for run, (b, _, _) in found.items() if b.kind != "no data"}
    units = units_by_group(curves.selected, curves.group_of)
    summary = _summary(units, timed, confidence)
    only = summary.to_pylist()[0] if summary.num_rows == 1 else None
    # shared seeds are taken into account here
    provenance = replace(Provenance.of(archive, [curves.choice], curves.left_out), shared_seeds=())
    sign = "≥" if way == "up" else "≤"
    unit = "steps" if axis == "step" else "tokens"
    label = f"{curves.label} {sign} {number(level)}" + (" from then on" if rule == "stays" else "")
    verdicts = summary.column("verdict").to_pylist()
    return TransitionTimes(
        sentence=_sentence(label, summary, confidence, unit),
        table=table,
        summary=summary,
        label=label,
        level=level,
        axis=axis,
        n_runs=len(found),
        unit=unit,
        estimate=only["median"] if only and only["median"] is not None else math.nan,
        ci_low=only["median_low"] if only else math.nan,
        ci_high=only["median_high"] if only else math.nan,
        ci_level=confidence,
        ci_method=f"median, {only['median_method']}" if only else "",
        verdict=_verdict(verdicts),
        limits=(
            *provenance.limits,
            *curves.limits,
            *units_limits(units, "n_reached and the other counts"),
            *_limits(table, summary, rule, way),
        ),
        provenance=provenance,
        sql=curves.sql,
    )


def better_direction(quantity: Quantity, asked: Literal["auto", "up", "down"]) -> Direction:
    """Which way a level is reached: as asked, or the way in which the measure gets better.

    Raises UsageError for a measure that is better neither high nor low.
    """
    if asked != "auto":
        return asked
    known: Mapping[str, Direction] = {"higher is better": "up", "lower is better": "down"}
    if quantity.direction not in known:
        raise UsageError(
            f"{quantity.measure} is better neither high nor low: say direction='up' or direction='down'."
        )
    return known[quantity.direction]


def _table(curves: Curves, found: Mapping[int, tuple[Bracket, int, float]], axis: Axis) -> pa.Table:
    by_id, groups = curves.selected.by_id, curves.group_of
    time = pa.int64() if axis == "step" else pa.float64()
    rows = [
        {
            "run": by_id[run].run,
            "group": groups[run],
            "seeds": by_id[run].seeds,
            "kind": b.kind,
            "after": finite_or_none(b.low),
            "reached": finite_or_none(b.high) if b.kind != "no data" else None,
            "value": finite_or_none(b.level_at_high),
            "last": float(last),
            "n_points": b.n_points,
            "n_crossings": n,
            "bracket_octaves": finite_or_none(b.octaves),
        }
        for run, (b, n, last) in found.items()
    ]
    kinds: dict[str, pa.DataType] = {
        **dict.fromkeys(("run", "group", "seeds", "kind"), pa.string()),
        **dict.fromkeys(("after", "reached"), time),
        "value": pa.float64(),
        "last": time,
        **dict.fromkeys(("n_points", "n_crossings"), pa.int64()),
        "bracket_octaves": pa.float64(),
    }
    # steps are whole numbers that went through float64 unharmed
    columns = {name: [row[name] for row in rows] for name in kinds}
    return pa.table({name: pa.array(values).cast(kinds[name]) for name, values in columns.items()})


def _summary(units: Mapping[str, Units], timed: Mapping[int, Bracket], level: float) -> pa.Table:
    rows = [
        {"group": group, **times_over({run: timed[run] for run in of.runs if run in timed}, of, level)}
        for group, of in units.items()
    ]
    return pa.Table.from_pylist(rows, schema=_GROUP_SCHEMA)


def _verdict(verdicts: list[str | None]) -> Verdict | None:
    """Unresolved when no group supports a median; None where at least one estimate stands."""
    return "unresolved" if verdicts and all(v == "unresolved" for v in verdicts) else None


def _sentence(label: str, summary: pa.Table, level: float, unit: str) -> str:
    rows = summary.to_pylist()
    reached, n = sum(r["n_reached"] for r in rows), sum(r["n_runs"] for r in rows)
    start = f"{label}: reached by {reached} of {n} runs"
    if len(rows) != 1:
        mixed = sum(0 < r["n_reached"] < r["n_runs"] for r in rows)
        whole = sum(r["n_reached"] == r["n_runs"] for r in rows)
        return f"{start}; by every run in {whole} of {len(rows)} groups, by some seeds but not others in {mixed}."
    row = rows[0]
    start += among(row)
    if row["median"] is None:
        return f"{start}; fewer than half ever got there, so there is no median time."
    middle = f"at a median of {number(row['median'], 3)} {unit}, {level:.0%} interval "
    middle += interval(row["median_low"], row["median_high"], 3)
    if row["n_runs"] == 1:
        return f"{start}, at {number(row['median'], 3)} {unit}."
    if row["unit"] != "run":
        return f"{start}, {middle}."
    if row["sd_octaves"] is None:
        return f"{start}, {middle}; too few to say how far apart runs are."
    return f"{start}, {middle}; {_spread(row)} between runs."


def _spread(row: Mapping[str, float]) -> str:
    """The spread between runs in octaves, or how large it may be where it cannot be told from none."""
    if row["sd_low"] == 0:
        return f"a spread of at most {number(row['sd_high'], 2)} octaves"
    return f"a spread (sd) of {number(row['sd_octaves'], 2)} {interval(row['sd_low'], row['sd_high'], 2)} octaves"


def _limits(table: pa.Table, summary: pa.Table, rule: Rule, way: Direction) -> list[str]:
    lines, rows, groups = [], table.to_pylist(), summary.to_pylist()
    spacing = [r["bracket_octaves"] for r in rows if r["bracket_octaves"] is not None]
    if spacing:
        lines.append(
            f"Times are brackets: the median one is {number(float(np.median(spacing)), 2)} octaves wide, so nothing "
            "finer than that is known of a single run."
        )
    if any(r["kind"] == "observed" and r["after"] == 0 for r in rows):
        n = sum(r["kind"] == "observed" and r["after"] == 0 for r in rows)
        lines.append(f"{n} run(s) were there at the first point after step 0: their time has no lower bound.")
    before = sum(r["kind"] == "before" for r in rows)
    if before:
        lines.append(
            f"{before} run(s) were there at their first point: their time is only known to be earlier."
        )
    never = [r for r in rows if r["kind"] == "never"]
    if never:
        lines.append(
            f"{len(never)} run(s) never got there by their last point (first: {never[0]['run']}, "
            f"{number(never[0]['last'])}): they may later, or not."
        )
    again = [r for r in rows if r["n_crossings"] > 1]
    if again and rule == "first":
        lines.append(
            f"{len(again)} run(s) cross the level more than once (first: {again[0]['run']}, "
            f"{again[0]['n_crossings']} times): rule='stays' gives the time after which they stay."
        )
    if rule == "stays":
        lines.append("A run counts as staying when it does so up to its last point, however near that is.")
    if any(g["median_method"].startswith(LOGNORMAL) and g["n_units"] <= 10 for g in groups):
        lines.append(
            "Intervals of medians assume log-normal times where every run got there; without that assumption 5 runs "
            "give no 95 % interval of a median at all."
        )
    if any(g["n_never"] and g["n_reached"] and g["unit"] == "run" for g in groups):
        lines.append(
            "Where some runs never got there, the median and its interval are free of assumptions (sign test), but the "
            "spread assumes that those runs are late rather than lost."
        )
    alone = sum(g["n_runs"] == 1 for g in groups)
    if alone:
        lines.append(f"{alone} group(s) have a single run: nothing is known of spread there.")
    return lines
