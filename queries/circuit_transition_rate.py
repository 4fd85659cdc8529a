"""How many of the heads with a role in a circuit came to it in a sudden transition."""

import math
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal, Unpack

import numpy as np
import plotly.graph_objects as go
import pyarrow as pa

from archive.store import Archive
from queries.events.event_times import finite_or_none
from queries.reading.heads import index_limits
from queries.reading.quantities import Which
from queries.reading.role_scores import (
    Readings,
    RoleChoices,
    adjusted_by_run,
    choose_scores,
    judge,
    read_scores,
)
from queries.reading.roles import (
    ATTENTION,
    CONFIDENCE,
    LOGITS,
    SCORE,
    SCORES,
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
from queries.reading.tables import floats, in_order, stretches
from queries.reading.units import Units, among, units_by_group, units_limits
from queries.registry import query
from queries.render import interval, number
from queries.results import Answer, Provenance, Verdict, readable_sql
from queries.stats.over_units import SHARE_METHOD, share_over_units
from queries.stats.transition_shape import Shape, steps_needed, transition_shape
from queries.wording.circuit_rate import rate_limits, rate_sentence
from queries.wording.circuits import causal_limits, error_limits, or_nan, rule_limits

ALL_ROLES = "all roles"

_CURVES_SQL = """\
WITH found AS (
  SELECT unnest($runs) AS run_id, unnest($roles) AS role, unnest($quantities) AS quantity_id,
         unnest($layers) AS layer, unnest($heads) AS head
)
SELECT f.run_id, r.name AS run, h.role, 'L' || h.layer || 'H' || h.head AS head, c.step, f.value
FROM fact_head f
JOIN found h ON h.run_id = f.run_id AND h.quantity_id = f.quantity_id AND h.layer = f.layer AND h.head = f.head
JOIN checkpoint c ON c.id = f.checkpoint_id
JOIN run r ON r.id = f.run_id
WHERE f.quantity_id IN (SELECT unnest($quantities)) AND f.run_id IN (SELECT unnest($runs))
  AND f.checkpoint_id NOT IN (SELECT unnest($left_out))
ORDER BY f.run_id, h.role, h.layer, h.head, c.step"""

_TEXT, _WHOLE, _REAL = pa.string(), pa.int64(), pa.float64()
_TABLE = pa.schema(
    [
        *((name, _TEXT) for name in ("run", "role", "head", "class")),
        *(
            (name, _REAL)
            for name in ("t50_after", "t50", "share_low", "share_high", "width_low", "width_high")
        ),
        ("measure", _TEXT),
        *((name, _REAL) for name in ("first", "last")),
        *((name, _WHOLE) for name in ("n_inside", "n_checkpoints")),
        *((name, _TEXT) for name in ("group", "why")),
        ("needed", pa.list_(_WHOLE)),
    ]
)
_CURVES = pa.schema(
    [
        *((name, _TEXT) for name in ("run", "role", "head", "measure")),
        ("step", _WHOLE),
        ("value", _REAL),
    ]
)
_SUMMARY = pa.schema(
    [
        *((name, _TEXT) for name in ("role", "group")),
        *(
            (name, _WHOLE)
            for name in (
                "n_runs",
                "n_units",
                "n_circuits",
                "n_resolved",
                "n_sudden",
                "n_gradual",
                "n_unresolved",
            )
        ),
        ("unit", _TEXT),
        *((name, _REAL) for name in ("rate", "low", "high")),
        ("verdict", _TEXT),
    ]
)


@dataclass(frozen=True)
class Circuit:
    """One head with a role in one run: its curve of the role's first score, and the shape of that."""

    run_id: int
    role: str
    head: str
    steps: list[int]
    values: list[float]
    shape: Shape


@dataclass(frozen=True, kw_only=True, repr=False, eq=False)
class CircuitTransitionRate(Answer):
    """Heads with a role, and how suddenly each came to it.

    table: run, role, head, class (major_transition: at least half of the change within one octave of steps; gradual;
    unresolved, with why), t50 of the change with the last checkpoint before it, least and most that one octave holds
    (share_) and octaves between 10 and 90 % (width_), the measure followed, its first and last value, checkpoints inside
    and in all, group, steps of checkpoints that would resolve it.
    summary: per role and condition, and over all roles, how many circuits of each class, the mean over runs of the share
    that is sudden among the resolved, its interval over the n_units of the runs with any that share no seed, verdict (yes:
    more than half).
    curves: run, role, head, measure, step, value.
    """

    task: str
    curves: pa.Table

    def overview(self) -> pa.Table | None:
        """The summary with the interval in one cell."""
        rows = self.summary.to_pylist() if self.summary is not None else []
        return pa.Table.from_pylist(
            [
                {
                    "role": r["role"],
                    "group": r["group"],
                    "sudden": f"{r['n_sudden']} of {r['n_resolved']} resolved",
                    "gradual": r["n_gradual"],
                    "unresolved": r["n_unresolved"],
                    "runs": f"{r['n_runs']}{among(r)}",
                    "share": number(r["rate"], 2),
                    "interval": interval(or_nan(r["low"]), or_nan(r["high"]), 2),
                    "verdict": r["verdict"],
                }
                for r in rows
            ]
        )

    def plot(self, *, x_scale: Literal["log", "linear"] = "log") -> go.Figure:
        """The curve of every head with a role, a colour a role."""
        from queries.figures.circuits import circuit_curves

        return circuit_curves(self, x_scale=x_scale)


@query(title="How many circuits form in a sudden transition?")
def circuit_transition_rate(
    archive: Archive,
    *,
    task: Task = "ioi",
    role: RoleName = "all",
    runs: Runs = ALL_RUNS,
    prompts: Prompts = "",
    least_logits: LeastLogits = LOGITS,
    least_attention: LeastAttention = ATTENTION,
    least_score: LeastScore = SCORE,
    confidence: Confidence = CONFIDENCE,
    **which: Unpack[Which],
) -> CircuitTransitionRate:
    """Share of circuits (heads found to have a role at each run's last checkpoint) that formed within an octave of steps.

    Followed is the first score that the role needs, a continuous one, by the rules for every rise: sudden where at least
    half of the change lies within one octave, unresolved where checkpoints are too sparse to say. Heads of one run
    are not independent, so the interval takes the run as the unit: however many circuits it has, a run is one trial; and
    runs that share an init or a data order are one trial together.
    """
    selected = select_runs(archive, runs)
    choices = choose_scores(archive, selected, (task, role), prompts, which)
    readings = read_scores(archive, choices, "final", which)
    levels = Levels(least_logits, least_attention, least_score)
    parameters = _found(choices, readings, levels, 1 - confidence)
    circuits = _circuits(archive.query(_CURVES_SQL, parameters), choices)
    present = selected.only({int(run) for run in readings.rows["run_id"].unique().to_pylist()})
    places = {run: k for k, run in enumerate(in_order(present, present.ids))}
    names = list(choices.roles)
    circuits.sort(key=lambda c: (names.index(c.role), places[c.run_id]))
    units = units_by_group(present, in_order(present, present.ids))
    summary = _summary(circuits, present, units, confidence)
    whole = [r for r in summary if r["role"] == ALL_ROLES] or summary
    only = whole[0] if len(whole) == 1 else None
    # shared seeds are taken into account here
    used = [choices.by_score[s] for s in choices.needed]
    provenance = replace(Provenance.of(archive, used, readings.left_out), shared_seeds=())
    return CircuitTransitionRate(
        sentence=rate_sentence(task, circuits, only, len(present.runs), confidence),
        table=pa.Table.from_pylist([_row(c, choices, present) for c in circuits], schema=_TABLE),
        summary=pa.Table.from_pylist(summary, schema=_SUMMARY),
        curves=pa.Table.from_pylist(_curve_rows(circuits, choices, present), schema=_CURVES),
        task=task,
        n_runs=len(present.runs),
        n_items=len(circuits),
        unit="of circuits" if only else "",
        estimate=or_nan(only["rate"]) if only else math.nan,
        ci_low=or_nan(only["low"]) if only else math.nan,
        ci_high=or_nan(only["high"]) if only else math.nan,
        ci_level=confidence,
        ci_method=SHARE_METHOD if only and only["low"] is not None else "",
        verdict=_overall(whole),
        limits=(
            *provenance.limits,
            *choices.limits,
            *readings.left_out.limits,
            *rule_limits(choices.roles, levels),
            *error_limits(readings, choices.needed),
            *units_limits(units, "n_sudden and the other counts"),
            *rate_limits(circuits, present),
            *causal_limits(choices.needed),
            *index_limits(present),
        ),
        provenance=provenance,
        sql=readable_sql(_CURVES_SQL, parameters),
    )


def _found(choices: RoleChoices, readings: Readings, levels: Levels, alpha: float) -> dict[str, object]:
    """Heads with a role at the last checkpoint, as parameters of the statement that reads their curves."""
    rows = readings.rows
    ids, layers, heads = (rows[name].to_numpy() for name in ("run_id", "layer", "head"))
    p = adjusted_by_run(ids, [judge(readings, r, levels).p for r in choices.roles.values()])
    found = [
        (int(ids[k]), name, choices.by_score[r.scores[0]].quantity.quantity_id, int(layers[k]), int(heads[k]))
        for (name, r), mine in zip(choices.roles.items(), p, strict=True)
        for k in (mine < alpha).nonzero()[0]
    ]
    keys = ("runs", "roles", "quantities", "layers", "heads")
    columns = [list(column) for column in zip(*found, strict=True)] if found else [[] for _ in keys]
    return {**dict(zip(keys, columns, strict=True)), "left_out": readings.left_out.ids}


def _circuits(rows: pa.Table, choices: RoleChoices) -> list[Circuit]:
    steps, values = floats(rows, "step"), floats(rows, "value")
    found = []
    for a, b in zip(*stretches(rows, ["run_id", "role", "head"]), strict=True):
        run, role, head = (rows[name][int(a)].as_py() for name in ("run_id", "role", "head"))
        sign = choices.roles[role].needs[0].sign
        found.append(
            Circuit(
                run_id=run,
                role=role,
                head=head,
                steps=[int(s) for s in steps[a:b]],
                values=values[a:b].tolist(),
                shape=transition_shape(steps[a:b], values[a:b], "up" if sign > 0 else "down"),
            )
        )
    return found


def _row(c: Circuit, choices: RoleChoices, present: Selected) -> dict[str, object]:
    shape = c.shape
    return {
        "run": present.by_id[c.run_id].run,
        "group": present.groups[c.run_id],
        "role": c.role,
        "head": c.head,
        "measure": _measure(c, choices),
        "class": shape.kind,
        "t50_after": finite_or_none(shape.t50.low),
        "t50": finite_or_none(shape.t50.high),
        "share_low": finite_or_none(shape.share[0]),
        "share_high": finite_or_none(shape.share[1]),
        "width_low": finite_or_none(shape.width[0]),
        "width_high": finite_or_none(shape.width[1]),
        "first": shape.first,
        "last": shape.last,
        "n_inside": shape.n_inside,
        "n_checkpoints": len(c.steps),
        "why": shape.why,
        "needed": steps_needed(shape, np.array(c.steps, float)) if shape.why else [],
    }


def _curve_rows(
    circuits: Sequence[Circuit], choices: RoleChoices, present: Selected
) -> list[dict[str, object]]:
    return [
        {
            "run": present.by_id[c.run_id].run,
            "role": c.role,
            "head": c.head,
            "measure": _measure(c, choices),
            "step": step,
            "value": value,
        }
        for c in circuits
        for step, value in zip(c.steps, c.values, strict=True)
    ]


def _measure(c: Circuit, choices: RoleChoices) -> str:
    return SCORES[choices.roles[c.role].scores[0]].called


def _summary(
    circuits: Sequence[Circuit], present: Selected, units: Mapping[str, Units], level: float
) -> list[dict[str, Any]]:
    rows = []
    groups = dict.fromkeys(present.groups[run] for run in in_order(present, present.ids))
    roles = list(dict.fromkeys(c.role for c in circuits))
    for role in [*roles, *([ALL_ROLES] if len(roles) > 1 else [])]:
        for group in groups:
            mine = [c for c in circuits if present.groups[c.run_id] == group and role in (c.role, ALL_ROLES)]
            if not mine:
                continue
            count = Counter(c.shape.kind for c in mine)
            resolved = [c for c in mine if c.shape.kind != "unresolved"]
            trials = Counter(c.run_id for c in resolved)
            sudden = Counter(c.run_id for c in resolved if c.shape.kind == "major_transition")
            shares = [sudden[run] / n for run, n in trials.items()]
            rate, low, high = share_over_units(shares, units[group].of(trials), level)
            rows.append(
                {
                    "role": role,
                    "group": group,
                    "n_runs": len({c.run_id for c in mine}),
                    **units[group].columns(trials),
                    "n_circuits": len(mine),
                    "n_resolved": len(resolved),
                    "n_sudden": count["major_transition"],
                    "n_gradual": count["gradual"],
                    "n_unresolved": count["unresolved"],
                    "rate": finite_or_none(rate),
                    "low": finite_or_none(low),
                    "high": finite_or_none(high),
                    "verdict": _verdict(low, high),
                }
            )
    return rows


def _verdict(low: float, high: float) -> Verdict:
    """Whether more than half of such circuits form suddenly."""
    if low > 0.5:
        return "yes"
    return "no" if high < 0.5 else "unresolved"


def _overall(rows: Sequence[Mapping[str, Any]]) -> Verdict | None:
    """The verdict all conditions share, unresolved where there is none; None where they differ."""
    verdicts = {r["verdict"] for r in rows} or {"unresolved"}
    return verdicts.pop() if len(verdicts) == 1 else None
