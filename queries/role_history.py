"""When each role of a circuit is filled in each run, and whether runs fill the roles in one order."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Annotated, Any, Literal, Unpack

import numpy as np
import plotly.graph_objects as go
import pyarrow as pa
from pydantic import Field

from archive.store import Archive
from queries.events.event_times import TIME_FIELDS, finite_or_none, times_over
from queries.events.orders import NULL, ORDER_SCHEMA, Order, find_order, order_limits
from queries.parameters import CrossingRule
from queries.reading.heads import index_limits
from queries.reading.quantities import Which
from queries.reading.role_scores import Judged, Readings, adjusted_by_run, choose_scores, judge, read_scores
from queries.reading.roles import (
    ATTENTION,
    CONFIDENCE,
    LOGITS,
    SCORE,
    Confidence,
    LeastAttention,
    LeastLogits,
    LeastScore,
    Levels,
    Prompts,
    RoleName,
    Task,
)
from queries.reading.select import ALL_RUNS, Runs, Selected, select_runs
from queries.reading.tables import in_order, stretches
from queries.reading.units import Units, among, apart_limits, units_by_group, units_limits
from queries.registry import query
from queries.render import interval, number
from queries.results import Answer, Provenance, Verdict
from queries.stats.intervals import Bracket, Rule, crossing
from queries.stats.transition_shape import NOTHING, Shape, transition_shape
from queries.wording.circuits import causal_limits, error_limits, or_nan, plural, rule_limits

Of = Literal["formed", "half"]
_TEXT, _WHOLE, _REAL = pa.string(), pa.int64(), pa.float64()
_TABLE = pa.schema(
    [
        *((name, _TEXT) for name in ("run", "role")),
        ("step", _WHOLE),
        ("score", _REAL),
        ("head", _TEXT),
        *((name, _WHOLE) for name in ("n_heads", "n_tested")),
        ("group", _TEXT),
    ]
)
_EVENTS = pa.schema(
    [
        *((name, _TEXT) for name in ("run", "group", "role", "kind")),
        *((name, _REAL) for name in ("after", "reached")),
        ("half_kind", _TEXT),
        *((name, _REAL) for name in ("half_after", "half")),
        ("class", _TEXT),
        *((name, _REAL) for name in ("share_low", "share_high", "score")),
        *((name, _TEXT) for name in ("head", "why")),
    ]
)
_SUMMARY = pa.schema(
    [
        *((name, _TEXT) for name in ("role", "group")),
        *TIME_FIELDS,
        *((f"half_{name}", _REAL) for name in ("median", "low", "high")),
    ]
)


@dataclass(frozen=True)
class Filled:
    """One role in one run. formed, half: brackets of its times; shape: of the rise of the best head's score."""

    run_id: int
    role: str
    formed: Bracket
    half: Bracket
    shape: Shape
    head: str
    score: float


@dataclass(frozen=True, kw_only=True, repr=False, eq=False)
class RoleHistory(Answer):
    """Roles over training.

    table: run, role, step, score (the best head's least of value over bound: 1 where every estimate is at its bound),
    that head, n_heads (heads shown to have the role, corrected over all that is tested in the run), n_tested, group.
    events: run, group, role, when it formed (kind, after, reached: the checkpoints around the first head with the role),
    when half of the rise of the score was done (half_), class and octave share of that rise, the last score and its head,
    why the class is unresolved.
    summary: per role and condition how many runs have it by the end, the median time it forms at with interval, spread, and
    the median time of the half; intervals are over the n_units of the runs that share no seed. orders: per condition Kendall's W
    and the order by mean rank.
    """

    task: str
    of: Of
    events: pa.Table
    orders: pa.Table

    def overview(self) -> pa.Table | None:
        """The summary in words."""
        rows = self.summary.to_pylist() if self.summary is not None else []
        return pa.Table.from_pylist(
            [
                {
                    "role": r["role"],
                    "group": r["group"],
                    "formed in": f"{r['n_reached']} of {r['n_runs']}{among(r)}",
                    "median step": number(r["median"], 3),
                    "its interval": interval(or_nan(r["median_low"]), or_nan(r["median_high"]), 3),
                    "spread [octaves]": number(r["sd_octaves"], 2),
                    "half of the rise": number(r["half_median"], 3),
                    "verdict": r["verdict"] or "",
                }
                for r in rows
            ]
        )

    def plot(self, *, x_scale: Literal["log", "linear"] = "log") -> go.Figure:
        """The best head's score of every run and role, a colour a role."""
        from queries.figures.circuits import role_curves

        return role_curves(self, x_scale=x_scale)


@query(title="When is each role of a circuit filled, and in what order?")
def role_history(
    archive: Archive,
    *,
    task: Task = "ioi",
    role: RoleName = "all",
    runs: Runs = ALL_RUNS,
    prompts: Prompts = "",
    of: Annotated[
        Of,
        Field(
            description="what is ordered: formed = a head has the role, an absolute level; half = half of the rise is done"
        ),
    ] = "formed",
    rule: CrossingRule = "first",
    least_logits: LeastLogits = LOGITS,
    least_attention: LeastAttention = ATTENTION,
    least_score: LeastScore = SCORE,
    confidence: Confidence = CONFIDENCE,
    **which: Unpack[Which],
) -> RoleHistory:
    """Roles of a circuit over training: the best head of each checkpoint, when a head first has the role, and the order.

    A head has a role where every score it needs is shown to be beyond its bound, corrected over all heads, checkpoints
    and roles tested in the run. Times are known to the checkpoints around them. Half of the rise uses the
    end of training, so orders by it can be made by what comes later; the default is the absolute level.
    """
    selected = select_runs(archive, runs)
    choices = choose_scores(archive, selected, (task, role), prompts, which)
    readings = read_scores(archive, choices, None, which)
    levels = Levels(least_logits, least_attention, least_score)
    judged = {name: judge(readings, r, levels) for name, r in choices.roles.items()}
    having = {name: choices.having(r) for name, r in choices.roles.items()}
    rows, filled = _follow(readings, selected, judged, having, 1 - confidence, rule)
    present = selected.only({f.run_id for f in filled})
    units = units_by_group(present, in_order(present, present.ids))
    orders = {
        group: _order(filled, list(judged), members, of, confidence) for group, members in units.items()
    }
    summary = _summary(filled, present, units, confidence)
    only = summary[0] if len(summary) == 1 and summary[0]["median"] is not None else None
    lone = next(iter(orders.values())) if len(orders) == 1 else None
    used = [choices.by_score[s] for s in choices.needed]
    # shared seeds are taken into account here
    provenance = replace(Provenance.of(archive, used, readings.left_out), shared_seeds=())
    return RoleHistory(
        sentence=_sentence(task, summary, orders),
        table=pa.Table.from_pylist(rows, schema=_TABLE),
        summary=pa.Table.from_pylist(summary, schema=_SUMMARY),
        events=pa.Table.from_pylist([_event(f, present) for f in filled], schema=_EVENTS),
        orders=pa.Table.from_pylist([o.row(g) for g, o in orders.items() if o], schema=ORDER_SCHEMA),
        task=task,
        of=of,
        n_runs=len(present.runs),
        unit="steps" if only else "",
        estimate=only["median"] if only else math.nan,
        ci_low=or_nan(only["median_low"]) if only else math.nan,
        ci_high=or_nan(only["median_high"]) if only else math.nan,
        ci_level=confidence,
        ci_method=f"median time, {only['median_method']}" if only else "",
        null_name=NULL if lone else "",
        p_value=lone.agreement.p if lone else math.nan,
        verdict=_verdict(orders, summary),
        limits=(
            *provenance.limits,
            *choices.limits,
            *readings.left_out.limits,
            *units_limits(units, "n_reached and the other counts"),
            *(apart_limits(present, units, "W and p of the order") if len(judged) > 1 else ()),
            *rule_limits(choices.roles, levels),
            *error_limits(readings, choices.needed),
            *_limits(filled, present, of),
            *(order_limits([o for o in orders.values() if o]) if len(judged) > 1 else ()),
            *causal_limits(choices.needed),
            *index_limits(present),
        ),
        provenance=provenance,
        sql=readings.sql,
    )


def _follow(
    readings: Readings,
    selected: Selected,
    judged: Mapping[str, Judged],
    having: Mapping[str, set[int]],
    alpha: float,
    rule: Rule,
) -> tuple[list[dict[str, Any]], list[Filled]]:
    """Rows of the table, and every role of every run."""
    rows_of = readings.rows
    ids, steps = rows_of["run_id"].to_numpy(), rows_of["step"].to_numpy()
    layers, heads = rows_of["layer"].to_numpy(), rows_of["head"].to_numpy()
    adjusted = dict(zip(judged, adjusted_by_run(ids, [j.p for j in judged.values()]), strict=True))
    bounds = {int(ids[a]): (int(a), int(b)) for a, b in zip(*stretches(rows_of, ["run_id"]), strict=True)}
    starts, ends = stretches(rows_of, ["run_id", "step"])
    table: list[dict[str, Any]] = []
    filled: list[Filled] = []
    for run in in_order(selected, bounds):
        inside = (starts >= bounds[run][0]) & (starts < bounds[run][1])
        for name, j in judged.items():
            if run not in having[name]:
                continue
            mine: list[dict[str, Any]] = []
            for a, b in zip(starts[inside], ends[inside], strict=True):
                known = np.isfinite(j.score[a:b])
                if known.any():
                    k = a + int(np.argmax(np.where(known, j.score[a:b], -np.inf)))
                    mine.append(
                        {
                            "run": selected.by_id[run].run,
                            "group": selected.groups[run],
                            "role": name,
                            "step": int(steps[a]),
                            "score": float(j.score[k]),
                            "head": f"L{layers[k]}H{heads[k]}",
                            "n_heads": int((adjusted[name][a:b] < alpha).sum()),
                            "n_tested": int(np.isfinite(adjusted[name][a:b]).sum()),
                        }
                    )
            if mine:
                table += mine
                filled.append(_filled(run, name, mine, rule))
    return table, filled


def _filled(run: int, role: str, rows: Sequence[Mapping[str, Any]], rule: Rule) -> Filled:
    times = np.array([r["step"] for r in rows], float)
    # a checkpoint at which nothing could be tested did not happen
    found = np.array([r["n_heads"] if r["n_tested"] else math.nan for r in rows], float)
    formed = crossing(times, found, 1.0, rule=rule)
    shape = transition_shape(times, np.array([r["score"] for r in rows]), "up")
    # a score that never makes a head one of the role has no rise to halve
    half = shape.t50 if formed.kind == "observed" else Bracket(formed.low, formed.high, formed.n_points)
    return Filled(run, role, formed, half, shape, rows[-1]["head"], rows[-1]["score"])


def _order(
    filled: Sequence[Filled], names: Sequence[str], units: Units, of: Of, level: float
) -> Order | None:
    """The order of the roles that some run of the group has: one that none has would come last in all of them."""
    known = {(f.run_id, f.role): f.formed if of == "formed" else f.half for f in filled}
    seen = [
        n
        for n in names
        if any(known.get((run, n), NOTHING).kind in ("observed", "before") for run in units.runs)
    ]
    rows = {run: [known.get((run, n), NOTHING) for n in seen] for run in units.runs}
    return find_order(seen, rows, level, units)


def _event(f: Filled, present: Selected) -> dict[str, object]:
    rose = f.formed.kind == "observed"
    return {
        "run": present.by_id[f.run_id].run,
        "group": present.groups[f.run_id],
        "role": f.role,
        "kind": f.formed.kind,
        "after": finite_or_none(f.formed.low),
        "reached": finite_or_none(f.formed.high),
        "half_kind": f.half.kind,
        "half_after": finite_or_none(f.half.low),
        "half": finite_or_none(f.half.high),
        "class": f.shape.kind if rose else None,
        "share_low": finite_or_none(f.shape.share[0]) if rose else None,
        "share_high": finite_or_none(f.shape.share[1]) if rose else None,
        "score": f.score,
        "head": f.head,
        "why": f.shape.why if rose else "",
    }


def _summary(
    filled: Sequence[Filled], present: Selected, units: Mapping[str, Units], level: float
) -> list[dict[str, Any]]:
    rows = []
    for role, group in dict.fromkeys((f.role, present.groups[f.run_id]) for f in filled):
        mine = [f for f in filled if (f.role, present.groups[f.run_id]) == (role, group)]
        formed = times_over({f.run_id: f.formed for f in mine if f.formed.n_points}, units[group], level)
        half = times_over({f.run_id: f.half for f in mine if f.half.n_points}, units[group], level)
        rows.append(
            {
                "role": role,
                "group": group,
                **formed,
                "half_median": half["median"],
                "half_low": half["median_low"],
                "half_high": half["median_high"],
            }
        )
    return rows


def _verdict(orders: Mapping[str, Order | None], summary: Sequence[Mapping[str, Any]]) -> Verdict | None:
    """Of the order where one condition has one; of the time of a single role; else None."""
    if len(orders) == 1:
        (order,) = orders.values()
        if order is not None:
            return order.verdict
    return summary[0]["verdict"] if len(summary) == 1 else None


def _sentence(task: str, summary: Sequence[Mapping[str, Any]], orders: Mapping[str, Order | None]) -> str:
    told = []
    each = among(summary[0]) if len(orders) == 1 and summary else ""
    for role in dict.fromkeys(r["role"] for r in summary):
        mine = [r for r in summary if r["role"] == role]
        at = f" (median step {number(mine[0]['median'], 3)})" if len(mine) == 1 and mine[0]["median"] else ""
        told.append(
            f"{role} in {sum(r['n_reached'] for r in mine)} of {sum(r['n_runs'] for r in mine)} runs{each}{at}"
        )
    order = next(iter(orders.values())) if len(orders) == 1 else None
    return f"Roles of {task} that formed: {', '.join(told)}{f'; {order.sentence}' if order else ''}."


def _limits(filled: Sequence[Filled], present: Selected, of: Of) -> list[str]:
    lines = []
    for kind, words in (
        ("never", "had no head by their last checkpoint: one may form later"),
        ("before", "had a head at their first checkpoint: when it formed is not known"),
        ("no data", "could not be tested"),
    ):
        mine = [f for f in filled if f.formed.kind == kind]
        if mine:
            first = f"{mine[0].role} in {present.by_id[mine[0].run_id].run}"
            lines.append(f"{plural(len(mine), 'role')} of runs {words} (first: {first}).")
    lines.append(
        "A role forms here at the first checkpoint at which a head is shown to have it: with larger standard errors or more "
        "checkpoints that is later, and the best of many heads is above chance by selection alone."
    )
    if of == "half":
        lines.append(
            "The half of a rise is one of its own end: an order of halves uses the future and can be made by how long each rise "
            "goes on; of='formed' does not."
        )
    return lines
